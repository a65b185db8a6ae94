"""The queues of the memory storage: wake-ups of jobs, and tasks for workers."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from avtomatika.core.job import Task
from avtomatika.core.states import TaskStatus
from avtomatika.storage.base import Hold, Queue, Ready, TaskClaim
from avtomatika.storage.codec import decode_task
from avtomatika.storage.heap import LazyHeap


@dataclass(slots=True)
class QueuedWakeUp:
    """The one wake-up of a job.

    Args:
        job_id: the job.
        at: not before this moment.
        priority: higher first.
        sequence: grows with each wake-up that is queued.
        deliveries: how often it was claimed, without the claims that were given back.
        token: its last claim, or empty.
        owner: who made that claim.
        until: when that claim ends.
    """

    job_id: str
    at: float
    priority: float
    sequence: int
    deliveries: int = 0
    token: str = ""
    owner: str = ""
    until: float = 0.0


class ReadyQueue:
    """Wake-ups: some wait for their moment, some are due, some are claimed; each is in exactly one heap."""

    def __init__(self) -> None:
        self._wake_ups: dict[str, QueuedWakeUp] = {}
        self._tokens: dict[str, str] = {}
        self._later: LazyHeap[str] = LazyHeap()
        self._due: LazyHeap[str] = LazyHeap()
        self._claimed: LazyHeap[str] = LazyHeap()
        self._sequence = itertools.count()
        self._token = itertools.count(1)

    def find(self, job_id: str) -> QueuedWakeUp | None:
        """Returns the wake-up of the job."""
        return self._wake_ups.get(job_id)

    def holds(self, job_id: str, token: str) -> bool:
        """Whether the claim is the job's last one; it may have ended, if nobody has taken over."""
        return self._tokens.get(token) == job_id

    def put(self, job_id: str, ready: Ready) -> None:
        """Queues a new wake-up in place of whatever the job had."""
        self._replace(job_id, ready)
        self._later.put(job_id, (ready.at,))

    def hold(self, job_id: str, ready: Ready, hold: Hold, until: float) -> None:
        """Claims a new wake-up in place of whatever the job had."""
        self._replace(job_id, ready)
        self._take(job_id, hold.owner, hold.token, until)

    def _replace(self, job_id: str, ready: Ready) -> None:
        self.forget(job_id)
        self._wake_ups[job_id] = QueuedWakeUp(job_id, ready.at, ready.priority, next(self._sequence))

    def renew(self, job_id: str, ready: Ready) -> None:
        """Replaces a claimed wake-up by a new one that the same claim holds already."""
        wake_up = self._wake_ups[job_id]
        wake_up.at, wake_up.priority, wake_up.deliveries = ready.at, ready.priority, 1
        wake_up.sequence = next(self._sequence)

    def forget(self, job_id: str) -> None:
        """Removes the job's wake-up, claimed or not."""
        wake_up = self._wake_ups.pop(job_id, None)
        if wake_up is not None:
            self._tokens.pop(wake_up.token, None)
            for heap in (self._later, self._due, self._claimed):
                heap.discard(job_id)

    def claim(self, owner: str, limit: int, until: float, now: float) -> list[QueuedWakeUp]:
        """Takes the first due wake-ups."""
        self._refresh(now)
        number = min(limit, len(self._due))
        return [self._take(self._due.pop(), owner, f"{owner}/{next(self._token)}", until) for _ in range(number)]

    def _take(self, job_id: str, owner: str, token: str, until: float) -> QueuedWakeUp:
        wake_up = self._wake_ups[job_id]
        self._tokens.pop(wake_up.token, None)
        wake_up.token, wake_up.owner, wake_up.until = token, owner, until
        wake_up.deliveries += 1
        self._tokens[wake_up.token] = job_id
        self._claimed.put(job_id, (until,))
        return wake_up

    def extend(self, token: str, until: float) -> bool:
        """Moves the end of a claim; False if the claim is lost."""
        job_id = self._tokens.get(token)
        if job_id is None:
            return False
        self._wake_ups[job_id].until = until
        self._due.discard(job_id)
        self._claimed.put(job_id, (until,))
        return True

    def release(self, token: str, now: float) -> QueuedWakeUp | None:
        """Gives a claim back; the wake-up is due at once, and the claim does not count as a delivery."""
        job_id = self._tokens.pop(token, None)
        if job_id is None:
            return None
        wake_up = self._wake_ups[job_id]
        wake_up.token = wake_up.owner = ""
        wake_up.deliveries -= 1
        wake_up.at = min(wake_up.at, now)
        self._claimed.discard(job_id)
        self._put_due(job_id)
        return wake_up

    def next_at(self, now: float) -> list[float]:
        """Returns the next moments at which a wake-up becomes due and at which a claim ends, if any."""
        self._refresh(now)
        return [first[0][0] for heap in (self._later, self._claimed) if (first := heap.first())]

    def count(self, job_id: str) -> int:
        """Returns in how many heaps the job stands: 0 or 1."""
        return sum(job_id in heap for heap in (self._later, self._due, self._claimed))

    def _refresh(self, now: float) -> None:
        """Moves to the due ones whose moment has come or whose claim has ended."""
        for job_id in self._later.pop_until(now):
            self._put_due(job_id)
        for job_id in self._claimed.pop_until(now):
            self._put_due(job_id)

    def _put_due(self, job_id: str) -> None:
        wake_up = self._wake_ups[job_id]
        self._due.put(job_id, (-wake_up.priority, wake_up.at, wake_up.sequence))


_NO_LIMITS: Mapping[str, int] = {}


