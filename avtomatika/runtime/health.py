"""Health: whether this engine can do its work now, tried rather than assumed."""

from __future__ import annotations

import asyncio
import logging
import time

from avtomatika.storage.base import Storage

log = logging.getLogger(__name__)

# A storage that takes longer serves nobody.
_ANSWER_SECONDS = 2.0
# How long an answer holds: whoever asks more often than that is not to weigh on the storage.
_FRESH_SECONDS = 2.0


class Health:
    """Tries the storage when somebody asks.

    Args:
        storage: read and written for the trial.
        owner: name of this engine; each writes under its own.
    """

    def __init__(self, storage: Storage, owner: str) -> None:
        self._storage = storage
        self._owner = owner
        self._is_stopping = False
        self._trouble: list[str] = []
        self._tried_at = float("-inf")
        self._trying = asyncio.Lock()

    def stop(self) -> None:
        """Says that the engine is about to stop."""
        self._is_stopping = True

    async def find_trouble(self) -> list[str]:
        """Returns why the engine cannot do its work, in sentences that strangers may read; empty if it can."""
        if self._is_stopping:
            return ["the engine is stopping."]
        async with self._trying:
            # The machine's clock on purpose: this is about how things are, not about jobs.
            if time.monotonic() - self._tried_at > _FRESH_SECONDS:
                self._trouble = await self._try()
                self._tried_at = time.monotonic()
            return list(self._trouble)

    async def _try(self) -> list[str]:
        """Reads and writes: a full disk can be read."""
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                await self._storage.count(f"health:{self._owner}", 2**31, 60.0)
                await self._storage.next_wake_at()
        except Exception as error:
            # Where the storage is, and what it says, is for the log.
            log.warning(
                "the storage is in trouble: %s", str(error) or type(error).__name__, extra={"action": "degraded"}
            )
            return ["the storage does not take or answer what it is asked."]
        return []
