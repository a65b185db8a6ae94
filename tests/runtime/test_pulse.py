"""The pulse: the lag of the event loop."""

from __future__ import annotations

import asyncio

from avtomatika.runtime.pulse import Pulse


def test_lag_is_the_longest_delay_remembered() -> None:
    """One long pause shows for a minute, and early wake-ups are no lag."""
    pulse = Pulse()

    for asked, woken in [(1.0, 1.1), (2.0, 4.5), (3.0, 2.9)]:
        pulse.note(asked, woken)

    assert pulse.lag == 2.5


def test_lag_of_the_past_is_forgotten() -> None:
    """What was more than a minute ago does not show any more."""
    pulse = Pulse()
    pulse.note(0.0, 9.0)

    for beat in range(120):
        pulse.note(beat, beat + 0.5)

    assert pulse.lag == 0.5


async def test_pulse_beats_while_it_runs() -> None:
    """A started pulse measures by itself, and a stopped one leaves nothing behind."""
    pulse = Pulse()
    noted = asyncio.Event()
    pulse.note = lambda asked, woken: noted.set()  # type: ignore[method-assign]

    pulse.start()
    async with asyncio.timeout(30):
        await noted.wait()
    await pulse.stop()

    assert not [task for task in asyncio.all_tasks() if task.get_name() == "avtomatika-pulse"]
