"""What every storage promises to engines that claim the jobs that are due."""

from __future__ import annotations

import asyncio

from avtomatika.storage.base import Ready, Storage, WakeUp
from avtomatika.testing import FakeClock

from .builders import START, a_job, claim_one, create, go_on


async def test_claim_jobs_takes_them_in_order(storage: Storage) -> None:
    """Higher priority first, then earlier due, then earlier queued; what is not due stays."""
    wake_ups = [Ready(START - 1), Ready(START - 2), Ready(START, 5.0), Ready(START - 1), Ready(START + 1, 9.0)]
    for number, ready in enumerate(wake_ups):
        await create(storage, a_job(f"j{number}"), ready=ready)

    first = await storage.claim_jobs("e1", 3, 10)
    rest = await storage.claim_jobs("e1", 3, 10)

    assert [claim.job.id for claim in first] == ["j2", "j1", "j0"]
    assert [claim.job.id for claim in rest] == ["j3"]
    assert all(claim.deliveries == 1 for claim in first)
    assert len({claim.token for claim in first + rest}) == 4


async def test_claim_jobs_of_none_takes_none(storage: Storage) -> None:
    """A limit of 0 is an answer too."""
    await create(storage)

    assert await storage.claim_jobs("e1", 0, 10) == []
    await claim_one(storage)


async def test_claim_jobs_returns_the_job_as_stored(storage: Storage) -> None:
    """The job of a claim is the one of the last commit."""
    job = await go_on(storage, await create(storage))

    assert (await claim_one(storage)).job == job


async def test_claims_racing_never_share_a_job(storage: Storage) -> None:
    """However many engines claim, each wake-up is one engine's."""
    for number in range(30):
        await create(storage, a_job(f"j{number}"))

    answers = await asyncio.gather(*(storage.claim_jobs(f"e{n}", 4, 10) for n in range(10)))

    taken = [claim.job.id for claims in answers for claim in claims]
    assert sorted(taken) == sorted(f"j{n}" for n in range(30))


async def test_claim_that_ended_is_taken_over(storage: Storage, clock: FakeClock) -> None:
    """A lease ends by itself, not a moment earlier, and the delivery is counted."""
    await create(storage)
    await claim_one(storage, "e1", lease=10)

    await clock.advance(9.9)
    assert await storage.claim_jobs("e2", 10, 10) == []
    await clock.advance(0.1)

    assert (await claim_one(storage, "e2")).deliveries == 2


async def test_claim_extended_lasts_from_now(storage: Storage, clock: FakeClock) -> None:
    """An extension counts from the moment it is asked for."""
    await create(storage)
    claim = await claim_one(storage, lease=10)
    await clock.advance(8)

    assert await storage.extend_claims([claim.token], 10) == []

    await clock.advance(9.9)
    assert await storage.claim_jobs("e2", 10, 10) == []
    await clock.advance(0.1)
    assert len(await storage.claim_jobs("e2", 10, 10)) == 1


async def test_claim_that_ended_is_revived_if_nobody_took_over(storage: Storage, clock: FakeClock) -> None:
    """An engine that was held up for a while goes on."""
    await create(storage)
    claim = await claim_one(storage, "e1")
    await clock.advance(60)
    assert await storage.claim_jobs("e2", 0, 10) == []

    assert await storage.extend_claims([claim.token], 10) == []

    assert await storage.claim_jobs("e2", 10, 10) == []
    await go_on(storage, claim.job, claim=claim.token, ready=Ready(START))


async def test_claims_lost_are_returned(storage: Storage, clock: FakeClock) -> None:
    """Only the tokens of lost claims come back: taken over, given back, unknown."""
    for number in range(3):
        await create(storage, a_job(f"j{number}"), ready=Ready(START + number - 2))
    over, back, good = await storage.claim_jobs("e1", 3, 10)
    await storage.extend_claims([back.token, good.token], 60)
    await clock.advance(10)
    await claim_one(storage, "e2")
    await storage.release_claims([back.token])

    lost = await storage.extend_claims([over.token, good.token, back.token, "nonsense"], 10)

    assert lost == [over.token, back.token, "nonsense"]


async def test_claim_released_is_due_at_once_in_its_old_place(storage: Storage) -> None:
    """What is given back is before what came later, and its claim is not counted."""
    await create(storage, a_job("j1"))
    claim = await claim_one(storage)
    await create(storage, a_job("j2"))

    await storage.release_claims([claim.token, "nonsense"])
    await storage.release_claims([claim.token])

    again = await storage.claim_jobs("e2", 10, 10)
    assert [(c.job.id, c.deliveries) for c in again] == [("j1", 1), ("j2", 1)]


async def test_claim_released_with_a_later_wake_up_is_due_at_once(storage: Storage) -> None:
    """A chained step that its engine gives back does not wait."""
    await create(storage)
    claim = await claim_one(storage)
    await go_on(storage, claim.job, claim=claim.token, keep_claim=True, ready=Ready(START + 50))

    await storage.release_claims([claim.token])

    assert await storage.find_wake_up("j1") == WakeUp(ready_at=START)
    await claim_one(storage, "e2")


async def test_claim_kept_with_a_new_wake_up_is_queued_behind_older_ones(storage: Storage, clock: FakeClock) -> None:
    """A chained step that comes back is as young as its commit."""
    await create(storage, a_job("j1"))
    claim = await claim_one(storage)
    await create(storage, a_job("j2"))
    await go_on(storage, claim.job, claim=claim.token, keep_claim=True, ready=Ready(START))
    await clock.advance(10)

    claims = await storage.claim_jobs("e2", 10, 10)

    assert [claim.job.id for claim in claims] == ["j2", "j1"]
