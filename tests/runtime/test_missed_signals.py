"""Signals of other engines that were lost: whoever waits for one looks as soon as the storage says so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from avtomatika.core.job import Client
from avtomatika.core.states import JobStatus
from avtomatika.errors import StorageError
from avtomatika.runtime.dispatcher import Dispatcher
from avtomatika.runtime.feed import Choice, Feed
from avtomatika.runtime.watcher import Watcher
from avtomatika.storage import RedisStorage
from avtomatika.storage.base import Queue, Storage
from avtomatika.testing import FakeClock
from tests.redis_server import RedisServer

from .conftest import FOREVER, LEASE, Line, MakeSystem, System, a_worker, chain, task_flow


@pytest.fixture
async def there(make_system: MakeSystem) -> System:
    """The engine at which everything happens."""
    system = with_flows(make_system())
    await system.start()
    return system


@pytest.fixture
def line(there: System) -> Line:
    """The storage of the other engine."""
    return Line(there.storage)


@pytest.fixture
async def here(make_system: MakeSystem, line: Line) -> System:
    """The other engine, not started; the clock stands still, so that it looks at nothing by itself."""
    return with_flows(make_system(cast("Storage", line), owner="e2"))


def with_flows(system: System) -> System:
    """Returns the system with a blueprint of one task, and one that ends by itself."""
    system.add(task_flow())
    system.add(chain(1, "quick"))
    return system


async def test_parked_polls_wake_for_tasks_that_nobody_told_of(here: System, there: System, line: Line) -> None:
    """As many as there are tasks, of those that can do them; the others wait on."""
    workers = [a_worker("w0", "rest"), *(a_worker(f"w{number}") for number in range(1, 5))]
    polls = [asyncio.create_task(here.dispatcher.next_task(worker, FOREVER)) for worker in workers]
    await here.settle()
    line.cut()
    for _ in range(2):
        await there.waiting(await there.create())
    await here.settle()
    assert not any(poll.done() for poll in polls)

    line.mend()
    await here.settle()

    assert [poll.done() for poll in polls] == [False, True, True, False, False]
    here.dispatcher.close()
    assert [task is not None for task in await asyncio.gather(*polls)] == [False, True, True, False, False]


async def test_missed_tasks_are_looked_for_again_while_the_storage_is_away(
    here: System, there: System, line: Line
) -> None:
    """The line may be back before the storage answers."""
    poll = asyncio.create_task(here.dispatcher.next_task(a_worker("w1"), FOREVER))
    await here.settle()
    line.cut()
    await there.waiting(await there.create())
    line.errors = [StorageError("away"), StorageError("away")]

    line.mend()
    await here.clock.advance(1)
    assert not poll.done()
    await here.clock.advance(1)

    assert await poll is not None


async def test_missed_tasks_are_not_taken_from_a_look_that_is_older(
    here: System, there: System, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer that is on its way does not know of what was queued since it was asked for."""
    held, queues = asyncio.Event(), await there.storage.list_queues()

    async def hold() -> list[Queue]:
        monkeypatch.undo()
        await held.wait()
        return queues

    monkeypatch.setattr(line, "list_queues", hold)
    poll = asyncio.create_task(here.dispatcher.next_task(a_worker("w1"), FOREVER))
    await here.settle()
    line.cut()
    await there.waiting(await there.create())

    line.mend()
    held.set()
    await here.settle()

    assert await poll is not None


async def test_wait_for_a_job_ends_with_a_change_that_nobody_told_of(here: System, there: System, line: Line) -> None:
    """Who waits for another job is not troubled."""
    changed, same = [await there.waiting(await there.create()) for _ in range(2)]
    waits = [asyncio.create_task(here.jobs.wait(job.id, job.version, FOREVER)) for job in (changed, same)]
    await here.settle()
    line.cut()
    await there.answer(await there.take())
    await there.ended(changed.id)

    line.mend()
    await here.settle()

    assert (await waits[0]).status is JobStatus.FINISHED
    assert not waits[1].done()
    here.jobs.close()
    assert (await waits[1]) == same


