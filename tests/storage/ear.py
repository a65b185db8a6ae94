"""Hears what a storage signals."""

from __future__ import annotations

import asyncio

from avtomatika.storage.base import Signal, Storage


class Ear:
    """Hears the signals of a storage, and can wait for one."""

    def __init__(self, storage: Storage) -> None:
        self.signals: list[Signal] = []
        self._news = asyncio.Event()
        self.stop = storage.subscribe(self._hear)

    def _hear(self, signal: Signal) -> None:
        self.signals.append(signal)
        self._news.set()

    def take(self) -> list[Signal]:
        """Returns what was heard since the last time."""
        heard, self.signals[:] = self.signals[:], []
        return heard

    async def wait_for(self, kind: str, key: str = "") -> Signal:
        """Returns the first signal of a kind; of one job, if it is named."""
        async with asyncio.timeout(20):
            while True:
                for signal in self.signals:
                    if signal.kind == kind and key in {"", signal.key}:
                        return signal
                self._news.clear()
                await self._news.wait()
