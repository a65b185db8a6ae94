"""The storage of a run: one in memory that is watched, and a faulty way to it for each engine."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from msgspec.structs import replace

from avtomatika.core.job import Job, Task
from avtomatika.core.states import TaskStatus
from avtomatika.errors import StorageError
from avtomatika.storage.base import Batch, Committed, JobClaim, Listener, Outcome, Signal
from avtomatika.storage.memory import MemoryStorage

from .files import Files
from .letters import TOPIC, with_letters
from .loop import Process
from .world import Run, World

# How many commits are made between two audits.
_AUDIT_EVERY = 20


class WatchedStorage(MemoryStorage):
    """A storage in memory beside which somebody keeps books, and compares them at each commit.

    Args:
        world: of this run.
        files: where large documents are.
    """

    def __init__(self, world: World, files: Files) -> None:
        super().__init__(world.clock)
        self.files = files
        self._world = world
        self._known: dict[str, Job] = {}
        self._claimed: dict[str, str] = {}
        self._last_claim: dict[str, tuple[int, str]] = {}
        self._closed: set[str] = set()
        self._failures: dict[str, str] = {}
        self._commits = 0
        # A dict, since a set's order changes from run to run.
        self.sent: dict[str, None] = {}
        # How often a job's wake-up was claimed, and the most that was ever seen.
        self._deliveries: Counter[str] = Counter()
        self.most_deliveries: Counter[str] = Counter()

    async def commit(self, batch: Batch) -> Outcome:
        """Applies the batch and checks what came of it."""
        outcome = await super().commit(batch)
        self._world.note("commit %s v%s: %s", batch.job.id[:4], batch.job.version, type(outcome).__name__)
        if isinstance(outcome, Committed):
            await self._check(batch)
        return outcome

    async def claim_jobs(self, owner: str, limit: int, lease: float) -> list[JobClaim]:
        """Takes wake-ups and remembers who has them."""
        claims = await super().claim_jobs(owner, limit, lease)
        for claim in claims:
            job_id = claim.job.id
            self._world.note("%s claims job %s", owner, job_id[:4])
            self._claimed[job_id] = claim.token
            self._deliveries[job_id] += 1
            self.most_deliveries[job_id] = max(self.most_deliveries[job_id], self._deliveries[job_id])
        return claims

    async def claim_task(self, worker_id: str, queues: Sequence[str], lease: float) -> Task | None:
        """Takes a task and remembers who has it."""
        task = await super().claim_task(worker_id, queues, lease)
        if task is not None:
            self._world.note("%s claims task %s", worker_id, task.wire_id[:4] + task.wire_id[36:])
            self._last_claim[task.id] = (task.attempt, worker_id)
        return task

    # --- the books ---

    @property
    def job_ids(self) -> list[str]:
        """The ids of all jobs, in the order of their creation."""
        return list(self._known)

    @property
    def statuses(self) -> list[str]:
        """The statuses of all jobs."""
        return [str(job.status) for job in self._known.values()]

    async def _check(self, batch: Batch) -> None:
        job = batch.job
        before = self._known.get(job.id)
        if before is not None and before.is_terminal:
            self._violated(job, f"ended as {before.status}, and was changed afterwards")
        if job.version != (1 if before is None else before.version + 1):
            self._violated(job, f"went from version {before.version if before else 0} to {job.version}")
        if batch.claim and self._claimed.get(job.id) != batch.claim:
            self._violated(job, f"took a step under {batch.claim}, but {self._claimed.get(job.id)} holds it")
        documents = [job.initial_data, job.state_history, job.result]
        documents += [
            document for task in (*batch.save_tasks, *batch.queue_tasks) for document in (task.params, task.data)
        ]
        documents += [event.state_history for event in batch.events if event.state_history is not None]
        if not all(self.files.has(job.id, document) for document in documents):
            self._violated(job, "refers to a document that nobody has put away")
            return
        if not self._is_same(await self.find_job(job.id), job):
            self._violated(job, "is not stored as it was committed")
        self._known[job.id] = job
        self.sent.update(dict.fromkeys(message.id for message in batch.messages if message.topic == TOPIC))
        if batch.ready is not None:
            self._deliveries[job.id] = int(batch.keep_claim or batch.hold is not None)
        if batch.hold is not None:
            self._claimed[job.id] = batch.hold.token
        for task in (*batch.save_tasks, *batch.queue_tasks):
            self._check_task(task)
        self._commits += 1
        if self._commits % _AUDIT_EVERY == 0:
            await self.check_invariants()

    def _is_same(self, stored: Job | None, job: Job) -> bool:
        """Whether a job is stored as it was committed; a document may be there or away, it is the same."""
        if stored is None:
            return False
        names = ("initial_data", "state_history", "result")
        here, there = ([self.files.value(job.id, getattr(one, name)) for name in names] for one in (stored, job))
        return here == there and stored == replace(job, **{name: getattr(stored, name) for name in names})

    def _check_task(self, task: Task) -> None:
        """A task ends once, and only the worker that has it may say how."""
        if task.id in self._closed:
            self._world.violated(f"task {task.id} ended, and is {task.status} now")
        if not task.status.is_open:
            self._closed.add(task.id)
        run = self._run_of(task)
        if run is None:
            return
        if run.task_id != task.id:
            self._world.violated(f"task {task.id} took the result of {run}")
        elif self._last_claim.get(task.id) not in {
            (run.attempt, run.worker_id),
            # The worker was given up, and takes the next attempt itself in the moment in which its answer is written.
            (run.attempt + 1, run.worker_id),
        }:
            self._world.violated(f"task {task.id} took the result of {run}; {self._last_claim.get(task.id)} has it")

    def _run_of(self, task: Task) -> Run | None:
        """Returns the run whose result the task shows, if it shows one."""
        if task.status is TaskStatus.SUCCEEDED:
            data = self.files.value(task.job_id, task.data)
            return self._world.runs[data["nonce"]] if data else Run("nobody's", 0, "")
        message = "" if task.failure is None else task.failure.message
        # The failure of an attempt stays with the task while the next one goes on: only a new one is a result.
        is_new = message != self._failures.get(task.id, "")
        self._failures[task.id] = message
        return self._world.runs[message] if is_new and message.startswith("run-") else None

    def _violated(self, job: Job, what: str) -> None:
        self._world.violated(f"job {job.id} {what}")

    async def check_invariants(self) -> None:
        """Asks the storage's own auditor."""
        for fault in await self.audit():
            self._world.violated(f"audit: {fault}")