async def test_wait_that_runs_out_returns_what_is_stored_then(here: System, there: System, line: Line) -> None:
    """Also where the line is still broken at its end."""
    job = await there.waiting(await there.create())
    wait = asyncio.create_task(here.jobs.wait(job.id, job.version, 10))
    await here.settle()
    line.cut()
    await there.answer(await there.take())
    ended = await there.ended(job.id)

    await here.clock.advance(10)

    assert await wait == ended


async def test_follower_hears_of_a_change_that_nobody_told_of(here: System, there: System, line: Line) -> None:
    """The log of changes has it."""
    feed = Feed(here.storage, here.clock)
    follower = await feed.follow(Choice("ann"))
    following = asyncio.create_task(follower.next(FOREVER))
    await here.settle()
    line.cut()
    job_id = await there.create(client=Client("ann"))
    await here.settle()
    assert not following.done()

    line.mend()

    assert {change.job_id for change in await following} == {job_id}
    feed.close()


@pytest.fixture
async def idle_line(idle: System) -> Line:
    """The storage of an engine that waits, beside one that only creates jobs."""
    with_flows(idle)
    return Line(idle.storage)


async def test_wake_up_that_nobody_told_of_is_claimed(idle: System, idle_line: Line, make_system: MakeSystem) -> None:
    """A job that an engine without room has queued runs at once where the line is back."""
    system = with_flows(make_system(cast("Storage", idle_line), owner="e2"))
    await system.start()
    await system.settle()
    idle_line.cut()
    job_id = await idle.create(name="quick")
    await system.settle()
    assert (await idle.jobs.get(job_id)).status is JobStatus.PENDING

    idle_line.mend()

    assert (await system.ended(job_id)).status is JobStatus.FINISHED


async def test_timer_that_nobody_told_of_fires_at_its_moment(idle: System, idle_line: Line) -> None:
    """The watcher would look long after it."""
    watcher = Watcher(cast("Storage", idle_line), idle.performer, idle.clock, FOREVER)
    watcher.start()
    await idle.settle()
    idle_line.cut()
    job_id = await idle.create(result_timeout=5)

    idle_line.mend()
    await idle.clock.advance(5)

    assert (await idle.jobs.get(job_id)).is_terminal
    await watcher.stop()


@pytest.fixture
async def on_redis(redis_server: RedisServer, clock: FakeClock) -> AsyncIterator[tuple[RedisStorage, System]]:
    """The storage of an engine that waits, and a running engine beside it, over a real server."""
    prefix = redis_server.new_prefix()
    mine, theirs = (RedisStorage(redis_server.client(), prefix=prefix, clock=clock) for _ in range(2))
    for storage in (mine, theirs):
        await storage.open()
    system = with_flows(System(clock, theirs))
    await system.start()
    yield mine, system
    await system.stop()
    assert await theirs.audit() == []
    for storage in (mine, theirs):
        await storage.close()


async def test_parked_poll_wakes_when_the_line_to_redis_is_back(
    on_redis: tuple[RedisStorage, System], redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What another engine queued between the break and the return is handed out without waiting for time."""
    mine, system = on_redis
    dispatcher = Dispatcher(mine, system.clock, LEASE, owner="mine")
    poll = asyncio.create_task(dispatcher.next_task(a_worker("w1"), FOREVER))
    await system.settle()
    is_lost, may_return = asyncio.Event(), asyncio.Event()
    connect = mine._link.connect

    async def connect_later() -> Any:
        is_lost.set()
        await may_return.wait()
        return await connect()

    monkeypatch.setattr(mine._link, "connect", connect_later)
    async with asyncio.timeout(30):
        async with redis_server.client() as client:
            await client.client_kill_filter(_type="pubsub")
        await is_lost.wait()
        await system.waiting(await system.create())
        assert not poll.done()

        may_return.set()

        task = await poll
    assert task is not None
    dispatcher.close()
    await dispatcher.leave()
