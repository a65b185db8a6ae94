"""What every storage promises about timers, and about the next moment at which something is due."""

from __future__ import annotations

import asyncio

from avtomatika.core.events import TimerKind
from avtomatika.storage.base import Ready, Storage, Timer
from avtomatika.testing import FakeClock

from .builders import START, a_job, a_task, create, go_on


async def test_timers_due_come_earliest_first(storage: Storage, clock: FakeClock) -> None:
    """Only timers whose moment has come, up to the limit."""
    timers = [Timer("j1", TimerKind.RESULT, START + at, f"t{at}") for at in (5, 1, 3, 9)]
    await create(storage, set_timers=timers)
    await clock.advance(5)

    assert [timer.at - START for timer in await storage.claim_timers(2, 10)] == [1, 3]
    assert [timer.at - START for timer in await storage.claim_timers(2, 10)] == [5]


async def test_timer_taken_and_not_cleared_comes_back(storage: Storage, clock: FakeClock) -> None:
    """An engine that dies with a timer in hand loses nothing."""
    timer = Timer("j1", TimerKind.JOB, START)
    await create(storage, set_timers=[timer])

    assert await storage.claim_timers(10, 10) == [timer]
    assert await storage.claim_timers(10, 10) == []
    await clock.advance(10)
    assert await storage.claim_timers(10, 10) == [timer]


async def test_timers_racing_are_taken_once(storage: Storage) -> None:
    """However many engines look, a timer fires once at a time."""
    await create(storage, set_timers=[Timer("j1", TimerKind.RESULT, START, f"t{n}") for n in range(6)])

    answers = await asyncio.gather(*(storage.claim_timers(2, 10) for _ in range(6)))

    assert sorted(timer.task_id for timers in answers for timer in timers) == [f"t{n}" for n in range(6)]


async def test_timer_cleared_never_fires(storage: Storage, clock: FakeClock) -> None:
    """A commit forgets a timer, taken or not; one that is not there is no mistake."""
    kinds = [TimerKind.JOB, TimerKind.RETRY]
    job = await create(storage, ready=Ready(START), set_timers=[Timer("j1", kind, START) for kind in kinds])
    await storage.claim_timers(1, 10)

    await go_on(storage, job, clear_timers=[Timer("j1", kind) for kind in [*kinds, TimerKind.DISPATCH]])
    await clock.advance(60)

    assert await storage.claim_timers(10, 10) == []
    assert await storage.next_wake_at() is None


async def test_timer_set_again_replaces_the_old_one(storage: Storage, clock: FakeClock) -> None:
    """There is one timer for each job, kind and task; a new moment counts at once."""
    other = Timer("j1", TimerKind.JOB, START, "t1")
    job = await create(storage, set_timers=[Timer("j1", TimerKind.JOB, START), other])
    await storage.claim_timers(10, 100)

    moved = Timer("j1", TimerKind.JOB, START + 5)
    await go_on(storage, job, clear_timers=[Timer("j1", TimerKind.JOB, 0.0)], set_timers=[moved])
    await clock.advance(5)

    assert await storage.claim_timers(10, 10) == [moved]
    assert set((await storage.find_wake_up("j1")).timers) == {moved, other}


async def test_timer_set_twice_fires_once(storage: Storage, clock: FakeClock) -> None:
    """The new moment counts without the old one being cleared."""
    job = await create(storage, set_timers=[Timer("j1", TimerKind.JOB, START + 1)])
    moved = Timer("j1", TimerKind.JOB, START + 5)

    await go_on(storage, job, set_timers=[moved])

    await clock.advance(4)
    assert await storage.claim_timers(10, 10) == []
    await clock.advance(1)
    assert await storage.claim_timers(10, 10) == [moved]


async def test_next_wake_is_the_earliest_of_all(storage: Storage, clock: FakeClock) -> None:
    """Delayed wake-ups, timers, claims and leases: the earliest counts."""
    assert await storage.next_wake_at() is None
    await create(storage, a_job("j1"), ready=Ready(START + 50))
    assert await storage.next_wake_at() == START + 50

    await create(storage, a_job("j2"), ready=Ready(START))
    await storage.claim_jobs("e1", 1, 40)
    assert await storage.next_wake_at() == START + 40

    await create(storage, a_job("j3"), queue_tasks=[a_task("t3", "j3")])
    await storage.claim_task("w1", ["render"], 30)
    assert await storage.next_wake_at() == START + 30

    await create(storage, a_job("j4"), set_timers=[Timer("j4", TimerKind.JOB, START + 20)])
    assert await storage.next_wake_at() == START + 20
    await clock.advance(20)
    await storage.claim_timers(1, 5)
    assert await storage.next_wake_at() == START + 25


async def test_next_wake_counts_what_is_overdue_but_not_what_can_be_claimed(storage: Storage, clock: FakeClock) -> None:
    """Overdue timers and leases count until they are dealt with; wake-ups that engines leave alone do not."""
    await create(storage, a_job("j1"), ready=Ready(START))
    await create(storage, a_job("j2"), ready=Ready(START + 5))
    await create(storage, a_job("j3"))
    await storage.claim_jobs("e1", 1, 5)
    await clock.advance(10)
    assert await storage.next_wake_at() is None

    await create(storage, a_job("j4"), queue_tasks=[a_task("t4", "j4")])
    await storage.claim_task("w1", ["render"], 5)
    await clock.advance(10)
    assert await storage.next_wake_at() == START + 15
