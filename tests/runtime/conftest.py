"""The background parts of an engine on one storage in memory, with a clock that a test moves by hand."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import pytest

from avtomatika.blueprints import ActionFactory, StateMachineBlueprint
from avtomatika.core.job import Job, Task
from avtomatika.core.states import JobStatus
from avtomatika.core.steps import Limits
from avtomatika.errors import StorageError
from avtomatika.history.sqlite import SQLiteHistory
from avtomatika.payloads.base import PayloadStore
from avtomatika.protocol.messages import Heartbeat, Result, Skill, WorkerProfile
from avtomatika.runtime.approvals import Approvals
from avtomatika.runtime.children import ChildCarrier, ParentCarrier
from avtomatika.runtime.depot import CACHE_BYTES, Depot
from avtomatika.runtime.dispatcher import Dispatcher
from avtomatika.runtime.historian import Historian
from avtomatika.runtime.jobs import Jobs
from avtomatika.runtime.outgoing import Outgoing
from avtomatika.runtime.pasts import Pasts
from avtomatika.runtime.performer import Performer
from avtomatika.runtime.postman import Postman
from avtomatika.runtime.registry import Registry
from avtomatika.runtime.runner import Runner
from avtomatika.runtime.sockets import Sockets
from avtomatika.runtime.watcher import Watcher
from avtomatika.runtime.workers import Workers
from avtomatika.storage.base import Listener, Queue, Signal, Storage
from avtomatika.storage.listeners import Listeners
from avtomatika.storage.memory import MemoryStorage
from avtomatika.testing import FakeClock

# Longer than any test: whoever waits so long waits for an event, not for time.
FOREVER = 1e9
LEASE = 60.0


class System:
    """The parts, put together as ``OrchestratorEngine`` does.

    Args:
        clock: moves all of them.
        storage: where the jobs are; an empty one if None.
        max_jobs: handlers that may run at the same time.
        limits: retries and the loop limit.
        payloads: a store of files for large documents; None for none.
        threshold: above so many bytes documents go there.
        cache: how many bytes of what was used last are kept in memory.
    """

    def __init__(
        self,
        clock: FakeClock,
        storage: Storage | None = None,
        *,
        max_jobs: int = 10,
        limits: Limits | None = None,
        owner: str = "e1",
        payloads: PayloadStore | None = None,
        threshold: int = 0,
        cache: int = CACHE_BYTES,
    ) -> None:
        self.clock = clock
        self.storage = storage or MemoryStorage(clock)
        self.registry = Registry()
        self.depot = depot = Depot(self.storage, payloads, threshold, clock, cache)
        self.performer = Performer(self.storage, self.registry, limits or Limits(), depot=depot)
        self.jobs = Jobs(self.storage, self.performer, clock, depot=depot)
        self.approvals = Approvals(self.storage, self.performer)
        self.history = SQLiteHistory("")
        self.historian = Historian(self.storage, self.history, clock, depot=depot)
        self.pasts = Pasts(self.storage, self.performer, self.registry, self.historian, self.history, depot)
        self.sockets = Sockets(self.storage, clock)
        self.workers = Workers(
            self.storage, self.performer, self.historian, self.sockets, clock, ttl=120.0, lease=LEASE
        )
        outgoing = Outgoing(self.storage, depot, self.performer)
        self.dispatcher = Dispatcher(self.storage, clock, LEASE, recent=self.performer.recent, outgoing=outgoing)
        self.runner = Runner(
            self.storage, self.performer, self.registry, clock, owner=owner, max_jobs=max_jobs, depot=depot
        )
        self.postman = Postman(
            self.storage,
            clock,
            [ChildCarrier(self.storage, self.performer, self.registry), ParentCarrier(self.performer)],
        )
        self.watcher = Watcher(self.storage, self.performer, clock, 20.0, wake=self.runner.wake)
        self._runs = False

    async def start(self) -> None:
        """Starts the runner and the watcher."""
        await self.history.open()
        self.runner.start()
        self.watcher.start()
        self.postman.start()
        self.workers.start()
        self._runs = True

    async def stop(self, grace: float = 5.0) -> None:
        """Stops what was started."""
        if self._runs:
            self._runs = False
            await self.postman.stop(grace)
            await self.watcher.stop()
            await self.runner.stop(grace)
            await self.workers.stop()
            await self.history.close()

    def add(self, blueprint: StateMachineBlueprint) -> None:
        """Registers a blueprint."""
        self.registry.add(blueprint.compile())

    async def create(self, data: Mapping[str, Any] | None = None, name: str = "flow", **options: Any) -> str:
        """Creates a job and returns its id."""
        job_id, _ = await self.jobs.create(self.registry.get(name), data or {}, **options)
        return job_id

    async def until(self, job_id: str, reached: Callable[[Job], bool]) -> Job:
        """Returns the job when it is as wanted; waits for its changes, not for time."""
        job = await self.jobs.get(job_id)
        while not reached(job):
            job = await self.jobs.wait(job_id, job.version, FOREVER)
        return job

    async def ended(self, job_id: str) -> Job:
        """Returns the job when it has ended."""
        return await self.until(job_id, lambda job: job.is_terminal)

    async def waiting(self, job_id: str, status: JobStatus = JobStatus.WAITING_FOR_WORKER) -> Job:
        """Returns the job when it has that status."""
        return await self.until(job_id, lambda job: job.status is status)

    async def settle(self) -> None:
        """Lets everything run that needs no time."""
        await self.clock.advance(0)

    async def register(self, worker_id: str = "w1", *skills: str, **facts: Any) -> WorkerProfile:
        """Makes a worker known and returns its profile."""
        profile = a_worker(worker_id, *skills, **facts)
        await self.workers.register(profile)
        return profile

    async def take(self, worker_id: str = "w1", *skills: str) -> Task:
        """Lets a worker claim a task that waits."""
        task = await self.dispatcher.next_task(a_worker(worker_id, *skills), 0)
        assert task is not None
        return task

    async def answer(self, task: Task, status: str = "success", data: Any = None, **facts: Any) -> dict[str, Any]:
        """Sends the result of a task as its worker and returns the engine's answer."""
        result = Result(task.job_id, task.wire_id, task.worker_id, status, data, **facts)
        return await self.workers.result(result, task.worker_id)

    async def beat(self, worker_id: str, *wire_ids: str, status: str = "idle") -> dict[str, Any]:
        """Sends a heartbeat that names tasks and returns the answer."""
        return await self.workers.heartbeat(Heartbeat(worker_id, status, tuple(wire_ids), dialect="G4"))

    async def rows(self, job_id: str) -> list[str]:
        """Returns the types of the job's rows in the history."""
        await self.historian.flush()
        return [row["event_type"] for row in await self.history.job_events(job_id)]


