"""A plain model of the storage's contract: it keeps everything in dicts and looks through all of it each time.

It knows no heaps, indexes or bytes.
"""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass, field

from msgspec.structs import replace

from avtomatika.core.events import TimerKind
from avtomatika.core.job import Job, Task
from avtomatika.core.states import TaskStatus
from avtomatika.storage.base import (
    Batch,
    Committed,
    Count,
    Duplicate,
    Message,
    Outcome,
    Record,
    RecordWrite,
    Stale,
    TaskClaim,
    Timer,
    WakeUp,
)


@dataclass
class Wake:
    """A wake-up in the model."""

    at: float
    priority: float
    order: int
    deliveries: int = 0
    token: str = ""
    owner: str = ""
    until: float = 0.0


@dataclass
class Model:
    """What a storage must contain."""

    now: float
    jobs: dict[str, Job] = field(default_factory=dict)
    wakes: dict[str, Wake] = field(default_factory=dict)
    tasks: dict[str, Task] = field(default_factory=dict)
    task_order: list[str] = field(default_factory=list)
    queued: set[str] = field(default_factory=set)
    timers: dict[tuple[str, TimerKind, str], tuple[Timer, float]] = field(default_factory=dict)
    rows: Counter[str] = field(default_factory=Counter)
    outbox: list[tuple[str, int, list[str]]] = field(default_factory=list)
    keys: dict[str, tuple[Duplicate, float]] = field(default_factory=dict)
    mail: dict[str, Message] = field(default_factory=dict)
    records: dict[str, Record] = field(default_factory=dict)
    counters: dict[str, tuple[int, float]] = field(default_factory=dict)
    order: itertools.count = field(default_factory=itertools.count)

    def is_claimed(self, job_id: str) -> bool:
        """Whether an engine holds the job now."""
        wake = self.wakes.get(job_id)
        return wake is not None and bool(wake.token) and wake.until > self.now

    def owner_of(self, token: str) -> str | None:
        """Returns the job whose stored claim this is."""
        return next((job_id for job_id, wake in self.wakes.items() if token and wake.token == token), None)

    def holds(self, claim: TaskClaim) -> bool:
        """Whether a task's claim is the stored one."""
        task = self.tasks.get(claim.task_id)
        return (
            task is not None
            and task.status.is_open
            and (task.attempt, task.worker_id) == (claim.attempt, claim.worker_id)
        )

    def commit(self, batch: Batch) -> Outcome:
        """Applies a batch as the contract says."""
        job = batch.job
        if batch.dedupe and batch.dedupe.key in self.keys and self.keys[batch.dedupe.key][1] > self.now:
            return self.keys[batch.dedupe.key][0]
        version = self.jobs[job.id].version if job.id in self.jobs else 0
        if (
            job.version != version + 1
            or (batch.claim and self.owner_of(batch.claim) != job.id)
            or not all(map(self.holds, batch.task_claims))
            or not all(map(self.is_expected, batch.records))
        ):
            return Stale(version)
        self.jobs[job.id] = job
        if batch.dedupe:
            self.keys[batch.dedupe.key] = Duplicate(job.id, batch.dedupe.fingerprint), self.now + batch.dedupe.ttl
        if batch.cancel_open_tasks:
            for task in [t for t in self.tasks.values() if t.job_id == job.id and t.status.is_open]:
                self.put(replace(task, status=TaskStatus.CANCELLED, ended_at=batch.at))
            self.timers = {key: value for key, value in self.timers.items() if key[0] != job.id or not key[2]}
        for task in batch.save_tasks:
            self.put(task)
        for task in batch.queue_tasks:
            self.put(task)
            self.queued.add(task.id)
        for timer in batch.clear_timers:
            self.timers.pop((job.id, timer.kind, timer.task_id), None)
        for timer in batch.set_timers:
            self.timers[job.id, timer.kind, timer.task_id] = timer, timer.at
        self.record(job.id, [event.type for event in batch.events])
        self.mail.update((message.id, message) for message in batch.messages)
        for write in batch.records:
            self.keep(write)
        self.wake(batch)
        if batch.finish:
            self.timers = {key: value for key, value in self.timers.items() if key[0] != job.id}
        return Committed(job.version)

    def wake(self, batch: Batch) -> None:
        """Decides about the wake-up."""
        job_id, ready = batch.job.id, batch.ready
        if batch.finish:
            self.wakes.pop(job_id, None)
        elif batch.claim and batch.keep_claim:
            if ready:
                old = self.wakes[job_id]
                new = Wake(ready.at, ready.priority, next(self.order), 1, old.token, old.owner, old.until)
                self.wakes[job_id] = new
        elif ready and batch.hold:
            hold = batch.hold
            until = self.now + hold.lease
            self.wakes[job_id] = Wake(ready.at, ready.priority, next(self.order), 1, hold.token, hold.owner, until)
        elif ready:
            self.wakes[job_id] = Wake(ready.at, ready.priority, next(self.order))
        elif batch.claim:
            del self.wakes[job_id]

    def put(self, task: Task) -> None:
        """Writes a task, in no queue."""
        if task.id not in self.tasks:
            self.task_order.append(task.id)
        self.tasks[task.id] = task
        self.queued.discard(task.id)

    def record(self, job_id: str, types: list[str]) -> None:
        """Adds the rows of one step to a job's history."""
        if types:
            self.outbox.append((job_id, self.rows[job_id] + 1, types))
            self.rows[job_id] += len(types)

    def claimable(self) -> list[str]:
        """Returns the jobs that can be claimed, in order."""
        free = [j for j, wake in self.wakes.items() if not self.is_claimed(j) and (wake.token or wake.at <= self.now)]
        return sorted(free, key=lambda j: (-self.wakes[j].priority, self.wakes[j].at, self.wakes[j].order))

    def waiting(self, queues: set[str]) -> list[str]:
        """Returns the tasks that wait in queues, in order."""
        found = [task_id for task_id in self.queued if self.tasks[task_id].queue in queues]
        tasks = self.tasks
        return sorted(found, key=lambda t: (-tasks[t].priority, tasks[t].created_at, self.task_order.index(t)))

    def leases(self) -> list[Task]:
        """Returns the claimed tasks, earliest end first."""
        held = [task for task in self.tasks.values() if task.status is TaskStatus.CLAIMED]
        return sorted(held, key=lambda task: task.lease_until or 0.0)

    def wake_up(self, job_id: str) -> WakeUp:
        """Returns what the job waits for."""
        timers = tuple(
            sorted((t for key, (t, _) in self.timers.items() if key[0] == job_id), key=lambda t: (t.at, t.kind))
        )
        tasks = tuple(task for task in self.tasks_of(job_id) if task.status.is_open)
        wake = self.wakes.get(job_id)
        if wake is None:
            return WakeUp(timers=timers, tasks=tasks)
        if self.is_claimed(job_id):
            return WakeUp(None, wake.owner, wake.until, timers, tasks)
        return WakeUp(wake.at, timers=timers, tasks=tasks)

    def tasks_of(self, job_id: str) -> list[Task]:
        """Returns the tasks of a job in order."""
        tasks = [self.tasks[task_id] for task_id in self.task_order if self.tasks[task_id].job_id == job_id]
        return sorted(tasks, key=lambda task: (task.created_at, task.index))

    def queues(self) -> list[tuple[str, int, float]]:
        """Returns name, length and age of the queues."""
        names = sorted({self.tasks[task_id].queue for task_id in self.queued})
        ages = {name: [self.tasks[t].created_at for t in self.queued if self.tasks[t].queue == name] for name in names}
        return [(name, len(ages[name]), min(ages[name])) for name in names]

    def kept(self, key: str) -> Record | None:
        """Returns the record if its time has not run out."""
        record = self.records.get(key)
        return record if record is not None and (record.ends_at is None or record.ends_at > self.now) else None

    def is_expected(self, write: RecordWrite) -> bool:
        """Whether a write meets the version that it expects."""
        record = self.kept(write.key)
        return write.expected in {None, record.version if record else 0}

    def keep(self, write: RecordWrite) -> None:
        """Writes a record."""
        old = self.kept(write.key)
        self.records.pop(write.key, None)
        if write.value is not None:
            ends_at = None if write.ttl is None else self.now + write.ttl
            version = old.version + 1 if old else 1
            self.records[write.key] = Record(write.space, write.key, write.value, version, ends_at)

    def count(self, key: str, limit: int, ttl: float, amount: int) -> Count:
        """Counts, or does not."""
        stored = self.counters.get(key)
        total, ends_at = stored if stored is not None and stored[1] > self.now else (0, self.now + ttl)
        if amount >= 0 and total + amount > limit:
            return Count(False, total, ends_at)
        if amount > 0 or (stored is not None and stored[1] > self.now):
            self.counters[key] = max(0, total + amount), ends_at
        return Count(True, max(0, total + amount), ends_at)

    def waiting_mail(self, topics: set[str]) -> list[Message]:
        """Returns the messages of some topics that are no dead letters, earliest due first, then first written."""
        found = [message for message in self.mail.values() if message.topic in topics and message.buried_at is None]
        return sorted(found, key=lambda message: message.due_at)

    def dead_mail(self, topic: str | None) -> list[Message]:
        """Returns the dead letters, last buried first."""
        dead = [m for m in self.mail.values() if m.buried_at is not None and topic in {None, m.topic}]
        return sorted(dead, key=lambda message: (message.buried_at or 0.0, message.id), reverse=True)

    def next_wake_at(self) -> float | None:
        """Returns the earliest moment at which there is something to do."""
        later = [wake.at for j, wake in self.wakes.items() if not wake.token and wake.at > self.now]
        claims = [wake.until for j, wake in self.wakes.items() if self.is_claimed(j)]
        due = [due for _, due in self.timers.values()]
        return min([*later, *claims, *due, *(task.lease_until or 0.0 for task in self.leases())], default=None)
