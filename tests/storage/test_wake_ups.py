"""What every storage promises about the one wake-up of a job: how commits claim, keep, hold and replace it."""

from __future__ import annotations

from msgspec.structs import replace

from avtomatika.storage.base import Hold, Ready, Signal, Stale, Storage, WakeUp
from avtomatika.testing import FakeClock

from .builders import START, a_batch, a_job, a_task, claim_one, create, go_on


async def test_commit_with_a_claim_consumes_it(storage: Storage) -> None:
    """A step that brings nothing new leaves the job without wake-up."""
    await create(storage)
    claim = await claim_one(storage)

    await go_on(storage, claim.job, claim=claim.token, queue_tasks=[a_task()])

    assert await storage.claim_jobs("e1", 10, 10) == []
    assert await storage.extend_claims([claim.token], 10) == [claim.token]


async def test_commit_with_a_claim_and_a_wake_up_replaces_it(storage: Storage) -> None:
    """The new wake-up counts its deliveries from the start."""
    await create(storage)
    claim = await claim_one(storage)

    await go_on(storage, claim.job, claim=claim.token, ready=Ready(START))

    again = await claim_one(storage)
    assert (again.job.version, again.deliveries) == (2, 1)
    assert again.token != claim.token


async def test_commit_with_a_lost_claim_is_stale(storage: Storage, clock: FakeClock) -> None:
    """Who was taken over writes nothing, although the version fits."""
    await create(storage)
    first = await claim_one(storage, "e1")
    await clock.advance(11)
    await claim_one(storage, "e2")

    outcome = await storage.commit(a_batch(a_job(version=2), claim=first.token, ready=Ready(START)))

    assert outcome == Stale(1)


async def test_commit_with_the_claim_of_another_job_is_stale(storage: Storage) -> None:
    """A token is good for its own job."""
    await create(storage, a_job("j1"))
    await create(storage, a_job("j2"))
    claims = {claim.job.id: claim.token for claim in await storage.claim_jobs("e1", 2, 10)}

    assert await storage.commit(a_batch(a_job("j1", 2), claim=claims["j2"])) == Stale(1)


async def test_commit_with_a_released_claim_is_stale(storage: Storage) -> None:
    """A claim that was given back is gone."""
    await create(storage)
    claim = await claim_one(storage)
    await storage.release_claims([claim.token])

    assert await storage.commit(a_batch(a_job(version=2), claim=claim.token)) == Stale(1)


async def test_commit_with_an_ended_claim_that_nobody_took_over_is_applied(storage: Storage, clock: FakeClock) -> None:
    """Late but not taken over is in time."""
    await create(storage)
    claim = await claim_one(storage)
    await clock.advance(11)

    await go_on(storage, claim.job, claim=claim.token, queue_tasks=[a_task()])

    assert await storage.claim_jobs("e2", 10, 10) == []


async def test_claim_kept_stays_with_its_owner(storage: Storage, clock: FakeClock) -> None:
    """A kept claim serves for the next commit; nobody else gets the job, and the lease runs on."""
    await create(storage)
    claim = await claim_one(storage, lease=10)

    job = await go_on(storage, claim.job, claim=claim.token, keep_claim=True)

    assert await storage.claim_jobs("e2", 10, 10) == []
    assert await storage.find_wake_up("j1") == WakeUp(claimed_by="e1", claimed_until=START + 10)
    await go_on(storage, job, claim=claim.token, keep_claim=True)
    await clock.advance(10)
    again = await claim_one(storage, "e2")
    assert (again.job.version, again.deliveries) == (3, 2)


async def test_claim_kept_with_a_new_wake_up_holds_it_from_the_start(storage: Storage, clock: FakeClock) -> None:
    """A chained step is a new wake-up: not queued, delivered once, and there when its engine dies."""
    await create(storage)
    await claim_one(storage)
    await clock.advance(11)
    claim = await claim_one(storage)
    assert claim.deliveries == 2

    await go_on(storage, claim.job, claim=claim.token, keep_claim=True, ready=Ready(START + 11, priority=3))

    assert await storage.claim_jobs("e2", 10, 10) == []
    await clock.advance(11)
    assert (await claim_one(storage, "e2")).deliveries == 2


