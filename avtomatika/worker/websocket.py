"""The worker's WebSocket: cancellations come in at once, progress goes out without a request of its own."""

from __future__ import annotations

import logging
from collections.abc import Iterable

import aiohttp

from avtomatika.clock import Clock
from avtomatika.errors import ProtocolError
from avtomatika.protocol.codec import loads
from avtomatika.protocol.reading import read_mapping, read_text
from avtomatika.worker.lifecycle import Backoff
from avtomatika.worker.settings import Settings
from avtomatika.worker.transport import Transport
from avtomatika.worker.work import Work

logger = logging.getLogger("avtomatika.worker")
_CANCEL = "cancel_task"


class Socket:
    """One WebSocket to one engine, which comes back by itself.

    Args:
        transport: opens it.
        settings: delays between two tries.
        work: what commands act on.
        clock: measures delays.
    """

    def __init__(self, transport: Transport, settings: Settings, work: Work, clock: Clock) -> None:
        self._transport = transport
        self._backoff = Backoff(settings.retry_initial, settings.retry_max)
        self._work = work
        self._clock = clock
        self._connection: aiohttp.ClientWebSocketResponse | None = None

    async def send(self, text: str) -> bool:
        """Sends a message if the socket is open; returns whether it was sent."""
        connection = self._connection
        if connection is None or connection.closed:
            return False
        try:
            await connection.send_str(text)
        except (ConnectionError, aiohttp.ClientError):
            return False
        return True

    async def keep(self) -> None:
        """Opens the socket again and again until it is cancelled."""
        failures = 0
        while True:
            try:
                async with self._transport.socket() as connection:
                    self._connection = connection
                    failures = 0
                    logger.debug("the socket is open")
                    await self._hear(connection)
                reason = f"closed with code {connection.close_code}"
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                reason = str(error) or type(error).__name__
            finally:
                self._connection = None
            failures += 1
            delay = self._backoff.delay(failures)
            logger.log(
                logging.WARNING if failures == 1 else logging.DEBUG,
                "the socket is away (%s), next try in %.1f s; heartbeats do without it",
                reason,
                delay,
            )
            await self._clock.sleep(delay)

    async def _hear(self, connection: aiohttp.ClientWebSocketResponse) -> None:
        async for message in connection:
            if message.type is aiohttp.WSMsgType.TEXT:
                self._work.cancel(_to_cancel(message.data))


def _to_cancel(text: str) -> Iterable[str]:
    """Returns the tasks that a command wants to be stopped; other commands and what makes no sense want none."""
    try:
        command = read_mapping(loads(text))
    except ProtocolError as error:
        logger.warning("the engine sent a message that cannot be understood: %s", error)
        return ()
    word = read_text(command.get("command")) or read_text(command.get("type"))
    if word != _CANCEL:
        logger.info("the engine sent the command '%s', which this worker does not know", word[:80])
        return ()
    return (read_text(command.get("task_id")),)
