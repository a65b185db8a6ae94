"""What every storage promises about results: whose counts, and that it counts once."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from avtomatika.core.states import TaskStatus
from avtomatika.storage.base import Committed, Ready, Stale, Storage, TaskClaim
from avtomatika.testing import FakeClock

from .builders import START, a_batch, a_job, claim_of, claimed_task, close, go_on


async def test_result_of_the_claim_is_committed(storage: Storage) -> None:
    """Who holds the task brings its result."""
    task = await claimed_task(storage)

    await go_on(storage, a_job(), task_claim=claim_of(task), save_tasks=[close(task)], ready=Ready(START))

    assert (await storage.find_task("t1")).status is TaskStatus.SUCCEEDED


@pytest.mark.parametrize(
    "wrong",
    [TaskClaim("t1", 1, "w2"), TaskClaim("t1", 2, "w1"), TaskClaim("t9", 1, "w1"), TaskClaim("t1", 1, "")],
)
async def test_result_of_another_claim_is_stale(storage: Storage, wrong: TaskClaim) -> None:
    """Another worker, another attempt or an unknown task changes nothing."""
    task = await claimed_task(storage)

    outcome = await storage.commit(a_batch(a_job(version=2), task_claim=wrong, save_tasks=[close(task)]))

    assert outcome == Stale(1)
    assert await storage.find_task("t1") == task


async def test_result_of_a_closed_task_is_stale(storage: Storage) -> None:
    """A result counts once."""
    task = await claimed_task(storage)
    job = await go_on(storage, a_job(), task_claim=claim_of(task), save_tasks=[close(task)], ready=Ready(START))

    again = a_batch(replace(job, version=3), task_claim=claim_of(task), save_tasks=[close(task)])

    assert await storage.commit(again) == Stale(2)


async def test_result_late_but_not_taken_over_is_accepted(storage: Storage, clock: FakeClock) -> None:
    """A lease that ended, and even a new place in the queue, do not void a result until another worker has it."""
    task = await claimed_task(storage, lease=10)
    await clock.advance(11)
    queued = replace(task, status=TaskStatus.QUEUED, lease_until=None)
    job = await go_on(storage, a_job(), task_claim=claim_of(task), queue_tasks=[queued])

    await go_on(storage, job, task_claim=claim_of(task), save_tasks=[close(queued)], ready=Ready(START))

    assert await storage.list_queues() == []


async def test_result_after_a_take_over_is_stale(storage: Storage, clock: FakeClock) -> None:
    """Once another worker holds the task, the first one's result is void."""
    task = await claimed_task(storage, lease=10)
    await clock.advance(11)
    queued = replace(task, status=TaskStatus.QUEUED, lease_until=None)
    job = await go_on(storage, a_job(), queue_tasks=[queued])
    second = await storage.claim_task("w2", ["render"], 10)

    late = a_batch(replace(job, version=3), task_claim=claim_of(task), save_tasks=[close(task)])

    assert second.deliveries == 2
    assert await storage.commit(late) == Stale(2)


async def test_results_racing_for_one_task_count_once(storage: Storage) -> None:
    """A result that is sent many times at once is written once."""
    task = await claimed_task(storage)
    batch = a_batch(a_job(version=2), task_claim=claim_of(task), save_tasks=[close(task)], ready=Ready(START))

    outcomes = await asyncio.gather(*(storage.commit(batch) for _ in range(8)))

    assert outcomes.count(Committed(2)) == 1
    assert outcomes.count(Stale(2)) == 7
