"""The WebSockets that workers hold open to this engine: the short way to tell one of them to stop a task.

A job may end at any engine. All of them hear the signal of its end; each looks which workers held its open tasks and
tells those that are connected here. A message that is lost costs time only: the next heartbeat says the same.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from avtomatika.clock import Clock
from avtomatika.core.states import TaskStatus
from avtomatika.errors import StorageError
from avtomatika.protocol.answers import cancel_command
from avtomatika.protocol.codec import dumps
from avtomatika.storage.base import Signal, Storage

log = logging.getLogger(__name__)

# A worker that does not read must not hold up the others.
_SEND_SECONDS = 5.0


@dataclass(eq=False)
class Socket:
    """One connection.

    Args:
        worker: the id of the worker at its other end; as long as that is not known, a pattern of the ids it may have:
            the oldest workers do not say who they are until they mention a task.
        send: writes one message.
        close: ends the connection.
    """

    worker: str
    send: Callable[[str], Awaitable[None]]
    close: Callable[[], Awaitable[object]]


class Sockets:
    """The connections of this engine.

    Args:
        storage: whose signals tell of jobs that ended.
        clock: for waiting.
    """

    def __init__(self, storage: Storage, clock: Clock) -> None:
        self._storage = storage
        self._clock = clock
        self._open: set[Socket] = set()
        self._ended: dict[str, None] = {}
        self._has_ended = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None
        self._closed = False
        self._unsubscribe = storage.subscribe(self._on_signal, "job")

    def __len__(self) -> int:
        """Returns how many connections are open."""
        return len(self._open)

    def start(self) -> None:
        """Begins to tell workers of jobs that end."""
        self._loop = asyncio.create_task(self._tell_forever(), name="avtomatika-sockets")

    async def stop(self) -> None:
        """Closes all connections, and lets no further one be opened."""
        self._closed = True
        self._unsubscribe()
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)
        await asyncio.gather(*(socket.close() for socket in self._open), return_exceptions=True)

    async def add(self, socket: Socket) -> None:
        """Takes in a connection; one that comes while the engine stops is closed again."""
        if self._closed:
            await socket.close()
        self._open.add(socket)

    def remove(self, socket: Socket) -> None:
        """Forgets a connection that has ended."""
        self._open.discard(socket)

    def reaches(self, worker_id: str) -> bool:
        """Whether the worker, or one that may be it, is connected here."""
        return any(fnmatchcase(worker_id, socket.worker) for socket in self._open)

    async def cancel(self, worker_id: str, task_id: str, job_id: str) -> None:
        """Tells a worker to stop a task.

        Connections that may be its own hear it as well: workers ignore tasks that they do not have.

        Args:
            worker_id: who runs it.
            task_id: the id that the worker knows it by.
            job_id: its job.
        """
        message = dumps(cancel_command(task_id, job_id))
        told = [socket for socket in self._open if fnmatchcase(worker_id, socket.worker)]
        await asyncio.gather(*(self._send(socket, message) for socket in told))

    async def _send(self, socket: Socket, message: str) -> None:
        try:
            await self._clock.wait_for(socket.send(message), _SEND_SECONDS)
        except (OSError, RuntimeError, TimeoutError):
            log.info("a worker's socket takes no message", extra={"action": "socket_lost", "worker_id": socket.worker})

    def _on_signal(self, signal: Signal) -> None:
        if signal.final and self._open:
            self._ended[signal.key] = None
            self._has_ended.set()

    async def _tell_forever(self) -> None:
        while True:
            await self._has_ended.wait()
            self._has_ended.clear()
            while self._ended:
                job_id = next(iter(self._ended))
                del self._ended[job_id]
                try:
                    await self._tell(job_id)
                except StorageError:
                    log.exception("workers learn of an end by their heartbeats", extra={"job_id": job_id})

    async def _tell(self, job_id: str) -> None:
        """Tells the workers whose tasks were closed by the end of the job."""
        for task in await self._storage.list_tasks(job_id):
            if task.status is TaskStatus.CANCELLED and not task.result_status and task.worker_id:
                await self.cancel(task.worker_id, task.wire_id, job_id)
