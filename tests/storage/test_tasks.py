"""What every storage promises about tasks that a step saves, cancels or looks for."""

from __future__ import annotations

from msgspec.structs import replace

from avtomatika.core.events import TimerKind
from avtomatika.core.states import JobStatus, TaskStatus
from avtomatika.storage.base import Storage, Timer
from avtomatika.testing import FakeClock

from .builders import START, a_job, a_task, claim_of, claimed_task, close, create, go_on


async def test_task_saved_leaves_queue_and_lease(storage: Storage, clock: FakeClock) -> None:
    """A task that is saved can neither be claimed nor end its lease."""
    job = await create(storage, queue_tasks=[a_task("t1"), a_task("t2")])
    held = await storage.claim_task("w1", ["render"], 10)
    delayed = [replace(task, status=TaskStatus.DELAYED) for task in (held, a_task("t2"))]

    await go_on(storage, job, save_tasks=delayed, set_timers=[Timer("j1", TimerKind.RETRY, START + 99, "t1")])
    await clock.advance(11)

    assert await storage.list_queues() == []
    assert await storage.expired_tasks(10) == []
    assert await storage.list_tasks("j1") == delayed


async def test_cancel_closes_every_open_task(storage: Storage, clock: FakeClock) -> None:
    """Queued, claimed and delayed tasks are cancelled; ended ones and other jobs' stay."""
    ended = close(a_task("t3"))
    delayed = a_task("t4", status=TaskStatus.DELAYED)
    job = await create(storage, queue_tasks=[a_task("t1"), a_task("t2")], save_tasks=[ended, delayed])
    await create(storage, a_job("j2"), queue_tasks=[a_task("x1", "j2")])
    held = await storage.claim_task("w1", ["render"], 10)

    await go_on(storage, replace(job, status=JobStatus.CANCELLED), cancel_open_tasks=True, finish=True)
    await clock.advance(11)

    cancelled = [replace(task, status=TaskStatus.CANCELLED, ended_at=START) for task in (held, a_task("t2"), delayed)]
    tasks = {task.id: task for task in await storage.list_tasks("j1")}
    assert tasks == {task.id: task for task in [*cancelled, ended]}
    assert await storage.expired_tasks(10) == []
    assert (await storage.claim_task("w1", ["render"], 10)).id == "x1"
    assert await storage.renew_tasks([claim_of(held)], 10) == [claim_of(held)]


async def test_cancel_comes_before_the_tasks_that_the_batch_names(storage: Storage) -> None:
    """The branch whose failure ends the others keeps its own status, and new work is not cancelled."""
    job = await create(storage, queue_tasks=[a_task("t1"), a_task("t2")])
    failed = close(a_task("t1"), TaskStatus.FAILED)

    await go_on(storage, job, cancel_open_tasks=True, save_tasks=[failed], queue_tasks=[a_task("t3", index=1)])

    assert [task.status for task in await storage.list_tasks("j1")] == [
        TaskStatus.FAILED,
        TaskStatus.CANCELLED,
        TaskStatus.QUEUED,
    ]


async def test_cancel_forgets_the_timers_of_tasks(storage: Storage, clock: FakeClock) -> None:
    """What is called off has no deadline; those of the job itself, of other jobs and of new work stand."""
    timers = [Timer("j1", kind, START + 5, task) for kind, task in [(TimerKind.RETRY, "t1"), (TimerKind.JOB, "")]]
    job = await create(storage, queue_tasks=[a_task("t1"), a_task("t2")], set_timers=timers)
    await create(storage, a_job("j2"), set_timers=[Timer("j2", TimerKind.RESULT, START + 5, "x1")])

    fresh = Timer("j1", TimerKind.DISPATCH, START + 5, "t3")
    await go_on(storage, job, cancel_open_tasks=True, queue_tasks=[a_task("t3", index=1)], set_timers=[fresh])
    await clock.advance(6)

    fired = {(timer.job_id, timer.kind, timer.task_id) for timer in await storage.claim_timers(10, 10)}
    assert fired == {
        ("j1", TimerKind.JOB, ""),
        ("j1", TimerKind.DISPATCH, "t3"),
        ("j2", TimerKind.RESULT, "x1"),
    }


async def test_tasks_are_listed_by_fan_out_in_order(storage: Storage) -> None:
    """By creation, then by index; of one fan-out if asked for."""
    first = [a_task(f"a{n}", index=n, fan_out="a") for n in (2, 0, 1)]
    second = [a_task(f"b{n}", index=n, fan_out="b", created_at=START - 1) for n in (1, 0)]
    await create(storage, queue_tasks=first + second)

    assert [task.id for task in await storage.list_tasks("j1")] == ["b0", "b1", "a0", "a1", "a2"]
    assert [task.id for task in await storage.list_tasks("j1", "a")] == ["a0", "a1", "a2"]
    assert await storage.list_tasks("j1", "c") == []


async def test_job_and_task_are_found_together(storage: Storage) -> None:
    """One question for both answers what two do, also where one of them or both are missing."""
    task = await claimed_task(storage)

    assert await storage.find_job_and_task("j1", "t1") == (a_job(), task)
    assert await storage.find_job_and_task("j1", "nothing") == (a_job(), None)
    assert await storage.find_job_and_task("nobody", "t1") == (None, task)
    assert await storage.find_job_and_task("nobody", "nothing") == (None, None)
    assert await storage.find_job_and_task("", "t1") == (None, task)


async def test_unknown_task_is_none(storage: Storage) -> None:
    """A task that was never written is not found."""
    assert await storage.find_task("nothing") is None