async def test_wake_up_that_its_step_holds_is_the_engines_from_the_start(storage: Storage, clock: FakeClock) -> None:
    """A step may claim what it wakes: nobody else gets it, it counts as delivered, and it outlives its engine."""
    await create(storage, ready=Ready(START), hold=Hold("e1", "j1/1/e1", 10))

    assert await storage.claim_jobs("e2", 10, 10) == []
    assert await storage.find_wake_up("j1") == WakeUp(claimed_by="e1", claimed_until=START + 10)
    await clock.advance(10)
    assert (await claim_one(storage, "e2")).deliveries == 2


async def test_hold_serves_as_a_claim(storage: Storage, clock: FakeClock) -> None:
    """It is extended, kept, given back and consumed like any other, and another token is refused."""
    job = await create(storage, ready=Ready(START), hold=Hold("e1", "j1/1/e1", 10))
    await clock.advance(9)

    assert await storage.extend_claims(["j1/1/e1", "j1/2/e1"], 10) == ["j1/2/e1"]
    assert await storage.commit(a_batch(replace(job, version=2), claim="j1/2/e1")) == Stale(1)
    job = await go_on(storage, job, claim="j1/1/e1", keep_claim=True, ready=Ready(START))
    await storage.release_claims(["j1/1/e1"])
    claim = await claim_one(storage, "e2")
    assert claim.deliveries == 1
    await go_on(storage, job, claim=claim.token, queue_tasks=[a_task()])
    assert await storage.find_wake_up("j1") == WakeUp(tasks=(a_task(),))


async def test_hold_takes_the_place_of_a_claim(storage: Storage) -> None:
    """A step from outside that goes on with a job takes it from the engine that had it."""
    await create(storage)
    claim = await claim_one(storage)

    await go_on(storage, claim.job, ready=Ready(START), hold=Hold("e2", "j1/1/e2", 10))

    assert await storage.extend_claims([claim.token, "j1/1/e2"], 10) == [claim.token]
    assert await storage.claim_jobs("e3", 10, 10) == []


async def test_hold_tells_of_its_end_and_of_no_wake_up(storage: Storage) -> None:
    """Runners need not look at what is taken already; watchers must know when it ends."""
    heard: list[Signal] = []
    storage.subscribe(heard.append, "ready", "timer")

    await create(storage, ready=Ready(START), hold=Hold("e1", "j1/1/e1", 10))

    assert heard == [Signal("timer", at=START + 10)]
    assert await storage.next_wake_at() == START + 10


async def test_commit_without_a_claim_leaves_the_claim(storage: Storage) -> None:
    """A step from outside does not take the job from its engine; the version tells it."""
    await create(storage)
    claim = await claim_one(storage)

    await go_on(storage, claim.job)

    assert await storage.extend_claims([claim.token], 10) == []
    assert await storage.commit(a_batch(a_job(version=2), claim=claim.token)) == Stale(2)


async def test_commit_without_a_claim_and_with_a_wake_up_takes_the_job(storage: Storage) -> None:
    """There is one wake-up for each job: the new one replaces the claimed one."""
    await create(storage)
    claim = await claim_one(storage)

    await go_on(storage, claim.job, ready=Ready(START))

    assert await storage.extend_claims([claim.token], 10) == [claim.token]
    assert (await claim_one(storage, "e2")).deliveries == 1


async def test_wake_up_replaced_is_due_at_the_new_moment(storage: Storage, clock: FakeClock) -> None:
    """The old moment does not count any more."""
    job = await create(storage)
    await go_on(storage, job, ready=Ready(START + 5))

    assert await storage.claim_jobs("e1", 10, 10) == []
    await clock.advance(5)
    await claim_one(storage)


async def test_wake_up_replaced_by_an_earlier_one_comes_once(storage: Storage, clock: FakeClock) -> None:
    """The later moment of a wake-up that was replaced passes without it."""
    job = await create(storage, ready=Ready(START + 5))
    await go_on(storage, job, ready=Ready(START))
    await claim_one(storage, lease=60)

    await clock.advance(5)

    assert await storage.claim_jobs("e2", 10, 10) == []


async def test_claim_that_ended_and_is_kept_can_be_taken_over_with_its_new_wake_up(
    storage: Storage, clock: FakeClock
) -> None:
    """An engine that comes late with a chained step leaves it to whoever looks next."""
    await create(storage)
    claim = await claim_one(storage, lease=10)
    await clock.advance(11)
    assert await storage.claim_jobs("e2", 0, 10) == []

    await go_on(storage, claim.job, claim=claim.token, keep_claim=True, ready=Ready(START + 11, priority=2))

    again = await claim_one(storage, "e2")
    assert (again.job.version, again.deliveries) == (2, 2)
