"""Tasks in memory: claimed from their queues, held under leases, given back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from avtomatika.core.effects import RecordHistory
from avtomatika.core.job import Job, Task
from avtomatika.core.states import TaskStatus
from avtomatika.storage.base import Queue, Signal, TakenTasks, TaskClaim
from avtomatika.storage.codec import decode_task, encode_task
from avtomatika.storage.contract.tasks import TaskStorage
from avtomatika.storage.memory_tables import JobRow, MemoryTables
from avtomatika.storage.records import renewed, task_signal
from avtomatika.storage.rows import encode_rows


class MemoryTasks(MemoryTables, TaskStorage):
    """The part of the storage in memory that has to do with tasks."""

    async def claim_task(self, worker_id: str, queues: Sequence[str], lease: float) -> Task | None:
        """Takes the first task of the queues."""
        task_id = self._tasks.find_first(queues)
        if task_id is None:
            return None
        now = self._clock.now()
        waiting = self._load_task(task_id)
        until = now + min(lease, waiting.timeout_seconds)
        task = replace(
            waiting,
            status=TaskStatus.CLAIMED,
            worker_id=worker_id,
            claimed_at=now,
            lease_until=until,
            confirmed=False,
            deliveries=waiting.deliveries + 1,
        )
        self._hold(task, until)
        self._record_start(task, now)
        self._listeners.tell([Signal("timer", at=until), Signal("event")])
        return task

    async def claim_tasks(
        self, worker_id: str, queues: Sequence[str], lease: float, limit: int, job_limit: int = 0
    ) -> TakenTasks:
        """Takes the first tasks of the queues."""
        tasks: list[Task] = []
        # None of these calls waits for anything, so they are one step.
        while len(tasks) < limit and (task := await self.claim_task(worker_id, queues, lease)) is not None:
            tasks.append(task)
        jobs = {task.job_id: self._jobs[task.job_id].load() for task in tasks} if job_limit else {}
        return TakenTasks(tasks, self._tasks.count_waiting(queues), jobs)

    async def claim_task_and_job(
        self,
        worker_id: str,
        queues: Sequence[str],
        lease: float,
        limit: int,  # noqa: ARG002 - for those to whom it is a way
    ) -> tuple[Task, Job | None] | None:
        """Takes a task and tells of its job."""
        task = await self.claim_task(worker_id, queues, lease)
        return None if task is None else (task, self._jobs[task.job_id].load())

    def _hold(self, task: Task, until: float) -> None:
        """Writes a claimed task and watches its lease."""
        self._write_task(self._jobs[task.job_id], task, encode_task(task))
        self._tasks.watch(task.id, until)

    def _record_start(self, task: Task, now: float) -> None:
        row = self._jobs[task.job_id]
        started = RecordHistory(
            "task_started", row.job.state, worker_id=task.worker_id, attempt=task.attempt, task_id=task.id
        )
        self._append(row, task.job_id, encode_rows(row.job.blueprint, now, [started]), 1)

    async def renew_tasks(self, claims: Sequence[TaskClaim], lease: float) -> list[TaskClaim]:
        """Moves the ends of claims."""
        now = self._clock.now()
        lost, ends = [], []
        for claim in claims:
            until = self._renew(claim, now, lease)
            if until is None:
                lost.append(claim)
            else:
                ends.append(until)
        if ends:
            self._listeners.tell([Signal("timer", at=min(ends))])
        return lost

    def _renew(self, claim: TaskClaim, now: float, lease: float) -> float | None:
        """Moves the end of one claim and returns it, or None if the claim does not hold."""
        if not self._tasks.is_held(claim):
            return None
        task = renewed(self._load_task(claim.task_id), now, lease)
        if task is None or task.lease_until is None:
            return None
        self._hold(task, task.lease_until)
        return task.lease_until

    async def list_claims(self, worker_id: str) -> list[TaskClaim]:
        """Returns the claims of the worker."""
        return self._tasks.held_by(worker_id)

    async def release_task(self, claim: TaskClaim) -> None:
        """Puts a task back."""
        row = self._tasks.rows.get(claim.task_id)
        if row is None or row.status is not TaskStatus.CLAIMED or not self._tasks.is_held(claim):
            return
        held = self._load_task(claim.task_id)
        task = replace(
            held,
            status=TaskStatus.QUEUED,
            worker_id="",
            claimed_at=None,
            lease_until=None,
            confirmed=False,
            deliveries=held.deliveries - 1,
        )
        self._write_task(self._jobs[task.job_id], task, encode_task(task), in_queue=True)
        self._listeners.tell([task_signal(task)])

    def _write_task(self, job: JobRow, task: Task, raw: bytes, *, in_queue: bool = False) -> None:
        if task.id not in self._tasks.rows:
            job.tasks.append(task.id)
        if task.status.is_open:
            job.open_tasks[task.id] = None
        else:
            job.open_tasks.pop(task.id, None)
        self._tasks.write(task, raw, in_queue=in_queue)

    def _load_task(self, task_id: str) -> Task:
        return decode_task(self._tasks.rows[task_id].raw)

    def _in_order(self, task_ids: Sequence[str] | Mapping[str, None]) -> list[Task]:
        """Returns the tasks by creation, then by index."""
        rows = [self._tasks.rows[task_id] for task_id in task_ids]
        rows.sort(key=lambda row: (row.created_at, row.index, row.sequence))
        return [decode_task(row.raw) for row in rows]

    async def find_task(self, task_id: str) -> Task | None:
        """Returns the task as stored."""
        return self._load_task(task_id) if task_id in self._tasks.rows else None

    async def list_tasks(self, job_id: str, fan_out: str | None = None) -> list[Task]:
        """Returns the tasks of a job."""
        row = self._jobs.get(job_id)
        if row is None:
            return []
        return self._in_order([t for t in row.tasks if fan_out in {None, self._tasks.rows[t].fan_out}])

    async def list_queues(self) -> list[Queue]:
        """Returns the queues in which tasks wait, by name."""
        return [self._tasks.queues[name].describe() for name in sorted(self._tasks.queues)]
