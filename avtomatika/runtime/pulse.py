"""The pulse: how late the event loop is. What blocks it (a slow plain call in a handler) delays every job at once."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable

_BEAT = 0.5
_BEATS = 120
"""So many beats are remembered: a minute, longer than the pause between two looks of a monitoring system."""


class Pulse:
    """Measures how much later than asked the event loop wakes somebody.

    Args:
        beat: is called at each beat.
    """

    # Its own clock, the loop's: what is measured is the loop, also where a test moves the engine's clock by hand.

    def __init__(self, beat: Callable[[], None] = lambda: None) -> None:
        self._beat = beat
        self._lags: deque[float] = deque(maxlen=_BEATS)
        self._loop: asyncio.Task[None] | None = None

    @property
    def lag(self) -> float:
        """The longest delay in the last minute, seconds."""
        return max(self._lags, default=0.0)

    def start(self) -> None:
        """Begins to measure."""
        self._loop = asyncio.create_task(self._beat_forever(), name="avtomatika-pulse")

    async def stop(self) -> None:
        """Stops measuring."""
        if self._loop is not None:
            self._loop.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._loop

    def note(self, asked: float, woken: float) -> None:
        """Remembers one beat.

        Args:
            asked: when it should have been, by the loop's clock.
            woken: when it was.
        """
        self._lags.append(max(0.0, woken - asked))

    async def _beat_forever(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            asked = clock() + _BEAT
            await asyncio.sleep(_BEAT)
            self.note(asked, clock())
            self._beat()
