"""The dispatcher: free workers wait, tasks find them, in order and exactly once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from avtomatika.core.job import Task
from avtomatika.core.states import TaskStatus
from avtomatika.errors import StorageError
from avtomatika.protocol.messages import WorkerProfile
from avtomatika.runtime import dispatcher as dispatcher_module
from avtomatika.runtime.dispatcher import START_LEASE, Dispatcher
from avtomatika.storage.base import Queue, TakenTasks
from avtomatika.storage.memory import MemoryStorage
from avtomatika.testing import FakeClock

from .conftest import MakeSystem, System, a_worker, task_flow, with_waiting_tasks


@pytest.fixture
async def system(system: System) -> System:
    """A running system whose blueprint ``flow`` sends one task."""
    system.add(task_flow())
    return system


async def queue(system: System, n: int = 0, **options: Any) -> str:
    """Creates a job and returns its id when its task waits."""
    job_id = await system.create({"n": n, "options": options})
    await system.settle()
    return job_id


class Polls:
    """Open polls of several workers, as tasks of the loop."""

    def __init__(self, system: System) -> None:
        self._system = system
        self.open: dict[str, asyncio.Task[Task | None]] = {}

    async def park(self, worker: WorkerProfile | str, seconds: float = 30, **options: Any) -> None:
        """Lets a worker ask for a task, and lets its poll be parked."""
        profile = a_worker(worker) if isinstance(worker, str) else worker
        poll = self._system.dispatcher.next_task(profile, seconds, **options)
        self.open[profile.worker_id] = asyncio.create_task(poll)
        await self._system.settle()

    async def winners(self) -> list[str]:
        """Returns the workers whose polls brought a task, and forgets all polls that have ended."""
        await self._system.settle()
        ended = {name: poll.result() for name, poll in self.open.items() if poll.done()}
        for name in ended:
            del self.open[name]
        return [name for name, task in ended.items() if task is not None]


@pytest.fixture
def polls(system: System) -> Polls:
    """Polls of the system's dispatcher."""
    return Polls(system)


# --- order ---


async def test_higher_priority_is_handed_out_first(system: System) -> None:
    """The most urgent task leaves first, whatever its age."""
    for n, priority in enumerate((0.0, 5.0, -1.0, 5.0)):
        await queue(system, n, priority=priority)

    taken = [await system.take() for _ in range(4)]

    assert [task.params.value()["n"] for task in taken] == [1, 3, 0, 2]


async def test_equals_are_handed_out_in_the_order_of_their_age(system: System) -> None:
    """Nobody overtakes within one priority, across queues too."""
    for n in range(6):
        await queue(system, n, **({"max_cost": 5.0} if n % 2 else {}))
        await system.clock.advance(1)

    taken = [await system.take() for _ in range(6)]

    assert [task.params.value()["n"] for task in taken] == list(range(6))


async def test_claimed_task_says_who_holds_it_and_until_when(system: System) -> None:
    """A claim that no heartbeat has confirmed is short."""
    await queue(system)

    task = await system.take("w7")

    assert (task.status, task.worker_id, task.deliveries, task.confirmed) == (TaskStatus.CLAIMED, "w7", 1, False)
    assert task.lease_until == system.clock.now() + START_LEASE


# --- parking ---


async def test_poll_waits_and_gets_the_task_at_once(system: System, polls: Polls) -> None:
    """A parked poll is answered without time passing when a task is queued."""
    await polls.park("w1")
    assert system.dispatcher.parked == 1

    await queue(system)

    assert await polls.winners() == ["w1"]
    assert system.dispatcher.parked == 0


async def test_poll_ends_empty_when_its_time_is_over(system: System, polls: Polls) -> None:
    """A poll lasts exactly as long as it was to."""
    await polls.park("w1", 30)

    await system.clock.advance(29.9)
    assert not polls.open["w1"].done()
    await system.clock.advance(0.1)

    assert polls.open["w1"].done()
    assert await polls.winners() == []
    assert system.dispatcher.parked == 0


