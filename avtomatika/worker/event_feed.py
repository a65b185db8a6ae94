"""Events of tasks on their way to the engine: all of them, in order, and before the result of their task.

They are posted, also where a WebSocket is open: over that one nobody would say that an event has come, and a result
could overtake it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections import Counter, deque
from collections.abc import Mapping
from typing import Any

from avtomatika.clock import Clock
from avtomatika.protocol.codec import dumps
from avtomatika.protocol.messages import TaskMessage, WorkerEventMessage
from avtomatika.protocol.worker_events import encode_event
from avtomatika.worker.lifecycle import Backoff, Reply
from avtomatika.worker.settings import Settings
from avtomatika.worker.transport import Transport

logger = logging.getLogger("avtomatika.worker")
_PATIENCE = 120.0
"""Seconds after which an event that nobody takes is given up."""
_FLUSH_TIMEOUT = 30.0
"""Seconds that a result waits for the events of its task."""
_MAX_WAITING = 10_000
_LONGEST_DELAY = 15.0


class EventFeed:
    """Sends events in the background.

    Must be made in the event loop.

    Args:
        transport: the connection.
        settings: the sender, and how soon it repeats what was not taken: as results.
        clock: for time stamps and delays.
    """

    def __init__(self, transport: Transport, settings: Settings, clock: Clock) -> None:
        self._transport = transport
        self._worker_id = settings.worker_id
        self._backoff = Backoff(settings.result_retry_initial, _LONGEST_DELAY)
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[WorkerEventMessage] = deque()
        self._open: Counter[str] = Counter()
        self._changed = asyncio.Condition()
        self._has_work = asyncio.Event()
        self._hurry = asyncio.Event()

    def tell(self, task: TaskMessage, word: str, payload: Mapping[str, Any]) -> None:
        """Takes an event from any thread and returns at once."""
        event = WorkerEventMessage(
            event_type=word,
            payload=payload,
            event_id=str(uuid.uuid4()),
            worker_id=self._worker_id,
            job_id=task.job_id,
            task_id=task.task_id,
        )
        with contextlib.suppress(RuntimeError):  # the loop is closed: a thread outlived its worker
            self._loop.call_soon_threadsafe(self._put, event)

    def hurry(self) -> None:
        """Holds up no result any more; the worker is about to end."""
        self._hurry.set()

    async def send_forever(self) -> None:
        """Sends what is told until it is cancelled."""
        while True:
            if not self._waiting:
                self._has_work.clear()
                await self._has_work.wait()
                continue
            event = self._waiting[0]
            await self._send(event)
            self._waiting.popleft()
            async with self._changed:
                self._open -= Counter((event.task_id,))
                self._changed.notify_all()

    async def flush(self, task_id: str) -> None:
        """Returns when the engine has all events of the task, or when they have held it up for long enough."""
        # What a function told before it ended went through the loop before its end did, also out of a thread.
        if not self._open[task_id]:
            return
        sent = asyncio.create_task(self._until_sent(task_id))
        hurried = asyncio.create_task(self._hurry.wait())
        try:
            with contextlib.suppress(TimeoutError):
                both = asyncio.wait({sent, hurried}, return_when=asyncio.FIRST_COMPLETED)
                await self._clock.wait_for(both, _FLUSH_TIMEOUT)
        finally:
            sent.cancel()
            hurried.cancel()

    async def _until_sent(self, task_id: str) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: not self._open[task_id])

    async def _send(self, event: WorkerEventMessage) -> None:
        """Sends one event until it is taken, refused, or too old; always under the same id, so that it counts once."""
        text = dumps(encode_event(event, self._clock.now()))
        give_up_at = self._clock.now() + _PATIENCE
        failures = 0
        while True:
            reply = await self._transport.event(text)
            if reply.is_ok:
                return
            failures += 1
            delay = self._backoff.delay(failures, reply.retry_after)
            if not _may_pass(reply) or self._clock.now() + delay > give_up_at:
                logger.warning("event '%s' of task %s was not taken: %s", event.event_type, event.task_id, reply)
                return
            await self._clock.sleep(delay)

    def _put(self, event: WorkerEventMessage) -> None:
        if len(self._waiting) >= _MAX_WAITING:
            logger.warning("%d events wait already; one more of task %s is dropped", _MAX_WAITING, event.task_id)
            return
        self._waiting.append(event)
        self._open[event.task_id] += 1
        self._has_work.set()


def _may_pass(reply: Reply) -> bool:
    """Whether the same event may be taken later."""
    return reply.is_temporary or reply.is_refused
