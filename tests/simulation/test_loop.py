"""The virtual loop: time jumps, nothing waits, and a killed process leaves nothing behind."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from typing import Any

import pytest

from .loop import NothingLeftError, Process, SpinningError, VirtualLoop
from .run import _close


@pytest.fixture
def loop() -> Iterator[VirtualLoop]:
    """A virtual loop at the moment 0."""
    loop = VirtualLoop()
    yield loop
    _close(loop)


def play(loop: VirtualLoop, work: Coroutine[Any, Any, Any]) -> Any:
    """Runs a coroutine to its end."""
    return loop.run_until_complete(work)


def test_loop_with_timers_jumps_from_one_to_the_next(loop: VirtualLoop) -> None:
    """A day passes at once, and sleepers wake in the order of their moments."""
    woken = []

    async def sleep(seconds: float) -> None:
        await asyncio.sleep(seconds)
        woken.append((seconds, asyncio.get_running_loop().time()))

    async def both() -> None:
        await asyncio.gather(sleep(86_400.0), sleep(1.0))

    play(loop, both())

    assert woken == [(1.0, 1.0), (86_400.0, 86_400.0)]


def test_loop_that_is_blocked_wakes_sleepers_late(loop: VirtualLoop) -> None:
    """While the loop is blocked nothing runs, and time passes all the same."""

    async def work() -> float:
        sleeper = asyncio.ensure_future(asyncio.sleep(1.0))
        await asyncio.sleep(0)
        loop.block(30.0)
        await sleeper
        return loop.time()

    assert play(loop, work()) == 30.0


def test_loop_without_anything_to_do_says_so(loop: VirtualLoop) -> None:
    """A program that would hang for ever ends with an error."""
    waiting = loop.create_future()

    with pytest.raises(NothingLeftError):
        loop.run_until_complete(waiting)


def test_loop_that_spins_says_so(loop: VirtualLoop) -> None:
    """A program that is always busy, so that no timer ever fires, ends with an error."""

    async def spin() -> None:
        for _ in range(1_000_000):
            await asyncio.sleep(0)

    with pytest.raises(SpinningError):
        play(loop, spin())


def test_process_that_is_killed_takes_its_tasks_with_it(loop: VirtualLoop) -> None:
    """Also tasks that its tasks have started end; those of others go on."""
    ended = []

    async def last(name: str) -> None:
        try:
            await asyncio.sleep(10.0)
            ended.append(name)
        finally:
            ended.append(f"{name} left")

    async def parent() -> None:
        await asyncio.create_task(last("child"))

    async def work() -> None:
        one, other = Process(), Process()
        one.spawn(parent())
        other.spawn(last("other"))
        await asyncio.sleep(1.0)
        one.kill()
        await asyncio.sleep(20.0)

    play(loop, work())

    assert ended == ["child left", "other", "other left"]
