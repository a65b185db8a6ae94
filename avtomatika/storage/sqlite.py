"""The storage in one SQLite file: jobs outlive the process, with nothing to install or run beside it.

Steps are written by one thread in groups (``sqlite_writer``); reads use a connection of their own, which never waits
for the writer and sees all that was acknowledged. Several processes on one machine may share the file.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
from collections.abc import Callable, Sequence
from typing import Concatenate, ParamSpec, TypeVar

from avtomatika.clock import Clock, SystemClock
from avtomatika.core.job import Job, Task
from avtomatika.core.states import JobStatus
from avtomatika.errors import StorageError
from avtomatika.protocol.messages import WorkerProfile
from avtomatika.storage import (
    sqlite_changes,
    sqlite_jobs,
    sqlite_messages,
    sqlite_reads,
    sqlite_records,
    sqlite_tasks,
    sqlite_workers,
)
from avtomatika.storage.base import (
    Batch,
    Changes,
    Count,
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
    Storage,
    TakenTasks,
    TaskClaim,
    Timer,
    WakeUp,
)
from avtomatika.storage.listeners import Listeners
from avtomatika.storage.records import check_name
from avtomatika.storage.rows import HistoryStep
from avtomatika.storage.sqlite_file import failure, open_reader, parse_location
from avtomatika.storage.sqlite_step import Step
from avtomatika.storage.sqlite_writer import Writer

log = logging.getLogger(__name__)
P = ParamSpec("P")
T = TypeVar("T")


class SQLiteStorage(Storage):
    """A storage in one SQLite file.

    Args:
        path_or_uri: a path, ``sqlite:path``, or ``sqlite:///path`` (``sqlite:////path`` for an absolute one).
        clock: what moments are measured by; None for the machine's clock. It is also asked in another thread.

    Raises:
        ConfigError: there is no path.
    """

    def __init__(self, path_or_uri: str | os.PathLike[str], clock: Clock | None = None) -> None:
        self.path = parse_location(path_or_uri)
        self._clock: Clock = SystemClock() if clock is None else clock
        self._writer: Writer | None = None
        self._reader: sqlite3.Connection | None = None
        self._listeners = Listeners()
        self._opening = asyncio.Lock()

    async def open(self) -> None:
        """Opens the file; makes it, or brings an older one up to date.

        Raises:
            ConfigError: the directory is missing, or the file is another program's, newer, or cannot be written.
            StorageError: another program keeps the file locked.
        """
        async with self._opening:
            if self._writer is not None:
                return
            writer = Writer(self.path, self._clock, self._listeners.tell)
            await writer.open()
            try:
                self._reader = open_reader(self.path)
            except BaseException:
                await writer.close()
                raise
            self._writer = writer

    async def close(self) -> None:
        """Finishes the steps that wait, and closes the file."""
        async with self._opening:
            writer, self._writer = self._writer, None
            reader, self._reader = self._reader, None
            if reader is not None:
                reader.close()
            if writer is not None:
                await writer.close()

    def subscribe(self, listener: Listener, *kinds: str) -> Callable[[], None]:
        """Calls ``listener`` after each step; for steps of other processes within a fifth of a second."""
        return self._listeners.add(listener, kinds)

    async def now(self) -> float:
        """Returns the moment on the clock."""
        return self._clock.now()

    # --- how steps and reads are run ---

    def _write(self, call: Callable[Concatenate[Step, P], T], *args: P.args, **kwargs: P.kwargs) -> asyncio.Future[T]:
        """Runs a step in the next transaction of the writer."""
        if self._writer is None:
            raise self._not_open()
        return self._writer.submit(lambda step: call(step, *args, **kwargs))

    def _read(self, call: Callable[Concatenate[Step, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Reads, here and now: a read in WAL mode waits for nobody and takes microseconds."""
        if self._reader is None:
            raise self._not_open()
        try:
            self._reader.execute("BEGIN")  # all that one call reads is of one moment
            try:
                return call(Step(self._reader, self._clock.now()), *args, **kwargs)
            finally:
                self._reader.execute("COMMIT")
        except sqlite3.Error as error:
            raise failure(self.path, error) from error

    async def _take(self, taking: asyncio.Future[T], give_back: Callable[[T], object]) -> T:
        """Waits for a claim; one whose caller has gone meanwhile is given back, not left to its lease."""
        try:
            return await asyncio.shield(taking)
        except asyncio.CancelledError:
            taking.add_done_callback(lambda done: self._give_back(done, give_back))
            raise

    def _give_back(self, done: asyncio.Future[T], give_back: Callable[[T], object]) -> None:
        if not done.cancelled() and done.exception() is None and self._writer is not None:
            give_back(done.result())

    def _not_open(self) -> StorageError:
        return StorageError(f"storage '{self.path}' is not open; await storage.open() first.")

    # --- jobs ---

    async def commit(self, batch: Batch) -> Outcome:
        """Applies the batch or nothing."""
        for write in batch.records:
            check_name(write.space, write.key)
        return await self._write(sqlite_jobs.commit, batch)

    async def find_job(self, job_id: str) -> Job | None:
        """Returns the job as last committed."""
        return self._read(sqlite_reads.load_job, job_id)

    async def list_jobs(self, query: JobQuery) -> list[Job]:
        """Returns jobs, newest first."""
        return self._read(sqlite_reads.list_jobs, query)

    async def count_jobs(self) -> dict[JobStatus, int]:
        """Returns the numbers that the commits kept."""
        return self._read(sqlite_reads.count_jobs)

    async def find_wake_up(self, job_id: str) -> WakeUp:
        """Returns what the job waits for."""
        return self._read(sqlite_reads.find_wake_up, job_id)

    async def put_progress(self, job_id: str, progress: Progress) -> None:
        """Remembers the progress until the job ends."""
        await self._write(sqlite_jobs.put_progress, job_id, progress)

    async def find_progress(self, job_id: str) -> Progress | None:
        """Returns the last progress."""
        return self._read(sqlite_reads.find_progress, job_id)

    # --- the ready queue ---

    async def claim_jobs(self, owner: str, limit: int, lease: float) -> list[JobClaim]:
        """Takes due wake-ups."""
        # An engine that asks in vain must not keep the others from writing: look first.
        if limit <= 0 or not self._read(sqlite_reads.has_due_jobs):
            return []
        taking = self._write(sqlite_jobs.claim_jobs, owner, limit, lease)
        return await self._take(taking, self._give_jobs_back)

    def _give_jobs_back(self, claims: Sequence[JobClaim]) -> None:
        if claims:
            self._write(sqlite_jobs.release_claims, [claim.token for claim in claims])

    async def extend_claims(self, tokens: Sequence[str], lease: float) -> list[str]:
        """Moves the ends of claims."""
        return await self._write(sqlite_jobs.extend_claims, tuple(tokens), lease)

    async def release_claims(self, tokens: Sequence[str]) -> None:
        """Gives claims back."""
        await self._write(sqlite_jobs.release_claims, tuple(tokens))

    # --- tasks ---

    async def claim_task(self, worker_id: str, queues: Sequence[str], lease: float) -> Task | None:
        """Takes the first task of the queues."""
        taken = await self.claim_tasks(worker_id, queues, lease, 1)
        return taken.tasks[0] if taken.tasks else None

    async def claim_tasks(
        self,
        worker_id: str,
        queues: Sequence[str],
        lease: float,
        limit: int,
        job_limit: int = 0,  # noqa: ARG002 - a job is read beside the writer, and that is quick
    ) -> TakenTasks:
        """Takes the first tasks of the queues."""
        if not self._read(sqlite_reads.has_tasks, queues):
            return TakenTasks([], 0)
        taking = self._write(sqlite_tasks.claim_tasks, worker_id, tuple(queues), lease, limit)
        return await self._take(taking, self._give_tasks_back)

    def _give_tasks_back(self, taken: TakenTasks) -> None:
        for task in taken.tasks:
            self._write(sqlite_tasks.release_task, TaskClaim(task.id, task.attempt, task.worker_id))

    async def renew_tasks(self, claims: Sequence[TaskClaim], lease: float) -> list[TaskClaim]:
        """Moves the ends of claims."""
        return await self._write(sqlite_tasks.renew_tasks, tuple(claims), lease)

    async def list_claims(self, worker_id: str) -> list[TaskClaim]:
        """Returns the claims of the worker."""
        return self._read(sqlite_reads.list_claims, worker_id)

    async def release_task(self, claim: TaskClaim) -> None:
        """Puts a task back."""
        await self._write(sqlite_tasks.release_task, claim)

    async def find_task(self, task_id: str) -> Task | None:
        """Returns the task as stored."""
        return self._read(sqlite_reads.find_task, task_id)

    async def list_tasks(self, job_id: str, fan_out: str | None = None) -> list[Task]:
        """Returns the tasks of a job."""
        return self._read(sqlite_reads.list_tasks, job_id, fan_out)

    async def list_queues(self) -> list[Queue]:
        """Returns the queues in which tasks wait, by name."""
        return self._read(sqlite_reads.list_queues)

    # --- time ---

    async def claim_timers(self, limit: int, lease: float) -> list[Timer]:
        """Takes timers that are due."""
        if limit <= 0 or not self._read(sqlite_reads.has_due_timers):
            return []
        return await self._write(sqlite_jobs.claim_timers, limit, lease)

    async def expired_tasks(self, limit: int) -> list[Task]:
        """Returns claimed tasks whose lease has ended."""
        return self._read(sqlite_reads.expired_tasks, limit)

    async def next_wake_at(self) -> float | None:
        """Returns the earliest moment at which there is something to do."""
        return self._read(sqlite_reads.next_wake_at)

    # --- the outbox: history ---

    async def read_events(self, limit: int) -> list[HistoryStep]:
        """Returns the history of the oldest steps."""
        return self._read(sqlite_reads.read_events, limit)

    async def ack_events(self, step_ids: Sequence[str]) -> None:
        """Forgets rows."""
        await self._write(sqlite_jobs.ack_events, tuple(step_ids))

    # --- the outbox: messages ---

    async def claim_messages(self, topics: Sequence[str], limit: int, lease: float) -> list[Message]:
        """Takes due messages."""
        if limit <= 0 or not self._read(sqlite_messages.has_due_messages, topics):
            return []
        taking = self._write(sqlite_messages.claim_messages, tuple(topics), limit, lease)
        return await self._take(taking, self._give_messages_back)

    def _give_messages_back(self, messages: Sequence[Message]) -> None:
        if messages:
            self._write(sqlite_messages.release_messages, [message.id for message in messages])

    async def ack_messages(self, message_ids: Sequence[str]) -> None:
        """Forgets messages."""
        await self._write(sqlite_messages.ack_messages, tuple(message_ids))

    async def postpone_message(self, message_id: str, at: float, error: str) -> None:
        """Moves the moment of a message."""
        await self._write(sqlite_messages.postpone_message, message_id, at, error)

    async def bury_message(self, message_id: str, error: str) -> None:
        """Makes a message a dead letter."""
        await self._write(sqlite_messages.bury_message, message_id, error)

    async def list_dead_messages(
        self, topic: str | None = None, limit: int = 100, before: tuple[float, str] | None = None
    ) -> list[Message]:
        """Returns dead letters, last buried first."""
        return self._read(sqlite_messages.list_dead_messages, topic, limit, before)

    async def replay_messages(self, message_ids: Sequence[str]) -> list[str]:
        """Makes dead letters due."""
        return await self._write(sqlite_messages.replay_messages, tuple(message_ids))

    async def next_message_at(self, topics: Sequence[str]) -> float | None:
        """Returns when the next message is due."""
        return self._read(sqlite_messages.next_message_at, topics)

    # --- the log of changes ---

    async def read_changes(self, after: int | None, limit: int) -> Changes:
        """Returns changes behind a position."""
        return self._read(sqlite_changes.read_changes, after, limit)

    async def trim_changes(self, age: float, keep: int) -> None:
        """Forgets changes."""
        cut = self._read(sqlite_changes.find_cut, age, keep)
        if cut:
            await self._write(sqlite_changes.trim_changes, cut)

    # --- records and counters ---

    async def find_record(self, space: str, key: str) -> Record | None:
        """Returns the record."""
        return self._read(sqlite_records.find_record, space, key)

    async def put_record(self, write: RecordWrite) -> bool:
        """Writes a record if nobody was faster."""
        check_name(write.space, write.key)
        return await self._write(sqlite_records.put_record, write)

    async def list_records(self, space: str, after: str = "", limit: int = 100) -> list[Record]:
        """Returns records of a space, by key."""
        return self._read(sqlite_records.list_records, space, after, limit)

    async def count(self, key: str, limit: int, ttl: float, amount: int = 1) -> Count:
        """Counts, unless that would be too much."""
        check_name(key)
        # Who is refused again and again must not keep the others from writing: look first.
        seen = self._read(sqlite_records.look, key, limit, ttl, amount)
        if not seen.granted or not amount:
            return seen
        return await self._write(sqlite_records.count, key, limit, ttl, amount)

    # --- workers ---

    async def put_worker(self, worker: WorkerProfile, ttl: float) -> None:
        """Remembers the worker."""
        await self._write(sqlite_workers.put_worker, worker, ttl)

    async def refresh_workers(self, sightings: Sequence[Sighting], ttl: float) -> list[str]:
        """Moves the moments of workers that are as the caller knows them."""
        return await self._write(sqlite_workers.refresh_workers, sightings, ttl)

    async def find_worker(self, worker_id: str) -> WorkerProfile | None:
        """Returns the worker if its time has not run out."""
        return self._read(sqlite_reads.find_worker, worker_id)

    async def list_workers(self) -> list[WorkerProfile]:
        """Returns the workers by id."""
        return self._read(sqlite_reads.list_workers)

    async def remove_worker(self, worker_id: str) -> None:
        """Forgets the worker."""
        if self._read(sqlite_reads.find_worker, worker_id) is not None:
            await self._write(sqlite_workers.remove_worker, worker_id)

    # --- retention and proof ---

    async def purge_jobs(self, ended_before: float, limit: int) -> list[str]:
        """Forgets jobs that ended long ago."""
        return await self._write(sqlite_jobs.purge_jobs, ended_before, limit)

    async def audit(self) -> list[Fault]:
        """Collects the facts of every job and checks them."""
        return self._read(sqlite_reads.audit)
