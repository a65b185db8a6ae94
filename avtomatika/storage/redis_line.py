"""Signals from other engines: one pub/sub connection, which comes back by itself."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from avtomatika.errors import StorageError
from avtomatika.storage.base import Signal
from avtomatika.storage.redis_link import FAULTS, Connection, Link
from avtomatika.storage.redis_records import read_signals, unpack

log = logging.getLogger(__name__)

# So long nothing need be heard before the line asks whether somebody is there, and so long it waits for the answer.
_QUIET, _ANSWER = 15.0, 5.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 2.0


class SignalLine:
    """Listens on the channel of one engine.

    Args:
        link: opens connections.
        channel: where the scripts publish what others did.
        hear: takes the signals, in order.
        look: called when the line stands, when it stands again (with True) and, while it does, every quarter of a
            minute that is quiet; what it raises breaks the line.
    """

    def __init__(
        self,
        link: Link,
        channel: str,
        hear: Callable[[Sequence[Signal]], None],
        look: Callable[[bool], Awaitable[None]],
    ) -> None:
        self._link = link
        self._channel = channel
        self._hear = hear
        self._look = look
        self._connection: Connection | None = None
        self._listening: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Subscribes; what is published from now on is heard."""
        await self._subscribe(again=False)
        self._listening = asyncio.create_task(self._listen(), name="avtomatika-redis-signals")

    async def stop(self) -> None:
        """Hears nothing any more. Idempotent."""
        listening, self._listening = self._listening, None
        if listening is not None:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
        await self._disconnect()

    async def _subscribe(self, *, again: bool) -> None:
        self._connection = connection = await self._link.connect()
        await connection.send_command("SUBSCRIBE", self._channel, check_health=False)
        await connection.read_response()
        await self._look(again)

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(*FAULTS):
                await connection.disconnect(nowait=True)

    async def _listen(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            try:
                if self._connection is None:
                    await self._subscribe(again=True)
                    log.info("hearing signals of other engines again", extra={"action": "redis_signals_back"})
                pause = _FIRST_PAUSE
                await self._hear_all()
            except (*FAULTS, StorageError) as error:
                if pause == _FIRST_PAUSE:
                    # Once for each loss: until it is back, other engines' news is found by looking.
                    log.warning("lost the signals of other engines: %s", error, extra={"action": "redis_signals_lost"})
                await self._disconnect()
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)

    async def _hear_all(self) -> None:
        """Hears signals until the connection is lost."""
        connection: Any = self._connection
        is_asked = False
        while True:
            message = await connection.read_response(timeout=_ANSWER if is_asked else _QUIET)
            if message is None:
                if is_asked:
                    raise TimeoutError(f"Redis at {self._link.address} has gone silent")
                await connection.send_command("PING", check_health=False)
                is_asked = True
                continue
            if is_asked:
                is_asked = False
                await self._look(False)
            if message[0] == b"message":
                self._hear_one(message[2])

    def _hear_one(self, message: bytes) -> None:
        try:
            signals = read_signals(unpack(message))
        except (StorageError, TypeError, ValueError):
            # A newer engine may say what this one does not know; a signal that is lost costs time only.
            log.warning("a signal of another engine makes no sense", extra={"action": "redis_signal_strange"})
        else:
            self._hear(signals)
