"""An engine of a run: the real parts, put together as ``OrchestratorEngine`` does, on a faulty storage."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from avtomatika.blueprints.retries import RetryPolicy
from avtomatika.core.job import Task
from avtomatika.core.steps import Limits
from avtomatika.errors import JobNotFoundError, JobStateError, StorageError
from avtomatika.protocol.messages import Result
from avtomatika.protocol.polls import Poll
from avtomatika.runtime.approvals import Approvals
from avtomatika.runtime.children import ChildCarrier, ParentCarrier
from avtomatika.runtime.depot import Depot
from avtomatika.runtime.dispatcher import Dispatcher
from avtomatika.runtime.historian import Historian
from avtomatika.runtime.jobs import Jobs
from avtomatika.runtime.outgoing import Outgoing
from avtomatika.runtime.performer import Performer
from avtomatika.runtime.postman import Postman
from avtomatika.runtime.registry import Registry
from avtomatika.runtime.runner import Runner
from avtomatika.runtime.sockets import Sockets
from avtomatika.runtime.watcher import Watcher
from avtomatika.runtime.workers import Workers

from .blueprints import BLUEPRINTS, MAX_TRANSITIONS
from .documents import FaultyFiles
from .history import SimulatedHistory
from .letters import LetterCarrier, Receiver
from .loop import Process
from .storage import FaultyStorage, WatchedStorage
from .world import Call, SkewedClock, World

T = TypeVar("T")

LIMITS = Limits(RetryPolicy(attempts=4, delay=1.0), max_transitions=MAX_TRANSITIONS, task_timeout=40.0)
# A client or worker that has waited so long hangs up and tries again.
_PATIENCE = 10.0


class GoneError(ConnectionError):
    """The engine that was called is dead or does not listen."""


class SimulatedEngine:
    """One process of an engine, from its start to its end.

    Args:
        world: of this run.
        storage: shared by all engines.
        history: likewise.
        receiver: likewise.
        number: which of the engines this is.
        owner: its name, unlike that of any process before.
        crash: called when the storage wants the engine to end.
    """

    def __init__(
        self,
        world: World,
        storage: WatchedStorage,
        history: SimulatedHistory,
        receiver: Receiver,
        number: int,
        owner: str,
        crash: Callable[[], None],
    ) -> None:
        self._world = world
        self._files = storage.files
        self._number = number
        self.process = Process()
        self.clock = SkewedClock(world.loop, world.draw.choice((0.0, 0.0, -2.0, 2.0)))
        self.storage = FaultyStorage(storage, world, number, self.process, crash)
        self.listens = True
        self.process.context.run(self._build, history, receiver, owner)

    def _build(self, history: SimulatedHistory, receiver: Receiver, owner: str) -> None:
        storage: Any = self.storage
        self.registry = Registry()
        for blueprint in BLUEPRINTS:
            self.registry.add(blueprint)
        files: Any = FaultyFiles(self._files, self._world, self._number, self.storage)
        depot = Depot(storage, files, self._world.threshold, self.clock, cache=0)
        performer = Performer(storage, self.registry, LIMITS, depot=depot)
        self.jobs = Jobs(storage, performer, self.clock, depot=depot)
        self.historian = Historian(storage, history, self.clock, depot=depot)
        outgoing = Outgoing(storage, depot, performer)
        self.dispatcher = Dispatcher(storage, self.clock, 30.0, owner=owner, recent=performer.recent, outgoing=outgoing)
        sockets = Sockets(storage, self.clock)
        self.workers = Workers(storage, performer, self.historian, sockets, self.clock, ttl=60.0, lease=30.0)
        self.runner = Runner(storage, performer, self.registry, self.clock, owner=owner, max_jobs=5, depot=depot)
        self.watcher = Watcher(storage, performer, self.clock, 20.0, wake=self.runner.wake)
        self.approvals = Approvals(storage, performer)
        carriers = [ChildCarrier(storage, performer, self.registry), ParentCarrier(performer)]
        self.postman = Postman(storage, self.clock, [LetterCarrier(receiver), *carriers])
        self.historian.start()
        self.runner.start()
        self.watcher.start()
        self.postman.start()
        self.workers.start()

    def crash(self) -> None:
        """Ends everything where it stands, as ``kill -9`` does."""
        self.listens = False
        self.storage.cut()
        self.process.kill()

    async def stop(self) -> None:
        """Drains and stops, in the order of ``OrchestratorEngine``."""
        self.listens = False
        await asyncio.wait({self.process.spawn(self._drain())})
        self.storage.cut()
        self.process.kill()

    async def _drain(self) -> None:
        self.dispatcher.close()
        self.jobs.close()
        await self.watcher.stop()
        await asyncio.gather(self.runner.stop(5.0), self.postman.stop(5.0))
        await self.workers.stop()
        await self.historian.stop()

    async def results(
        self, results: Sequence[Result], worker_id: str, wish: int
    ) -> tuple[list[dict[str, Any] | None], Sequence[Task]]:
        """Takes many results as the server does, and claims tasks to go with the answer.

        Args:
            results: the results.
            worker_id: who sends them.
            wish: how many tasks it asks for.

        Returns:
            An answer for each, None for one that is to be sent again; and the tasks.
        """
        answers = await asyncio.gather(
            *(self.workers.result(result, worker_id) for result in results), return_exceptions=True
        )
        for answer in answers:
            if isinstance(answer, BaseException) and not isinstance(answer, Exception):
                raise answer
        told = [None if isinstance(answer, BaseException) else answer for answer in answers]
        tasks: Sequence[Task] = ()
        if wish and {"status": "accepted"} in told:
            with contextlib.suppress(StorageError):
                profile = await self.workers.poller(worker_id, Poll(), 0.0)
                if profile is not None:
                    tasks = await self.dispatcher.next_tasks(profile, 0.01, wish)
        return told, tasks

    async def call(self, kind: str, make: Callable[[], Coroutine[Any, Any, T]], patience: float = _PATIENCE) -> T:
        """Does what a request over the network would do.

        Args:
            kind: what for, for the books.
            make: makes what the engine is to do.
            patience: seconds until the caller hangs up; the engine does not notice.

        Raises:
            GoneError: the engine is dead, or dies before it answers.
            TimeoutError: it did not answer in time.
            StorageError: it answered that its storage does not.
        """
        start, error = self._world.loop.time(), ""
        try:
            return await self._call(make, patience)
        except (JobStateError, JobNotFoundError):
            raise
        except Exception as failure:
            error = f"{type(failure).__name__}: {failure}"
            raise
        finally:
            self._world.calls.append(Call(kind, start, self._world.loop.time(), error))

    async def _call(self, make: Callable[[], Coroutine[Any, Any, T]], patience: float) -> T:
        await self._world.pause(0.02)
        if not self.listens:
            raise GoneError("no engine listens at this address")
        work = self.process.spawn(make())
        await asyncio.wait({work}, timeout=patience)
        if not work.done():
            raise TimeoutError(f"no answer within {patience} s")
        if work.cancelled():
            raise GoneError("the engine ended before it answered")
        return work.result()


class Slot:
    """A place for one engine: it is started, dies, and is started again.

    Args:
        world: of this run.
        storage: shared by all engines.
        history: likewise.
        receiver: likewise.
        number: which of the engines this is.
        process: to which restarts belong: never an engine's own.
    """

    def __init__(
        self,
        world: World,
        storage: WatchedStorage,
        history: SimulatedHistory,
        receiver: Receiver,
        number: int,
        process: Process,
    ) -> None:
        self._world = world
        self._parts = (world, storage, history, receiver, number)
        self._number = number
        self._process = process
        self._starts = 0
        self.engine: SimulatedEngine | None = None

    def start(self) -> None:
        """Starts a new process."""
        self._starts += 1
        owner = f"e{self._number}.{self._starts}"
        self._world.note("engine %s starts", owner)
        self.engine = SimulatedEngine(*self._parts, owner, self.crash)

    def crash(self) -> None:
        """Kills the process; another one starts seconds later."""
        if self.engine is not None:
            self._world.note("engine %s.%s dies", self._number, self._starts)
            self.engine.crash()
            self.engine = None
            self._process.spawn(self._start_later())

    async def restart(self) -> None:
        """Drains and stops the process; another one starts seconds later."""
        engine, self.engine = self.engine, None
        if engine is not None:
            await engine.stop()
            await self._start_later()

    async def _start_later(self) -> None:
        await self._world.pause(12.0)
        self.start()
