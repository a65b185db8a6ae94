"""Workers at other engines: a strategy chooses among all that wait, wherever they do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from unittest.mock import AsyncMock

import pytest

from avtomatika.core.document import Document
from avtomatika.core.job import Task
from avtomatika.errors import StorageError
from avtomatika.protocol.messages import WorkerProfile
from avtomatika.runtime.dispatcher import HOLD, Dispatcher
from avtomatika.runtime.elsewhere import MOST_TOLD, SPACE, Elsewhere
from avtomatika.storage.base import RecordWrite
from avtomatika.storage.memory import MemoryStorage
from avtomatika.storage.redis import RedisStorage
from avtomatika.testing import FakeClock
from tests.redis_server import RedisServer

from .conftest import LEASE, MakeSystem, System, a_worker, task_flow

# Engines that know nothing of each other look for others every five seconds; then each needs two exchanges.
KNOWN = 10.0


class Herd:
    """Two engines on one storage, and workers whose polls wait at them."""

    def __init__(self, system: System, other: Dispatcher) -> None:
        self.system = system
        self.engines = (system.dispatcher, other)
        self.polls: dict[str, asyncio.Task[Task | None]] = {}
        self.tasks: dict[str, Task] = {}

    async def park(self, engine: int, worker: WorkerProfile) -> None:
        """Lets a worker ask an engine for a task."""
        poll = self.engines[engine].next_task(worker, 1000)
        self.polls[worker.worker_id] = asyncio.create_task(poll)
        await self.system.settle()

    async def queue(self, **options: Any) -> str:
        """Creates a job and returns its id when its task has been queued and nothing more happens at this moment."""
        job_id = await self.system.create({"options": options})
        await self.system.settle()
        return job_id

    def winners(self) -> list[str]:
        """Returns the workers that have got a task since the last call."""
        done = {name: poll.result() for name, poll in self.polls.items() if poll.done()}
        self.tasks = {name: task for name, task in done.items() if task is not None}
        for name in done:
            del self.polls[name]
        return list(self.tasks)


@pytest.fixture
async def herd(system: System) -> AsyncIterator[Herd]:
    """Two engines in one process."""
    system.add(task_flow())
    other = Dispatcher(system.storage, system.clock, LEASE, owner="e2")
    herd = Herd(system, other)
    yield herd
    for engine in herd.engines:
        engine.close()
    await asyncio.gather(*herd.polls.values())


@pytest.mark.parametrize(
    ("strategy", "better", "worse"),
    [
        ("default", {"hot": frozenset({"work"}), "costs": {"work": 5.0}}, {"costs": {"work": 1.0}}),
        ("cheapest", {"costs": {"work": 1.0}}, {"costs": {"work": 2.0}, "hot": frozenset({"work"})}),
        ("best_value", {"costs": {"work": 1.0}}, {"costs": {"work": 2.0}}),
    ],
)
@pytest.mark.parametrize("engine", [0, 1])
async def test_better_worker_gets_the_task_at_whichever_engine_it_waits(
    herd: Herd, strategy: str, better: Any, worse: Any, engine: int
) -> None:
    """The strategy chooses among the workers of all engines, and no time passes for it."""
    await herd.park(1 - engine, a_worker("a worse one", **worse))
    await herd.park(engine, a_worker("the better one", **better))
    await herd.system.clock.advance(KNOWN)

    await herd.queue(dispatch_strategy=strategy)

    assert herd.winners() == ["the better one"]


@pytest.mark.parametrize("engine", [0, 1])
async def test_least_connections_counts_the_tasks_of_workers_elsewhere(herd: Herd, engine: int) -> None:
    """The worker that holds fewer tasks gets the next one, though each engine has one that waits."""
    await herd.queue()
    assert await herd.engines[0].next_task(a_worker("busy"), 0) is not None
    await herd.park(1 - engine, a_worker("busy"))
    await herd.park(engine, a_worker("free"))
    await herd.system.clock.advance(KNOWN)

    await herd.queue(dispatch_strategy="least_connections")

    assert herd.winners() == ["free"]


async def test_round_robin_goes_round_the_workers_of_all_engines(herd: Herd) -> None:
    """Each worker gets its turn, in one order over both engines."""
    places = {"w1": 0, "w2": 1, "w3": 0, "w4": 1}
    for name, engine in places.items():
        await herd.park(engine, a_worker(name))
    order = []
    for _ in range(8):
        await herd.system.clock.advance(KNOWN)
        await herd.queue(dispatch_strategy="round_robin")
        await herd.system.clock.advance(HOLD)
        (name,) = herd.winners()
        order.append(name)
        await herd.system.answer(herd.tasks[name])
        await herd.park(places[name], a_worker(name))

    assert order == ["w1", "w2", "w3", "w4"] * 2


async def test_worker_elsewhere_that_has_gone_costs_a_moment(herd: Herd) -> None:
    """A task is left to a better worker for the hold; if that one has vanished, the one that is there gets it."""
    await herd.park(0, a_worker("dear", costs={"work": 9.0}))
    await herd.park(1, a_worker("cheap", costs={"work": 1.0}))
    await herd.system.clock.advance(KNOWN)
    herd.engines[1].close()
    await herd.system.settle()
    await herd.queue(dispatch_strategy="cheapest")

    assert herd.winners() == []
    await herd.system.clock.advance(HOLD)

    assert herd.winners() == ["dear"]


async def test_worker_elsewhere_is_waited_for_once(herd: Herd) -> None:
    """Of two tasks one is left to the worker elsewhere; the other one has nothing to wait for."""
    await herd.park(0, a_worker("dear", costs={"work": 9.0}))
    await herd.park(0, a_worker("dearer", costs={"work": 10.0}))
    await herd.park(1, a_worker("cheap", costs={"work": 1.0}))
    await herd.system.clock.advance(KNOWN)
    herd.engines[1].close()
    await herd.system.settle()

    await herd.queue(dispatch_strategy="cheapest")
    await herd.queue(dispatch_strategy="cheapest")

    assert len(herd.winners()) == 1


async def test_unqualified_worker_elsewhere_is_not_waited_for(herd: Herd) -> None:
    """A cheaper worker that may not do the task holds up nothing."""
    await herd.park(0, a_worker("dear", costs={"work": 9.0}, resources={"ram_gb": 64}))
    await herd.park(1, a_worker("cheap", costs={"work": 1.0}, resources={"ram_gb": 8}))
    await herd.park(1, a_worker("painter", "paint"))
    await herd.system.clock.advance(KNOWN)

    await herd.queue(dispatch_strategy="cheapest", resource_requirements={"ram_gb": 16})

    assert herd.winners() == ["dear"]


async def test_equal_worker_elsewhere_is_not_waited_for(herd: Herd) -> None:
    """Among equals no time is lost."""
    await herd.park(0, a_worker("here"))
    await herd.park(1, a_worker("there"))
    await herd.system.clock.advance(KNOWN)
    herd.engines[1].close()
    await herd.system.settle()

    await herd.queue()

    assert herd.winners() == ["here"]


class _CountingStorage(MemoryStorage):
    """A storage that notes what is written down of waiting workers, and how often it is asked."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.written: list[Document | None] = []
        self.reads = 0
        self.trouble: Exception | None = None

    async def put_record(self, write: RecordWrite) -> bool:
        """Notes the value."""
        self.written.append(write.value)
        return await super().put_record(write)

    async def list_records(self, space: str, after: str = "", limit: int = 100) -> Any:
        """Counts the reads; fails while there is trouble."""
        if space == SPACE:
            self.reads += 1
            if self.trouble is not None:
                raise self.trouble
        return await super().list_records(space, after, limit)


