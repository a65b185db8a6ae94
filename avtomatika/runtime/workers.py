"""Workers: what they say of themselves and of their tasks, and what they hear back."""

from __future__ import annotations

import asyncio
import logging
import uuid
from typing import Any

from msgspec.structs import replace

from avtomatika.clock import Clock
from avtomatika.core.document import NULL, Document, check_depth
from avtomatika.core.events import Event, TaskReported
from avtomatika.core.history import WorkerEvent
from avtomatika.core.job import Failure, Job, Task, parse_wire_id
from avtomatika.errors import ContractError, DocumentError, JobNotFoundError, StorageError
from avtomatika.observability.base import SILENT, Meter
from avtomatika.protocol.answers import IgnoredReason, accepted, heartbeat_answer, ignored, registered, ttl_refreshed
from avtomatika.protocol.batches import MOST
from avtomatika.protocol.dialects import G0, G1
from avtomatika.protocol.files import is_same_store
from avtomatika.protocol.heartbeats import IDLE, OFFLINE, adopt, apply_heartbeat
from avtomatika.protocol.messages import Heartbeat, Result, Skill, WorkerProfile
from avtomatika.protocol.polls import Poll
from avtomatika.protocol.quiet import quiet_seconds
from avtomatika.protocol.results import SUCCESS
from avtomatika.runtime.herd import Herd
from avtomatika.runtime.historian import Historian
from avtomatika.runtime.performer import Performer
from avtomatika.runtime.promises import Promises
from avtomatika.runtime.roster import Roster
from avtomatika.runtime.sockets import Sockets
from avtomatika.runtime.stop_orders import OVERDUE, StopOrders
from avtomatika.runtime.worker_events import WorkerEvents
from avtomatika.storage.base import Storage, TaskClaim

log = logging.getLogger(__name__)

# Workers that read nothing in the answer to a heartbeat; only a socket reaches them.
_DEAF = frozenset({G0, G1})
# So long the poll of a quiet worker that nobody knows waits for its registration, which may be on its way.
_INTRODUCTION_SECONDS = 1.0


