"""Random steps against a storage and against a plain model of the contract; after each one the two must agree.

The model knows no heaps, indexes or bytes: it keeps everything in dicts and looks through all of it each time.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from msgspec.structs import replace

from avtomatika.core.document import EMPTY, Document
from avtomatika.core.effects import RecordHistory
from avtomatika.core.events import TimerKind
from avtomatika.core.job import Job, Task, job_fields
from avtomatika.core.states import JobStatus, TaskStatus
from avtomatika.storage.base import (
    Batch,
    Committed,
    Count,
    Dedupe,
    Duplicate,
    Hold,
    JobQuery,
    Message,
    Outcome,
    Queue,
    Ready,
    Record,
    RecordWrite,
    Stale,
    Storage,
    TaskClaim,
    Timer,
    WakeUp,
)
from avtomatika.testing import FakeClock

FIELDS = frozenset(job_fields())
MEMORY_DISK = Path("/dev/shm")
JOB_IDS = st.sampled_from(["j1", "j2", "j3", "j4"])
WORKERS = st.sampled_from(["w1", "w2"])
QUEUES = st.sampled_from(["a", "b"])
TOPICS = ("x", "y")
KEYS = st.sampled_from(["a", "ab", "b"])
WRITES = st.builds(
    RecordWrite,
    st.just("s"),
    KEYS,
    st.none() | st.integers(0, 9).map(Document.of),
    expected=st.none() | st.integers(0, 2),
    ttl=st.none() | st.sampled_from([2, 5]),
)
SECONDS = st.integers(0, 6)
LEASES = st.sampled_from([2, 5, 20])
PRIORITIES = st.sampled_from([0.0, 0.0, 1.0])
# Picks one of what there is at the moment of the step: any number will do.
PICK = st.integers(0, 1000)


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


class StorageMachine(RuleBasedStateMachine):
    """Makes random steps and compares."""

    make: Callable[[FakeClock, Path], Storage]

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        # In memory where the machine can: it is the answers that count here, not what a power cut leaves.
        self.folder = TemporaryDirectory(dir=MEMORY_DISK if MEMORY_DISK.is_dir() else None)
        self.clock = FakeClock()
        self.storage = type(self).make(self.clock, Path(self.folder.name))
        self.run(self.storage.open())
        self.model = Model(self.clock.now())
        self.tokens: list[str] = []
        self.claims: list[TaskClaim] = []
        self.numbers = itertools.count()

    def run(self, call: Coroutine[Any, Any, Any]) -> Any:
        """Runs one call of the storage."""
        return self.runner.run(call)

    def teardown(self) -> None:
        """Closes what was opened."""
        self.run(self.storage.close())
        self.runner.close()
        self.folder.cleanup()

    def commit(self, batch: Batch) -> Outcome:
        """Commits to both and compares."""
        expected = self.model.commit(batch)
        assert self.run(self.storage.commit(batch)) == expected
        return expected

    # --- steps ---

    @initialize(
        at=SECONDS,
        tasks=st.lists(st.tuples(QUEUES, PRIORITIES, SECONDS), min_size=2, max_size=4),
        claims=st.integers(0, 2),
    )
    def begin(self, at: int, tasks: list[tuple[str, float, int]], claims: int) -> None:
        """Two jobs with tasks, one of which may have passed from one worker to another: so steps meet something."""
        for job_id in ("j1", "j2"):
            self.create(job_id, at, at, 0.0, dedupe=0)
            self.step(job_id, 1, None, False, None, None, None, False, False, tasks)
        for worker_id in ("w1", "w2")[:claims]:
            self.claim_task(worker_id, {"a", "b"}, 5)
            if claims == 2:
                self.report(0, "again", False)

    @rule(job_id=JOB_IDS, at=SECONDS, deadline=SECONDS, priority=PRIORITIES, dedupe=st.integers(0, 2))
    def create(self, job_id: str, at: int, deadline: int, priority: float, dedupe: int) -> None:
        """Creates a job, or tries to."""
        now = self.model.now
        self.commit(
            Batch(
                Job(job_id, "b", "v", JobStatus.PENDING, "start", now - at, now, version=1),
                FIELDS,
                now,
                ready=Ready(now + at - 1, priority),
                # Something always wakes the job, so that the audit has nothing to say.
                set_timers=[Timer(job_id, TimerKind.JOB, now + deadline)],
                events=[RecordHistory("job_created", "start")],
                messages=[self.new_message(job_id, 1, n, at) for n in range(dedupe)],
                dedupe=Dedupe(f"k{dedupe}", job_id, 9) if dedupe else None,
            )
        )

    @rule(
        job_id=JOB_IDS,
        skew=st.sampled_from([1, 1, 1, 1, 0, 2]),
        token=st.none() | PICK,
        keep=st.booleans(),
        ready=st.none() | SECONDS,
        hold=st.none() | LEASES,
        timer=st.none() | SECONDS,
        clear=st.booleans(),
        finish=st.sampled_from([False] * 11 + [True]),
        tasks=st.lists(st.tuples(QUEUES, PRIORITIES, SECONDS), max_size=2),
        mail=st.lists(SECONDS, max_size=2),
        record=st.none() | WRITES,
    )
    def step(
        self,
        job_id: str,
        skew: int,
        token: int | None,
        keep: bool,
        ready: int | None,
        hold: int | None,
        timer: int | None,
        clear: bool,
        finish: bool,
        tasks: list[tuple[str, float, int]],
        mail: Sequence[int] = (),
        record: RecordWrite | None = None,
    ) -> None:
        """Commits any step of a job, under any claim, on any version near the stored one."""
        old, now = self.model.jobs.get(job_id), self.model.now
        if old is None or old.is_terminal:
            return
        status = JobStatus.FINISHED if finish else JobStatus.RUNNING
        job = replace(old, version=old.version + skew, status=status, updated_at=now)
        claim = self.tokens[token % len(self.tokens)] if token is not None and self.tokens else ""
        held = None
        if hold is not None and ready is not None and not claim:
            held = Hold("e1", f"{job_id}/{next(self.numbers)}/e1", hold)
            self.tokens.append(held.token)
        self.commit(
            Batch(
                job,
                FIELDS,
                now,
                claim=claim,
                keep_claim=keep,
                ready=None if ready is None else Ready(now + (0 if held else ready) - 1),
                hold=held,
                queue_tasks=[] if finish else [self.new_task(job_id, *task) for task in tasks],
                cancel_open_tasks=finish,
                set_timers=[] if timer is None else [Timer(job_id, TimerKind.RETRY, now + timer)],
                clear_timers=[Timer(job_id, TimerKind.RETRY)] if clear else [],
                finish=finish,
                events=[RecordHistory("state_started", "start")],
                messages=[self.new_message(job_id, job.version, n, at) for n, at in enumerate(mail)],
                records=[] if record is None else [record],
            )
        )

    def new_message(self, job_id: str, version: int, number: int, at: int) -> Message:
        """Returns a message that is due sooner or later."""
        now = self.model.now
        return Message(f"{job_id}:{version}:{number}", TOPICS[number], job_id, "", EMPTY, now, now + at - 1)

    def new_task(self, job_id: str, queue: str, priority: float, age: int) -> Task:
        """Returns a task that was not there before."""
        number = next(self.numbers)
        return Task(
            f"t{number}",
            job_id,
            queue,
            queue,
            TaskStatus.QUEUED,
            self.model.now - age,
            priority=priority,
            index=number,
            timeout_seconds=12.0,
        )

    @rule(
        pick=PICK,
        outcome=st.sampled_from(["again", "again", "done", "delayed", "next attempt"]),
        cancel=st.sampled_from([False, False, True]),
        others=st.integers(0, 2),
    )
    def report(self, pick: int, outcome: str, cancel: bool, others: int = 0) -> None:
        """Commits what came of claims that were made at some time: a result, a lost lease, a retry, or some of them."""
        if not self.claims:
            return
        claim = self.claims[pick % len(self.claims)]
        job = self.model.jobs[self.model.tasks[claim.task_id].job_id]
        claims = {claim.task_id: claim}
        for other in self.claims if others else ():
            if self.model.tasks[other.task_id].job_id == job.id and len(claims) <= others:
                claims.setdefault(other.task_id, other)
        reports = [self.after(self.model.tasks[task_id], outcome) for task_id in claims]
        if job.is_terminal:
            # Whoever brings a result to a job that has ended read it before the end.
            job = replace(job, version=job.version - 1)
        queue = outcome in {"again", "next attempt"}
        self.commit(
            Batch(
                replace(job, version=job.version + 1),
                FIELDS,
                self.model.now,
                task_claims=list(claims.values()),
                queue_tasks=reports if queue else [],
                save_tasks=[] if queue else reports,
                cancel_open_tasks=cancel,
                events=[RecordHistory("task_finished", "start")] * len(reports),
            )
        )

    def after(self, task: Task, outcome: str) -> Task:
        """Returns what has become of a task."""
        match outcome:
            case "done":
                return replace(task, status=TaskStatus.SUCCEEDED, ended_at=self.model.now, lease_until=None)
            case "delayed":
                return replace(task, status=TaskStatus.DELAYED, lease_until=None)
            case "again":
                return replace(task, status=TaskStatus.QUEUED, lease_until=None)
        return replace(task, status=TaskStatus.QUEUED, attempt=task.attempt + 1, deliveries=0, lease_until=None)

    @rule(owner=st.sampled_from(["e1", "e2"]), limit=st.integers(0, 3), lease=LEASES)
    def claim_jobs(self, owner: str, limit: int, lease: int) -> None:
        """Claims due jobs."""
        expected = self.model.claimable()[:limit]

        claims = self.run(self.storage.claim_jobs(owner, limit, lease))

        assert [claim.job.id for claim in claims] == expected
        for claim in claims:
            wake = self.model.wakes[claim.job.id]
            assert claim.token not in self.tokens
            assert claim.job == self.model.jobs[claim.job.id]
            wake.token, wake.owner, wake.until = claim.token, owner, self.model.now + lease
            wake.deliveries += 1
            assert claim.deliveries == wake.deliveries
            self.tokens.append(claim.token)

    @rule(pick=PICK, lease=LEASES)
    def extend(self, pick: int, lease: int) -> None:
        """Extends some claims that were made at some time."""
        tokens = self.tokens[pick % (len(self.tokens) + 1) :][:3]
        lost = self.run(self.storage.extend_claims(tokens, lease))

        assert lost == [token for token in tokens if self.model.owner_of(token) is None]
        for job_id in filter(None, map(self.model.owner_of, tokens)):
            self.model.wakes[job_id].until = self.model.now + lease

    @rule(pick=PICK)
    def release(self, pick: int) -> None:
        """Gives some claims back that were made at some time."""
        tokens = self.tokens[pick % (len(self.tokens) + 1) :][:2]
        self.run(self.storage.release_claims(tokens))

        for job_id in filter(None, map(self.model.owner_of, tokens)):
            wake = self.model.wakes[job_id]
            wake.token, wake.deliveries, wake.at = "", wake.deliveries - 1, min(wake.at, self.model.now)

    @rule(worker_id=WORKERS, queues=st.sets(QUEUES), lease=LEASES, limit=st.integers(1, 3))
    def claim_task(self, worker_id: str, queues: set[str], lease: int, limit: int = 1) -> None:
        """Lets a worker take a task, or some."""
        waiting = list(self.model.waiting(queues))

        taken = self.run(self.storage.claim_tasks(worker_id, sorted(queues), lease, limit))

        assert [task.id for task in taken.tasks] == waiting[:limit]
        assert taken.left == len(waiting[limit:])
        for task in taken.tasks:
            old, now = self.model.tasks[task.id], self.model.now
            self.model.put(
                replace(
                    old,
                    status=TaskStatus.CLAIMED,
                    worker_id=worker_id,
                    claimed_at=now,
                    lease_until=now + min(lease, old.timeout_seconds),
                    confirmed=False,
                    deliveries=old.deliveries + 1,
                )
            )
            self.model.record(task.job_id, ["task_started"])
            self.claims.append(TaskClaim(task.id, task.attempt, worker_id))

    @rule(pick=PICK, lease=LEASES)
    def renew(self, pick: int, lease: int) -> None:
        """Renews some claims that were made at some time."""
        claims = list(dict.fromkeys(self.claims[pick % (len(self.claims) + 1) :][:3]))
        expected = [claim for claim in claims if not self.renew_in_model(claim, lease)]

        assert self.run(self.storage.renew_tasks(claims, lease)) == expected

    def renew_in_model(self, claim: TaskClaim, lease: int) -> bool:
        """Renews one claim in the model; returns whether it holds."""
        if not self.model.holds(claim):
            return False
        task, now = self.model.tasks[claim.task_id], self.model.now
        assert task.claimed_at is not None
        limit = task.claimed_at + task.timeout_seconds
        can_go_on = task.status is TaskStatus.QUEUED and task.deliveries > 0 and now < limit
        if task.status is not TaskStatus.CLAIMED and not can_go_on:
            return False
        renewed = replace(task, status=TaskStatus.CLAIMED, lease_until=min(now + lease, limit), confirmed=True)
        self.model.put(renewed)
        return True

    @rule(pick=PICK)
    def release_task(self, pick: int) -> None:
        """Gives a task back that was claimed at some time."""
        if not self.claims:
            return
        claim = self.claims[pick % len(self.claims)]
        self.run(self.storage.release_task(claim))

        task = self.model.tasks[claim.task_id]
        if self.model.holds(claim) and task.status is TaskStatus.CLAIMED:
            back = {"worker_id": "", "claimed_at": None, "lease_until": None, "confirmed": False}
            self.model.put(replace(task, status=TaskStatus.QUEUED, deliveries=task.deliveries - 1, **back))
            self.model.queued.add(task.id)

    @rule(limit=st.integers(0, 3), lease=LEASES)
    def claim_timers(self, limit: int, lease: int) -> None:
        """Takes timers that are due; of those of one moment any may come first."""
        due = sorted(at for _, at in self.model.timers.values() if at <= self.model.now)

        timers = self.run(self.storage.claim_timers(limit, lease))

        keys = [(timer.job_id, timer.kind, timer.task_id) for timer in timers]
        assert [self.model.timers[key] for key in keys] == list(zip(timers, due[:limit], strict=False))
        for key, timer in zip(keys, timers, strict=True):
            self.model.timers[key] = timer, self.model.now + lease

    @rule(seconds=st.sampled_from([0, 1, 2, 5, 20]))
    def pass_time(self, seconds: int) -> None:
        """Lets time pass."""
        self.run(self.clock.advance(seconds))
        self.model.now += seconds

    @rule(pick=PICK)
    def acknowledge(self, pick: int) -> None:
        """Acknowledges some steps."""
        done = self.model.outbox[pick % (len(self.model.outbox) + 1) :][:3]
        self.run(self.storage.ack_events([f"{job_id}:{number}" for job_id, number, _ in done]))
        self.model.outbox = [row for row in self.model.outbox if row not in done]

    @rule(topics=st.sets(st.sampled_from(TOPICS)), limit=st.integers(0, 3), lease=LEASES)
    def claim_messages(self, topics: set[str], limit: int, lease: int) -> None:
        """Takes messages that are due."""
        now = self.model.now
        due = [message for message in self.model.waiting_mail(topics) if message.due_at <= now]
        expected = [replace(m, attempts=m.attempts + 1, due_at=now + lease) for m in due[:limit]]

        assert self.run(self.storage.claim_messages(sorted(topics), limit, lease)) == expected
        self.model.mail.update((message.id, message) for message in expected)

    @rule(pick=PICK, outcome=st.sampled_from(["delivered", "later", "dead", "again"]), seconds=SECONDS)
    def settle_message(self, pick: int, outcome: str, seconds: int) -> None:
        """Says what came of any message, claimed or not."""
        if not self.model.mail:
            return
        message = list(self.model.mail.values())[pick % len(self.model.mail)]
        now, is_dead = self.model.now, message.buried_at is not None
        match outcome:
            case "delivered":
                self.run(self.storage.ack_messages([message.id]))
                del self.model.mail[message.id]
                return
            case "later":
                self.run(self.storage.postpone_message(message.id, now + seconds, "later"))
                after = message if is_dead else replace(message, due_at=now + seconds, error="later")
            case "dead":
                self.run(self.storage.bury_message(message.id, "dead"))
                after = message if is_dead else replace(message, buried_at=now, error="dead")
            case _:
                assert self.run(self.storage.replay_messages([message.id])) == [message.id] * is_dead
                after = replace(message, due_at=now, attempts=0, buried_at=None) if is_dead else message
        self.model.mail[message.id] = after

    @rule(write=WRITES)
    def put_record(self, write: RecordWrite) -> None:
        """Writes a record, or tries to."""
        expected = self.model.is_expected(write)
        if expected:
            self.model.keep(write)
        assert self.run(self.storage.put_record(write)) == expected

    @rule(key=KEYS, limit=st.integers(0, 4), ttl=LEASES, amount=st.integers(-2, 3))
    def count(self, key: str, limit: int, ttl: int, amount: int) -> None:
        """Counts, gives back, or looks."""
        assert self.run(self.storage.count(key, limit, ttl, amount)) == self.model.count(key, limit, ttl, amount)

    # --- what must agree ---

    @invariant()
    def invariants_hold(self) -> None:
        """The storage finds no fault with itself."""
        assert self.run(self.storage.audit()) == []

    @invariant()
    def jobs_agree(self) -> None:
        """Jobs, their counts and what they wait for."""
        model = self.model
        for job_id, job in model.jobs.items():
            assert self.run(self.storage.find_job(job_id)) == job
            assert self.run(self.storage.find_wake_up(job_id)) == model.wake_up(job_id)
            assert self.run(self.storage.list_tasks(job_id)) == model.tasks_of(job_id)
        newest = sorted(model.jobs.values(), key=lambda job: (job.created_at, job.id), reverse=True)
        assert self.run(self.storage.list_jobs(JobQuery())) == newest
        assert self.run(self.storage.count_jobs()) == Counter(job.status for job in model.jobs.values())

    @invariant()
    def records_agree(self) -> None:
        """Each record, and the list of them."""
        kept = [record for key in sorted(self.model.records) if (record := self.model.kept(key))]
        assert self.run(self.storage.list_records("s")) == kept
        assert self.run(self.storage.find_record("s", "a")) == self.model.kept("a")

    @invariant()
    def queues_agree(self) -> None:
        """Queues, leases, the next moment and the outbox."""
        queues: list[Queue] = self.run(self.storage.list_queues())
        assert [(queue.name, queue.length, queue.oldest_at) for queue in queues] == self.model.queues()
        expired = self.run(self.storage.expired_tasks(100))
        overdue = [task for task in self.model.leases() if (task.lease_until or 0.0) <= self.model.now]
        assert [task.lease_until for task in expired] == [task.lease_until for task in overdue]
        assert {task.id for task in expired} == {task.id for task in overdue}
        for worker_id in ("w1", "w2"):
            held = [task for task in self.model.leases() if task.worker_id == worker_id]
            claims = sorted((TaskClaim(task.id, task.attempt, worker_id) for task in held), key=lambda c: c.task_id)
            assert self.run(self.storage.list_claims(worker_id)) == claims
        assert self.run(self.storage.next_wake_at()) == self.model.next_wake_at()
        for topics in ({"x", "y"}, {"x"}):
            at = min((message.due_at for message in self.model.waiting_mail(topics)), default=None)
            assert self.run(self.storage.next_message_at(sorted(topics))) == at
        for topic in (None, "x"):
            assert self.run(self.storage.list_dead_messages(topic)) == self.model.dead_mail(topic)
        steps = self.run(self.storage.read_events(1000))
        found = [(step.job_id, step.first, [event.type for event in step.decode()]) for step in steps]
        assert found == self.model.outbox
        assert all(e.sequence == n for step in steps for n, e in enumerate(step.decode(), step.first))


def test_storage_after_any_steps_agrees_with_the_model(
    make_storage: Callable[[FakeClock, Path], Storage], request: pytest.FixtureRequest
) -> None:
    """Whatever is asked of it in whatever order, a storage answers as the contract says."""
    machine = type("Machine", (StorageMachine,), {"make": staticmethod(make_storage)})
    # A server is asked thousands of times for each example.
    examples = 12 if "redis" in request.node.name else 40

    run_state_machine_as_test(machine, settings=settings(max_examples=examples, stateful_step_count=40, deadline=None))
