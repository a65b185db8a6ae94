"""Progress on its way to the engine: the latest of each task, one request at a time."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid

from avtomatika.clock import Clock
from avtomatika.protocol.codec import dumps
from avtomatika.protocol.messages import TaskMessage, WorkerEventMessage
from avtomatika.protocol.worker_events import PROGRESS, encode_event
from avtomatika.worker.transport import Transport
from avtomatika.worker.websocket import Socket

logger = logging.getLogger("avtomatika.worker")
_FLUSH_TIMEOUT = 2.0


class ProgressFeed:
    """Sends progress in the background. It may be lost; a task's work never waits for it.

    Must be made in the event loop.

    Args:
        transport: the connection.
        worker_id: the sender.
        clock: for time stamps.
        socket: takes it first, if it is open; None for none.
    """

    def __init__(self, transport: Transport, worker_id: str, clock: Clock, socket: Socket | None = None) -> None:
        self._transport = transport
        self._socket = socket
        self._worker_id = worker_id
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[str, WorkerEventMessage] = {}
        self._sending = ""
        self._changed = asyncio.Condition()
        self._has_work = asyncio.Event()

    def report(self, task: TaskMessage, value: float, message: str) -> None:
        """Takes a progress from any thread and returns at once; a newer one of the same task replaces it."""
        event = WorkerEventMessage(
            event_type=PROGRESS,
            payload={"progress": value, "message": message},
            event_id=str(uuid.uuid4()),
            worker_id=self._worker_id,
            job_id=task.job_id,
            task_id=task.task_id,
        )
        with contextlib.suppress(RuntimeError):  # the loop is closed: a thread outlived its worker
            self._loop.call_soon_threadsafe(self._put, event)

    async def send_forever(self) -> None:
        """Sends what is reported until it is cancelled."""
        while True:
            if not self._waiting:
                self._has_work.clear()
                await self._has_work.wait()
                continue
            self._sending = next(iter(self._waiting))
            event = self._waiting.pop(self._sending)
            text = dumps(encode_event(event, self._clock.now()))
            if self._socket is None or not await self._socket.send(self._transport.frame(text)):
                reply = await self._transport.event(text)
                if not reply.is_ok:
                    logger.debug("progress of task %s was not taken: %s", event.task_id, reply)
            async with self._changed:
                self._sending = ""
                self._changed.notify_all()

    async def flush(self, task_id: str) -> None:
        """Returns when all progress of the task is sent, or has been given up after a short while."""
        # What a function reported before it ended went through the loop before its end did, also out of a thread.
        if not self._is_open(task_id):
            return
        async with self._changed:
            with contextlib.suppress(TimeoutError):
                await self._clock.wait_for(self._changed.wait_for(lambda: not self._is_open(task_id)), _FLUSH_TIMEOUT)
        self._waiting.pop(task_id, None)

    def _put(self, event: WorkerEventMessage) -> None:
        self._waiting[event.task_id] = event
        self._has_work.set()

    def _is_open(self, task_id: str) -> bool:
        return task_id in self._waiting or self._sending == task_id
