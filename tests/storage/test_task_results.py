"""What every storage promises about results: whose counts, and that it counts once."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from avtomatika.core.job import Task
from avtomatika.core.states import TaskStatus
from avtomatika.storage.base import Committed, Ready, Stale, Storage, TaskClaim
from avtomatika.testing import FakeClock

from .builders import START, a_batch, a_job, a_task, claim_of, claimed_task, close, create, go_on


async def test_result_of_the_claim_is_committed(storage: Storage) -> None:
    """Who holds the task brings its result."""
    task = await claimed_task(storage)

    await go_on(storage, a_job(), task_claims=[claim_of(task)], save_tasks=[close(task)], ready=Ready(START))

    assert (await storage.find_task("t1")).status is TaskStatus.SUCCEEDED


@pytest.mark.parametrize(
    "wrong",
    [TaskClaim("t1", 1, "w2"), TaskClaim("t1", 2, "w1"), TaskClaim("t9", 1, "w1"), TaskClaim("t1", 1, "")],
)
async def test_result_of_another_claim_is_stale(storage: Storage, wrong: TaskClaim) -> None:
    """Another worker, another attempt or an unknown task changes nothing."""
    task = await claimed_task(storage)

    outcome = await storage.commit(a_batch(a_job(version=2), task_claims=[wrong], save_tasks=[close(task)]))

    assert outcome == Stale(1)
    assert await storage.find_task("t1") == task


async def test_result_of_a_closed_task_is_stale(storage: Storage) -> None:
    """A result counts once."""
    task = await claimed_task(storage)
    job = await go_on(storage, a_job(), task_claims=[claim_of(task)], save_tasks=[close(task)], ready=Ready(START))

    again = a_batch(replace(job, version=3), task_claims=[claim_of(task)], save_tasks=[close(task)])

    assert await storage.commit(again) == Stale(2)


async def test_result_late_but_not_taken_over_is_accepted(storage: Storage, clock: FakeClock) -> None:
    """A lease that ended, and even a new place in the queue, do not void a result until another worker has it."""
    task = await claimed_task(storage, lease=10)
    await clock.advance(11)
    queued = replace(task, status=TaskStatus.QUEUED, lease_until=None)
    job = await go_on(storage, a_job(), task_claims=[claim_of(task)], queue_tasks=[queued])

    await go_on(storage, job, task_claims=[claim_of(task)], save_tasks=[close(queued)], ready=Ready(START))

    assert await storage.list_queues() == []


async def test_result_after_a_take_over_is_stale(storage: Storage, clock: FakeClock) -> None:
    """Once another worker holds the task, the first one's result is void."""
    task = await claimed_task(storage, lease=10)
    await clock.advance(11)
    queued = replace(task, status=TaskStatus.QUEUED, lease_until=None)
    job = await go_on(storage, a_job(), queue_tasks=[queued])
    second = await storage.claim_task("w2", ["render"], 10)

    late = a_batch(replace(job, version=3), task_claims=[claim_of(task)], save_tasks=[close(task)])

    assert second.deliveries == 2
    assert await storage.commit(late) == Stale(2)


async def test_results_racing_for_one_task_count_once(storage: Storage) -> None:
    """A result that is sent many times at once is written once."""
    task = await claimed_task(storage)
    batch = a_batch(a_job(version=2), task_claims=[claim_of(task)], save_tasks=[close(task)], ready=Ready(START))

    outcomes = await asyncio.gather(*(storage.commit(batch) for _ in range(8)))

    assert outcomes.count(Committed(2)) == 1
    assert outcomes.count(Stale(2)) == 7


async def test_results_of_several_tasks_are_one_commit(storage: Storage) -> None:
    """Each of them counts, and the job's version rises by one."""
    first, second = await two_claimed_tasks(storage)

    await go_on(
        storage,
        a_job(),
        task_claims=[claim_of(first), claim_of(second)],
        save_tasks=[close(first), close(second)],
        ready=Ready(START),
    )

    assert [(await storage.find_task(task_id)).status for task_id in ("t1", "t2")] == [TaskStatus.SUCCEEDED] * 2
    assert await storage.list_claims("w1") == []


@pytest.mark.parametrize("lost", [0, 1])
async def test_results_of_which_one_is_void_are_all_stale(storage: Storage, lost: int) -> None:
    """Whichever of the claims does not hold: none of the results is written."""
    tasks = await two_claimed_tasks(storage)
    claims = [claim_of(task) for task in tasks]
    claims[lost] = replace(claims[lost], worker_id="w2")

    outcome = await storage.commit(
        a_batch(a_job(version=2), task_claims=claims, save_tasks=[close(task) for task in tasks])
    )

    assert outcome == Stale(1)
    assert [await storage.find_task(task.id) for task in tasks] == tasks


async def two_claimed_tasks(storage: Storage) -> list[Task]:
    """Creates a job with two tasks and lets w1 claim them."""
    await create(storage, queue_tasks=[a_task("t1"), a_task("t2")])
    return list((await storage.claim_tasks("w1", ["render"], 30, 2)).tasks)