@dataclass(slots=True)
class TaskRow:
    """A task as stored, with what must be known of it without decoding."""

    raw: bytes
    job_id: str
    status: TaskStatus
    attempt: int
    worker_id: str
    queue: str
    urgency: float
    created_at: float
    index: int
    fan_out: str
    limits: Mapping[str, int]
    sequence: int

    @property
    def rank(self) -> tuple[float, ...]:
        """Its place in its queue: the more urgent first, then older, then first queued."""
        return (-self.urgency, self.created_at, self.sequence)


class TaskQueue:
    """Tasks of one kind that wait."""

    def __init__(self, task: Task) -> None:
        self.kind = Queue(task.queue, task.type, task.requirements, task.max_cost, limits=task.limits)
        self.by_rank: LazyHeap[str] = LazyHeap()
        self._by_age: LazyHeap[str] = LazyHeap()

    def put(self, task_id: str, row: TaskRow) -> None:
        """Adds the task."""
        self.by_rank.put(task_id, row.rank)
        self._by_age.put(task_id, (row.created_at,))

    def discard(self, task_id: str) -> None:
        """Removes the task if it is there."""
        self.by_rank.discard(task_id)
        self._by_age.discard(task_id)

    def describe(self) -> Queue:
        """Returns what waits here."""
        oldest = self._by_age.first()
        return replace(self.kind, length=len(self.by_rank), oldest_at=oldest[0][0] if oldest else None)


class TaskTable:
    """All tasks: the waiting ones in queues, the claimed ones under leases."""

    def __init__(self) -> None:
        self.rows: dict[str, TaskRow] = {}
        self.queues: dict[str, TaskQueue] = {}
        self.leases: LazyHeap[str] = LazyHeap()
        self._held: dict[str, set[str]] = {}
        self._running: Counter[str] = Counter()
        self._sequence = itertools.count()

    def write(self, task: Task, raw: bytes, *, in_queue: bool = False) -> None:
        """Stores the task and puts it where it belongs: its queue, its lease, or neither.

        Args:
            task: the task.
            raw: the same task, encoded.
            in_queue: hand it out.
        """
        old = self.rows.get(task.id)
        self._withdraw(task.id, old)
        sequence = next(self._sequence) if old is None else old.sequence
        row = TaskRow(
            raw,
            task.job_id,
            task.status,
            task.attempt,
            task.worker_id,
            task.queue,
            task.rank,
            task.created_at,
            task.index,
            task.fan_out,
            dict(task.limits) if task.limits else _NO_LIMITS,
            sequence,
        )
        self.rows[task.id] = row
        if in_queue:
            queue = self.queues.get(task.queue)
            if queue is None:
                # Decoded from the bytes: the caller's object may hold a dict that it changes later.
                queue = self.queues[task.queue] = TaskQueue(decode_task(raw))
            queue.put(task.id, row)

    def watch(self, task_id: str, until: float) -> None:
        """Sets the end of the lease of a task that was written as claimed."""
        row = self.rows[task_id]
        self.leases.put(task_id, (until,))
        self._held.setdefault(row.worker_id, set()).add(task_id)
        self._running.update(row.limits.keys())

    def forget(self, task_id: str) -> None:
        """Removes an ended task."""
        self._withdraw(task_id, self.rows.pop(task_id))

    def count_waiting(self, names: Sequence[str]) -> int:
        """Returns how many tasks wait in some queues."""
        return sum(len(self.queues[name].by_rank) for name in names if name in self.queues)

    def find_first(self, queues: Sequence[str]) -> str | None:
        """Returns the id of the first waiting task of the queues whose limits leave room."""
        heads = [
            head
            for name in queues
            if (queue := self.queues.get(name))
            and (head := queue.by_rank.first())
            and self._has_room(queue.kind.limits)
        ]
        return min(heads)[1] if heads else None

    def _has_room(self, limits: Mapping[str, int]) -> bool:
        return all(self._running[name] < limit for name, limit in limits.items())

    def is_held(self, claim: TaskClaim) -> bool:
        """Whether the task was last claimed so, and has neither ended nor been taken over."""
        row = self.rows.get(claim.task_id)
        return (
            row is not None and row.status.is_open and row.attempt == claim.attempt and row.worker_id == claim.worker_id
        )

    def held_by(self, worker_id: str) -> list[TaskClaim]:
        """Returns the claims that the worker holds, by task id."""
        return [
            TaskClaim(task_id, self.rows[task_id].attempt, worker_id)
            for task_id in sorted(self._held.get(worker_id, ()))
        ]

    def is_reachable(self, task_id: str) -> bool:
        """Whether somebody can take the task, or its lease is watched."""
        row = self.rows[task_id]
        if row.status is TaskStatus.QUEUED:
            return row.queue in self.queues and task_id in self.queues[row.queue].by_rank
        return row.status is not TaskStatus.CLAIMED or task_id in self.leases

    def _withdraw(self, task_id: str, row: TaskRow | None) -> None:
        """Takes the task out of its queue and lease."""
        if row is None:
            return
        if row.limits and task_id in self.leases:
            for name in row.limits:
                self._running[name] -= 1
                if not self._running[name]:
                    del self._running[name]
        self.leases.discard(task_id)
        held = self._held.get(row.worker_id)
        if held is not None:
            held.discard(task_id)
            if not held:
                del self._held[row.worker_id]
        queue = self.queues.get(row.queue)
        if queue is not None:
            queue.discard(task_id)
            if not queue.by_rank:
                del self.queues[row.queue]
