"""The tester: a whole engine in memory, for tests of blueprints, without a server and without waiting."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

from aiohttp import web

from avtomatika.blueprints import Graph, StateMachineBlueprint
from avtomatika.config import Config
from avtomatika.core.job import Client, Job
from avtomatika.core.steps import FILES_TOPIC
from avtomatika.core.waits import ChildWait
from avtomatika.engine import OrchestratorEngine
from avtomatika.payloads.task_files import TaskFiles
from avtomatika.runtime.explain import explain
from avtomatika.server.keys import (
    APPROVALS_KEY,
    DISPATCHER_KEY,
    HISTORIAN_KEY,
    HISTORY_KEY,
    JOBS_KEY,
    PAYLOADS_KEY,
    POSTMAN_KEY,
    REGISTRY_KEY,
    REPUTATIONS_KEY,
    RUNNER_KEY,
    WORKERS_KEY,
)
from avtomatika.storage.base import Signal
from avtomatika.storage.memory import MemoryStorage
from avtomatika.testing.errors import TestingError
from avtomatika.testing.fake_clock import FakeClock
from avtomatika.testing.fake_worker import Behaviour, FakeWorker, profile_of
from avtomatika.testing.remedies import remedies
from avtomatika.testing.tested_job import TestedJob

# Seconds of the machine's time that one handler may take before the test is told of it.
_PATIENCE = 30.0
_GLANCE = 0.02
# Moments are floats: what is due so soon is due now.
_ROUNDING = 1e-6
_PAGE = 1000


class BlueprintTester:
    """Runs blueprints in memory with the real parts of an engine; use it with ``async with``.

    Whatever needs no time happens before a call returns: a handler, a fake worker's answer, a child job. What needs
    time waits until ``advance`` moves the clock.

    Args:
        blueprints: those to test; ``submit`` starts jobs of the first one.
        start: the first moment on the clock, Unix seconds.
        settings: of the engine, such as ``JOB_MAX_RETRIES=0``; the environment is not read.

    Attributes:
        clock: moves all of it.
        engine: the engine under test.
        storage: where its jobs are.

    Raises:
        ValidationError: a blueprint has faults.
        ConfigError: a setting is wrong.
        TestingError: no blueprint was given.
    """

    __test__ = False

    def __init__(self, *blueprints: StateMachineBlueprint, start: float = 1_700_000_000.0, **settings: Any) -> None:
        if not blueprints:
            raise TestingError("a BlueprintTester needs the blueprint to test: BlueprintTester(bp).")
        self.clock = FakeClock(start)
        self.storage = MemoryStorage(self.clock)
        self.engine = OrchestratorEngine(self.storage, Config.plain(**settings), clock=self.clock)
        for blueprint in blueprints:
            self.engine.register_blueprint(blueprint)
        self._first = blueprints[0].name
        self._app_runner: web.AppRunner | None = None
        self._workers: dict[str, FakeWorker] = {}
        self._jobs: dict[str, TestedJob] = {}
        self._heard = 0
        self._news = asyncio.Event()
        self._topics: set[str] = set()
        self._unsubscribe: Callable[[], None] = lambda: None
        self._position = 0

    async def __aenter__(self) -> BlueprintTester:
        """Starts the engine, without a server."""
        self._unsubscribe = self.storage.subscribe(self._on_signal)
        self._position = (await self.storage.read_changes(None, 1)).end
        self._app_runner = web.AppRunner(self.engine.app, access_log=None)
        await self._app_runner.setup()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends everything, whatever still runs."""
        await asyncio.gather(*(worker.stop() for worker in self._workers.values()))
        if self._app_runner is not None:
            await self._app_runner.cleanup()
        self._unsubscribe()

    @property
    def now(self) -> float:
        """The moment on the clock, Unix seconds."""
        return self.clock.now()

    # --- jobs ---

    async def submit(
        self,
        initial_data: Mapping[str, Any] | None = None,
        *,
        blueprint: str | None = None,
        client: Client | str = "default",
        dispatch_timeout: float | None = None,
        result_timeout: float | None = None,
    ) -> TestedJob:
        """Creates a job, as a client does, and lets it run as far as it gets without time passing.

        Args:
            initial_data: what it starts with.
            blueprint: name of its blueprint; the first one of the tester if None.
            client: who creates it: a name, or ``Client(name, plan, params)``.
            dispatch_timeout: seconds that its tasks may wait for workers, where they do not say.
            result_timeout: seconds until it must have ended.

        Raises:
            BlueprintError: there is no such blueprint.
            DocumentError: the data cannot be stored.
        """
        self._check_running()
        job_id, _ = await self.engine.app[JOBS_KEY].create(
            self.engine.app[REGISTRY_KEY].get(blueprint or self._first),
            initial_data or {},
            client=Client(client) if isinstance(client, str) else client,
            source="test",
            dispatch_timeout=dispatch_timeout,
            result_timeout=result_timeout,
        )
        await self.settle()
        return self._jobs[job_id]

    @property
    def jobs(self) -> list[TestedJob]:
        """All jobs, child jobs included, by creation."""
        return list(self._jobs.values())

    # --- workers ---

    def worker(
        self,
        task_type: str,
        function: Callable[..., Any] | None = None,
        *,
        worker_id: str = "",
        slots: int | None = None,
        profile: Mapping[str, Any] | None = None,
        **behaviour: Any,
    ) -> FakeWorker:
        """Adds a fake worker; it takes what waits already when the test next lets things happen.

        Args:
            task_type: the tasks that it does.
            function: does them: its arguments are params by name, ``params`` (all of them) and ``context``, as for a
                real worker; what it returns or raises is the answer.
            worker_id: its id; one is made up if empty.
            slots: how many tasks it does at once; None for any number.
            profile: what else it tells the engine: ``cost``, ``hot``, ``resources``, ``software``, ``artifacts`` ...
            behaviour: instead of a function. ``returns``: the data of its answers; ``status``: their status word;
                ``fails``: a code such as ``"PERMANENT_ERROR"``, or an exception, with a ``message``, for the first
                ``times`` tasks or for all. With or without a function: ``delay``: seconds that a task takes;
                ``progress``: numbers, or (number, message), that it reports on the way; ``vanishes=True``: it takes
                tasks and is never heard of again.

        Raises:
            TestingError: an argument makes no sense, or the id is in use.
        """
        self._check_running()
        number = sum(one.profile.skill_names == (task_type,) for one in self._workers.values()) + 1
        worker_id = worker_id or f"{task_type}-worker-{number}"
        if worker_id in self._workers:
            raise TestingError(f"there is a worker '{worker_id}' already; give this one another worker_id.")
        self._workers[worker_id] = worker = FakeWorker(
            profile_of(worker_id, task_type, profile or {}, self.now),
            Behaviour.of(task_type, function, behaviour),
            slots,
            self.clock,
            self.engine.app[DISPATCHER_KEY],
            self.engine.app[WORKERS_KEY],
        )
        worker.start()
        return worker

    # --- time ---

    async def advance(
        self,
        seconds: float | datetime.timedelta = 0.0,
        *,
        minutes: float = 0.0,
        hours: float = 0.0,
        days: float = 0.0,
    ) -> None:
        """Lets time pass: everything that is due happens at its moment, and what follows from it.

        The clock goes from one due moment to the next, so that a year takes no longer than what happens in it.

        Args:
            seconds: how far, as a number of seconds or a timedelta.
            minutes: added to it.
            hours: added to it.
            days: added to it.

        Raises:
            ValueError: time would go back.
        """
        length = seconds.total_seconds() if isinstance(seconds, datetime.timedelta) else seconds
        length += minutes * 60 + hours * 3600 + days * 86400
        target = self.now + length
        await self.settle()
        while True:
            due = await self._next_due()
            if due is None or due >= target:
                break
            # What is due already and still there waits for a pause of one of the engine's loops.
            await self.clock.leap(due - self.now if due > self.now + _ROUNDING else 1.0)
            await self.settle()
        await self.clock.leap(target - self.now if length >= 0 else length)
        await self.settle()

    async def settle(self) -> None:
        """Lets everything happen that needs no time.

        Raises:
            TestingError: a handler or a function of a worker does not come to its end.
        """
        self._check_running()
        runner = self.engine.app[RUNNER_KEY]
        patience = asyncio.get_running_loop().time() + _PATIENCE
        while True:
            self._news.clear()
            heard = self._heard
            await self.clock.advance(0)
            is_busy = (
                runner.active > 0
                or any(worker.is_busy for worker in self._workers.values())
                # Other messages go to strangers, who may never answer.
                or self.engine.app[POSTMAN_KEY].is_carrying(FILES_TOPIC)
            )
            if not is_busy and heard == self._heard:
                break
            if heard != self._heard:
                continue
            if asyncio.get_running_loop().time() > patience:
                raise TestingError(
                    f"a handler or a worker's function has been running for {_PATIENCE:g} s. Time stands still in a "
                    "test: let a job wait with actions.sleep(...), and a fake worker with delay=."
                )
            # A handler that runs in a thread, or waits for the network, needs the machine's time.
            try:
                await asyncio.wait_for(self._news.wait(), _GLANCE)
            except TimeoutError:
                continue
        await self._look()

    async def _next_due(self) -> float | None:
        """Returns the next moment at which something happens by itself."""
        moments = [await self.storage.next_wake_at(), await self.storage.next_message_at(sorted(self._topics))]
        moments += [worker.next_at for worker in self._workers.values()]
        return min((moment for moment in moments if moment is not None), default=None)

    def _on_signal(self, signal: Signal) -> None:
        self._heard += 1
        self._news.set()
        if signal.kind == "message":
            self._topics.add(signal.key)

    async def _look(self) -> None:
        """Takes note of what the commits since the last look have made of the jobs."""
        while True:
            changes = await self.storage.read_changes(self._position, _PAGE)
            for change in changes.entries:
                job = await self.storage.find_job(change.job_id)
                if job is not None:
                    self._jobs.setdefault(job.id, TestedJob(job, self)).passed(change.status, change.state)
                self._position = change.position
            if len(changes.entries) < _PAGE:
                break
        for job_id, tested in self._jobs.items():
            job = await self.storage.find_job(job_id)
            if job is not None:
                job = await self.engine.app[JOBS_KEY].depot.fetch_job(job)
                tested.take(job, await self.storage.find_progress(job_id))

    def _check_running(self) -> None:
        if self._app_runner is None:
            raise TestingError("the tester does not run; use it with 'async with BlueprintTester(bp) as t:'.")

    # --- what tested jobs ask for ---

    async def decide(self, job_id: str, decision: str, by: str, comment: str) -> None:
        """Decides for a job that waits for a person.

        Args:
            job_id: of the job.
            decision: one of those that it offers.
            by: who decided.
            comment: what else they said.
        """
        await self.engine.app[APPROVALS_KEY].decide(job_id, decision, by=by, via="test", comment=comment)
        await self.settle()

    async def cancel(self, job_id: str) -> None:
        """Ends a job."""
        await self.engine.app[JOBS_KEY].cancel(job_id, by="test")
        await self.settle()

    async def requeue(self, job_id: str) -> None:
        """Lets a failed job go on."""
        await self.engine.app[JOBS_KEY].requeue(job_id, by="test")
        await self.settle()

    async def rows(self, job_id: str) -> list[dict[str, Any]]:
        """Returns a job's history."""
        await self.engine.app[HISTORIAN_KEY].flush()
        return await self.engine.app[HISTORY_KEY].job_events(job_id)

    def children_of(self, job_id: str) -> list[TestedJob]:
        """Returns the jobs that a job started."""
        return [one for one in self._jobs.values() if one.parent_id == job_id]

    def files_of(self, job_id: str) -> TaskFiles:
        """Returns the files of a job."""
        return TaskFiles(self.engine.app[PAYLOADS_KEY], job_id)

    def graph_of(self, job: Job) -> Graph:
        """Returns the graph that a job runs through."""
        return self.engine.app[REGISTRY_KEY].graph_of(job.blueprint, job.blueprint_version)

    async def reasons(self, job_id: str) -> list[str]:
        """Says what a job waits for, and what would make it go on."""
        job = await self.engine.app[JOBS_KEY].get(job_id)
        wake_up = await self.storage.find_wake_up(job_id)
        profiles = [worker.profile for worker in self._workers.values()]
        child = await self.storage.find_job(job.wait.child_id) if isinstance(job.wait, ChildWait) else None
        is_barred = self.engine.app[REPUTATIONS_KEY].is_barred
        reasons = explain(job, wake_up, profiles, self.now, child, is_barred)
        if not job.is_terminal:
            due = await self._next_due()
            reasons += remedies(
                job, wake_up, profiles, self.children_of(job_id), None if due is None else due - self.now
            )
        return reasons
