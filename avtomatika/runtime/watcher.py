"""The watcher: lets moments that were written down come true, and leases end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from avtomatika.clock import Clock
from avtomatika.core.events import Event, LeaseExpired, TimerFired
from avtomatika.core.job import Job, Task
from avtomatika.errors import JobNotFoundError
from avtomatika.log_context import log_context
from avtomatika.observability.base import SILENT, Meter
from avtomatika.runtime.performer import Performer
from avtomatika.storage.base import Signal, Storage, Timer

log = logging.getLogger(__name__)

_BATCH = 100
# A timer taken and not dealt with (this engine died) comes back after so many seconds.
_TIMER_LEASE = 10.0
# Seconds after something went wrong.
_PAUSE = 1.0

CHANGES_SECONDS = 3600.0
"""How long the log of changes goes back, so that who lost a connection can go on from where it broke."""
CHANGES_KEPT = 100_000
"""How many changes the log keeps at most."""
_TRIM_PAUSE = 30.0


class Watcher:
    """Wakes jobs by time: retries, timeouts, lost workers.

    Args:
        storage: where timers and leases are.
        performer: writes what follows.
        clock: for waiting.
        interval: the longest time without a look, seconds, should a signal be lost.
        retention: seconds that an ended job is kept; 0 for ever.
        wake: called when the moment of a delayed wake-up or the end of a claim may have come.
        meter: counts claims that ended.
    """

    def __init__(
        self,
        storage: Storage,
        performer: Performer,
        clock: Clock,
        interval: float,
        *,
        retention: float = 0.0,
        wake: Callable[[], None] = lambda: None,
        meter: Meter = SILENT,
    ) -> None:
        self._wake = wake
        self._meter = meter
        self._retention = retention
        self._purges_at = 0.0
        self._trims_at = 0.0
        self._storage = storage
        self._performer = performer
        self._clock = clock
        self._interval = interval
        self._sooner = asyncio.Event()
        self._looks_at = float("inf")
        # The earliest moment that a signal told of since the last look began.
        self._told_of = float("inf")
        self._stumbled = False
        self._loop: asyncio.Task[None] | None = None
        self._unsubscribe = storage.subscribe(self._on_signal, "timer", "ready", "missed")

    def start(self) -> None:
        """Begins to watch."""
        self._loop = asyncio.create_task(self._watch(), name="avtomatika-watcher")

    async def stop(self) -> None:
        """Stops watching; what is due then waits for the next engine."""
        self._unsubscribe()
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)

    def _on_signal(self, signal: Signal) -> None:
        # A wake-up that is due already is the runners' business, who hear of it too.
        if signal.kind == "ready" and signal.at <= self._clock.now():
            return
        self._told_of = min(self._told_of, signal.at)
        if signal.at < self._looks_at:
            self._sooner.set()

    async def _watch(self) -> None:
        while True:
            # What is told of while it looks may be where it has looked already: its moment counts like one that was
            # found. Looking again at once would never end while tasks are handed out without a pause.
            self._told_of, self._looks_at = float("inf"), float("-inf")
            try:
                busy = await self.look()
                due = await self._storage.next_wake_at()
                now = await self._storage.now()
            except Exception:
                log.exception("cannot look at timers; trying again", extra={"action": "watch_failed"})
                await self._clock.sleep(_PAUSE)
                continue
            if self._stumbled:
                # What could not be dealt with is still due: without a pause it would be tried again at once, for ever.
                await self._clock.sleep(_PAUSE)
                continue
            if busy:
                continue
            due = min(self._told_of, float("inf") if due is None else due)
            wait = min(self._interval, max(0.0, due - now))
            self._sooner.clear()
            self._looks_at = now + wait
            try:
                await self._clock.wait_for(self._sooner.wait(), wait)
            except TimeoutError:
                self._wake()

    async def look(self) -> bool:
        """Deals with what is due; returns whether there may be more."""
        self._stumbled = False
        timers = await self._storage.claim_timers(_BATCH, _TIMER_LEASE)
        for timer in timers:
            await self._apart(timer.job_id, self._fire(timer))
        expired = await self._storage.expired_tasks(_BATCH)
        for task in expired:
            await self._apart(task.job_id, self._expire(task))
        purged = await self._purge()
        await self._trim()
        return _BATCH in {len(timers), len(expired), purged}

    async def _purge(self) -> int:
        """Forgets jobs that ended long ago; returns how many."""
        now = await self._storage.now()
        if not self._retention or now < self._purges_at:
            return 0
        purged = await self._storage.purge_jobs(now - self._retention, _BATCH)
        if len(purged) < _BATCH:
            self._purges_at = now + self._interval
        return len(purged)

    async def _trim(self) -> None:
        """Forgets changes that nobody will go on from any more."""
        now = await self._storage.now()
        if now >= self._trims_at:
            await self._storage.trim_changes(CHANGES_SECONDS, CHANGES_KEPT)
            self._trims_at = now + _TRIM_PAUSE

    async def _apart(self, job_id: str, work: Awaitable[None]) -> None:
        """Keeps the trouble of one job from the others."""
        try:
            with log_context(job_id=job_id):
                await work
        except JobNotFoundError:
            log.info("a timer of a job that is gone", extra={"action": "timer_orphan", "job_id": job_id})
        except Exception:
            self._stumbled = True
            log.exception("a timer could not be dealt with", extra={"action": "timer_failed", "job_id": job_id})

    async def _fire(self, timer: Timer) -> None:
        async def find_event(_job: Job, task: Task | None) -> tuple[Event, Task | None]:
            return TimerFired(timer.kind, timer.task_id, task), None

        await self._performer.happen(timer.job_id, find_event, timer.task_id)

    async def _expire(self, task: Task) -> None:
        async def find_event(_job: Job, stored: Task | None) -> tuple[Event, Task | None]:
            return LeaseExpired(stored), stored

        decision = await self._performer.happen(task.job_id, find_event, task.id)
        if not decision.ignored:
            self._meter.lease_ended(task)
            log.warning(
                "the claim of a task ended without a result",
                extra={
                    "action": "lease_expired",
                    "job_id": task.job_id,
                    "task_id": task.id,
                    "worker_id": task.worker_id,
                },
            )