class FaultyStorage:
    """One engine's way to the storage: calls fail, are slow, are executed and not answered.

    Args:
        inner: the storage.
        world: of this run.
        number: which engine this is.
        process: the engine's tasks.
        crash: ends the engine.
    """

    def __init__(
        self, inner: WatchedStorage, world: World, number: int, process: Process, crash: Callable[[], None]
    ) -> None:
        self._inner = inner
        self._world = world
        self._number = number
        self._process = process
        self._crash = crash
        self._subscriptions: list[Callable[[], None]] = []
        self._is_cut = False
        self.frozen_until = 0.0

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """Returns the storage's method of that name with faults around it."""
        method = getattr(self._inner, name)
        call = self._commit if name == "commit" else self._call

        async def faulty(*arguments: Any, **options: Any) -> Any:
            return await call(method, *arguments, **options)

        setattr(self, name, faulty)
        return faulty

    def cut(self) -> None:
        """Lets nothing through any more: the engine is dead."""
        self._is_cut = True
        for unsubscribe in self._subscriptions:
            unsubscribe()

    # --- calls ---

    async def _commit(self, commit: Callable[..., Any], batch: Batch) -> Outcome:
        await self.travel()
        self._may_fail("refused_commit")
        self._may_crash("crash_before_commit")
        outcome: Outcome = await commit(with_letters(batch))
        self._may_crash("crash_after_commit")
        await self.travel()
        self._may_fail("ambiguous_commit")
        return outcome

    async def _call(self, method: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        await self.travel()
        self._may_fail("refused_call")
        answer = await method(*arguments, **options)
        await self.travel()
        self._may_fail("lost_answer")
        return answer

    async def travel(self) -> None:
        """Lets as much time pass as the way takes."""
        world = self._world
        # Not each call: it is enough that some overtake others, and each wait has its price.
        if world.latency and world.draw.random() < 0.4:
            await world.pause(world.latency)
        if world.faults.strikes("slow_storage", self._number):
            await world.pause(world.draw.choice((1.0, 4.0, 14.0)))
        if self.frozen_until > world.loop.time():
            await asyncio.sleep(self.frozen_until - world.loop.time())
        self._stop_if_dead()

    def _may_fail(self, kind: str) -> None:
        if self._world.faults.strikes(kind, self._number):
            raise StorageError(f"simulated: {kind}")

    def _may_crash(self, kind: str) -> None:
        if self._world.faults.strikes(kind, self._number):
            self._crash()
        self._stop_if_dead()

    def _stop_if_dead(self) -> None:
        if self._is_cut:
            # What a dead process does no more: not even the clean-up of its cancelled tasks may reach the storage.
            raise asyncio.CancelledError

    # --- signals ---

    def subscribe(self, listener: Listener, *kinds: str) -> Callable[[], None]:
        """Hands signals on, some late, some never."""
        world = self._world

        def hear(signal: Signal) -> None:
            if world.faults.strikes("lost_signal", self._number):
                return
            delay = world.latency / 2
            if world.faults.strikes("late_signal", self._number):
                delay = world.draw.uniform(0.5, 6.0)
            at = max(world.loop.time() + delay, self.frozen_until)
            if at <= world.loop.time():
                listener(signal)
            else:
                world.loop.call_at(at, deliver, signal, context=self._process.context)

        def deliver(signal: Signal) -> None:
            if not self._is_cut:
                listener(signal)

        unsubscribe = self._inner.subscribe(hear, *kinds)
        self._subscriptions.append(unsubscribe)
        return unsubscribe
