"""What every storage promises about opening, closing and the time it goes by."""

from __future__ import annotations

from avtomatika.storage.base import Storage
from avtomatika.testing import FakeClock

from .builders import START, a_job, create


async def test_open_and_close_twice_are_harmless(storage: Storage) -> None:
    """Opening and closing are idempotent."""
    await storage.open()
    await create(storage)
    await storage.open()

    assert await storage.find_job("j1") == a_job()
    await storage.close()
    await storage.close()
    await storage.open()


async def test_now_follows_the_clock(storage: Storage, clock: FakeClock) -> None:
    """Deadlines are measured by one clock."""
    await clock.advance(5)

    assert await storage.now() == START + 5
