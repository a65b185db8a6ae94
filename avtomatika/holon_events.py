"""Passes on to the parent what workers of a holon tell of its jobs: in order, once, before the outcome of the job."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from msgspec.structs import replace

from avtomatika.clock import Clock
from avtomatika.errors import AvtomatikaError
from avtomatika.protocol.codec import dumps
from avtomatika.protocol.messages import WorkerEventMessage
from avtomatika.protocol.worker_events import encode_event
from avtomatika.runtime.upward import Upward
from avtomatika.worker.transport import Transport

log = logging.getLogger(__name__)

# Seconds until what the parent did not take is tried again, and at most.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 15.0

Connect = Callable[[str], contextlib.AbstractAsyncContextManager[Transport]]
"""Opens a connection to the parent, as a worker of that id."""
FindTask = Callable[[str], Awaitable[Mapping[str, Any] | None]]
"""Returns whose task a job does: ``task_id``, ``job_id`` and ``worker_id``; None if the parent has its outcome."""


class UndeliveredError(AvtomatikaError):
    """The parent does not have what it is to hear of a job yet."""

    code = "parent_unreachable"


class HolonEvents:
    """The way up.

    Args:
        upward: where the events wait.
        clock: for waiting.
        find_task: says whose task a job does.
        connect: opens a connection to the parent.
    """

    def __init__(self, upward: Upward, clock: Clock, find_task: FindTask, connect: Connect) -> None:
        self._upward = upward
        self._clock = clock
        self._find_task = find_task
        self._connect = connect
        self._waiting: dict[str, None] = {}
        self._has_news = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to pass on, first what an earlier engine has left."""
        self._upward.listener = self._hear
        self._loop = asyncio.create_task(self._pass_forever(), name="avtomatika-holon-events")

    async def stop(self) -> None:
        """Passes nothing on any more; what waits goes up from the next engine on this storage."""
        self._upward.listener = lambda _job_id: None
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)

    def _hear(self, job_id: str) -> None:
        self._waiting[job_id] = None
        self._has_news.set()

    async def _pass_forever(self) -> None:
        pause, knows_all = _FIRST_PAUSE, False
        while True:
            try:
                if not knows_all:
                    self._waiting |= dict.fromkeys(await self._upward.job_ids())
                    knows_all = True
                while self._waiting:
                    await self.flush(next(iter(self._waiting)))
            except AvtomatikaError as error:
                log.log(
                    logging.WARNING if pause == _FIRST_PAUSE else logging.DEBUG,
                    "events do not reach the parent; trying again: %s",
                    error,
                    extra={"action": "holon_events_wait"},
                )
                await self._clock.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
                continue
            pause = _FIRST_PAUSE
            self._has_news.clear()
            await self._has_news.wait()

    async def flush(self, job_id: str) -> None:
        """Passes on all that waits of a job.

        Two may do this at the same time: each event goes up under an id by which the parent knows a repeated one.

        Raises:
            UndeliveredError: the parent does not take an event; it and those behind it wait on.
            StorageError: the storage does not answer.
        """
        self._waiting.pop(job_id, None)
        try:
            await self._flush(job_id)
        except BaseException:
            self._waiting[job_id] = None
            raise

    async def _flush(self, job_id: str) -> None:
        async with contextlib.AsyncExitStack() as stack:
            transport: Transport | None = None
            while (found := await self._upward.first(job_id)) is not None:
                record, event = found
                task = await self._find_task(job_id)
                if task is not None:
                    if transport is None:
                        transport = await stack.enter_async_context(self._connect(task["worker_id"]))
                    await self._send(transport, event, task)
                await self._upward.forget(record)

    async def _send(self, transport: Transport, event: WorkerEventMessage, task: Mapping[str, Any]) -> None:
        sender = task["worker_id"]
        passed = replace(
            event,
            worker_id=sender,
            job_id=task["job_id"],
            task_id=task["task_id"],
            origin=event.origin or event.worker_id,
            via=(*event.via, sender),
        )
        reply = await transport.event(dumps(encode_event(passed, self._clock.now())))
        if reply.is_ok:
            return
        if reply.is_temporary or reply.is_refused:
            raise UndeliveredError(f"the parent did not take event '{event.event_type}': {reply}.")
        log.warning(
            "the parent refuses event '%s': %s", event.event_type, reply, extra={"action": "event_refused", **task}
        )
