"""The clocks: the machine's, and the one that tests move."""

from __future__ import annotations

import asyncio
import time

import pytest

from avtomatika.clock import SystemClock
from avtomatika.testing import FakeClock


async def never() -> None:
    """Waits for nothing."""
    await asyncio.get_running_loop().create_future()


def test_system_clock_now_is_unix_time() -> None:
    """The machine's clock tells Unix seconds."""
    before = time.time()

    now = SystemClock().now()

    assert before <= now <= time.time()


async def test_system_clock_sleep_of_negative_time_returns() -> None:
    """A moment that has passed is no reason to wait."""
    await asyncio.wait_for(SystemClock().sleep(-5), 30)


async def test_system_clock_wait_for_returns_the_result() -> None:
    """What is ready in time is returned."""
    assert await SystemClock().wait_for(asyncio.sleep(0, "done"), 5) == "done"


async def test_system_clock_wait_for_ends_what_takes_too_long() -> None:
    """What takes too long is cancelled."""
    with pytest.raises(TimeoutError):
        await SystemClock().wait_for(never(), 0.001)


@pytest.mark.parametrize("turns", range(5))
async def test_loop_that_waits_ends_when_cancelled_at_the_moment_of_an_event(turns: int) -> None:
    """A background loop that is told to end while it is being woken does not take the cancellation for its event."""
    event = asyncio.Event()

    async def wait_forever() -> None:
        while True:
            event.clear()
            await SystemClock().wait_for(event.wait(), 60)

    loop = asyncio.create_task(wait_forever())
    for _ in range(5):
        await asyncio.sleep(0)
    event.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    loop.cancel()

    ended, _ = await asyncio.wait([loop], timeout=30)
    loop.cancel()
    assert ended


async def test_fake_clock_stands_still_until_moved(clock: FakeClock) -> None:
    """Time passes by ``advance`` alone."""
    before = clock.now()

    await clock.advance(12.5)

    assert clock.now() == before + 12.5


async def test_fake_clock_starts_where_told() -> None:
    """The first moment can be chosen."""
    assert FakeClock(start=5.0).now() == 5.0


async def test_fake_clock_wakes_sleepers_in_order_of_their_moments(clock: FakeClock) -> None:
    """Who sleeps shorter wakes first and sees the moment it asked for."""
    start, woken = clock.now(), []

    async def sleep(seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append((seconds, clock.now() - start))

    tasks = [asyncio.create_task(sleep(seconds)) for seconds in (3, 1, 2, 9)]
    await clock.advance(5)

    assert woken == [(1, 1), (2, 2), (3, 3)]
    await clock.advance(4)
    assert woken[-1] == (9, 9)
    await asyncio.gather(*tasks)


async def test_fake_clock_wakes_a_sleeper_that_sleeps_again(clock: FakeClock) -> None:
    """A loop with a pause runs as often as the stretch has room for."""
    ticks = []

    async def tick() -> None:
        while True:
            await clock.sleep(10)
            ticks.append(clock.now())

    task = asyncio.create_task(tick())
    await clock.advance(35)

    assert len(ticks) == 3
    task.cancel()


async def test_fake_clock_sleep_of_no_time_lets_others_run(clock: FakeClock) -> None:
    """A sleep of nothing returns by itself, after a turn of the loop."""
    ran = asyncio.Event()
    asyncio.get_running_loop().call_soon(ran.set)

    await clock.sleep(0)

    assert ran.is_set()


async def test_fake_clock_wait_for_in_time_returns_the_result(clock: FakeClock) -> None:
    """What is ready in time is returned, and its alarm does nobody harm later."""
    assert await clock.wait_for(asyncio.sleep(0, "done"), 5) == "done"

    await clock.advance(10)


async def test_fake_clock_wait_for_passes_an_error_on(clock: FakeClock) -> None:
    """What fails in time fails the waiter."""

    async def fail() -> None:
        raise LookupError("no")

    with pytest.raises(LookupError, match="no"):
        await clock.wait_for(fail(), 5)


async def test_fake_clock_wait_for_too_long_cancels_the_work(clock: FakeClock) -> None:
    """Moved past the end, the clock ends the work, not a moment earlier."""
    work = asyncio.create_task(never())
    waiter = asyncio.create_task(clock.wait_for(work, 5))

    await clock.advance(4.9)
    assert not waiter.done()
    await clock.advance(0.1)

    with pytest.raises(TimeoutError):
        await waiter
    assert work.cancelled()


async def test_fake_clock_wait_for_no_time_does_not_wait(clock: FakeClock) -> None:
    """Without time, only what is done already counts."""
    with pytest.raises(TimeoutError):
        await clock.wait_for(never(), 0)


async def test_fake_clock_wait_for_cancelled_cancels_the_work(clock: FakeClock) -> None:
    """Who gives up waiting leaves no work behind."""
    work = asyncio.create_task(never())
    waiter = asyncio.create_task(clock.wait_for(work, 5))
    await clock.advance(1)

    waiter.cancel()

    with pytest.raises(asyncio.CancelledError):
        await waiter
    assert work.cancelled()


async def test_fake_clock_moved_back_says_what_to_do(clock: FakeClock) -> None:
    """Time does not go back."""
    with pytest.raises(ValueError, match="give 0 or more"):
        await clock.advance(-1)
