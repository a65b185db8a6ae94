"""What every storage promises about the creation of jobs, also of one that is asked for twice."""

from __future__ import annotations

import asyncio

from avtomatika.core.document import Document
from avtomatika.core.job import Client, Failure, FanOut
from avtomatika.core.states import JobStatus
from avtomatika.storage.base import Committed, Dedupe, Duplicate, JobQuery, Ready, Stale, Storage, WakeUp
from avtomatika.testing import FakeClock

from .builders import START, a_batch, a_job, create


async def test_job_created_is_found_as_committed(storage: Storage) -> None:
    """Every field comes back as it was written."""
    job = a_job(
        initial_data=Document.of({"order": 7}),
        client=Client("shop", "gold", {"region": "eu"}),
        failure=Failure("E", "m"),
        fan_out=FanOut("f", "join", 2, 0, Failure("X", "y")),
        tracing_context={"traceparent": "00-1"},
        dispatch_timeout=5.0,
    )

    await create(storage, job)

    assert await storage.find_job("j1") == job


async def test_unknown_job_is_none(storage: Storage) -> None:
    """A job that was never created is not found, and it waits for nothing."""
    assert await storage.find_job("nobody") is None
    assert await storage.find_wake_up("nobody") == WakeUp()
    assert await storage.list_tasks("nobody") == []


async def test_job_created_twice_is_stale(storage: Storage) -> None:
    """A creation that is repeated after an unclear error changes nothing."""
    await create(storage)

    outcome = await storage.commit(a_batch(a_job(state="other"), ready=Ready(START)))

    assert outcome == Stale(1)
    assert await storage.find_job("j1") == a_job()


async def test_commit_on_a_missing_job_is_stale(storage: Storage) -> None:
    """Only version 1 creates a job."""
    assert await storage.commit(a_batch(a_job(version=2), ready=Ready(START))) == Stale(0)
    assert await storage.find_job("j1") is None


async def test_dedupe_key_known_returns_the_first_creation(storage: Storage) -> None:
    """Of two creations under one key, the first counts, and the second sees its fingerprint."""
    await create(storage, ready=Ready(START), dedupe=Dedupe("shop:k", "print-1", 60))

    outcome = await storage.commit(a_batch(a_job("j2"), ready=Ready(START), dedupe=Dedupe("shop:k", "print-2", 60)))

    assert outcome == Duplicate("j1", "print-1")
    assert await storage.find_job("j2") is None
    assert await storage.count_jobs() == {JobStatus.PENDING: 1}


async def test_dedupe_key_goes_before_the_version(storage: Storage) -> None:
    """A creation that is repeated sees its own key, not a stale version."""
    key = Dedupe("shop:k", "print-1", 60)
    await create(storage, ready=Ready(START), dedupe=key)

    assert await storage.commit(a_batch(a_job(), ready=Ready(START), dedupe=key)) == Duplicate("j1", "print-1")


async def test_dedupe_key_of_a_stale_commit_is_not_remembered(storage: Storage) -> None:
    """What was not written leaves no key."""
    await create(storage)
    key = Dedupe("shop:k", "print-1", 60)

    assert await storage.commit(a_batch(a_job(), ready=Ready(START), dedupe=key)) == Stale(1)

    await create(storage, a_job("j2"), ready=Ready(START), dedupe=key)


async def test_dedupe_key_is_forgotten_after_its_time(storage: Storage, clock: FakeClock) -> None:
    """A key counts for its ttl and not longer."""
    await create(storage, ready=Ready(START), dedupe=Dedupe("k", "p", 60))

    await clock.advance(59.9)
    assert await storage.commit(a_batch(a_job("j2"), ready=Ready(START), dedupe=Dedupe("k", "p", 60))) == Duplicate(
        "j1", "p"
    )
    await clock.advance(0.2)

    await create(storage, a_job("j2"), ready=Ready(START), dedupe=Dedupe("k", "p", 60))


async def test_creations_racing_under_one_key_make_one_job(storage: Storage) -> None:
    """However many creations race, exactly one job is there."""
    batches = [a_batch(a_job(f"j{n}"), ready=Ready(START), dedupe=Dedupe("k", "p", 60)) for n in range(10)]

    outcomes = await asyncio.gather(*map(storage.commit, batches))

    assert outcomes.count(Committed(1)) == 1
    assert sum(isinstance(outcome, Duplicate) for outcome in outcomes) == 9
    assert len(await storage.list_jobs(JobQuery())) == 1
