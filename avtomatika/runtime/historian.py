"""The historian: carries events from the storage's outbox to the history, behind everybody's back."""

from __future__ import annotations

import asyncio
import logging
from collections import deque

from avtomatika.clock import Clock
from avtomatika.core.history import WorkerEvent
from avtomatika.history.base import History
from avtomatika.runtime.depot import Depot
from avtomatika.storage.base import Signal, Storage

log = logging.getLogger(__name__)

# Steps, most of which have two rows.
_BATCH = 250
_IDLE_SECONDS = 5.0
# What comes so soon after the last rows is carried together. Carried as it came, it took more calls of the storage than
# the steps that it tells of. The machine's clock on purpose: this is about load, not about jobs.
_GATHER_SECONDS = 0.02
_MAX_DELAY = 30.0
_MAX_WORKER_EVENTS = 10_000


class Historian:
    """Feeds the history. A history that is down delays its rows, never a job.

    Args:
        storage: whose outbox holds the events of jobs.
        history: where they go.
        clock: for waiting.
        keep: how many of the newest rows to keep; None for all, 0 for none: then rows are not even read.
        depot: has the large documents of rows; None where they stay there. In the history they are whole: it outlives
            the jobs.
    """

    def __init__(
        self, storage: Storage, history: History, clock: Clock, keep: int | None = None, depot: Depot | None = None
    ) -> None:
        self._depot = depot or Depot(storage)
        self._storage = storage
        self._history = history
        self._clock = clock
        self._keep = keep
        self._wake = asyncio.Event()
        # Whoever reads history carries first; without taking turns, a hundred readers would write each row anew.
        self._turn = asyncio.Lock()
        # Presence of workers is no job state: what does not fit while the history is down is dropped, oldest first.
        self._worker_events: deque[WorkerEvent] = deque(maxlen=_MAX_WORKER_EVENTS)
        self._loop: asyncio.Task[None] | None = None
        self._unsubscribe = storage.subscribe(self._on_signal, "event", "missed")

    def start(self) -> None:
        """Begins to carry."""
        self._loop = asyncio.create_task(self._carry_forever(), name="avtomatika-historian")

    async def stop(self, grace: float = 3.0) -> None:
        """Carries what there is, for ``grace`` seconds at most; the rest stays in the storage's outbox."""
        self._unsubscribe()
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)
        try:
            await asyncio.wait_for(self.flush(), grace)
        except Exception:
            log.exception("history rows wait in the outbox for the next engine", extra={"action": "history_left"})

    def note(self, event: WorkerEvent) -> None:
        """Takes one row of a worker's history."""
        self._worker_events.append(event)
        self._wake.set()

    async def flush(self) -> None:
        """Carries everything that is there now.

        Raises:
            StorageError: the storage or the history does not answer.
        """
        async with self._turn:
            while await self._carry():
                pass

    def _on_signal(self, _signal: Signal) -> None:
        self._wake.set()

    async def _carry_forever(self) -> None:
        failures = 0
        while True:
            self._wake.clear()
            try:
                await self.flush()
                failures = 0
            except Exception:
                failures += 1
                delay = min(_MAX_DELAY, 0.5 * 2**failures)
                log.exception("the history does not answer; trying again in %.0f s", delay)
                await self._clock.sleep(delay)
                continue
            await asyncio.sleep(_GATHER_SECONDS)
            try:
                await self._clock.wait_for(self._wake.wait(), _IDLE_SECONDS)
            except TimeoutError:
                continue

    async def _carry(self) -> bool:
        """Carries one batch; returns whether there may be more."""
        workers = list(self._worker_events)
        if workers and self._keep != 0:
            await self._history.write_workers(workers)
        if workers:
            while self._worker_events and self._worker_events[0] in workers:
                self._worker_events.popleft()
        steps = await self._storage.read_events(_BATCH)
        if steps:
            if self._keep != 0:
                rows = [event for step in steps for event in step.decode()]
                await self._history.write(await self._depot.fetch_events(rows))
            await self._storage.ack_events([step.id for step in steps])
        if self._keep and (steps or workers):
            await self._history.trim(self._keep)
        return len(steps) == _BATCH
