"""The storage in this process: the fastest one, the model of the others, and gone when the process ends.

No method awaits anything, so each is one atomic step. Records are kept as bytes, or as values that never change: nobody
can change what is stored through an object that was handed out. Every queue is a heap, so no step looks at more than it
changes.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left, bisect_right, insort
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from msgspec import Struct
from msgspec.structs import replace

from avtomatika.clock import Clock, SystemClock
from avtomatika.core.effects import RecordHistory
from avtomatika.core.events import TimerKind
from avtomatika.core.job import Job, Task
from avtomatika.core.states import JobStatus, TaskStatus
from avtomatika.protocol.messages import WorkerProfile
from avtomatika.storage.base import (
    Batch,
    Changes,
    Committed,
    Count,
    Duplicate,
    Fault,
    JobClaim,
    JobQuery,
    Listener,
    Message,
    Outcome,
    Progress,
    Queue,
    Record,
    RecordWrite,
    Sighting,
    Signal,
    Stale,
    Storage,
    TakenTasks,
    TaskClaim,
    Timer,
    WakeUp,
)
from avtomatika.storage.codec import (
    decode_change,
    decode_job_fields,
    decode_task,
    decode_worker,
    encode_change,
    encode_changeable_fields,
    encode_message,
    encode_task,
    encode_worker,
    refresh_worker,
)
from avtomatika.storage.heap import LazyHeap
from avtomatika.storage.invariants import JobFacts, check_counts, check_job
from avtomatika.storage.listeners import Listeners
from avtomatika.storage.mailbox import Mailbox
from avtomatika.storage.queues import ReadyQueue, TaskTable
from avtomatika.storage.record_table import CounterTable, RecordTable
from avtomatika.storage.records import (
    check_name,
    first_position,
    message_signals,
    next_position,
    signals_of,
    task_signal,
)
from avtomatika.storage.rows import HistoryStep, encode_rows

_TimerKey = tuple[str, TimerKind, str]


@dataclass(slots=True)
class _JobRow:
    """A job as stored, with what must be known of it without decoding.

    Args:
        job: the job, but for the fields that are kept as bytes.
        encoded: fields in which a caller could change something, as bytes: each reader gets values of its own.
        rows: rows that its history has had.
        acknowledged: how many of them have left the outbox.
        tasks: ids of all its tasks.
        open_tasks: ids of those that have not ended, as keys.
        ended_at: when it ended, or 0.
        timers: keys of its timers, as keys.
    """

    job: Job
    encoded: dict[str, bytes]
    rows: int = 0
    acknowledged: int = 0
    tasks: list[str] = field(default_factory=list)
    open_tasks: dict[str, None] = field(default_factory=dict)
    timers: dict[_TimerKey, None] = field(default_factory=dict)
    ended_at: float = 0.0

    def load(self) -> Job:
        """Returns the job as last committed."""
        return replace(self.job, **decode_job_fields(self.encoded)) if self.encoded else self.job


class _Prepared(Struct, frozen=True):
    """What a batch writes, in values of the storage's own: all that can fail has been done, nothing is written.

    Args:
        encoded: fields of the job as bytes; the others are kept as they are.
        tasks: in order, each with its bytes and whether it is handed out.
        rows: of the history, or None.
        change: for the log of changes.
    """

    encoded: dict[str, bytes]
    tasks: Sequence[tuple[Task, bytes, bool]]
    rows: bytes | None
    change: bytes


class MemoryStorage(Storage):
    """A storage that lives in this process.

    Args:
        clock: what moments are measured by; None for the machine's clock.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock: Clock = SystemClock() if clock is None else clock
        self._jobs: dict[str, _JobRow] = {}
        self._by_creation: list[tuple[float, str]] = []
        self._counts: Counter[JobStatus] = Counter()
        self._created = 0
        self._ready = ReadyQueue()
        self._tasks = TaskTable()
        self._timers: dict[_TimerKey, Timer] = {}
        self._timers_due: LazyHeap[_TimerKey] = LazyHeap()
        self._outbox: OrderedDict[str, tuple[HistoryStep, int]] = OrderedDict()
        self._mailbox = Mailbox()
        self._records = RecordTable()
        self._counters = CounterTable()
        self._progress: dict[str, Progress] = {}
        self._dedupe: dict[str, Duplicate] = {}
        self._dedupe_ends: LazyHeap[str] = LazyHeap()
        self._workers: dict[str, tuple[bytes, float]] = {}
        self._workers_end: LazyHeap[str] = LazyHeap()
        self._ended: LazyHeap[str] = LazyHeap()
        self._listeners = Listeners()
        # The log of changes, and the position of each.
        self._changes: list[bytes] = []
        self._positions: list[int] = []
        # What was told before this object was made, nobody can tell any more.
        self._changes_floor = self._last_position = first_position(self._clock.now())

    async def open(self) -> None:
        """Does nothing: there is nothing to connect to."""

    async def close(self) -> None:
        """Does nothing: the jobs live as long as this object."""

    def subscribe(self, listener: Listener, *kinds: str) -> Callable[[], None]:
        """Calls ``listener`` at the end of each step."""
        return self._listeners.add(listener, kinds)

    async def now(self) -> float:
        """Returns the moment on the clock."""
        return self._clock.now()

    # --- jobs ---

    async def commit(self, batch: Batch) -> Outcome:
        """Applies the batch or nothing."""
        if batch.dedupe is not None:
            self._forget_dedupe_keys()
            if (first := self._dedupe.get(batch.dedupe.key)) is not None:
                return first
        row = self._jobs.get(batch.job.id)
        if not self._is_current(row, batch):
            return Stale(0 if row is None else row.job.version)
        prepared = self._prepare(row, batch)
        self._apply(self._write_job(row, batch, prepared), batch, prepared)
        self._last_position = next_position(self._last_position, self._clock.now())
        self._changes.append(prepared.change)
        self._positions.append(self._last_position)
        self._listeners.tell(signals_of(batch))
        return Committed(batch.job.version)

    def _is_current(self, row: _JobRow | None, batch: Batch) -> bool:
        """Whether nobody was faster."""
        if batch.job.version != (1 if row is None else row.job.version + 1):
            return False
        if batch.claim and not self._ready.holds(batch.job.id, batch.claim):
            return False
        if batch.records and not all(self._records.is_expected(write, self._clock.now()) for write in batch.records):
            return False
        return all(map(self._tasks.is_held, batch.task_claims))

    def _prepare(self, row: _JobRow | None, batch: Batch) -> _Prepared:
        """Encodes all that the batch writes."""
        job = batch.job
        for message in batch.messages:
            encode_message(message)  # never changes, so it is kept as it is; but no storage takes what another cannot
        for write in batch.records:
            check_name(write.space, write.key)
        has_tasks = batch.cancel_open_tasks or batch.save_tasks or batch.queue_tasks
        return _Prepared(
            encode_changeable_fields(job, None if row is None else batch.changed),
            self._prepare_tasks(row, batch) if has_tasks else (),
            encode_rows(job.blueprint, batch.at, batch.events) if batch.events else None,
            encode_change(job),
        )

    def _prepare_tasks(self, row: _JobRow | None, batch: Batch) -> list[tuple[Task, bytes, bool]]:
        closed: list[Task] = []
        if row is not None and batch.cancel_open_tasks:
            held = map(self._load_task, row.open_tasks)
            closed = [replace(task, status=TaskStatus.CANCELLED, ended_at=batch.at) for task in held]
        # A batch may close all open tasks and say more of some of them: what it says in particular comes last.
        written = [(task, encode_task(task), False) for task in (*closed, *batch.save_tasks)]
        return written + [(task, encode_task(task), True) for task in batch.queue_tasks]

    def _write_job(self, row: _JobRow | None, batch: Batch, prepared: _Prepared) -> _JobRow:
        job = batch.job
        if row is None:
            row = _JobRow(job, prepared.encoded)
            self._jobs[job.id] = row
            insort(self._by_creation, (job.created_at, job.id))
            self._created += 1
            self._counts[job.status] += 1
            if batch.dedupe is not None:
                self._remember(batch.dedupe.key, Duplicate(job.id, batch.dedupe.fingerprint), batch.dedupe.ttl)
        else:
            self._counts[row.job.status] -= 1
            plain = {name: getattr(job, name) for name in batch.changed if name not in prepared.encoded}
            plain["version"] = job.version
            row.job = replace(row.job, **plain)
            for name in row.encoded.keys() & plain.keys():
                del row.encoded[name]
            row.encoded |= prepared.encoded
            self._counts[row.job.status] += 1
        if job.is_terminal:
            row.ended_at = job.updated_at
            self._ended.put(job.id, (row.ended_at,))
        elif row.ended_at:
            row.ended_at = 0.0
            self._ended.discard(job.id)
        return row

    def _apply(self, row: _JobRow, batch: Batch, prepared: _Prepared) -> None:
        """Writes everything but the job itself."""
        for task, raw, in_queue in prepared.tasks:
            self._write_task(row, task, raw, in_queue=in_queue)
        if batch.cancel_open_tasks:
            for key in [key for key in row.timers if key[2]]:
                self._clear_timer(row, key)
        for timer in batch.clear_timers:
            self._clear_timer(row, (timer.job_id, timer.kind, timer.task_id))
        for timer in batch.set_timers:
            self._set_timer(row, timer)
        if prepared.rows is not None:
            self._append(row, batch.job.id, prepared.rows, len(batch.events))
        for message in batch.messages:
            self._mailbox.put(message)
        for write in batch.records:
            self._records.write(write, self._clock.now())
        self._write_wake_up(batch)
        if batch.finish:
            for key in tuple(row.timers):
                self._clear_timer(row, key)
            self._progress.pop(batch.job.id, None)

    def _write_wake_up(self, batch: Batch) -> None:
        job_id = batch.job.id
        if batch.finish:
            self._ready.forget(job_id)
        elif batch.claim and batch.keep_claim:
            if batch.ready is not None:
                self._ready.renew(job_id, batch.ready)
        elif batch.ready is not None:
            if batch.hold is None:
                self._ready.put(job_id, batch.ready)
            else:
                self._ready.hold(job_id, batch.ready, batch.hold, self._clock.now() + batch.hold.lease)
        elif batch.claim:
            self._ready.forget(job_id)

    def _remember(self, key: str, first: Duplicate, ttl: float) -> None:
        self._dedupe[key] = first
        self._dedupe_ends.put(key, (self._clock.now() + ttl,))

    def _forget_dedupe_keys(self) -> None:
        for key in self._dedupe_ends.pop_until(self._clock.now()):
            del self._dedupe[key]

    def _append(self, row: _JobRow, job_id: str, raw: bytes, number: int) -> None:
        """Puts rows of history into the outbox."""
        step = HistoryStep(job_id, row.rows + 1, raw)
        self._outbox[step.id] = (step, number)
        row.rows += number

    async def find_job(self, job_id: str) -> Job | None:
        """Returns the job as last committed."""
        row = self._jobs.get(job_id)
        return None if row is None else row.load()

    async def list_jobs(self, query: JobQuery) -> list[Job]:
        """Returns jobs, newest first."""
        chosen = itertools.islice(self._newest(query), query.offset, query.offset + query.limit)
        return [row.load() for row in chosen]

    def _newest(self, query: JobQuery) -> Iterator[_JobRow]:
        """Returns the rows that the query means, newest first."""
        end = len(self._by_creation) if query.before is None else bisect_left(self._by_creation, query.before)
        for position in range(end - 1, -1, -1):
            created_at, job_id = self._by_creation[position]
            if query.since is not None and created_at < query.since:
                return
            row = self._jobs[job_id]
            if (
                query.client in {None, row.job.client.name}
                and query.status in {None, row.job.status}
                and query.blueprint in {None, row.job.blueprint}
            ):
                yield row

    async def count_jobs(self) -> dict[JobStatus, int]:
        """Returns the numbers that the commits kept."""
        return dict(+self._counts)

    async def find_wake_up(self, job_id: str) -> WakeUp:
        """Returns what the job waits for."""
        row = self._jobs.get(job_id)
        if row is None:
            return WakeUp()
        timers = tuple(sorted((self._timers[key] for key in row.timers), key=lambda t: (t.at, t.kind, t.task_id)))
        tasks = tuple(self._in_order(row.open_tasks))
        entry = self._ready.find(job_id)
        if entry is None:
            return WakeUp(timers=timers, tasks=tasks)
        if entry.token and entry.until > self._clock.now():
            return WakeUp(claimed_by=entry.owner, claimed_until=entry.until, timers=timers, tasks=tasks)
        return WakeUp(ready_at=entry.at, timers=timers, tasks=tasks)

    async def put_progress(self, job_id: str, progress: Progress) -> None:
        """Remembers the progress until the job ends."""
        row = self._jobs.get(job_id)
        if row is not None and not row.job.is_terminal:
            self._progress[job_id] = progress
            self._listeners.tell([Signal("progress", job_id)])

    async def find_progress(self, job_id: str) -> Progress | None:
        """Returns the last progress."""
        return self._progress.get(job_id)

    # --- the ready queue ---

    async def claim_jobs(self, owner: str, limit: int, lease: float) -> list[JobClaim]:
        """Takes due wake-ups."""
        now = self._clock.now()
        taken = self._ready.claim(owner, limit, now + lease, now)
        if taken:
            self._listeners.tell([Signal("timer", at=now + lease)])
        return [JobClaim(self._jobs[w.job_id].load(), w.token, w.deliveries) for w in taken]

    async def extend_claims(self, tokens: Sequence[str], lease: float) -> list[str]:
        """Moves the ends of claims."""
        until = self._clock.now() + lease
        lost = [token for token in tokens if not self._ready.extend(token, until)]
        if len(lost) < len(tokens):
            self._listeners.tell([Signal("timer", at=until)])
        return lost

    async def release_claims(self, tokens: Sequence[str]) -> None:
        """Gives claims back."""
        now = self._clock.now()
        released = [wake_up for token in tokens if (wake_up := self._ready.release(token, now))]
        self._listeners.tell(Signal("ready", at=wake_up.at) for wake_up in released)

    # --- tasks ---

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
        task = self._load_task(claim.task_id)
        claimed_at = now if task.claimed_at is None else task.claimed_at
        limit = claimed_at + task.timeout_seconds
        if task.status is not TaskStatus.CLAIMED:
            # Queued again: the worker may go on with the attempt that it was given, within the time it was given.
            was_given = task.status is TaskStatus.QUEUED and task.deliveries > 0
            if not was_given or limit <= now:
                return None
        until = min(now + lease, limit)
        self._hold(
            replace(task, status=TaskStatus.CLAIMED, claimed_at=claimed_at, lease_until=until, confirmed=True), until
        )
        return until

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

    def _write_task(self, job: _JobRow, task: Task, raw: bytes, *, in_queue: bool = False) -> None:
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

    # --- time ---

    def _set_timer(self, row: _JobRow, timer: Timer) -> None:
        key = (timer.job_id, timer.kind, timer.task_id)
        self._timers[key] = timer
        row.timers[key] = None
        self._timers_due.put(key, (timer.at,))

    def _clear_timer(self, row: _JobRow, key: _TimerKey) -> None:
        if self._timers.pop(key, None) is not None:
            del row.timers[key]
            self._timers_due.discard(key)

    async def claim_timers(self, limit: int, lease: float) -> list[Timer]:
        """Takes timers that are due."""
        now = self._clock.now()
        keys = self._timers_due.pop_until(now, limit)
        for key in keys:
            self._timers_due.put(key, (now + lease,))
        if keys:
            self._listeners.tell([Signal("timer", at=now + lease)])
        return [self._timers[key] for key in keys]

    async def expired_tasks(self, limit: int) -> list[Task]:
        """Returns claimed tasks whose lease has ended."""
        return [self._load_task(task_id) for task_id in self._tasks.leases.peek_until(self._clock.now(), limit)]

    async def next_wake_at(self) -> float | None:
        """Returns the earliest moment at which there is something to do."""
        moments = self._ready.next_at(self._clock.now())
        moments += [first[0][0] for heap in (self._timers_due, self._tasks.leases) if (first := heap.first())]
        return min(moments, default=None)

    # --- the outbox: history ---

    async def read_events(self, limit: int) -> list[HistoryStep]:
        """Returns the history of the oldest steps."""
        return [step for step, _ in itertools.islice(self._outbox.values(), limit)]

    async def ack_events(self, step_ids: Sequence[str]) -> None:
        """Forgets rows."""
        for acknowledged in [self._outbox.pop(step_id, None) for step_id in step_ids]:
            if acknowledged is not None:
                step, number = acknowledged
                self._jobs[step.job_id].acknowledged += number

    # --- the outbox: messages ---

    async def claim_messages(self, topics: Sequence[str], limit: int, lease: float) -> list[Message]:
        """Takes due messages."""
        now = self._clock.now()
        return self._mailbox.claim(topics, limit, now, now + lease)

    async def ack_messages(self, message_ids: Sequence[str]) -> None:
        """Forgets messages."""
        for message_id in message_ids:
            self._mailbox.ack(message_id)

    async def postpone_message(self, message_id: str, at: float, error: str) -> None:
        """Moves the moment of a message."""
        message = self._mailbox.postpone(message_id, at, error)
        if message is not None:
            self._listeners.tell(message_signals([message]))

    async def bury_message(self, message_id: str, error: str) -> None:
        """Makes a message a dead letter."""
        self._mailbox.bury(message_id, self._clock.now(), error)

    async def list_dead_messages(
        self, topic: str | None = None, limit: int = 100, before: tuple[float, str] | None = None
    ) -> list[Message]:
        """Returns dead letters, last buried first."""
        return list(itertools.islice(self._mailbox.dead_letters(topic, before), limit))

    async def replay_messages(self, message_ids: Sequence[str]) -> list[str]:
        """Makes dead letters due."""
        now = self._clock.now()
        replayed = [message for message_id in message_ids if (message := self._mailbox.replay(message_id, now))]
        self._listeners.tell(message_signals(replayed))
        return [message.id for message in replayed]

    async def next_message_at(self, topics: Sequence[str]) -> float | None:
        """Returns when the next message is due."""
        return self._mailbox.next_at(topics)

    # --- the log of changes ---

    async def read_changes(self, after: int | None, limit: int) -> Changes:
        """Returns changes behind a position."""
        first = len(self._changes) if after is None else bisect_right(self._positions, after)
        wanted = slice(first, first + limit)
        entries = list(map(decode_change, self._positions[wanted], self._changes[wanted]))
        end = max(self._last_position, first_position(self._clock.now()) - 1)
        return Changes(entries, self._changes_floor, end)

    async def trim_changes(self, age: float, keep: int) -> None:
        """Forgets changes."""
        old = bisect_left(self._positions, first_position(self._clock.now() - age))
        gone = max(old, len(self._changes) - keep)
        if gone > 0:
            self._changes_floor = self._positions[gone - 1] + 1
            del self._changes[:gone], self._positions[:gone]

    # --- records and counters ---

    async def find_record(self, space: str, key: str) -> Record | None:
        """Returns the record."""
        return self._records.find(space, key, self._clock.now())

    async def put_record(self, write: RecordWrite) -> bool:
        """Writes a record if nobody was faster."""
        check_name(write.space, write.key)
        now = self._clock.now()
        if not self._records.is_expected(write, now):
            return False
        self._records.write(write, now)
        return True

    async def list_records(self, space: str, after: str = "", limit: int = 100) -> list[Record]:
        """Returns records of a space, by key."""
        return list(itertools.islice(self._records.behind(space, after, self._clock.now()), limit))

    async def count(self, key: str, limit: int, ttl: float, amount: int = 1) -> Count:
        """Counts, unless that would be too much."""
        check_name(key)
        return self._counters.count(key, limit, ttl, amount, self._clock.now())

    # --- workers ---

    async def put_worker(self, worker: WorkerProfile, ttl: float) -> None:
        """Remembers the worker."""
        self._forget_workers()
        until = self._clock.now() + ttl
        self._workers[worker.worker_id] = (encode_worker(worker), until)
        self._workers_end.put(worker.worker_id, (until,))

    async def refresh_workers(self, sightings: Sequence[Sighting], ttl: float) -> list[str]:
        """Moves the moments of workers that are as the caller knows them."""
        self._forget_workers()
        until, others = self._clock.now() + ttl, []
        for sighting in sightings:
            raw, _ = self._workers.get(sighting.worker_id, (None, 0.0))
            seen = refresh_worker(raw, sighting)
            if seen is None:
                others.append(sighting.worker_id)
            else:
                self._workers[sighting.worker_id] = seen, until
                self._workers_end.put(sighting.worker_id, (until,))
        return others

    async def find_worker(self, worker_id: str) -> WorkerProfile | None:
        """Returns the worker if its time has not run out."""
        self._forget_workers()
        known = self._workers.get(worker_id)
        return None if known is None else decode_worker(known[0])

    async def list_workers(self) -> list[WorkerProfile]:
        """Returns the workers by id."""
        self._forget_workers()
        return [decode_worker(self._workers[worker_id][0]) for worker_id in sorted(self._workers)]

    async def remove_worker(self, worker_id: str) -> None:
        """Forgets the worker."""
        self._workers.pop(worker_id, None)
        self._workers_end.discard(worker_id)

    def _forget_workers(self) -> None:
        for worker_id in self._workers_end.pop_until(self._clock.now()):
            del self._workers[worker_id]

    # --- retention ---

    async def purge_jobs(self, ended_before: float, limit: int) -> list[str]:
        """Forgets jobs that ended long ago."""
        purged: list[str] = []
        kept: list[str] = []
        while len(purged) < limit:
            first = self._ended.first()
            if first is None or first[0][0] >= ended_before:
                break
            job_id = self._ended.pop()
            row, mail = self._jobs[job_id], self._mailbox.jobs.get(job_id)
            if row.rows > row.acknowledged or (mail and not mail.may_go(ended_before)):
                kept.append(job_id)
            else:
                self._forget_job(job_id)
                purged.append(job_id)
        for job_id in kept:
            self._ended.put(job_id, (self._jobs[job_id].ended_at,))
        return purged

    def _forget_job(self, job_id: str) -> None:
        row = self._jobs.pop(job_id)
        del self._by_creation[bisect_left(self._by_creation, (row.job.created_at, job_id))]
        self._counts[row.job.status] -= 1
        self._created -= 1
        for task_id in row.tasks:
            self._tasks.forget(task_id)
        self._mailbox.forget_job(job_id)

    # --- proof ---

    async def audit(self) -> list[Fault]:
        """Collects the facts of every job and checks them."""
        jobs = {job_id: row.load() for job_id, row in self._jobs.items()}
        mail = {job_id: self._mailbox.counts(job_id) for job_id in jobs}
        parents = {job.parent_job_id for job_id, job in jobs.items() if not job.is_terminal or mail[job_id].waiting}
        waiting: dict[str, list[int]] = {}
        for step, number in self._outbox.values():
            waiting.setdefault(step.job_id, []).extend(range(step.first, step.first + number))
        faults = check_counts(self._created, self._counts, Counter(job.status for job in jobs.values()))
        for job_id, job in jobs.items():
            row = self._jobs[job_id]
            facts = JobFacts(
                job,
                wake_ups=self._ready.count(job_id),
                timers=sum(key in self._timers_due for key in row.timers),
                open_tasks=self._in_order(row.open_tasks),
                unreachable=[task_id for task_id in row.open_tasks if not self._tasks.is_reachable(task_id)],
                has_live_child=job_id in parents,
                rows=row.rows,
                acknowledged=row.acknowledged,
                waiting_rows=waiting.get(job_id, ()),
                has_progress=job_id in self._progress,
                mail=mail[job_id],
            )
            faults += check_job(facts)
        return faults
