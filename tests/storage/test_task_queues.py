"""What every storage promises about the queues of tasks and to workers that claim from them."""

from __future__ import annotations

import asyncio

from msgspec.structs import replace

from avtomatika.core.document import Document
from avtomatika.core.effects import RecordHistory
from avtomatika.core.job import Task
from avtomatika.core.states import TaskStatus
from avtomatika.storage.base import Queue, Storage, TakenTasks, TaskClaim
from avtomatika.testing import FakeClock

from .builders import START, a_job, a_task, claimed_task, close, create, events_of, go_on


async def test_claim_task_makes_it_the_workers(storage: Storage, clock: FakeClock) -> None:
    """The claimed task says who has it and until when; the job's version stays."""
    task = a_task(params=Document.of({"n": 1}), requirements={"gpu": 1}, confirmed=True)
    await create(storage, queue_tasks=[task])
    await clock.advance(3)

    claimed = await storage.claim_task("w1", ["render"], 20)

    assert claimed == replace(
        task,
        status=TaskStatus.CLAIMED,
        worker_id="w1",
        claimed_at=START + 3,
        lease_until=START + 23,
        confirmed=False,
        deliveries=1,
    )
    assert await storage.find_task("t1") == claimed
    assert (await storage.find_job("j1")).version == 1
    assert await storage.claim_task("w2", ["render"], 20) is None


async def test_claim_task_may_bring_its_job_along(storage: Storage) -> None:
    """The same task under the same claim, with its job as it is then, unless that is too large or elsewhere."""
    job = await create(storage, queue_tasks=[a_task("t1"), a_task("t2")])

    taken = await storage.claim_task_and_job("w1", ["render"], 10, 1000)
    with_a_large_job = await storage.claim_task_and_job("w1", ["render"], 10, 1)

    assert taken in [(await storage.find_task("t1"), job), (await storage.find_task("t1"), None)]
    assert with_a_large_job is not None
    assert with_a_large_job[0] == await storage.find_task("t2")
    assert await storage.list_claims("w1") == [TaskClaim("t1", 1, "w1"), TaskClaim("t2", 1, "w1")]
    assert await storage.claim_task_and_job("w1", ["render"], 10, 1000) is None


async def test_claim_tasks_may_bring_their_jobs_along(storage: Storage) -> None:
    """Each job once, as it is then, unless it is too large, elsewhere or not asked for."""
    one = await create(storage, queue_tasks=[a_task("t1"), a_task("t2"), a_task("t3"), a_task("t4")])
    other = await create(storage, a_job("j2"), queue_tasks=[a_task("t5", "j2"), a_task("t6", "j2")])

    not_asked_for = await storage.claim_tasks("w1", ["render"], 10, 1)
    with_a_large_job = await storage.claim_tasks("w1", ["render"], 10, 1, 1)
    taken = await storage.claim_tasks("w1", ["render"], 10, 3, 1000)

    assert (not_asked_for.jobs, with_a_large_job.tasks[0].id) == ({}, "t2")
    assert [task.id for task in taken.tasks] == ["t3", "t4", "t5"]
    assert taken.tasks == [await storage.find_task(task_id) for task_id in ("t3", "t4", "t5")]
    assert taken.jobs in [{"j1": one, "j2": other}, {}]
    assert taken.left == 1


async def test_claim_task_lasts_no_longer_than_its_timeout(storage: Storage) -> None:
    """A lease is never longer than the time that the task has."""
    claimed = await claimed_task(storage, a_task(timeout_seconds=5.0), lease=30)

    assert claimed.lease_until == START + 5


async def test_claim_task_records_the_start(storage: Storage, clock: FakeClock) -> None:
    """The history tells who began which attempt, in which state."""
    await create(
        storage,
        a_job(state="draw"),
        queue_tasks=[a_task(attempt=2)],
        events=[RecordHistory("task_dispatched", "draw")],
    )
    await clock.advance(3)

    await storage.claim_task("w1", ["render"], 20)

    event = (await events_of(storage))[-1]
    assert (event.type, event.sequence, event.at, event.blueprint) == ("task_started", 2, START + 3, "orders")
    assert (event.state, event.worker_id, event.attempt, event.task_id) == ("draw", "w1", 2, "t1")


def tasks_of_three_queues() -> list[Task]:
    """Returns tasks that are queued in this order; of ``a`` and ``b`` they are taken as t4, t3, t2, t1, t5."""
    return [
        a_task("t1", queue="a"),
        a_task("t2", queue="b", created_at=START - 5),
        a_task("t3", queue="b", priority=2.0),
        a_task("t4", queue="a", priority=2.0, created_at=START - 1),
        a_task("t5", queue="a"),
        a_task("t6", queue="c", priority=9.0),
    ]


async def test_claim_task_takes_the_best_of_all_queues(storage: Storage) -> None:
    """Higher priority first, then older, then first queued, across the queues that are asked for."""
    await create(storage, queue_tasks=tasks_of_three_queues())

    taken = [await storage.claim_task("w1", ["a", "b", "nowhere"], 10) for _ in range(6)]

    assert [task and task.id for task in taken] == ["t4", "t3", "t2", "t1", "t5", None]


