"""Polls that bring no task: when they end."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avtomatika.runtime.poll_ends import end_of_poll

from .conftest import System, a_worker

NOW = 1_700_000_000.0


async def test_polls_that_began_one_after_the_other_end_together(system: System) -> None:
    """A few at a time cost an engine much less than one by one."""
    polls = []
    for number in range(10):
        polls.append(asyncio.create_task(system.dispatcher.next_task(a_worker(f"w{number}"), 30)))
        await system.clock.advance(0.02)
    await system.clock.advance(29.75)
    assert not any(poll.done() for poll in polls)

    await system.clock.advance(0.1)

    assert all(poll.done() for poll in polls)
    assert system.dispatcher.parked == 0


@given(begins=st.floats(NOW, NOW + 1e6), seconds=st.floats(0, 3600), parked=st.integers(0, 100_000))
def test_poll_is_never_held_for_longer_than_it_may_be(begins: float, seconds: float, parked: int) -> None:
    """Nor answered much too soon, for some workers ask again at once."""
    held = end_of_poll(begins, seconds, parked) - begins

    assert held <= seconds + 1e-6
    assert held > seconds - 0.25 - 1e-6


def test_short_poll_is_held_as_long_as_it_asks() -> None:
    """A quarter of a second is much of it."""
    assert end_of_poll(NOW + 0.1, 1.0, 10) == NOW + 0.1 + 1.0


@pytest.mark.parametrize("parked", [1, 1000, 3999, 4000, 10_000, 60_000])
def test_few_polls_end_at_one_moment_however_many_there_are(parked: int) -> None:
    """Or a task that is queued at that moment would have to wait for all of them to be answered."""
    begins = [NOW + 30 * number / parked for number in range(parked)]
    ends = [end_of_poll(moment, 30, parked) for moment in begins]

    assert max(ends.count(moment) for moment in set(ends[:2000])) <= 34
