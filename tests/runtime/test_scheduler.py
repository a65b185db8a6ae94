"""The scheduler: one job for each instant, with any number of engines, and after downtime."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from avtomatika.core.schedule import CatchUp, Every, Overlap, Schedule
from avtomatika.core.states import JobStatus
from avtomatika.runtime.scheduler import SPACE, Scheduler
from avtomatika.storage.base import JobQuery, RecordWrite, Storage
from avtomatika.storage.memory import MemoryStorage
from avtomatika.testing import FakeClock

from .conftest import MakeSystem, System, chain, task_flow

# On a full minute, so that instants of whole minutes are easy to read.
START = 1_700_000_040.0
EVERY_MINUTE = Schedule("beat", "flow", Every(60), datetime.UTC, {"n": 7})


@pytest.fixture
def clock() -> FakeClock:
    """A clock that stands at a full minute."""
    return FakeClock(START)


@pytest.fixture(params=["memory", "sqlite", "redis"])
def backend(request: pytest.FixtureRequest) -> str:
    """Each storage: that an instant has one job is decided there."""
    return str(request.param)


@pytest.fixture
async def engines(connect: Callable[[], Awaitable[Storage]], make_system: MakeSystem) -> list[System]:
    """Three engines on one storage; they wait for nothing, so no clock need be moved for them."""
    systems = [make_system(await connect(), owner=f"e{number}") for number in range(3)]
    for system in systems:
        system.add(chain(1))
    return systems


def a_scheduler(system: System, *schedules: Schedule) -> Scheduler:
    """Returns a scheduler of a system."""
    scheduler = Scheduler(system.storage, system.jobs, system.registry, system.clock)
    scheduler.replace(schedules)
    return scheduler


async def made(system: System) -> list[str]:
    """Returns the ids of the jobs, oldest first."""
    return [job.id for job in reversed(await system.storage.list_jobs(JobQuery()))]


def ids(*minutes: int) -> list[str]:
    """Returns the ids of the jobs of these minutes."""
    return [f"beat-{int(START) + 60 * minute}" for minute in minutes]


async def test_schedule_makes_a_job_at_each_instant(system: System) -> None:
    """With its data, for its client, and under the id of its instant."""
    system.add(chain(1))
    scheduler = a_scheduler(system, EVERY_MINUTE)
    scheduler.start()

    await system.clock.advance(150)
    await scheduler.stop()

    assert await made(system) == ids(1, 2)
    job = await system.jobs.get(ids(1)[0])
    assert (job.source, job.client.name, job.initial_data.value()) == ("schedule", "default", {"n": 7})


async def test_instant_before_the_first_look_makes_no_job(system: System) -> None:
    """A new schedule begins with what comes next."""
    system.add(chain(1))
    scheduler = a_scheduler(system, EVERY_MINUTE)

    assert await scheduler.turn(EVERY_MINUTE) == START + 60
    assert await made(system) == []


async def test_many_engines_make_one_job_for_each_instant(make_system: MakeSystem, clock: FakeClock) -> None:
    """All look at the same moment; the storage lets one of them."""
    storage = MemoryStorage(clock)
    systems = [make_system(storage, owner=f"e{n}") for n in range(5)]
    schedulers = []
    for system in systems:
        system.add(chain(1))
        schedulers.append(a_scheduler(system, EVERY_MINUTE))
        schedulers[-1].start()

    await clock.advance(60 * 4 + 1)
    await asyncio.gather(*(scheduler.stop() for scheduler in schedulers))

    assert await made(systems[0]) == ids(1, 2, 3, 4)


async def test_race_of_turns_makes_one_job(engines: list[System], clock: FakeClock) -> None:
    """Whatever the order in which they read and write."""
    schedulers = [a_scheduler(system, EVERY_MINUTE) for system in engines]
    await schedulers[0].turn(EVERY_MINUTE)
    clock._now += 60

    nexts = await asyncio.gather(*(scheduler.turn(EVERY_MINUTE) for scheduler in schedulers))

    assert set(nexts) == {START + 120}
    assert await made(engines[0]) == ids(1)


@pytest.mark.parametrize(
    ("catch_up", "minutes"), [(CatchUp.NONE, []), (CatchUp.LAST, [5]), (CatchUp.ALL, [1, 2, 3, 4, 5])]
)
async def test_after_downtime_the_policy_decides(engines: list[System], catch_up: CatchUp, minutes: list[int]) -> None:
    """Nobody was there for five minutes and a bit more than one; then one engine comes back."""
    system = engines[0]
    schedule = replace(EVERY_MINUTE, rule=Every(60), catch_up=catch_up)
    scheduler = a_scheduler(system, schedule)
    await scheduler.turn(schedule)
    hourly = replace(schedule, rule=Every(3600)) if catch_up is CatchUp.NONE else schedule
    if catch_up is CatchUp.NONE:
        system.clock._now = START - START % 3600
        await scheduler.turn(hourly)
        system.clock._now += 2 * 3600 + 120
    else:
        system.clock._now += 5 * 60 + 30

    await scheduler.turn(hourly)

    assert await made(system) == ids(*minutes)


async def test_job_and_next_instant_are_one_commit(engines: list[System], monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that dies at the commit has made neither, or both; the next one goes on."""
    system = engines[0]
    scheduler = a_scheduler(system, EVERY_MINUTE)
    await scheduler.turn(EVERY_MINUTE)
    system.clock._now += 60
    commit = system.storage.commit

    async def commit_and_die(batch: Any) -> Any:
        await commit(batch)
        raise ConnectionError("the engine is gone")

    monkeypatch.setattr(system.storage, "commit", commit_and_die)
    with pytest.raises(ConnectionError):
        await scheduler.turn(EVERY_MINUTE)
    monkeypatch.setattr(system.storage, "commit", commit)

    assert await scheduler.turn(EVERY_MINUTE) == START + 120
    assert await made(system) == ids(1)
    due = await scheduler.due(EVERY_MINUTE)
    assert due is not None
    assert (due.last_at, due.last_job_id) == (START + 60, ids(1)[0])