class Line:
    """A storage as one engine has it, whose connection for signals can break.

    Args:
        storage: what the engines share.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._listeners = Listeners()
        self._is_broken = False
        self.errors: list[StorageError] = []
        storage.subscribe(self._hear)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    def subscribe(self, listener: Listener, *kinds: str) -> Callable[[], None]:
        """Lets a listener hear what comes over the line."""
        return self._listeners.add(listener, kinds)

    def _hear(self, signal: Signal) -> None:
        if not self._is_broken:
            self._listeners.tell([signal])

    def cut(self) -> None:
        """Loses all signals from now on."""
        self._is_broken = True

    def mend(self) -> None:
        """Hears again, and says that it has missed some."""
        self._is_broken = False
        self._listeners.tell([Signal("missed")])

    async def list_queues(self) -> list[Queue]:
        """Fails as often as the test wants."""
        if self.errors:
            raise self.errors.pop()
        return await self._storage.list_queues()


async def with_waiting_tasks(system: System, number: int) -> System:
    """Starts a system, and returns it when so many tasks ``work`` wait, each of a job of its own."""
    system.add(task_flow())
    await system.start()
    for _ in range(number):
        await system.waiting(await system.create())
    return system


def a_worker(worker_id: str, *skills: str, **facts: Any) -> WorkerProfile:
    """Returns the profile of a worker; it can ``work`` unless other skills are given."""
    return WorkerProfile(worker_id, skills=tuple(Skill(name) for name in skills or ("work",)), **facts)


def task_flow(name: str = "flow", **options: Any) -> StateMachineBlueprint:
    """Returns a blueprint that sends one task ``work`` and ends with the job's data."""
    flow = StateMachineBlueprint(name)

    @flow.handler_for("send", is_start=True)
    async def send(initial_data: dict[str, Any], actions: ActionFactory) -> None:
        chosen = {"transitions": {"success": "done"}, **options, **initial_data.get("options", {})}
        actions.dispatch_task(initial_data.get("type", "work"), {"n": initial_data.get("n", 0)}, **chosen)

    @flow.handler_for("done", is_end=True)
    async def done() -> None: ...

    @flow.handler_for("broken", is_end=True, outcome="failed")
    async def broken() -> None: ...

    return flow


def chain(
    length: int, name: str = "flow", on_state: Callable[[str], Awaitable[None]] | None = None
) -> StateMachineBlueprint:
    """Returns a blueprint of ``length`` transitions whose handlers write their states into the job's data.

    Args:
        length: number of transitions.
        name: of the blueprint.
        on_state: what each handler awaits first.
    """
    flow = StateMachineBlueprint(name)

    def add(number: int) -> None:
        @flow.handler_for(f"s{number}", is_start=number == 0, transitions=[f"s{number + 1}"])
        async def step(state_history: dict[str, Any], current_state: str, actions: ActionFactory) -> None:
            if on_state is not None:
                await on_state(current_state)
            state_history["path"] = [*state_history.get("path", []), current_state]
            actions.transition_to(f"s{number + 1}")

    for number in range(length):
        add(number)

    @flow.handler_for(f"s{length}", is_end=True)
    async def end() -> None: ...

    return flow


MakeSystem = Callable[..., System]


@pytest.fixture
async def make_system(clock: FakeClock) -> AsyncIterator[MakeSystem]:
    """Returns the function that makes systems; they are stopped, and their storages checked, when the test ends."""
    async with contextlib.AsyncExitStack() as stack:

        def make(*args: Any, **options: Any) -> System:
            system = System(clock, *args, **options)
            stack.push_async_callback(check, system)
            stack.push_async_callback(system.stop, 0)
            return system

        async def check(system: System) -> None:
            assert await system.storage.audit() == []

        yield make


@pytest.fixture
async def idle(make_system: MakeSystem) -> System:
    """A system whose runner and watcher are not started."""
    system = make_system()
    await system.history.open()
    system._runs = False
    return system


@pytest.fixture
async def system(make_system: MakeSystem) -> System:
    """A system that runs."""
    system = make_system()
    await system.start()
    return system
