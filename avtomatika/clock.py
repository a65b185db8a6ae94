"""The clock: what time it is and how to wait, so that tests can move it by hand."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from typing import Protocol, TypeVar

T = TypeVar("T")


class Clock(Protocol):
    """A source of wall-clock moments, and of waiting measured by them."""

    def now(self) -> float:
        """Returns the moment, in Unix seconds (UTC)."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Returns when ``seconds`` have passed on this clock."""
        ...

    async def wait_for(self, awaitable: Awaitable[T], seconds: float) -> T:
        """Returns the result of ``awaitable``, which is cancelled after ``seconds`` on this clock.

        Raises:
            TimeoutError: the time passed first.
        """
        ...


class SystemClock:
    """The machine's clock and the event loop's timers."""

    # No method around it: a step of a job asks five times.
    now = staticmethod(time.time)
    """Returns the machine's wall-clock time."""

    async def sleep(self, seconds: float) -> None:
        """Sleeps on the running event loop."""
        await asyncio.sleep(max(0.0, seconds))

    async def wait_for(self, awaitable: Awaitable[T], seconds: float) -> T:
        """Waits on the running event loop."""
        # Not asyncio.wait_for: in Python 3.11 that swallows a cancellation which comes together with the result, and a
        # loop that waits with it then never ends.
        async with asyncio.timeout(seconds):
            return await awaitable