class Workers:
    """The workers' side of an engine.

    Args:
        storage: where workers and tasks are.
        performer: writes what results mean.
        historian: keeps the workers' history.
        sockets: the workers' connections to this engine.
        clock: for waiting.
        ttl: seconds that a silent worker is remembered.
        lease: seconds that a heartbeat keeps a task.
        meter: counts results.
        promises: what the data of results must look like; None for what dispatches say, and workers.
        files: the fingerprint of the engine's object store, or empty.

    Attributes:
        events: takes what workers tell on their way.
    """

    def __init__(
        self,
        storage: Storage,
        performer: Performer,
        historian: Historian,
        sockets: Sockets,
        clock: Clock,
        *,
        ttl: float,
        lease: float,
        meter: Meter = SILENT,
        promises: Promises | None = None,
        files: str = "",
    ) -> None:
        self._files = files
        # Workers that were told of once; forgotten with the engine.
        self._elsewhere: set[str] = set()
        self._promises = promises or Promises()
        self._meter = meter
        self._clock = clock
        self._sockets = sockets
        self._storage = storage
        self._performer = performer
        self._historian = historian
        self.events = WorkerEvents(storage, performer, historian)
        self._roster = Roster(storage, clock, ttl)
        self._quiet_seconds = quiet_seconds(ttl)
        self._lease = lease
        self._unknown: dict[str, asyncio.Event] = {}
        self._orders = StopOrders()
        self._herd = Herd()
        self._closing = asyncio.Event()
        self._held = 0

    @property
    def held(self) -> int:
        """How many polls are held off now."""
        return self._held

    def start(self) -> None:
        """Begins to write down when workers were seen."""
        self._roster.start()

    async def stop(self) -> None:
        """Writes down when workers were seen last."""
        await self._roster.stop()

    def close(self) -> None:
        """Lets go of every poll that is held off or whose worker is not known yet."""
        self._closing.set()
        for known in self._unknown.values():
            known.set()

    async def register(self, profile: WorkerProfile) -> dict[str, Any]:
        """Takes a worker in, or takes note of what changed; its tasks stay its own."""
        await self._put(profile)
        await self._note(profile, "worker_registered")
        self._compare_files(profile)
        log.info(
            "worker registered with skills %s",
            ", ".join(profile.skill_names) or "none",
            extra={"action": "worker_registered", "worker_id": profile.worker_id},
        )
        return registered(batch=MOST, tasks_with_results=True, quiet=self._quiet_seconds)

    def _compare_files(self, profile: WorkerProfile) -> None:
        """Says once of each worker that its files are elsewhere: it will find none of the engine's, nor we its own."""
        if is_same_store(self._files, profile.extra.get("s3_config_hash")) is not False:
            self._elsewhere.discard(profile.worker_id)
        elif profile.worker_id not in self._elsewhere:
            self._elsewhere.add(profile.worker_id)
            log.warning(
                "worker %s uses another object store than this engine: compare S3_ENDPOINT_URL, S3_ACCESS_KEY and "
                "S3_DEFAULT_BUCKET of both",
                profile.worker_id,
                extra={"action": "other_file_store", "worker_id": profile.worker_id},
            )

    async def heartbeat(self, heartbeat: Heartbeat) -> dict[str, Any]:
        """Keeps the worker and its tasks alive; returns the answer, with tasks that it shall stop."""
        now = await self._storage.now()
        recalled = self._roster.recall(heartbeat.worker_id)
        if recalled is not None and apply_heartbeat(recalled, heartbeat, recalled.seen_at) == recalled:
            # The most usual one, which says only that the worker is alive.
            seen = replace(recalled, seen_at=now)
            self._roster.see(seen)
            return await self._answer(heartbeat, seen, now, is_first=recalled.seen_at == recalled.registered_at)
        # What changes is written from what is stored, to which another engine may have added.
        known = await self._storage.find_worker(heartbeat.worker_id)
        # A worker that the engine forgot (it restarted) is taken in again from what it tells; the oldest ones never
        # register twice.
        profile = adopt(heartbeat, now) if known is None else apply_heartbeat(known, heartbeat, now)
        if profile is None:
            return heartbeat_answer(await self._renew(heartbeat, None, now), require_full_sync=True)
        await self._put(profile)
        if known is None:
            await self._note(profile, "worker_registered")
        elif profile.status == OFFLINE != known.status:
            await self._note(profile, "worker_offline")
        is_first = known is None or known.seen_at == known.registered_at
        return await self._answer(heartbeat, profile, now, is_first=is_first)

    async def _answer(
        self, heartbeat: Heartbeat, profile: WorkerProfile, now: float, *, is_first: bool
    ) -> dict[str, Any]:
        """Keeps the tasks of a worker that is known, and returns what it hears."""
        stop = await self._renew(heartbeat, profile, now)
        if not heartbeat.dialect:
            return ttl_refreshed()
        return heartbeat_answer(stop, jitter=self._herd.jitter(heartbeat.worker_id, now) if is_first else 0.0)

    async def keep(self, heartbeat: Heartbeat) -> None:
        """Renews the claims that a heartbeat names, and does nothing else with it."""
        await self._renew(heartbeat, None, await self._storage.now())

    async def poller(self, worker_id: str, poll: Poll, seconds: float) -> WorkerProfile | None:
        """Returns the worker that polls.

        One that the engine forgot is known by the skills in its poll, or has to be waited for: its next heartbeat
        tells them. An immediate answer would make old workers poll a hundred times a second. A quiet worker may have
        no heartbeat on its way; it is told soon that it was forgotten.

        Args:
            worker_id: who polls.
            poll: what it said.
            seconds: how long to wait at most.
        """
        profile = await self._polling(worker_id, poll, seconds)
        if profile is not None:
            self._promises.hear(profile)
        if profile is not None and profile.status == OFFLINE:
            # It said goodbye and is back; the oldest workers do not register again to say so.
            profile = replace(profile, status=IDLE, available=None)
            await self._put(profile)
        if profile is None and poll.available and not poll.quiet:
            profile = WorkerProfile(worker_id, skills=tuple(Skill(name) for name in sorted(poll.available)))
        if profile is None:
            known = self._unknown.setdefault(worker_id, asyncio.Event())
            try:
                await self._clock.wait_for(known.wait(), min(seconds, _INTRODUCTION_SECONDS) if poll.quiet else seconds)
            except TimeoutError:
                return None
            finally:
                self._unknown.pop(worker_id, None)
            profile = await self._polling(worker_id, poll, seconds)
        if profile is not None and poll.hot is not None:
            profile = replace(profile, hot=poll.hot)
        return profile

    async def _polling(self, worker_id: str, poll: Poll, seconds: float) -> WorkerProfile | None:
        if poll.quiet:
            return await self._roster.see_poll(worker_id, poll.quiet, seconds)
        return await self._roster.find(worker_id)

    async def is_forgotten(self, worker_id: str) -> bool:
        """Whether a quiet worker, whose poll ends, has to introduce itself again; not while nobody can say so."""
        try:
            return await self._roster.find(worker_id) is None
        except StorageError:
            return False

    async def pause(self, seconds: float) -> None:
        """Holds a worker off for a while."""
        self._held += 1
        try:
            await self._clock.wait_for(self._closing.wait(), seconds)
        except TimeoutError:
            return
        finally:
            self._held -= 1

    async def _put(self, profile: WorkerProfile) -> None:
        await self._roster.put(profile)
        self._promises.hear(profile)
        waiting = self._unknown.get(profile.worker_id)
        if waiting is not None:
            waiting.set()

    async def result(self, result: Result, worker_id: str) -> dict[str, Any]:
        """Takes a result; returns the answer, which is never an error.

        Args:
            result: as parsed.
            worker_id: who is known to have sent it.

        Raises:
            StorageError: it could not be written; the worker shall send it again.
        """
        task_id, attempt = parse_wire_id(result.task_id)
        found: list[Task | None] = [None]

        async def find_event(_job: Job, task: Task | None) -> tuple[Event, Task | None]:
            found[0] = task if task is not None and task.job_id == result.job_id else None
            return await self._reported(found[0], attempt, result, worker_id), found[0]

        try:
            decision = await self._performer.report(result.job_id, find_event, task_id)
        except JobNotFoundError:
            self._meter.result(IgnoredReason.JOB_NOT_FOUND)
            return ignored(IgnoredReason.JOB_NOT_FOUND)
        if not decision.ignored:
            self._meter.result("accepted")
            return accepted()
        task = found[0]
        if task is not None and _is_repetition(task, attempt, result, worker_id):
            self._meter.result("repeated")
            return accepted()
        reason = IgnoredReason(decision.ignored)
        if reason is IgnoredReason.STALE_TASK and task and task.failure and task.failure.code in OVERDUE:
            reason = IgnoredReason.DEADLINE_EXCEEDED
        self._meter.result(reason)
        log.info(
            "a result came that changes nothing: %s",
            reason,
            extra={
                "action": "result_ignored",
                "job_id": result.job_id,
                "task_id": result.task_id,
                "worker_id": worker_id,
            },
        )
        return ignored(reason)

    async def _reported(self, task: Task | None, attempt: int, result: Result, worker_id: str) -> TaskReported:
        try:
            check_depth(result.data, "data")
            data = Document.of(result.data, "data")
            if task is not None and result.status == SUCCESS:
                self._promises.check(task, worker_id, result.data)
        except (DocumentError, ContractError) as error:
            data = NULL
            result = replace(result, status="failure", error_code="CONTRACT_VIOLATION_ERROR", error_message=str(error))
        failure = None
        if result.status == "failure":
            message = result.error_message or "the worker gave no reason"
            failure = Failure(result.error_code or "TRANSIENT_ERROR", message, retry_after=result.retry_after)
        leaving = False
        if result.status == "cancelled":
            worker = await self._storage.find_worker(worker_id)
            leaving = worker is not None and worker.status == OFFLINE
        return TaskReported(task, attempt, worker_id, result.status, data, failure, leaving, result.data_metadata)

    async def _renew(self, heartbeat: Heartbeat, profile: WorkerProfile | None, now: float) -> list[str]:
        """Keeps the claims of the tasks that the worker names; returns the ids of those that it shall stop."""
        if heartbeat.current_tasks is None:
            await self._renew_unnamed(heartbeat, profile)
            return []
        named = {}
        for wire_id in heartbeat.current_tasks:
            task_id, attempt = parse_wire_id(wire_id)
            named[TaskClaim(task_id, attempt, heartbeat.worker_id)] = wire_id
        if not named:
            return []
        stop = []
        is_deaf = heartbeat.dialect in _DEAF
        has_socket = self._sockets.reaches(heartbeat.worker_id) if is_deaf else _keeps_a_socket(profile)
        for claim in await self._storage.renew_tasks(list(named), self._lease):
            task = await self._storage.find_task(claim.task_id)
            # A worker may serve several engines and names the tasks of all of them: only our own may be stopped.
            if task is not None and self._orders.is_due(task, claim, now, has_socket=has_socket):
                stop.append(named[claim])
                if is_deaf:
                    await self._sockets.cancel(heartbeat.worker_id, named[claim], task.job_id)
        return stop

    async def _renew_unnamed(self, heartbeat: Heartbeat, profile: WorkerProfile | None) -> None:
        """Keeps all claims of a worker that does not tell what it runs: its sign of life has to stand for them."""
        if profile is None:
            return
        claims = await self._storage.list_claims(heartbeat.worker_id)
        if claims:
            await self._storage.renew_tasks(claims, self._lease)

    async def _note(self, profile: WorkerProfile, type_: str) -> None:
        info = {
            "type": profile.type,
            "skills": list(profile.skill_names),
            "status": profile.status,
            "hostname": profile.hostname,
            "address": profile.address,
            "resources": dict(profile.resources),
            "dialect": profile.dialect,
        }
        now = await self._storage.now()
        self._historian.note(WorkerEvent(str(uuid.uuid4()), profile.worker_id, now, type_, info))


def _keeps_a_socket(profile: WorkerProfile | None) -> bool:
    """Whether the worker has said that it holds a WebSocket, to whichever engine."""
    return profile is not None and profile.extra.get("websockets") is True


def _is_repetition(task: Task, attempt: int, result: Result, worker_id: str) -> bool:
    """Whether this is the result that ended the task, sent again because its answer was lost."""
    return (
        task.worker_id == worker_id
        and task.attempt == attempt
        and not task.status.is_open
        and task.result_status == result.status
    )
