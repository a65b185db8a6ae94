"""Feeds an upload that pulls, from a source that may fail or be cancelled, so that the upload always ends tidily."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Any, Self


class UploadGivenUpError(Exception):
    """What the pulling side is told when its source has failed; nobody else sees it."""


class Feeder:
    """Hands blocks to something that pulls them; one block waits at a time.

    The pulling side is never cancelled: the client of a store that is cancelled in the middle of an upload in parts
    leaves the parts behind, for which the owner of the bucket pays. It is told that its source has failed instead, and
    then removes them.

    Args:
        start: begins to pull; called with the blocks.
    """

    def __init__(self, start: Callable[[AsyncIterator[bytes]], asyncio.Future[Any]]) -> None:
        self._start = start
        self._blocks: asyncio.Queue[bytes | Exception | None] = asyncio.Queue(maxsize=1)
        self._puller: asyncio.Future[Any]

    async def __aenter__(self) -> Self:
        self._puller = self._start(self._pull())
        return self

    async def feed(self, block: bytes) -> None:
        """Hands over a block, as soon as the one before is taken.

        Raises:
            Exception: what the pulling side raised.
        """
        await self._hand_over(block)

    async def end(self) -> Any:
        """Says that there are no more blocks; returns what the pulling side returns.

        Raises:
            Exception: what the pulling side raised.
        """
        await self._hand_over(None)
        return await asyncio.shield(self._puller)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._puller.done():
            return
        giving_up = asyncio.ensure_future(self._give_up())
        try:
            await asyncio.shield(giving_up)
        except asyncio.CancelledError:  # once more: it ends by itself
            if not giving_up.done():
                giving_up.add_done_callback(lambda done: done.exception())
            raise

    async def _give_up(self) -> None:
        while not self._blocks.empty():
            self._blocks.get_nowait()
        self._blocks.put_nowait(UploadGivenUpError())
        await asyncio.wait([self._puller])
        if not self._puller.cancelled():
            self._puller.exception()  # looked at: it is what it was told

    async def _hand_over(self, block: bytes | None) -> None:
        putting = asyncio.ensure_future(self._blocks.put(block))
        try:
            await asyncio.wait([putting, self._puller], return_when=asyncio.FIRST_COMPLETED)
        finally:
            putting.cancel()
        if self._puller.done():
            self._puller.result()

    async def _pull(self) -> AsyncIterator[bytes]:
        while (block := await self._blocks.get()) is not None:
            if isinstance(block, Exception):
                raise block
            yield block