async def test_one_task_wakes_one_poll(system: System, polls: Polls) -> None:
    """One task answers one poll; the others keep waiting for theirs."""
    for number in range(5):
        await polls.park(f"w{number}")

    await queue(system)

    assert await polls.winners() == ["w0"]
    assert system.dispatcher.parked == 4


async def test_as_many_polls_wake_as_tasks_come(system: System, polls: Polls) -> None:
    """Each of several tasks that come at once finds its own worker."""
    for number in range(5):
        await polls.park(f"w{number}")
    for _ in range(3):
        await system.create()

    assert len(await polls.winners()) == 3


async def test_poll_that_was_woken_and_has_left_passes_the_task_on(system: System, polls: Polls) -> None:
    """A worker that hangs up in the very moment does not keep the task from the next one."""
    await polls.park("w1")
    await polls.park("w2")
    queued = asyncio.Event()
    system.storage.subscribe(lambda signal: queued.set() if signal.kind == "task" else None)
    await system.create()
    await queued.wait()
    assert [poll.woken.is_set() for poll in system.dispatcher._parked["work"]] == [True, False]

    polls.open["w1"].cancel()
    await asyncio.gather(polls.open.pop("w1"), return_exceptions=True)

    assert await polls.winners() == ["w2"]


async def test_poll_that_hung_up_gets_no_task(system: System, polls: Polls) -> None:
    """A task goes to the worker that still listens, though the other one has waited longer."""
    gone = False
    await polls.park("w1", is_gone=lambda: gone)
    await polls.park("w2")
    gone = True

    await queue(system)

    assert await polls.winners() == ["w2"]


async def test_task_waits_when_the_only_poll_hung_up(system: System, polls: Polls) -> None:
    """Nothing is claimed for a closed connection."""
    gone = False
    await polls.park("w1", is_gone=lambda: gone)
    gone = True
    job_id = await queue(system)
    await system.clock.advance(30)

    (task,) = await system.storage.list_tasks(job_id)

    assert (task.status, task.deliveries) == (TaskStatus.QUEUED, 0)


async def test_released_task_goes_to_the_next_poll(system: System, polls: Polls) -> None:
    """What could not be delivered is handed on at once, and does not count as a delivery."""
    await queue(system)
    task = await system.take("w1")
    await polls.park("w2")

    await system.dispatcher.release(task)

    assert await polls.winners() == ["w2"]
    stored = await system.storage.find_task(task.id)
    assert stored is not None
    assert (stored.worker_id, stored.deliveries, stored.attempt) == ("w2", 1, 1)


async def test_close_answers_all_polls_with_nothing(system: System, polls: Polls) -> None:
    """A stop is not delayed by parked polls, and no new ones are parked."""
    for number in range(3):
        await polls.park(f"w{number}")

    system.dispatcher.close()
    await polls.park("late")

    assert await polls.winners() == []
    assert polls.open == {}


# --- many at a time ---


async def test_poll_for_many_takes_all_if_nobody_else_waits(system: System) -> None:
    """Up to its limit; the first time and whenever the number of waiting tasks has changed."""
    for _ in range(5):
        await queue(system)
    worker = a_worker("w1")

    first = await system.dispatcher.next_tasks(worker, 0, 3)
    rest = await system.dispatcher.next_tasks(worker, 0, 3)
    for _ in range(3):
        await queue(system)
    again = await system.dispatcher.next_tasks(worker, 0, 8)

    assert [len(taken) for taken in (first, rest, again)] == [3, 2, 3]
    assert {task.worker_id for task in (*first, *rest, *again)} == {"w1"}


async def test_poll_for_many_leaves_their_share_to_others(make_system: MakeSystem, clock: FakeClock) -> None:
    """While another poll is about to take its task, nobody takes more than a part of what waits."""
    storage = _GatedStorage(clock)
    system = await with_waiting_tasks(make_system(storage), 5)
    slow = asyncio.create_task(system.dispatcher.next_task(a_worker("w1"), 0))
    await system.settle()

    taken = await system.dispatcher.next_tasks(a_worker("w2"), 0, 8)

    storage.gate.set()
    assert await slow is not None
    assert len(taken) == 2


