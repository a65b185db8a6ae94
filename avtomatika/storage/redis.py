"""The storage in Redis or Valkey: several engines on several machines share it.

Each step is one Lua script of ``lua/``: the server runs one at a time, so each is atomic. All moments are the server's,
and signals go to the other engines over pub/sub. ``docs/explanation/storage-redis.md`` tells how jobs lie in it.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import time
import uuid
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from avtomatika.clock import Clock
from avtomatika.core.job import Job, Task
from avtomatika.core.states import JobStatus
from avtomatika.errors import ConfigError, StorageError
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
from avtomatika.storage.listeners import Listeners
from avtomatika.storage.records import check_name, signals_of
from avtomatika.storage.redis_audit import audit
from avtomatika.storage.redis_line import SignalLine
from avtomatika.storage.redis_link import Link, client_of
from avtomatika.storage.redis_records import (
    claim_arguments,
    commit_arguments,
    dead_letter_arguments,
    decode_progress,
    encode_progress,
    list_arguments,
    read_changes,
    read_history_step,
    read_job,
    read_message,
    read_queue,
    read_record,
    read_signals,
    read_task,
    read_tasks,
    read_timer,
    read_wake_up,
    read_worker,
    record_name,
    sighting_arguments,
    stream_id,
    text,
    worker_arguments,
    write_arguments,
)
from avtomatika.storage.redis_scripts import Keyspace
from avtomatika.storage.redis_server import Server
from avtomatika.storage.rows import HistoryStep

if TYPE_CHECKING:
    from redis.asyncio import Redis

log = logging.getLogger(__name__)

# The server's clock is read again when the last reading is older than this; clocks drift far less in the meantime.
_TIME_SECONDS = 5.0
# So many entries of a list are looked at in one call, so that none takes long.
_STRETCH = 1000
_GOODBYE_SECONDS = 0.5


class RedisStorage(Storage):
    """A storage that lives in a Redis server, version 7.0 or later, or in Valkey.

    Args:
        redis_client: a ``redis.asyncio.Redis``; it tells where the server is and how to log in. The storage opens two
            connections of its own and leaves the client's alone.
        prefix: what the names of all keys begin with, in braces. Engines with the same one share their jobs.
        clock: what moments are measured by; None for the server's clock, the right one wherever engines run for real.

    Raises:
        ConfigError: the prefix or the client is of no use, or the package ``redis`` is not installed.
    """

    def __init__(self, redis_client: Redis, *, prefix: str = "avtomatika", clock: Clock | None = None) -> None:
        if not prefix or set(prefix) & set("{} \n"):
            raise ConfigError(
                f"the prefix of RedisStorage is {prefix!r}; use letters and digits, not braces or spaces."
            )
        self._clock = clock
        self._keyspace = Keyspace(prefix)
        self._job_prefix = self._keyspace.job_key("")
        self._link = Link(redis_client, self._keyspace)
        self._listeners = Listeners()
        self._server = Server(self._link, lambda kind: self._listeners.tell([Signal("loss", kind)]))
        # One for each object: two storages in one process must hear each other.
        self._name = uuid.uuid4().hex
        self._line = SignalLine(
            self._link, self._keyspace.key(f"engines:{self._name}"), self._listeners.tell, self._look
        )
        self._calls = itertools.count(1)
        self._read_at: tuple[float, float] | None = None
        self._is_open = False

    @classmethod
    def from_url(cls, url: str, *, prefix: str = "avtomatika", clock: Clock | None = None) -> RedisStorage:
        """Returns a storage for ``redis://[user:password@]host:port/db``, ``rediss://`` with TLS, or ``unix://path``.

        Args:
            url: such an address.
            prefix: first part of the names of all keys, so that several systems can share a server.
            clock: what moments are measured by; None for the server's clock.

        Raises:
            ConfigError: the URL cannot be understood, or the package ``redis`` is not installed.
        """
        return cls(client_of(url), prefix=prefix, clock=clock)

    async def open(self) -> None:
        """Connects, looks at the server's settings, and listens for signals.

        Raises:
            StorageError: no server answers, or it refuses the password.
            ConfigError: the server is too old.
        """
        if self._is_open:
            return
        await self._link.open()
        try:
            await self._server.meet()
            await self._link.translated(self._line.start())
        except BaseException:
            await self.close()
            raise
        self._is_open = True

    async def close(self) -> None:
        """Ends the storage's own connections."""
        await self._line.stop()
        if self._is_open:
            self._is_open = False
            # A server that is away is not waited for: the scripts find out by themselves that nobody listens.
            with contextlib.suppress(StorageError, TimeoutError):
                async with asyncio.timeout(_GOODBYE_SECONDS):
                    await self._link.ask("SREM", self._keyspace.key("engines"), self._name)
        await self._link.close()

    def subscribe(self, listener: Listener, *kinds: str) -> Callable[[], None]:
        """Calls ``listener`` at the end of each step of this storage, and soon after each step of another."""
        return self._listeners.add(listener, kinds)

    async def now(self) -> float:
        """Returns the moment on the server's clock, never a later one; a reading serves for a few seconds."""
        if self._clock is not None:
            return self._clock.now()
        if self._read_at is None or time.monotonic() - self._read_at[1] > _TIME_SECONDS:
            seconds, microseconds = await self._link.ask("TIME")
            # The reading is older than its arrival, by the way through the network: so it is never ahead.
            self._read_at = int(seconds) + int(microseconds) / 1e6, time.monotonic()
        return self._read_at[0] + time.monotonic() - self._read_at[1]

    async def _look(self, again: bool) -> None:
        """Says that this engine listens, and sees whether the data is still there; after a loss everybody looks."""
        is_new = await self._link.ask("SADD", self._keyspace.key("engines"), self._name)
        await self._server.check()
        if again:
            self._read_at = None
        # A line may also have stood while nobody was told that this engine listens.
        if again or (is_new and self._is_open):
            self._listeners.tell([Signal("missed")])

    async def _run(self, name: str, *, job_id: str = "", repeats: bool = True, **arguments: Any) -> Any:
        """Runs a script, tells its signals, and returns its result."""
        result, signals = await self._link.run(name, self._common(arguments), job_id=job_id, repeats=repeats)
        self._listeners.tell(read_signals(signals))
        return result

    def _common(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Adds to arguments those that every script takes; returns them."""
        if self._clock is not None:
            arguments["now"] = self._clock.now()
        arguments["origin"] = self._name
        arguments["job_prefix"] = self._job_prefix
        return arguments

    # --- jobs ---

    async def commit(self, batch: Batch) -> Outcome:
        """Applies the batch or nothing. An answer that is lost is asked for again, and the batch not applied again."""
        signals = signals_of(batch)
        arguments = self._common(commit_arguments(batch, signals))
        arguments["call"] = f"{self._name}/{next(self._calls)}"
        answer = await self._link.run("commit", arguments, job_id=batch.job.id, repeats=True)
        match answer:
            case [b"committed"]:
                self._server.note(batch, arguments["call"])
                self._listeners.tell(signals)
                return Committed(batch.job.version)
            case [b"duplicate", job_id, fingerprint]:
                return Duplicate(text(job_id), text(fingerprint))
            case _:
                return Stale(answer[1])

    async def find_job(self, job_id: str) -> Job | None:
        """Returns the job as last committed."""
        return read_job(await self._link.ask("HGETALL", self._keyspace.job_key(job_id)))

    async def find_job_and_task(self, job_id: str, task_id: str) -> tuple[Job | None, Task | None]:
        """Returns both as of one moment."""
        if not job_id:
            return None, await self.find_task(task_id)
        flat, rows = await self._run("find_job_and_task", job_id=job_id, task=task_id)
        return read_job(flat), read_task(*rows[0]) if rows else None

    async def list_jobs(self, query: JobQuery) -> list[Job]:
        """Returns jobs, newest first."""
        ids = await self._list_ids(query)
        jobs = await asyncio.gather(*map(self.find_job, ids))
        # One that was forgotten between the two looks is not listed.
        return [job for job in jobs if job is not None]

    async def _list_ids(self, query: JobQuery) -> list[str]:
        arguments = list_arguments(query)
        wanted = query.offset + query.limit
        ids: list[str] = []
        while len(ids) < wanted:
            stretch = min(_STRETCH, max(100, wanted - len(ids)))
            found, last = await self._run("list_jobs", **arguments, stretch=stretch)
            ids += map(text, found)
            if not last:
                break
            arguments["high"] = b"(" + last
        return ids[query.offset : wanted]

    async def count_jobs(self) -> dict[JobStatus, int]:
        """Returns the numbers that the commits kept."""
        counts = await self._link.ask("HGETALL", self._keyspace.key("counts"))
        pairs = zip(counts[::2], counts[1::2], strict=True)
        return {JobStatus(text(name)): int(number) for name, number in pairs if name != b"created"}

    async def find_wake_up(self, job_id: str) -> WakeUp:
        """Returns what the job waits for."""
        return read_wake_up(await self._run("find_wake_up", job_id=job_id, id=job_id))

    async def put_progress(self, job_id: str, progress: Progress) -> None:
        """Remembers the progress until the job ends."""
        await self._run("put_progress", id=job_id, raw=encode_progress(progress))

    async def find_progress(self, job_id: str) -> Progress | None:
        """Returns the last progress."""
        raw = await self._link.ask("HGET", self._keyspace.key("progress"), job_id)
        return None if raw is None else decode_progress(raw)

    # --- the ready queue ---

    async def claim_jobs(self, owner: str, limit: int, lease: float) -> list[JobClaim]:
        """Takes due wake-ups."""
        taken = await self._run("claim_jobs", repeats=False, owner=owner, limit=limit, lease=lease)
        claims = [(read_job(flat), text(token), deliveries) for token, deliveries, flat in taken]
        return [JobClaim(job, token, deliveries) for job, token, deliveries in claims if job is not None]

    async def extend_claims(self, tokens: Sequence[str], lease: float) -> list[str]:
        """Moves the ends of claims."""
        return [text(token) for token in await self._run("extend_claims", tokens=list(tokens), lease=lease)]

    async def release_claims(self, tokens: Sequence[str]) -> None:
        """Gives claims back."""
        await self._run("release_claims", tokens=list(tokens))

    # --- tasks ---

    async def claim_task(self, worker_id: str, queues: Sequence[str], lease: float) -> Task | None:
        """Takes the first task of the queues."""
        rows, _ = await self._claim(worker_id, queues, lease, 1, counts=False)
        return read_task(*rows[0]) if rows else None

    async def claim_tasks(
        self, worker_id: str, queues: Sequence[str], lease: float, limit: int, job_limit: int = 0
    ) -> TakenTasks:
        """Takes the first tasks of the queues."""
        rows, left = await self._claim(worker_id, queues, lease, limit, counts=True, job_limit=job_limit)
        tasks = [read_task(*row[:2]) for row in rows]
        found = (read_job(row[2]) for row in rows if len(row) > 2)
        return TakenTasks(tasks, left, {job.id: job for job in found if job is not None})

    async def _claim(
        self, worker_id: str, queues: Sequence[str], lease: float, limit: int, *, counts: bool, job_limit: int = 0
    ) -> Any:
        return await self._run(
            "claim_tasks",
            repeats=False,
            worker=worker_id,
            queues=list(queues),
            lease=lease,
            limit=limit,
            counts=counts,
            job_limit=job_limit,
        )

    async def claim_task_and_job(
        self, worker_id: str, queues: Sequence[str], lease: float, limit: int
    ) -> tuple[Task, Job | None] | None:
        """Takes a task and tells of its job."""
        rows, _ = await self._claim(worker_id, queues, lease, 1, counts=False, job_limit=limit)
        return (read_task(*rows[0][:2]), read_job(rows[0][2])) if rows else None

    async def renew_tasks(self, claims: Sequence[TaskClaim], lease: float) -> list[TaskClaim]:
        """Moves the ends of claims."""
        lost = await self._run("renew_tasks", claims=[claim_arguments(claim) for claim in claims], lease=lease)
        return [claims[place - 1] for place in lost]

    async def list_claims(self, worker_id: str) -> list[TaskClaim]:
        """Returns the claims of the worker."""
        found = await self._run("list_claims", worker=worker_id)
        claims = [TaskClaim(text(task_id), attempt, worker_id) for task_id, attempt in found]
        return sorted(claims, key=lambda claim: claim.task_id)

    async def release_task(self, claim: TaskClaim) -> None:
        """Puts a task back."""
        # Not sent twice: the same worker may have got the same attempt again in between.
        await self._run("release_task", repeats=False, claim=claim_arguments(claim))

    async def find_task(self, task_id: str) -> Task | None:
        """Returns the task as stored."""
        rows = await self._run("find_tasks", ids=[task_id])
        return read_task(*rows[0]) if rows else None

    async def list_tasks(self, job_id: str, fan_out: str | None = None) -> list[Task]:
        """Returns the tasks of a job."""
        tasks = read_tasks(await self._run("list_tasks", job_id=job_id))
        return [task for task in tasks if fan_out in {None, task.fan_out}]

    async def list_queues(self) -> list[Queue]:
        """Returns the queues in which tasks wait, by name."""
        queues = [read_queue(*row) for row in await self._run("list_queues")]
        return sorted(queues, key=lambda queue: queue.name)

    # --- time ---

    async def claim_timers(self, limit: int, lease: float) -> list[Timer]:
        """Takes timers that are due."""
        return [read_timer(raw) for raw in await self._run("claim_timers", repeats=False, limit=limit, lease=lease)]

    async def expired_tasks(self, limit: int) -> list[Task]:
        """Returns claimed tasks whose lease has ended."""
        return [read_task(*row) for row in await self._run("expired_tasks", limit=limit)]

    async def next_wake_at(self) -> float | None:
        """Returns the earliest moment at which there is something to do."""
        at = await self._run("next_wake")
        return None if at is False else float(at)

    # --- the outbox: history ---

    async def read_events(self, limit: int) -> list[HistoryStep]:
        """Returns the history of the oldest steps."""
        return [read_history_step(*row) for row in await self._run("read_events", limit=limit)]

    async def ack_events(self, step_ids: Sequence[str]) -> None:
        """Forgets rows."""
        steps = [[step_id, step_id.rpartition(":")[0]] for step_id in step_ids]
        for start in range(0, len(steps), _STRETCH):
            await self._run("ack_events", steps=steps[start : start + _STRETCH])

    # --- the outbox: messages ---

    async def claim_messages(self, topics: Sequence[str], limit: int, lease: float) -> list[Message]:
        """Takes due messages."""
        rows = await self._run("claim_messages", repeats=False, topics=list(topics), limit=limit, lease=lease)
        return [read_message(*row) for row in rows]

    async def ack_messages(self, message_ids: Sequence[str]) -> None:
        """Forgets messages."""
        await self._run("ack_messages", ids=list(message_ids))

    async def postpone_message(self, message_id: str, at: float, error: str) -> None:
        """Moves the moment of a message."""
        await self._run("postpone_message", id=message_id, at=at, error=error)

    async def bury_message(self, message_id: str, error: str) -> None:
        """Makes a message a dead letter."""
        await self._run("bury_message", id=message_id, error=error)

    async def list_dead_messages(
        self, topic: str | None = None, limit: int = 100, before: tuple[float, str] | None = None
    ) -> list[Message]:
        """Returns dead letters, last buried first."""
        rows = await self._run("list_dead_messages", **dead_letter_arguments(topic, before), limit=limit)
        return [read_message(*row) for row in rows]

    async def replay_messages(self, message_ids: Sequence[str]) -> list[str]:
        """Makes dead letters due."""
        return [text(message_id) for message_id in await self._run("replay_messages", ids=list(message_ids))]

    async def next_message_at(self, topics: Sequence[str]) -> float | None:
        """Returns when the next message is due."""
        at = await self._run("next_message", topics=list(topics))
        return None if at is False else float(at)

    # --- the log of changes ---

    async def read_changes(self, after: int | None, limit: int) -> Changes:
        """Returns changes behind a position."""
        behind = None if after is None else stream_id(after)
        return read_changes(await self._run("read_changes", after=behind, limit=limit))

    async def trim_changes(self, age: float, keep: int) -> None:
        """Forgets changes."""
        await self._run("trim_changes", age=age, keep=keep)

    # --- records and counters ---

    async def find_record(self, space: str, key: str) -> Record | None:
        """Returns the record."""
        packed = await self._run("find_record", id=record_name(space, key))
        return read_record(space, key, packed) if packed else None

    async def put_record(self, write: RecordWrite) -> bool:
        """Writes a record if nobody was faster."""
        # Not sent twice: a write that was applied would find its own version in the way.
        return bool(await self._run("put_record", repeats=False, write=write_arguments(write)))

    async def list_records(self, space: str, after: str = "", limit: int = 100) -> list[Record]:
        """Returns records of a space, by key."""
        rows = await self._run("list_records", first=record_name(space, ""), after=after, limit=limit)
        return [read_record(space, text(key), packed) for key, packed in rows]

    async def count(self, key: str, limit: int, ttl: float, amount: int = 1) -> Count:
        """Counts, unless that would be too much."""
        check_name(key)
        granted, total, resets_at = await self._run(
            "count", repeats=False, key=key, limit=limit, ttl=ttl, amount=amount
        )
        return Count(bool(granted), total, float(resets_at))

    # --- workers ---

    async def put_worker(self, worker: WorkerProfile, ttl: float) -> None:
        """Remembers the worker."""
        await self._run("put_worker", **worker_arguments(worker), ttl=ttl)

    async def refresh_workers(self, sightings: Sequence[Sighting], ttl: float) -> list[str]:
        """Moves the moments of workers that are as the caller knows them."""
        others: list[str] = []
        for start in range(0, len(sightings), _STRETCH):
            stretch = sightings[start : start + _STRETCH]
            places = await self._run("refresh_workers", **sighting_arguments(stretch), ttl=ttl)
            others += [stretch[place - 1].worker_id for place in places]
        return others

    async def find_worker(self, worker_id: str) -> WorkerProfile | None:
        """Returns the worker if its time has not run out."""
        found = await self._run("find_worker", id=worker_id)
        return read_worker(*found) if found else None

    async def list_workers(self) -> list[WorkerProfile]:
        """Returns the workers by id."""
        workers = [read_worker(*row) for row in await self._run("list_workers")]
        return sorted(workers, key=lambda worker: worker.worker_id)

    async def remove_worker(self, worker_id: str) -> None:
        """Forgets the worker."""
        await self._run("remove_worker", id=worker_id)

    # --- retention ---

    async def purge_jobs(self, ended_before: float, limit: int) -> list[str]:
        """Forgets jobs that ended long ago, and workers and dedupe keys whose time has run out."""
        return [text(job_id) for job_id in await self._run("purge_jobs", before=ended_before, limit=limit)]

    # --- proof ---

    async def audit(self) -> list[Fault]:
        """Checks every job at one moment of its own; what other engines change meanwhile is no fault."""
        return await audit(self._run, self._link, self._keyspace)
