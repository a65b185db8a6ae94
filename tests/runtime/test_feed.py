"""The feed: followers hear what happens to their jobs, all of it, in order, and from where they left off."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from avtomatika.blueprints import ActionFactory, StateMachineBlueprint
from avtomatika.core.job import Client, Task
from avtomatika.core.states import JobStatus
from avtomatika.errors import StorageError
from avtomatika.runtime import feed as feed_module
from avtomatika.runtime.feed import Choice, Feed, Follower, Missed, Progressed, Told
from avtomatika.storage.base import Change, Changes, Progress
from avtomatika.storage.memory import MemoryStorage
from avtomatika.storage.redis import RedisStorage
from avtomatika.testing import FakeClock
from tests.redis_server import RedisServer

from .conftest import FOREVER, MakeSystem, System, chain, task_flow

ANN = Choice("ann")


@pytest.fixture
async def system(system: System) -> System:
    """A running system with a blueprint that waits for a worker, one that ends at once, one with branches."""
    for blueprint in (task_flow(), chain(2, "quick"), fan_flow()):
        system.add(blueprint)
    return system


@pytest.fixture
def feed(system: System) -> Iterator[Feed]:
    """The feed of the running system."""
    feed = Feed(system.storage, system.clock)
    yield feed
    feed.close()


async def create(system: System, blueprint: str = "flow", client: str = "ann") -> str:
    """Creates a job of a client."""
    return await system.create({}, blueprint, client=Client(client))


async def take(system: System) -> Task:
    """Takes the task of a job that was just created."""
    await system.settle()
    return await system.take()


async def report(system: System, task: Task, value: float, message: str = "") -> None:
    """Reports the progress of a task."""
    progress = Progress(value, message, task.wire_id, system.clock.now())
    await system.storage.put_progress(task.job_id, progress)


def fan_flow() -> StateMachineBlueprint:
    """Returns a blueprint with two branches."""
    flow = StateMachineBlueprint("fan")

    @flow.handler_for("split", is_start=True)
    async def split(actions: ActionFactory) -> None:
        actions.dispatch_parallel([{"type": "work"}, {"type": "work"}], "join")

    @flow.aggregator_for("join", is_end=True)
    async def join() -> None: ...

    return flow


async def until_end(follower: Follower) -> list[Change]:
    """Returns the changes up to the end of a job."""
    changes: list[Change] = []
    while not (changes and changes[-1].status.is_terminal):
        changes += [told for told in await follower.next(FOREVER) if isinstance(told, Change)]
    return changes


async def test_follower_hears_every_change_of_a_job_in_order(system: System, feed: Feed) -> None:
    """One change for each commit: the versions have no gap, the last one is the end."""
    follower = await feed.follow(ANN)
    job_id = await create(system, "quick")

    changes = await until_end(follower)

    assert [change.job_id for change in changes] == [job_id] * len(changes)
    assert [change.version for change in changes] == list(range(1, len(changes) + 1))
    assert [str(change.status) for change in (changes[0], changes[-1])] == ["pending", "finished"]
    assert follower.position >= changes[-1].position


async def test_follower_hears_of_no_other_client(system: System, feed: Feed) -> None:
    """Jobs of others are not told, nor their progress; their places in the log pass by."""
    follower = await feed.follow(ANN)
    other = await create(system, client="bob")
    await report(system, await take(system), 0.5)
    assert await system.jobs.get(other)
    mine = await create(system, "quick")

    changes = await until_end(follower)

    assert {change.job_id for change in changes} == {mine}


@pytest.mark.parametrize("choice", ["job_ids", "blueprint"])
async def test_follower_of_some_jobs_hears_of_these(system: System, feed: Feed, choice: str) -> None:
    """Ids and a blueprint narrow what is told."""
    first, second = await create(system, "quick"), await create(system, "flow")
    wanted = {"job_ids": {second}} if choice == "job_ids" else {"blueprint": "flow"}
    follower = await feed.follow(Choice("ann", **wanted), after=0)
    assert isinstance((await follower.next(FOREVER))[0], Missed)

    await system.jobs.cancel(second)
    changes = await until_end(follower)

    assert {change.job_id for change in changes} == {second} != {first}


async def test_follower_goes_on_behind_its_position(system: System, feed: Feed) -> None:
    """Whoever comes back with a position gets all that happened since, and then what happens next."""
    follower = await feed.follow(ANN)
    first = await until_end_of(system, follower, "quick")
    position = follower.position
    feed.leave(follower)
    while_away = [await create(system, "quick") for _ in range(3)]
    for job_id in while_away:
        await system.ended(job_id)

    again = await feed.follow(ANN, position)
    heard: list[Change] = []
    while sum(change.status.is_terminal for change in heard) < 3:
        heard += changes_in(await again.next(FOREVER))
    assert first not in {change.job_id for change in heard}
    assert [(c.job_id, c.version) for c in heard if c.version == 1] == [(job_id, 1) for job_id in while_away]

    live = await create(system, "quick")
    assert {change.job_id for change in await until_end(again)} == {live}


async def until_end_of(system: System, follower: Follower, blueprint: str) -> str:
    """Creates a job and returns its id when its end was told."""
    job_id = await create(system, blueprint)
    await until_end(follower)
    return job_id


def changes_in(told: list[Told]) -> list[Change]:
    """Returns only the changes."""
    return [one for one in told if isinstance(one, Change)]


async def test_changes_in_the_midst_of_catching_up_come_once(make_system: MakeSystem, clock: FakeClock) -> None:
    """What is committed while a stretch is read is neither lost nor told twice."""
    storage = _SlowLog(clock)
    system = make_system(storage)
    system.add(chain(2, "quick"))
    await system.start()
    feed = Feed(storage, clock)
    reader = await feed.follow(Choice("nobody"))
    begin = (await storage.read_changes(None, 0)).end
    await system.ended(await create(system, "quick"))
    follower = await feed.follow(ANN, begin)

    storage.in_between = lambda: create(system, "quick")
    heard = await until_end(follower) + await until_end(follower)

    versions: dict[str, list[int]] = {}
    for change in heard:
        versions.setdefault(change.job_id, []).append(change.version)
    assert len(versions) == 2
    assert all(told == list(range(1, len(told) + 1)) for told in versions.values())
    feed.leave(reader)
    feed.close()


class _SlowLog(MemoryStorage):
    """A storage whose log is read before something happens, and answered afterwards."""

    in_between: Any = None

    async def read_changes(self, after: int | None, limit: int) -> Changes:
        """Reads, lets something happen, and answers."""
        changes = await super().read_changes(after, limit)
        if self.in_between is not None and limit:
            act, self.in_between = self.in_between, None
            await act()
            for _ in range(20):
                await asyncio.sleep(0)
        return changes


async def test_follower_that_is_slow_holds_little_and_misses_nothing(
    system: System, feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What does not fit is left in the log, and read when there is time."""
    monkeypatch.setattr(feed_module, "_MAX_WAITING", 5)
    monkeypatch.setattr(feed_module, "_STRETCH", 7)
    follower = await feed.follow(ANN)
    assert await follower.next(0) == []
    ids = [await create(system, "quick") for _ in range(20)]
    for job_id in ids:
        await system.ended(job_id)
    await system.settle()
    assert len(follower._waiting) <= 5

    heard: list[Change] = []
    while sum(change.status.is_terminal for change in heard) < len(ids):
        heard += changes_in(await follower.next(FOREVER))

    numbers = [(change.job_id, change.version) for change in heard]
    assert len(set(numbers)) == len(numbers)
    assert [c.position for c in heard] == sorted(c.position for c in heard)
    assert {job_id for job_id, _ in numbers} == set(ids)
    versions = [(await system.jobs.get(job_id)).version for job_id in ids]
    assert len(numbers) == sum(versions)