async def test_lone_engine_holds_nothing_and_tells_nothing(make_system: MakeSystem, clock: FakeClock) -> None:
    """An engine without others asks every five seconds, shows every ten that it is there, and delays no task."""
    storage = _CountingStorage(clock)
    system = make_system(storage)
    system.add(task_flow())
    await system.start()
    polls = [
        asyncio.create_task(system.dispatcher.next_task(a_worker(name, costs={"work": cost}), 1000))
        for name, cost in (("dear", 9.0), ("cheap", 1.0))
    ]
    await clock.advance(99)

    assert storage.written == [Document.of([])] * 10
    assert storage.reads == 20
    await system.create({"options": {"dispatch_strategy": "cheapest"}})
    await system.settle()
    assert [poll.done() for poll in polls] == [False, True]
    system.dispatcher.close()
    await asyncio.gather(*polls)


async def test_nothing_is_exchanged_while_nobody_waits(make_system: MakeSystem, clock: FakeClock) -> None:
    """An engine at which no worker waits leaves the storage alone."""
    storage = _CountingStorage(clock)
    system = make_system(storage)
    await system.dispatcher.next_task(a_worker("w1"), 0)
    await clock.advance(10)
    reads = storage.reads

    await clock.advance(100)

    assert storage.reads == reads
    system.dispatcher.close()


async def test_engine_at_which_nobody_waits_any_more_takes_back_what_it_told(
    make_system: MakeSystem, clock: FakeClock
) -> None:
    """After two looks without anybody nothing of it is left in the storage; whoever waits then is told of again."""
    storage = _CountingStorage(clock)
    dispatcher = make_system(storage).dispatcher
    await dispatcher.next_task(a_worker("w1"), 0)
    await clock.advance(0)
    assert await storage.list_records(SPACE)

    await clock.advance(10)
    assert await storage.list_records(SPACE) == []

    poll = asyncio.create_task(dispatcher.next_task(a_worker("w1"), 1000))
    await clock.advance(0)
    assert await storage.list_records(SPACE)
    dispatcher.close()
    await poll
    await dispatcher.leave()
    assert await storage.list_records(SPACE) == []


