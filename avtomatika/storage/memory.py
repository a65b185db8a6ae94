"""The storage in this process: the fastest one, the model of the others, and gone when the process ends.

No method awaits anything, so each is one atomic step. Records are kept as bytes, or as values that never change: nobody
can change what is stored through an object that was handed out. Every queue is a heap, so no step looks at more than it
changes.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from msgspec import Struct
from msgspec.structs import replace

from avtomatika.core.job import Job, Task
from avtomatika.core.states import JobStatus, TaskStatus
from avtomatika.storage.base import (
    Batch,
    Committed,
    Duplicate,
    Fault,
    JobClaim,
    JobQuery,
    Listener,
    Outcome,
    Progress,
    Signal,
    Stale,
    Storage,
    Timer,
    WakeUp,
)
from avtomatika.storage.codec import encode_change, encode_changeable_fields, encode_message, encode_task
from avtomatika.storage.invariants import JobFacts, check_counts, check_job
from avtomatika.storage.memory_beside import MemoryBeside
from avtomatika.storage.memory_tables import JobRow, TimerKey
from avtomatika.storage.memory_tasks import MemoryTasks
from avtomatika.storage.records import check_name, next_position, signals_of
from avtomatika.storage.rows import encode_rows


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


class MemoryStorage(MemoryTasks, MemoryBeside, Storage):
    """A storage that lives in this process.

    Args:
        clock: what moments are measured by; None for the machine's clock.
    """

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

    def _is_current(self, row: JobRow | None, batch: Batch) -> bool:
        """Whether nobody was faster."""
        if batch.job.version != (1 if row is None else row.job.version + 1):
            return False
        if batch.claim and not self._ready.holds(batch.job.id, batch.claim):
            return False
        if batch.records and not all(self._records.is_expected(write, self._clock.now()) for write in batch.records):
            return False
        return all(map(self._tasks.is_held, batch.task_claims))

    def _prepare(self, row: JobRow | None, batch: Batch) -> _Prepared:
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

    def _prepare_tasks(self, row: JobRow | None, batch: Batch) -> list[tuple[Task, bytes, bool]]:
        closed: list[Task] = []
        if row is not None and batch.cancel_open_tasks:
            held = map(self._load_task, row.open_tasks)
            closed = [replace(task, status=TaskStatus.CANCELLED, ended_at=batch.at) for task in held]
        # A batch may close all open tasks and say more of some of them: what it says in particular comes last.
        written = [(task, encode_task(task), False) for task in (*closed, *batch.save_tasks)]
        return written + [(task, encode_task(task), True) for task in batch.queue_tasks]

    def _write_job(self, row: JobRow | None, batch: Batch, prepared: _Prepared) -> JobRow:
        job = batch.job
        if row is None:
            row = JobRow(job, prepared.encoded)
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

    def _apply(self, row: JobRow, batch: Batch, prepared: _Prepared) -> None:
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

    async def find_job(self, job_id: str) -> Job | None:
        """Returns the job as last committed."""
        row = self._jobs.get(job_id)
        return None if row is None else row.load()

    async def list_jobs(self, query: JobQuery) -> list[Job]:
        """Returns jobs, newest first."""
        chosen = itertools.islice(self._newest(query), query.offset, query.offset + query.limit)
        return [row.load() for row in chosen]

    def _newest(self, query: JobQuery) -> Iterator[JobRow]:
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

    # --- time ---

    def _set_timer(self, row: JobRow, timer: Timer) -> None:
        key = (timer.job_id, timer.kind, timer.task_id)
        self._timers[key] = timer
        row.timers[key] = None
        self._timers_due.put(key, (timer.at,))

    def _clear_timer(self, row: JobRow, key: TimerKey) -> None:
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
