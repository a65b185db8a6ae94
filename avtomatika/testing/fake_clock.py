"""A clock for tests: time stands still until a test moves it.

clock = FakeClock()
storage = MemoryStorage(clock)
...
await clock.advance(30)  # half a minute passes at once; whoever slept until then has run
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Awaitable
from typing import Any, TypeVar

T = TypeVar("T")

# A woken task usually goes through a few futures (a lock, a queue, a gather) before it sleeps again; each costs one
# turn of the loop. There is no public way to ask a loop whether it is idle.
_TURNS = 25


class FakeClock:
    """A clock that stands still until ``advance`` moves it; a drop-in for ``avtomatika.clock.SystemClock``.

    It belongs to one event loop, the one that sleeps on it.

    Args:
        start: the first moment, in Unix seconds.
    """

    def __init__(self, start: float = 1_700_000_000.0) -> None:
        self._now = start
        self._alarms: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def now(self) -> float:
        """Returns the moment, in Unix seconds."""
        return self._now

    async def sleep(self, seconds: float) -> None:
        """Returns when the clock has been moved on by ``seconds``; lets the loop turn once if that is 0 or less."""
        if seconds <= 0:
            await asyncio.sleep(0)
        else:
            await self._alarm(seconds)

    async def wait_for(self, awaitable: Awaitable[T], seconds: float) -> T:
        """Returns the result of ``awaitable``, which is cancelled when the clock has been moved on by ``seconds``.

        Raises:
            TimeoutError: the clock was moved first.
        """
        work = asyncio.ensure_future(awaitable)
        alarm = self._alarm(seconds)
        either: set[asyncio.Future[Any]] = {work, alarm}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                return work.result()
            raise TimeoutError
        finally:
            alarm.cancel()
            if not work.done():
                work.cancel()
                await asyncio.gather(work, return_exceptions=True)

    async def advance(self, seconds: float) -> None:
        """Moves the clock on and wakes the sleepers whose moments have come, in the order of these moments.

        The clock stops at each of these moments and lets the loop run, so that a sleeper sees the time it asked for,
        and one that goes to sleep again within the stretch is woken again.

        Args:
            seconds: how far to move; 0 or more seconds.

        Raises:
            ValueError: the clock would go back.
        """
        if seconds < 0:
            raise ValueError(f"a FakeClock goes forward only; advance got {seconds!r} seconds, give 0 or more.")
        target = self._now + seconds
        await _let_run()
        while self._alarms and self._alarms[0][0] <= target:
            at, _, alarm = heapq.heappop(self._alarms)
            if alarm.done():
                continue
            self._now = max(self._now, at)
            alarm.set_result(None)
            await _let_run()
        self._now = max(self._now, target)
        await _let_run()

    async def leap(self, seconds: float) -> None:
        """Moves the clock on in one movement and wakes, once, everybody whose moment has come.

        Whoever looks for work every few seconds does so once and not thousands of times, so that a year passes as
        fast as an hour. A sleeper sees the end of the stretch, not the moment that it asked for.

        Args:
            seconds: how far to move; 0 or more seconds.

        Raises:
            ValueError: the clock would go back.
        """
        if seconds < 0:
            raise ValueError(f"a FakeClock goes forward only; leap got {seconds!r} seconds, give 0 or more.")
        await _let_run()
        self._now += seconds
        due = []
        while self._alarms and self._alarms[0][0] <= self._now:
            due.append(heapq.heappop(self._alarms)[2])
        for alarm in due:
            if not alarm.done():
                alarm.set_result(None)
        await _let_run()

    def _alarm(self, seconds: float) -> asyncio.Future[None]:
        """Returns a future that is done when ``seconds`` have passed."""
        alarm: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if seconds <= 0:
            alarm.set_result(None)
        else:
            heapq.heappush(self._alarms, (self._now + seconds, next(self._order), alarm))
        return alarm


async def _let_run() -> None:
    """Lets everything run that can run without time passing."""
    for _ in range(_TURNS):
        await asyncio.sleep(0)