async def test_claim_task_takes_first_what_was_queued_first(storage: Storage) -> None:
    """Among tasks that are equal otherwise, the names do not matter."""
    await create(storage, queue_tasks=[a_task(name) for name in ("t9", "t1", "t5")])

    taken = [await storage.claim_task("w1", ["render"], 10) for _ in range(3)]

    assert [task and task.id for task in taken] == ["t9", "t1", "t5"]


async def test_claim_task_takes_first_what_was_queued_first_in_any_queue(storage: Storage) -> None:
    """Among equal tasks of several queues, neither the names nor the order of the queues matter."""
    await create(storage, queue_tasks=[a_task("t9", queue="b"), a_task("t1", queue="a"), a_task("t5", queue="b")])

    taken = [await storage.claim_task("w1", ["a", "b"], 10) for _ in range(3)]

    assert [task and task.id for task in taken] == ["t9", "t1", "t5"]


async def test_claim_task_of_no_queue_is_none(storage: Storage) -> None:
    """Who asks for nothing gets nothing."""
    await create(storage, queue_tasks=[a_task()])

    assert await storage.claim_task("w1", [], 10) is None


async def test_claim_tasks_takes_what_single_claims_would_take(storage: Storage) -> None:
    """In the same order, across queues; what still waits is counted."""
    await create(storage, queue_tasks=tasks_of_three_queues())

    first = await storage.claim_tasks("w1", ["a", "b", "nowhere"], 10, 3)
    rest = await storage.claim_tasks("w2", ["a", "b"], 10, 3)

    assert ([task.id for task in first.tasks], first.left) == (["t4", "t3", "t2"], 2)
    assert ([task.id for task in rest.tasks], rest.left) == (["t1", "t5"], 0)
    assert await storage.claim_tasks("w1", ["a", "b"], 10, 3) == TakenTasks([], 0)


async def test_claim_tasks_writes_what_single_claims_write(storage: Storage, clock: FakeClock) -> None:
    """Each is the worker's under a lease of its own, and its start joins the history."""
    await create(storage, queue_tasks=[a_task("t1"), a_task("t2", timeout_seconds=4.0, index=1)])

    taken = await storage.claim_tasks("w1", ["render"], 10, 5)

    assert [(task.status, task.worker_id, task.deliveries) for task in taken.tasks] == [
        (TaskStatus.CLAIMED, "w1", 1),
        (TaskStatus.CLAIMED, "w1", 1),
    ]
    assert [task.lease_until for task in taken.tasks] == [START + 10, START + 4]
    assert [await storage.find_task(task.id) for task in taken.tasks] == list(taken.tasks)
    assert [claim.task_id for claim in await storage.list_claims("w1")] == ["t1", "t2"]


async def test_workers_racing_never_share_a_task(storage: Storage) -> None:
    """However many workers ask, each task is one worker's."""
    await create(storage, queue_tasks=[a_task(f"t{n}", index=n) for n in range(10)])

    taken = await asyncio.gather(*(storage.claim_task(f"w{n}", ["render"], 10) for n in range(25)))

    got = [task for task in taken if task]
    assert sorted(task.id for task in got) == [f"t{n}" for n in range(10)]
    assert taken.count(None) == 15


async def test_queues_tell_what_waits(storage: Storage) -> None:
    """A queue has the needs of its tasks, how many wait and since when; an empty one is not listed."""
    special = {"queue": "render#1", "requirements": {"gpu": "A100"}, "max_cost": 2.5}
    await create(
        storage,
        queue_tasks=[
            a_task("t1", priority=1.0),
            a_task("t2", created_at=START - 7),
            a_task("t3", **special),
        ],
    )

    assert await storage.list_queues() == [
        Queue("render", "render", None, None, 2, START - 7),
        Queue("render#1", "render", {"gpu": "A100"}, 2.5, 1, START),
    ]
    assert (await storage.claim_task("w1", ["render"], 10)).id == "t1"
    assert (await storage.claim_task("w1", ["render"], 10)).id == "t2"
    assert [queue.name for queue in await storage.list_queues()] == ["render#1"]


async def test_queue_that_was_empty_takes_the_needs_of_its_next_task(storage: Storage) -> None:
    """Nothing is remembered of a queue that has run empty."""
    task = await claimed_task(storage, a_task(max_cost=1.0))
    job = await go_on(storage, a_job(), save_tasks=[close(task)], queue_tasks=[a_task("t2", max_cost=2.0)])

    assert [queue.max_cost for queue in await storage.list_queues()] == [2.0]
    await go_on(storage, job)


async def test_task_moved_to_another_queue_leaves_the_old_one(storage: Storage) -> None:
    """A task waits in one queue."""
    job = await create(storage, queue_tasks=[a_task()])

    await go_on(storage, job, queue_tasks=[a_task(queue="other")])

    assert await storage.claim_task("w1", ["render"], 10) is None
    assert (await storage.claim_task("w1", ["other"], 10)).id == "t1"


async def test_task_queued_again_keeps_its_place(storage: Storage) -> None:
    """Among equals the first time decides, so that a task that comes back does not wait again."""
    first, second = a_task("t1"), a_task("t2")
    job = await create(storage, queue_tasks=[first, second])
    held = await storage.claim_task("w1", ["render"], 10)

    await go_on(storage, job, queue_tasks=[replace(held, status=TaskStatus.QUEUED, lease_until=None)])

    assert (await storage.claim_task("w2", ["render"], 10)).id == "t1"
    assert await storage.expired_tasks(10) == []
