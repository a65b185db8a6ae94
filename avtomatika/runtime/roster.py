"""The roster: the workers that this engine has heard from, so that one with nothing to say costs the storage no call.

Most heartbeats say nothing but that the worker is alive. Those only move a moment, and the moments of all workers go to
the storage together every few seconds.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from msgspec.structs import replace

from avtomatika.clock import Clock
from avtomatika.errors import StorageError
from avtomatika.protocol.heartbeats import OFFLINE
from avtomatika.protocol.messages import WorkerProfile
from avtomatika.storage.base import Sighting, Storage

log = logging.getLogger(__name__)

# A worker that shuts down has 30 s for its tasks (WORKER_SHUTDOWN_TIMEOUT); their results come after its goodbye.
_FAREWELL_SECONDS = 40.0
# So long a worker that was only looked up is known: its heartbeats come to another engine, which may know better.
_LOOKED_UP_SECONDS = 1.0
# So long a worker is known after its last word to this engine. Its next heartbeat comes within 15 s, 4 s more where
# many came at once; so one that is heard here is always known, and one that goes on at another engine soon is not. What
# is known of any worker is as old as its last heartbeat; this much older it can be only where heartbeats go to several
# engines in turn, and only for the choice among workers. Nothing that another engine wrote is undone: what changes is
# written from what is stored, and a heartbeat that moves no more than a moment is refused by the storage if somebody
# has written since (see ``Storage.refresh_workers``), so that the next one is read as of a worker that is not known.
_HEARD_SECONDS = 20.0
# So long after its poll a quiet worker is known: its next one follows within half a second, but for the way through the
# network. What a poll does not say itself changes with a registration, and that another engine had one is seen by its
# word; engines that hear the polls of one worker in turn find out as above that the moment was moved by another one.
_POLLED_SECONDS = 5.0
# Moments go to the storage so often, and at least so many times within the time that a worker is remembered.
_PAUSE = 5.0
_WRITES_PER_TTL = 8
_MOST = 1000
# How long a worker that was only looked up is remembered is not known.
_UNSURE = float("-inf")


@dataclass(eq=False, slots=True)
class _Known:
    """A worker that is known without a look at the storage.

    Args:
        worker: as it is, with its last heartbeat.
        until: it counts until then.
        stored_at: the moment at which the storage has it as seen.
        safe_until: until then it is soon enough to write its next moment; in the past if nobody knows.
    """

    worker: WorkerProfile
    until: float
    stored_at: float
    safe_until: float


class Roster:
    """The workers that this engine knows.

    Args:
        storage: where all workers are.
        clock: says how long a worker is known.
        ttl: seconds that a silent worker is remembered.
    """

    def __init__(self, storage: Storage, clock: Clock, ttl: float) -> None:
        self._storage = storage
        self._clock = clock
        self._ttl = ttl
        self._pause = min(_PAUSE, ttl / _WRITES_PER_TTL)
        self._known: dict[str, _Known] = {}
        # Those that have been seen since their moments were last written.
        self._seen: dict[str, _Known] = {}
        self._loop: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to write down, every few seconds, when workers were seen."""
        self._loop = asyncio.create_task(self._flush_forever(), name="avtomatika-roster")

    async def stop(self) -> None:
        """Writes the last moments down; what cannot be written is as old as the last time."""
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)
            self._loop = None
        await self.flush()

    def recall(self, worker_id: str) -> WorkerProfile | None:
        """Returns a worker that this engine heard from lately, if a new moment of it need not be written at once."""
        known = self._known.get(worker_id)
        now = self._clock.now()
        return known.worker if known is not None and now < min(known.until, known.safe_until) else None

    def see(self, worker: WorkerProfile) -> None:
        """Takes note of a heartbeat that changed nothing of a worker that ``recall`` returned but its ``seen_at``."""
        known = self._known[worker.worker_id]
        self._see(known, worker, _HEARD_SECONDS)

    async def see_poll(self, worker_id: str, skills_hash: str, seconds: float) -> WorkerProfile | None:
        """Takes a poll for a sign of life; returns the worker as it is known here, or else as it is stored.

        Args:
            worker_id: whose poll.
            skills_hash: as of its registration; who is known otherwise has told another engine something new.
            seconds: how long it will be held at most.

        Raises:
            StorageError: the storage does not answer.
        """
        known = self._known.get(worker_id)
        if known is not None and known.worker.skills_hash != skills_hash:
            self._forget(worker_id)
        worker = await self.find(worker_id)
        known = self._known.get(worker_id)
        # One that was introduced a moment ago beats soon, and its first heartbeat must be seen to be the first.
        if worker is None or known is None or known.worker.seen_at == known.worker.registered_at:
            return worker
        now = await self._storage.now()
        if known.safe_until == _UNSURE:
            # What is stored was written when the worker was seen, or later.
            known.safe_until = self._safe(self._clock.now() - (now - known.stored_at))
        self._see(known, replace(known.worker, seen_at=now), seconds + _POLLED_SECONDS)
        if self._clock.now() >= known.safe_until:
            await self.flush()
        return known.worker

    def _see(self, known: _Known, worker: WorkerProfile, seconds: float) -> None:
        known.worker = worker
        known.until = max(known.until, self._clock.now() + seconds)
        self._seen[worker.worker_id] = known

    async def find(self, worker_id: str) -> WorkerProfile | None:
        """Returns a worker as this engine knows it, or else as it is stored.

        Raises:
            StorageError: the storage does not answer.
        """
        known = self._known.get(worker_id)
        if known is not None and self._clock.now() < known.until:
            return known.worker
        worker = await self._storage.find_worker(worker_id)
        # Heard from meanwhile: then that counts.
        if worker is not None and worker.status != OFFLINE and self._known.get(worker_id) is known:
            until = self._clock.now() + _LOOKED_UP_SECONDS
            self._known[worker_id] = _Known(worker, until, worker.seen_at, _UNSURE)
        return worker

    async def put(self, worker: WorkerProfile) -> None:
        """Writes down what a worker has said.

        Raises:
            StorageError: the storage does not answer.
        """
        self._forget(worker.worker_id)
        # One that said goodbye is remembered only as long as its last results may take.
        is_leaving = worker.status == OFFLINE
        ttl = min(self._ttl, _FAREWELL_SECONDS) if is_leaving else self._ttl
        now = self._clock.now()
        await self._storage.put_worker(worker, ttl)
        # Two messages of one worker at a time: which of them was written last is not known here.
        if self._known.pop(worker.worker_id, None) is None and not is_leaving:
            self._known[worker.worker_id] = _Known(worker, now + _HEARD_SECONDS, worker.seen_at, self._safe(now))

    async def flush(self) -> None:
        """Writes down when workers were seen since the last time; those that are not stored as known are known no more.

        If the storage does not answer, that is tried again the next time.
        """
        waiting = list(self._seen.values())
        try:
            for start in range(0, len(waiting), _MOST):
                await self._write(waiting[start : start + _MOST])
        except StorageError as error:
            log.warning("cannot write when workers were seen: %s", error, extra={"action": "sightings_late"})

    async def _write(self, stretch: list[_Known]) -> None:
        now = self._clock.now()
        sightings = [Sighting(one.worker.worker_id, one.stored_at, one.worker.seen_at) for one in stretch]
        others = set(await self._storage.refresh_workers(sightings, self._ttl))
        for known, sighting in zip(stretch, sightings, strict=True):
            is_stored = sighting.worker_id not in others
            if is_stored:
                known.stored_at, known.safe_until = sighting.seen_at, self._safe(now)
            elif self._known.get(sighting.worker_id) is known:
                # Its next heartbeat is taken as that of one who is not known: from what is stored, if anything is.
                del self._known[sighting.worker_id]
            # Seen again meanwhile, it waits for the next time; a new profile took what it said along.
            if self._seen.get(sighting.worker_id) is known and not (
                is_stored and known.worker.seen_at > sighting.seen_at
            ):
                del self._seen[sighting.worker_id]

    def _safe(self, written_at: float) -> float:
        """Returns until when a new moment can wait for its turn and still be written before the worker is forgotten."""
        return written_at + self._ttl - 2 * self._pause

    def _forget(self, worker_id: str) -> None:
        self._known.pop(worker_id, None)
        self._seen.pop(worker_id, None)

    async def _flush_forever(self) -> None:
        while True:
            await self._clock.sleep(self._pause)
            try:
                await self.flush()
            except Exception:
                log.exception("cannot write when workers were seen", extra={"action": "sightings_failed"})
            now = self._clock.now()
            for worker_id in [worker_id for worker_id, known in self._known.items() if known.until <= now]:
                del self._known[worker_id]