async def test_follower_whose_position_is_forgotten_is_told(system: System, feed: Feed) -> None:
    """It hears that it has to look anew, once, and then what happens next."""
    begin = (await system.storage.read_changes(None, 0)).end
    await system.ended(await create(system, "quick"))
    await system.clock.advance(60)
    await system.storage.trim_changes(10, 1)

    follower = await feed.follow(ANN, begin)

    (missed,) = await follower.next(FOREVER)
    assert missed == Missed(follower.position)
    job_id = await create(system, "quick")
    assert {change.job_id for change in await until_end(follower)} == {job_id}


async def test_position_of_the_future_is_told_as_missed(system: System, feed: Feed) -> None:
    """A position out of another storage does not let a follower wait for ever."""
    follower = await feed.follow(ANN, after=2**62)

    assert isinstance((await follower.next(FOREVER))[0], Missed)


async def test_progress_is_told_as_it_comes_and_the_last_one_counts(system: System, feed: Feed) -> None:
    """A follower that has not looked yet hears how far the job is now, not how far it was."""
    job_id = await create(system)
    task = await take(system)
    follower = await feed.follow(ANN)
    assert await follower.next(0) == []

    await report(system, task, 0.2, "begun")
    await system.settle()
    await report(system, task, 0.7, "soon")
    await system.settle()

    (told,) = await follower.next(FOREVER)
    assert isinstance(told, Progressed)
    assert (told.job_id, told.progress.value, told.progress.message) == (job_id, 0.7, "soon")


