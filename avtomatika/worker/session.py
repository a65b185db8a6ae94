"""One life of a worker, from its first request to its last."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any

from avtomatika.clock import Clock
from avtomatika.protocol.messages import Result, WorkerProfile
from avtomatika.worker.intake import Intake
from avtomatika.worker.line import Line
from avtomatika.worker.meter import SILENT, Meter
from avtomatika.worker.polling import Polling
from avtomatika.worker.runner import Calls
from avtomatika.worker.settings import Settings
from avtomatika.worker.tracing import Tracing
from avtomatika.worker.usage import Gauges
from avtomatika.worker.work import Work

logger = logging.getLogger("avtomatika.worker")
_GOODBYE_TIMEOUT = 5.0
"""Seconds that the last heartbeat, cancelled functions and the last results get each when the worker stops."""


class Session:
    """A worker at work. Begins when it is made, in the running event loop.

    Args:
        settings: of the worker.
        calls: makes the calls of the tasks' functions.
        profile: what the engine is told of the worker.
        clock: measures all delays.
        tracing: follows the tasks; closed with the session.
        settles: takes a result that reaches the engine another way, and returns whether it is one.
        hot: names of what is loaded.
        meter: counts what happens.
    """

    def __init__(
        self,
        settings: Settings,
        calls: Calls,
        profile: WorkerProfile,
        clock: Clock,
        tracing: Tracing,
        settles: Callable[[Result], Awaitable[bool]],
        hot: Iterable[str] = (),
        meter: Meter = SILENT,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._calls = calls
        self._tracing = tracing
        self._settings = settings
        self._work = Work(calls, settings.concurrency, clock, tracing, meter)
        self._work.set_hot(hot)
        intake = Intake(settings, self._work)
        gauges = Gauges(clock)
        self._lines = [
            Line(settings, address, self._work, profile, clock, tracing, settles, meter, gauges, intake)
            for address in settings.engines
        ]
        for line in self._lines:
            line.know(self._lines)
        polling = Polling(self._lines, settings, self._work, intake, clock)
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()
        self._keeping = [self._begin(line.presence.keep(), "presence") for line in self._lines]
        self._polling = self._begin(polling.poll_forever(), "polling")
        self._sending = [self._begin(line.progress.send_forever(), "progress") for line in self._lines]
        self._sending += [self._begin(line.events.send_forever(), "events") for line in self._lines]
        self._sending += [self._begin(line.socket.keep(), "socket") for line in self._lines if line.socket is not None]

    async def wait_until_registered(self) -> None:
        """Returns when an engine knows the worker; raises what ended its presence before."""
        await self._first([line.presence.registered.wait() for line in self._lines], *self._keeping)

    @property
    def unsent(self) -> int:
        """How many tasks there are whose result no engine has yet."""
        return len(self._work.task_ids)

    @property
    def registered(self) -> dict[str, Callable[[], bool]]:
        """By the address of each engine, what says whether it knows the worker."""
        return {line.address.url: line.presence.registered.is_set for line in self._lines}

    def set_hot(self, names: Iterable[str]) -> None:
        """Says what is loaded now; may be called from any thread."""
        self._loop.call_soon_threadsafe(self._work.set_hot, frozenset(names))

    def state(self) -> tuple[bool, dict[str, Any]]:
        """Returns whether an engine knows the worker and its loops run, and what a probe is told besides."""
        registered = {line.address.url: line.presence.registered.is_set() for line in self._lines}
        runs = not any(loop.done() for loop in (*self._keeping, self._polling, *self._sending))
        told = {
            "worker_id": self._settings.worker_id,
            "registered": registered,
            "tasks": self._work.running,
            "is_leaving": self._stop.is_set(),
        }
        return runs and any(registered.values()) and not self._stop.is_set(), told

    async def wait(self) -> None:
        """Returns when a stop was requested; raises what ended one of the loops before."""
        await self._first([self._stop.wait()], *self._keeping, self._polling, *self._sending)

    def request_stop(self, *, drain: bool) -> None:
        """Lets ``wait`` return. The second request, or one without draining, leaves running tasks no more time."""
        if self._stop.is_set() or not drain:
            self._hurry.set()
        self._stop.set()

    async def stop(self) -> None:
        """Ends everything in good order: no new tasks, goodbye, the tasks, their results, the connections."""
        self._stop.set()
        for line in self._lines:
            line.wishes.close()
        await _end(self._polling)
        with contextlib.suppress(TimeoutError):
            goodbyes = asyncio.gather(*(line.presence.leave() for line in self._lines))
            await asyncio.wait_for(goodbyes, _GOODBYE_TIMEOUT)
        # Heartbeats go on meanwhile, or the engine would give the tasks to somebody else.
        if not await self._drain():
            self._work.cancel_all()
            await self._work.drain(_GOODBYE_TIMEOUT)
        for line in self._lines:
            line.hurry()
        if not await self._work.wait_for_deliveries(_GOODBYE_TIMEOUT):
            logger.error("results could not be delivered before the end; the engine will have their tasks done again")
        await self._work.abandon()
        await self._calls.close()
        for loop in (*self._keeping, *self._sending):
            await _end(loop)
        for line in self._lines:
            await line.close()
        await self._tracing.close()

    async def _drain(self) -> bool:
        """Waits for running tasks; returns whether they all ended before the time was up or somebody was in a hurry."""
        drained = asyncio.create_task(self._work.drain(self._settings.shutdown_timeout))
        hurried = asyncio.create_task(self._hurry.wait())
        await asyncio.wait({drained, hurried}, return_when=asyncio.FIRST_COMPLETED)
        await _end(hurried)
        if drained.done():
            return drained.result()
        await _end(drained)
        return False

    def _begin(self, loop: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.create_task(loop, name=f"worker-{name}")
        task.add_done_callback(_log_end)
        return task

    async def _first(self, events: Iterable[Coroutine[Any, Any, object]], *loops: asyncio.Task[None]) -> None:
        waiting = [asyncio.create_task(event) for event in events]
        try:
            await asyncio.wait({*waiting, *loops}, return_when=asyncio.FIRST_COMPLETED)
            for loop in loops:
                if loop.done() and not loop.cancelled():
                    loop.result()
        finally:
            for one in waiting:
                await _end(one)


async def _end(task: asyncio.Task[Any]) -> None:
    """Cancels a task and waits for its end, whatever it is."""
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled():
        task.exception()  # seen, so that asyncio does not complain of it


def _log_end(task: asyncio.Task[None]) -> None:
    """Says why a loop that should never end has ended."""
    if not task.cancelled() and task.exception() is not None:
        logger.error("%s ended: %s", task.get_name(), task.exception(), exc_info=task.exception())