@pytest.mark.parametrize("trouble", [StorageError("down"), RuntimeError("a mistake")])
async def test_failed_exchange_stops_neither_the_next_one_nor_tasks(
    make_system: MakeSystem, clock: FakeClock, trouble: Exception
) -> None:
    """A failed exchange is tried again at the next moment, and tasks are handed out meanwhile."""
    storage = _CountingStorage(clock)
    system = make_system(storage)
    system.add(task_flow())
    await system.start()
    storage.trouble = trouble
    poll = asyncio.create_task(system.dispatcher.next_task(a_worker("w1"), 1000))
    await clock.advance(20)
    reads = storage.reads

    storage.trouble = None
    await clock.advance(10)
    await system.create()
    await system.settle()

    assert reads > 1
    assert storage.written
    assert poll.done()
    system.dispatcher.close()


async def test_unreadable_record_of_another_engine_is_left_aside(
    clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """What another version of the engine tells in its own way hides nothing that the others tell."""
    storage = MemoryStorage(clock)
    here, there = Elsewhere(storage, clock, "e1"), Elsewhere(storage, clock, "e2")
    await storage.put_record(RecordWrite(SPACE, "e0", Document.of([{"new": 1}])))
    for _ in range(2):
        await here.exchange([(a_worker("w1"), {"work"})])

    await there.exchange([])

    assert [worker.worker_id for worker in there.waiting("work")] == ["w1"]
    assert "cannot read who waits at another engine" in caplog.text


async def test_unchanged_waiting_is_not_written_again(clock: FakeClock) -> None:
    """Who waits is written when it is news, and else only as a sign of life."""
    storage = _CountingStorage(clock)
    here, there = Elsewhere(storage, clock, "e1"), Elsewhere(storage, clock, "e2")
    await there.exchange([])
    storage.written.clear()
    for _ in range(9):
        await here.exchange([(a_worker("w1"), {"work"})])
        await clock.advance(1)

    assert len(storage.written) == 2, "that it is there, and its worker"


async def test_worker_that_waits_for_moments_only_is_not_told(clock: FakeClock) -> None:
    """Who got a task since the last exchange counts as busy, so that load writes nothing."""
    storage = MemoryStorage(clock)
    here, there = Elsewhere(storage, clock, "e1"), Elsewhere(storage, clock, "e2")
    await there.exchange([])
    for _ in range(5):
        await here.exchange([(a_worker("idle"), {"work"}), (a_worker("busy"), {"work"})])
        here.served("busy")

    await there.exchange([])

    assert [worker.worker_id for worker in there.waiting("work")] == ["idle"]


async def test_record_stays_small_however_many_wait(clock: FakeClock) -> None:
    """An engine tells of so many workers and no more, and leaves out one that says very much of itself."""
    storage = MemoryStorage(clock)
    here, there = Elsewhere(storage, clock, "e1"), Elsewhere(storage, clock, "e2")
    await there.exchange([])
    crowd = [(a_worker(f"w{number:04}", artifacts={"x": "y" * 9000 * (not number)}), {"work"}) for number in range(999)]
    for _ in range(2):
        await here.exchange(crowd)

    await there.exchange([])

    heard = [worker.worker_id for worker in there.waiting("work")]
    assert heard == [f"w{number:04}" for number in range(1, MOST_TOLD + 1)]


async def test_engine_that_has_gone_is_forgotten(clock: FakeClock) -> None:
    """What an engine told ends with its sign of life."""
    storage = MemoryStorage(clock)
    here, there = Elsewhere(storage, clock, "e1"), Elsewhere(storage, clock, "e2")
    for _ in range(3):
        await here.exchange([(a_worker("w1"), {"work"})])
        await there.exchange([])
    assert there.has_others

    await clock.advance(31)
    await there.exchange([])

    assert (there.has_others, list(there.waiting("work"))) == (False, [])


async def test_engines_on_one_redis_choose_together(
    redis_server: RedisServer, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over a real server, each engine with connections of its own, the cheaper worker elsewhere gets the task."""
    prefix = redis_server.new_prefix()
    storages = [RedisStorage(redis_server.client(), prefix=prefix, clock=clock) for _ in range(2)]
    for storage in storages:
        await storage.open()
    system = System(clock, storages[0])
    system.add(task_flow())
    await system.start()
    engines = [Dispatcher(storage, clock, LEASE, owner=f"e{number}") for number, storage in enumerate(storages)]
    async with asyncio.timeout(30):
        dear, cheap = (
            asyncio.create_task(engine.next_task(a_worker(name, costs={"work": cost}), 1000))
            for engine, name, cost in zip(engines, ("dear", "cheap"), (9.0, 1.0), strict=True)
        )
        # What the loops of both do, in this order, as the clock stands still.
        while not list(engines[0]._elsewhere.waiting("work")):
            for engine in engines:
                await engine._elsewhere.exchange(engine._waiting())

        heard, claim = asyncio.Event(), AsyncMock(return_value=None)
        storages[0].subscribe(lambda _signal: heard.set(), "task")
        monkeypatch.setattr(storages[0], "claim_task", claim)
        await system.create({"options": {"dispatch_strategy": "cheapest"}})

        assert await cheap is not None
        await heard.wait()
        await system.settle()
        # While the clock stands still, the engine of the dear one does not even try.
        claim.assert_not_awaited()
        for engine in engines:
            engine.close()
        assert await dear is None
    await system.stop()
    for storage in storages:
        await storage.close()