async def test_lost_record_does_not_repeat_a_job(engines: list[System]) -> None:
    """The id of the job says that its instant is done."""
    system = engines[0]
    scheduler = a_scheduler(system, EVERY_MINUTE)
    await scheduler.turn(EVERY_MINUTE)
    record = await system.storage.find_record(SPACE, "beat")
    assert record is not None
    system.clock._now += 60
    await scheduler.turn(EVERY_MINUTE)

    await system.storage.put_record(RecordWrite(SPACE, "beat", record.value))

    assert await scheduler.turn(EVERY_MINUTE) == START + 120
    assert await made(system) == ids(1)


async def run_overlapping(system: System, overlap: Overlap) -> list[JobStatus]:
    """Lets two instants pass while the first job waits for a worker; returns the statuses of the jobs."""
    system.add(task_flow())
    schedule = replace(EVERY_MINUTE, overlap=overlap)
    scheduler = a_scheduler(system, schedule)
    scheduler.start()
    await system.clock.advance(60)
    await system.waiting(ids(1)[0])
    await system.clock.advance(61)
    await scheduler.stop()
    return [(await system.jobs.get(job_id)).status for job_id in await made(system)]


@pytest.mark.parametrize(
    ("overlap", "statuses"),
    [
        (Overlap.ALLOW, [JobStatus.WAITING_FOR_WORKER] * 2),
        (Overlap.SKIP, [JobStatus.WAITING_FOR_WORKER]),
        (Overlap.CANCEL, [JobStatus.CANCELLED, JobStatus.WAITING_FOR_WORKER]),
    ],
)
async def test_overlap_policy_decides_about_the_job_before(
    system: System, overlap: Overlap, statuses: list[JobStatus]
) -> None:
    """Both, the old one, or the new one."""
    assert await run_overlapping(system, overlap) == statuses


async def test_skipped_instant_does_not_stop_the_schedule(system: System) -> None:
    """Once the job has ended, the next instant makes one again."""
    await run_overlapping(system, Overlap.SKIP)
    await system.answer(await system.take())
    schedule = replace(EVERY_MINUTE, overlap=Overlap.SKIP)
    await system.ended(ids(1)[0])

    system.clock._now = START + 180
    await a_scheduler(system, schedule).turn(schedule)

    assert await made(system) == ids(1, 3)


async def test_changed_rule_begins_anew(system: System) -> None:
    """What was due by the old rule is not made up for."""
    system.add(chain(1))
    scheduler = a_scheduler(system, EVERY_MINUTE)
    await scheduler.turn(EVERY_MINUTE)
    system.clock._now += 90
    changed = replace(EVERY_MINUTE, rule=Every(3600))

    next_at = await scheduler.turn(changed)

    assert next_at > system.clock.now()
    assert await made(system) == []


async def test_schedule_that_is_switched_off_makes_nothing_up(system: System) -> None:
    """The time without it is not missed."""
    system.add(chain(1))
    scheduler = a_scheduler(system, EVERY_MINUTE)
    scheduler.start()
    await system.clock.advance(60)
    scheduler.replace([replace(EVERY_MINUTE, enabled=False)])
    await system.clock.advance(300)
    scheduler.replace([EVERY_MINUTE])
    await system.clock.advance(61)
    await scheduler.stop()

    assert await made(system) == ids(1, 7)


async def test_trouble_of_one_schedule_leaves_the_others_alone(
    system: System, caplog: pytest.LogCaptureFixture
) -> None:
    """One whose blueprint is gone is logged, and tried again."""
    system.add(chain(1))
    scheduler = a_scheduler(system, replace(EVERY_MINUTE, name="lost", blueprint="gone"), EVERY_MINUTE)
    scheduler.start()

    await system.clock.advance(61)
    await scheduler.stop()

    assert await made(system) == ids(1)
    assert "a schedule could not be dealt with" in caplog.text