async def test_progress_of_an_attempt_that_is_over_is_not_told(system: System, feed: Feed) -> None:
    """After a change of the job, what was reported before it is void."""
    job_id = await create(system)
    task = await take(system)
    follower = await feed.follow(ANN)
    assert await follower.next(0) == []
    await report(system, task, 0.9)
    await system.settle()
    await system.clock.advance(1)

    await system.answer(task, "failure", error_code="TRANSIENT_ERROR")
    await system.settle()
    told = await follower.next(FOREVER)
    await system.storage.put_progress(job_id, Progress(0.95, at=system.clock.now() - 1))
    await system.settle()

    assert [type(one) for one in told] == [Change]
    assert await follower.next(0) == []


async def test_progress_of_a_branch_is_how_many_have_ended(system: System, feed: Feed) -> None:
    """Of parallel tasks, only the changes tell how far the job is."""
    await create(system, "fan")
    task = await take(system)
    follower = await feed.follow(ANN)
    assert await follower.next(0) == []
    await report(system, task, 0.5)
    await system.settle()

    await system.answer(task)

    (change,) = await follower.next(FOREVER)
    assert isinstance(change, Change)
    assert (change.status, change.ended, change.total) == (JobStatus.WAITING_FOR_PARALLEL_TASKS, 1, 2)


async def test_position_moves_on_while_others_are_busy(system: System, feed: Feed) -> None:
    """A follower to whom nothing happens does not fall out of the log."""
    follower = await feed.follow(ANN)
    assert await follower.next(0) == []
    begin = follower.position

    await system.ended(await create(system, "quick", client="bob"))
    await system.settle()

    assert await follower.next(0) == []
    assert follower.position > begin


async def test_log_that_cannot_be_read_is_read_later(make_system: MakeSystem, clock: FakeClock) -> None:
    """A storage in trouble delays what is told, and loses nothing of it."""
    storage = _FailingLog(clock)
    system = make_system(storage)
    system.add(chain(1, "quick"))
    await system.start()
    feed = Feed(storage, clock)
    follower = await feed.follow(ANN)
    assert await follower.next(0) == []

    storage.fails = True
    job_id = await create(system, "quick")
    await system.settle()
    storage.fails = False
    heard = asyncio.create_task(until_end(follower))
    await clock.advance(1)

    assert {change.job_id for change in await heard} == {job_id}
    feed.close()


class _FailingLog(MemoryStorage):
    fails = False

    async def read_changes(self, after: int | None, limit: int) -> Changes:
        """Reads, unless it fails."""
        if self.fails:
            raise StorageError("no answer")
        return await super().read_changes(after, limit)


async def test_lost_signal_costs_time_only(system: System, feed: Feed) -> None:
    """The reader looks by itself now and then."""
    follower = await feed.follow(ANN)
    assert await follower.next(0) == []
    feed._unsubscribe()
    await system.ended(await create(system, "quick"))
    await system.settle()
    assert await follower.next(0) == []

    heard = asyncio.create_task(until_end(follower))
    await system.clock.advance(5)

    assert await heard


async def test_nobody_follows_nobody_reads(system: System, feed: Feed) -> None:
    """The reader ends with its last follower, and begins again with the next."""
    first = await feed.follow(ANN)
    assert feed.count("ann") == 1
    feed.leave(first)
    assert (feed.count("ann"), feed._reading) == (0, None)
    await system.ended(await create(system, "quick"))

    second = await feed.follow(ANN)
    job_id = await create(system, "quick")

    assert {change.job_id for change in await until_end(second)} == {job_id}


async def test_closed_feed_answers_whoever_waits(system: System, feed: Feed) -> None:
    """No follower delays the stop of an engine, and none begins after it."""
    waiting = asyncio.create_task((await feed.follow(ANN)).next(FOREVER))
    await system.settle()

    feed.close()

    assert await waiting == []
    assert (await feed.follow(ANN)).is_closed


async def test_engines_on_one_redis_tell_the_same(redis_server: RedisServer, clock: FakeClock) -> None:
    """What one engine commits, followers of another hear; and a follower that moves to another engine goes on there."""
    prefix = redis_server.new_prefix()
    storages = [RedisStorage(redis_server.client(), prefix=prefix, clock=clock) for _ in range(2)]
    systems = [System(clock, storage) for storage in storages]
    for storage, system in zip(storages, systems, strict=True):
        await storage.open()
        system.add(chain(2, "quick"))
    await systems[0].start()
    here, there = (Feed(storage, clock) for storage in storages)
    follower = await there.follow(ANN)

    async with asyncio.timeout(30):
        job_id = await create(systems[0], "quick")
        heard = await until_end(follower)
        again = await here.follow(ANN, heard[1].position)
        rest = await until_end(again)

    assert {change.job_id for change in heard} == {job_id}
    assert [change.version for change in heard] == list(range(1, len(heard) + 1))
    assert rest == heard[2:]
    await systems[0].stop()
    for part in (here, there):
        part.close()
    for storage in storages:
        await storage.close()