async def test_poll_for_many_keeps_what_it_has_when_the_storage_fails(
    make_system: MakeSystem, clock: FakeClock
) -> None:
    """The second look may fail; tasks that are claimed go out."""
    storage = _FailingStorage(clock)
    system = await with_waiting_tasks(make_system(storage), 3)

    assert len(await system.dispatcher.next_tasks(a_worker("w1"), 0, 8)) == 1


class _FailingStorage(MemoryStorage):
    """A storage that answers one claim of many, and no other."""

    claims = 0

    async def claim_tasks(
        self, worker_id: str, queues: Sequence[str], lease: float, limit: int, job_limit: int = 0
    ) -> TakenTasks:
        """Claims, or fails."""
        self.claims += 1
        if self.claims > 1:
            raise StorageError("gone")
        return await super().claim_tasks(worker_id, queues, lease, limit, job_limit)


class _GatedStorage(MemoryStorage):
    """A storage whose answer to a claim of ``w1`` is on its way until the gate opens, as with a database."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.gate = asyncio.Event()

    async def claim_task(self, worker_id: str, queues: Sequence[str], lease: float) -> Task | None:
        """Claims, and answers later."""
        task = await super().claim_task(worker_id, queues, lease)
        if worker_id == "w1":
            await self.gate.wait()
        return task


async def test_wake_that_meets_a_busy_poll_is_passed_on(make_system: MakeSystem, clock: FakeClock) -> None:
    """A poll that is just claiming one task and is woken for another leaves that wake to whoever sleeps."""
    storage = _GatedStorage(clock)
    system = make_system(storage)
    system.add(task_flow())
    await system.start()
    polls = Polls(system)
    await queue(system)
    await polls.park("w1")
    await polls.park("w2")
    await queue(system)

    storage.gate.set()

    assert await polls.winners() == ["w1", "w2"]


# --- who may have it ---


async def test_task_goes_only_to_workers_with_its_skill(system: System, polls: Polls) -> None:
    """A worker of another trade is neither woken nor given the task."""
    await polls.park(a_worker("w1", "paint"))
    job_id = await queue(system)
    assert await polls.winners() == []

    await polls.park(a_worker("w2", "work"))

    assert await polls.winners() == ["w2"]
    assert (await system.storage.list_tasks(job_id))[0].worker_id == "w2"


async def test_poll_that_names_skills_gets_only_those(system: System) -> None:
    """What a worker cannot start right now is not handed to it."""
    await queue(system)
    worker = a_worker("w1", "work", "paint")

    assert await system.dispatcher.next_task(worker, 0, skills={"paint"}) is None
    assert await system.dispatcher.next_task(worker, 0, skills={"work"}) is not None


@pytest.mark.parametrize(
    ("options", "too_weak", "strong_enough"),
    [
        ({"max_cost": 1.0}, {"costs": {"work": 1.5}}, {"costs": {"work": 1.0}}),
        (
            {"resource_requirements": {"cpu_cores": 8}},
            {"resources": {"cpu_cores": 4}},
            {"resources": {"cpu_cores": 8}},
        ),
        (
            {"resource_requirements": {"gpu_info": {"model": "A100", "vram_gb": 40}}},
            {"resources": {"devices": [{"type": "gpu", "model": "A100", "properties": {"memory_gb": 20}}]}},
            {"resources": {"devices": [{"type": "gpu", "model": "A100", "properties": {"memory_gb": 80}}]}},
        ),
        (
            {"resource_requirements": {"installed_models": ["llama"]}},
            {"artifacts": {"bert": "1"}},
            {"artifacts": {"llama": "3"}},
        ),
    ],
)
async def test_filters_keep_a_task_from_unfit_workers(
    system: System, polls: Polls, options: Any, too_weak: Any, strong_enough: Any
) -> None:
    """Highest cost and requirements exclude a worker, whether it polls before or after the task is there."""
    await polls.park(a_worker("weak", **too_weak))
    await queue(system, **options)
    await polls.park(a_worker("weak too", **too_weak))
    assert await polls.winners() == []

    await polls.park(a_worker("strong", **strong_enough))

    assert await polls.winners() == ["strong"]


async def test_waiting_task_that_nobody_may_do_holds_up_no_other(system: System) -> None:
    """A task with needs that nobody meets leaves the tasks behind it alone."""
    await queue(system, 1, priority=9.0, resource_requirements={"cpu_cores": 1000})
    await queue(system, 2)

    task = await system.take()

    assert task.params.value()["n"] == 2


# --- strategies ---


def team() -> list[WorkerProfile]:
    """Returns three free workers, in the order in which they begin to wait."""
    return [
        a_worker("dear", costs={"work": 9.0}, current_tasks=("x",)),
        a_worker("hot", costs={"work": 5.0}, hot=frozenset({"work"}), current_tasks=("x", "y")),
        a_worker("cheap", costs={"work": 1.0}, current_tasks=("x", "y", "z")),
    ]


@pytest.mark.parametrize(
    ("strategy", "chosen"),
    [("default", "hot"), ("cheapest", "cheap"), ("best_value", "cheap"), ("least_connections", "dear")],
)
async def test_strategy_chooses_among_waiting_workers(system: System, polls: Polls, strategy: str, chosen: str) -> None:
    """The task's own strategy decides who of those that wait is woken."""
    for worker in team():
        await polls.park(worker)

    await queue(system, dispatch_strategy=strategy)

    assert await polls.winners() == [chosen]


