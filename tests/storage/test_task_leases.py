"""What every storage promises about the leases of tasks: how they last, end and are given back."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from avtomatika.core.states import TaskStatus
from avtomatika.storage.base import Storage, TaskClaim
from avtomatika.testing import FakeClock

from .builders import START, a_job, a_task, claim_of, claimed_task, close, create, go_on


async def test_renewal_lasts_from_now_and_confirms(storage: Storage, clock: FakeClock) -> None:
    """A heartbeat that names the task moves the end of its lease and proves its start."""
    task = await claimed_task(storage, lease=10)
    await clock.advance(8)

    assert await storage.renew_tasks([claim_of(task)], 30) == []

    renewed = await storage.find_task("t1")
    assert renewed == replace(task, lease_until=START + 38, confirmed=True)
    await clock.advance(29.9)
    assert await storage.expired_tasks(10) == []
    await clock.advance(0.1)
    assert await storage.expired_tasks(10) == [renewed]


async def test_renewal_ends_with_the_time_of_the_task(storage: Storage, clock: FakeClock) -> None:
    """Heartbeats cannot make a task last longer than its timeout."""
    task = await claimed_task(storage, a_task(timeout_seconds=25.0), lease=10)
    await clock.advance(8)

    assert await storage.renew_tasks([claim_of(task)], 60) == []

    assert (await storage.find_task("t1")).lease_until == START + 25


async def test_renewal_of_a_lease_that_ended_is_a_claim_again(storage: Storage, clock: FakeClock) -> None:
    """Until somebody decides about it, the task is still its worker's."""
    task = await claimed_task(storage, lease=10)
    await clock.advance(60)
    assert len(await storage.expired_tasks(10)) == 1

    assert await storage.renew_tasks([claim_of(task)], 10) == []

    assert await storage.expired_tasks(10) == []


async def test_renewal_of_a_task_queued_again_takes_it_back(storage: Storage, clock: FakeClock) -> None:
    """A worker that was given up and still works keeps its task if no other has taken it."""
    task = await claimed_task(storage, lease=10)
    await clock.advance(11)
    await go_on(storage, a_job(), queue_tasks=[replace(task, status=TaskStatus.QUEUED, lease_until=None)])

    assert await storage.renew_tasks([claim_of(task)], 30) == []

    assert await storage.find_task("t1") == replace(task, lease_until=START + 41, confirmed=True)
    assert await storage.claim_task("w2", ["render"], 10) is None
    assert await storage.list_queues() == []


async def test_renewal_of_a_task_queued_again_after_its_time_is_lost(storage: Storage, clock: FakeClock) -> None:
    """A worker that has used up the task's time does not get it back."""
    task = await claimed_task(storage, a_task(timeout_seconds=20.0), lease=10)
    await clock.advance(20)
    await go_on(storage, a_job(), queue_tasks=[replace(task, status=TaskStatus.QUEUED, lease_until=None)])

    assert await storage.renew_tasks([claim_of(task)], 30) == [claim_of(task)]

    assert (await storage.claim_task("w2", ["render"], 10)).id == "t1"


async def test_renewal_of_what_is_not_held_is_returned(storage: Storage, clock: FakeClock) -> None:
    """Other workers', other attempts', closed, delayed and unknown tasks come back; the rest is renewed."""
    await create(storage, queue_tasks=[a_task(f"t{n}", index=n) for n in range(1, 6)])
    held = [await storage.claim_task("w1", ["render"], 10) for _ in range(5)]
    retried = replace(held[3], status=TaskStatus.DELAYED)
    new_attempt = replace(held[4], status=TaskStatus.QUEUED, attempt=2, deliveries=0)
    await go_on(storage, a_job(), save_tasks=[close(held[2]), retried], queue_tasks=[new_attempt])
    claims = [
        claim_of(held[0]),
        TaskClaim("t2", 1, "w2"),
        TaskClaim("t2", 2, "w1"),
        claim_of(held[2]),
        claim_of(held[3]),
        claim_of(held[4]),
        TaskClaim("t5", 2, "w1"),
        TaskClaim("nothing", 1, "w1"),
    ]

    assert await storage.renew_tasks(claims, 30) == claims[1:]

    await clock.advance(10)
    assert [task.id for task in await storage.expired_tasks(10)] == ["t2"]


async def test_claims_of_a_worker_are_listed_by_task(storage: Storage, clock: FakeClock) -> None:
    """What a worker holds is told, also after the lease, until it is closed, given back or queued again."""
    await create(storage, queue_tasks=[a_task(f"t{n}", index=n, attempt=n) for n in (3, 2, 1, 4, 5)])
    held = [await storage.claim_task(name, ["render"], 10) for name in ("w1", "w1", "w1", "w2", "w1")]
    await clock.advance(11)
    assert await storage.list_claims("w1") == [TaskClaim(f"t{n}", n, "w1") for n in (1, 2, 3, 5)]

    queued = replace(held[2], status=TaskStatus.QUEUED, lease_until=None)
    await go_on(storage, a_job(), save_tasks=[close(held[0])], queue_tasks=[queued])
    await storage.release_task(claim_of(held[4]))

    assert await storage.list_claims("w1") == [TaskClaim("t2", 2, "w1")]
    assert await storage.list_claims("w2") == [TaskClaim("t4", 4, "w2")]
    assert await storage.list_claims("nobody") == []


async def test_leases_that_ended_come_earliest_first(storage: Storage, clock: FakeClock) -> None:
    """Ended leases are told, up to the limit, until somebody decides."""
    await create(storage, queue_tasks=[a_task(f"t{n}", index=n) for n in range(4)])
    for lease in (30, 10, 20, 90):
        await storage.claim_task("w1", ["render"], lease)
    await clock.advance(30)

    assert [task.id for task in await storage.expired_tasks(2)] == ["t1", "t2"]
    assert [task.id for task in await storage.expired_tasks(9)] == ["t1", "t2", "t0"]


async def test_release_puts_a_task_back_in_its_old_place(storage: Storage, clock: FakeClock) -> None:
    """A task that was never delivered waits as if it had not been claimed."""
    first, second = a_task("t1"), a_task("t2")
    await create(storage, queue_tasks=[first, second])
    held = await storage.claim_task("w1", ["render"], 10)

    await storage.release_task(claim_of(held))

    assert await storage.find_task("t1") == first
    await clock.advance(11)
    assert await storage.expired_tasks(10) == []
    assert (await storage.claim_task("w2", ["render"], 10)).id == "t1"


@pytest.mark.parametrize(
    "wrong", [TaskClaim("t1", 1, "w2"), TaskClaim("t1", 2, "w1"), TaskClaim("t9", 1, "w1"), TaskClaim("t2", 1, "")]
)
async def test_release_of_what_is_not_held_is_ignored(storage: Storage, wrong: TaskClaim) -> None:
    """Nobody gives back what another holds, nor what waits."""
    await create(storage, queue_tasks=[a_task("t1"), a_task("t2")])
    held = await storage.claim_task("w1", ["render"], 10)

    await storage.release_task(wrong)

    assert await storage.list_tasks("j1") == [held, a_task("t2")]
