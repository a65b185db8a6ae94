"""Processes that share a file: never the same work, and each hears of the others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from avtomatika.core.effects import RecordHistory
from avtomatika.core.events import TimerKind
from avtomatika.storage import SQLiteStorage
from avtomatika.storage.base import Committed, Progress, Signal, Stale, Timer
from avtomatika.storage.sqlite_step import Step
from tests.storage.builders import START, a_task
from tests.storage.ear import Ear

from .conftest import a_step


async def test_storages_on_one_file_never_share_work(open_storage: Callable) -> None:
    """Of several engines on one file each job, task and timer is one engine's."""
    storages = [await open_storage() for _ in range(3)]
    for number in range(12):
        name = f"j{number}"
        timer = Timer(name, TimerKind.JOB, START)
        await storages[0].commit(a_step(name, queue_tasks=[a_task(f"t{number}", name)], set_timers=[timer]))

    jobs = await asyncio.gather(*(one.claim_jobs(f"e{n}", 5, 10) for n, one in enumerate(storages)))
    tasks = await asyncio.gather(*(one.claim_task(f"w{n}", ["render"], 9) for n, one in enumerate(storages * 4)))
    timers = await asyncio.gather(*(one.claim_timers(5, 10) for one in storages))

    names = sorted(f"j{number}" for number in range(12))
    assert sorted(claim.job.id for claims in jobs for claim in claims) == names
    assert sorted(task.job_id for task in tasks) == names
    assert sorted(timer.job_id for some in timers for timer in some) == names


async def test_commits_of_two_storages_on_one_version_are_applied_once(open_storage: Callable) -> None:
    """The version guards against another process, too."""
    one, other = await open_storage(), await open_storage()
    await one.commit(a_step())

    outcomes = await asyncio.gather(one.commit(a_step(version=2)), other.commit(a_step(version=2)))

    assert sorted(outcomes, key=str) == [Committed(2), Stale(2)]


async def test_signals_reach_other_storages_on_the_file(open_storage: Callable) -> None:
    """An engine hears what another process committed, word for word and once."""
    here, there = await open_storage(), await open_storage()
    near, far = Ear(here), Ear(there)

    await here.commit(
        a_step(queue_tasks=[replace(a_task(), requirements={"gpu": 1})], events=[RecordHistory("e", "start")])
    )

    await far.wait_for("event")
    assert far.signals == near.signals
    assert [signal.kind for signal in near.signals] == ["job", "ready", "task", "event"]
    assert near.signals[2].queue == far.signals[2].queue
    await there.put_progress("j1", Progress(0.5))
    await near.wait_for("progress")
    assert [signal.kind for signal in near.signals] == ["job", "ready", "task", "event", "progress"]


async def test_signals_missed_make_everybody_look(open_storage: Callable) -> None:
    """Whoever slept so long that part of the log is gone is told to look at everything."""
    here = await open_storage()
    await here.commit(a_step(queue_tasks=[a_task("t1"), a_task("t2")]))
    far = Ear(await open_storage())

    def forget(step: Step) -> None:
        step.write("trim_signals", position=10**9)
        step._connection.execute("UPDATE sqlite_sequence SET seq = seq + 5000 WHERE name = 'signals'")
        step.tell(Signal("progress", "j1"))

    await here._writer.submit(forget)

    await far.wait_for("missed")
    assert [signal.kind for signal in far.signals][-2:] == ["progress", "missed"]


async def test_log_of_signals_stays_short(storage: SQLiteStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    """What everybody has heard is forgotten."""
    monkeypatch.setattr("avtomatika.storage.sqlite_signals._KEPT", 4)
    monkeypatch.setattr("avtomatika.storage.sqlite_signals._TRIMMED_EACH", 3)
    for number in range(20):
        await storage.commit(a_step(f"j{number}"))

    assert len(await storage._writer.submit(lambda step: step.rows("list_signals", position=0, origin=""))) <= 7