async def test_round_robin_goes_round(system: System, polls: Polls) -> None:
    """Each worker gets its turn, in the same order again and again."""
    order = []
    for worker in team():
        await polls.park(worker)
    for _ in range(6):
        await queue(system, dispatch_strategy="round_robin")
        (name,) = await polls.winners()
        order.append(name)
        await polls.park(next(worker for worker in team() if worker.worker_id == name))

    assert order == ["cheap", "dear", "hot"] * 2


async def test_strategy_looks_at_no_more_polls_than_it_must(
    system: System, polls: Polls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With many idle workers a task costs no more: those that have waited longest are enough to choose from."""
    looked: list[str] = []

    def note(worker: WorkerProfile, *_: Any) -> bool:
        looked.append(worker.worker_id)
        return True

    monkeypatch.setattr(dispatcher_module, "_CANDIDATES", 2)
    for number in range(5):
        await polls.park(f"w{number}")
    monkeypatch.setattr(dispatcher_module, "is_qualified", note)

    await queue(system)

    assert await polls.winners() == ["w0"]
    assert looked == ["w0", "w1", "w0"], "two to choose from, and the chosen one looks for itself"


async def test_dispatcher_of_another_engine_hears_of_the_task(system: System) -> None:
    """A worker may wait at any engine that shares the storage."""
    other = Dispatcher(system.storage, system.clock, 60.0)
    poll = asyncio.create_task(other.next_task(a_worker("w1"), 30))
    await system.settle()

    await queue(system)
    await system.settle()

    assert (await poll) is not None
    other.close()


async def test_worker_gets_only_what_it_can_start_now(system: System) -> None:
    """A poll that names no skills is for those that the worker's last heartbeat called startable."""
    system.add(task_flow())
    await system.start()
    await system.waiting(await system.create({"type": "busy_skill"}))
    worker = a_worker("w1", "busy_skill", "free_skill", available=frozenset({"free_skill"}))

    assert await system.dispatcher.next_task(worker, 0) is None
    assert await system.dispatcher.next_task(replace(worker, available=frozenset()), 0) is not None


# --- what an idle poll asks ---


class Looks(MemoryStorage):
    """Counts the looks for queues; one that a test holds up is as old as its beginning."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.count = 0
        self.held: asyncio.Event | None = None
        self.error: StorageError | None = None

    async def list_queues(self) -> list[Queue]:
        """Counts, waits and fails as the test wants."""
        self.count += 1
        queues = await super().list_queues()
        if self.held is not None:
            await self.held.wait()
        if self.error is not None:
            raise self.error
        return queues


@pytest.fixture
async def looks(make_system: MakeSystem, clock: FakeClock) -> tuple[System, Looks]:
    """A running system and its storage that counts."""
    storage = Looks(clock)
    system = make_system(storage)
    await system.start()
    system.add(task_flow())
    return system, storage


async def test_polls_of_a_moment_share_a_look_for_queues(looks: tuple[System, Looks]) -> None:
    """A thousand idle workers ask the storage no more than once a second what waits."""
    system, storage = looks

    for _ in range(3):
        for number in range(5):
            assert await system.dispatcher.next_task(a_worker(f"w{number}"), 0) is None
        await system.clock.advance(1)

    assert storage.count == 3


async def test_task_queued_after_a_look_is_found_without_another(looks: tuple[System, Looks]) -> None:
    """The signals tell of each task, also of one whose queue was empty at the last look."""
    system, storage = looks
    assert await system.dispatcher.next_task(a_worker("w1"), 0) is None
    await queue(system)

    assert await system.dispatcher.next_task(a_worker("w2"), 0) is not None
    assert storage.count == 1


async def test_task_queued_during_a_look_is_not_forgotten_by_its_answer(looks: tuple[System, Looks]) -> None:
    """The answer may be older than the signal."""
    system, storage = looks
    storage.held = asyncio.Event()
    early = asyncio.create_task(system.dispatcher.next_task(a_worker("w1", "rest"), 0))
    await system.settle()
    await queue(system)
    storage.held.set()
    assert await early is None

    assert await system.dispatcher.next_task(a_worker("w2"), 0) is not None
    assert storage.count == 1


async def test_task_whose_signal_was_lost_is_found_after_a_moment(looks: tuple[System, Looks]) -> None:
    """Another engine's signals may be lost with a connection; looks go on."""
    system, _ = looks
    assert await system.dispatcher.next_task(a_worker("w1"), 0) is None
    deaf = system.dispatcher._on_signal
    system.dispatcher._unsubscribe()
    await queue(system)
    assert await system.dispatcher.next_task(a_worker("w1"), 0) is None

    await system.clock.advance(1)

    assert await system.dispatcher.next_task(a_worker("w1"), 0) is not None
    system.dispatcher._unsubscribe = system.storage.subscribe(deaf, "task", "slot")


async def test_poll_that_is_given_up_leaves_the_look_to_others(looks: tuple[System, Looks]) -> None:
    """Whoever waits for another's look does not wait for ever."""
    system, storage = looks
    storage.held = asyncio.Event()
    polls = [asyncio.create_task(system.dispatcher.next_task(a_worker(f"w{number}"), 0)) for number in range(3)]
    await system.settle()
    assert storage.count == 1

    polls[1].cancel()
    polls[0].cancel()
    await system.settle()
    storage.held.set()

    assert await polls[2] is None
    assert storage.count == 2


async def test_look_that_fails_fails_for_all_that_wait_for_it(looks: tuple[System, Looks]) -> None:
    """Polls must not try one after the other, each for as long as a storage that is away takes to fail."""
    system, storage = looks
    storage.held, storage.error = asyncio.Event(), StorageError("away")
    polls = [asyncio.create_task(system.dispatcher.next_task(a_worker(f"w{number}"), 0)) for number in range(3)]
    await system.settle()

    storage.held.set()

    assert await asyncio.gather(*polls, return_exceptions=True) == [storage.error] * 3
    assert storage.count == 1
    storage.error = None
    assert await system.dispatcher.next_task(a_worker("w1"), 0) is None
