"""What every storage promises to whoever looks at jobs: lists, counts, what a job waits for and how far it is."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from avtomatika.core.events import TimerKind
from avtomatika.core.job import Client
from avtomatika.core.states import JobStatus
from avtomatika.storage.base import JobQuery, Progress, Ready, Storage, Timer, WakeUp
from avtomatika.testing import FakeClock

from .builders import START, a_job, a_task, claim_one, close, create, go_on


async def many_jobs(storage: Storage) -> None:
    """Creates six jobs of two clients, in no order of time."""
    for number, second in enumerate([3, 1, 5, 2, 4, 4]):
        job = a_job(
            f"j{number}",
            created_at=START + second,
            client=Client("a" if number % 2 else "b"),
            status=JobStatus.RUNNING if number < 3 else JobStatus.PENDING,
        )
        await create(storage, replace(job, blueprint="orders" if number else "returns"))


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        (JobQuery(), ["j2", "j5", "j4", "j0", "j3", "j1"]),
        (JobQuery(limit=2), ["j2", "j5"]),
        (JobQuery(limit=2, offset=1), ["j5", "j4"]),
        (JobQuery(offset=9), []),
        (JobQuery(limit=0), []),
        (JobQuery(client="a"), ["j5", "j3", "j1"]),
        (JobQuery(client="a", limit=1, offset=1), ["j3"]),
        (JobQuery(status=JobStatus.RUNNING), ["j2", "j0", "j1"]),
        (JobQuery(blueprint="returns"), ["j0"]),
        (JobQuery(since=START + 4), ["j2", "j5", "j4"]),
        (JobQuery(before=(START + 4, "j5")), ["j4", "j0", "j3", "j1"]),
        (JobQuery(before=(START + 4, "j4"), client="b"), ["j0"]),
        (JobQuery(client="nobody"), []),
    ],
)
async def test_list_jobs_by_a_query_returns_newest_first(storage: Storage, query: JobQuery, ids: list[str]) -> None:
    """Jobs come by creation, newest first, then by id, and only those that the query means."""
    await many_jobs(storage)

    assert [job.id for job in await storage.list_jobs(query)] == ids


async def test_count_jobs_follows_every_commit(storage: Storage) -> None:
    """Only statuses that occur are counted."""
    assert await storage.count_jobs() == {}
    job = await create(storage)
    await create(storage, a_job("j2"))
    assert await storage.count_jobs() == {JobStatus.PENDING: 2}

    job = await go_on(storage, replace(job, status=JobStatus.RUNNING))
    assert await storage.count_jobs() == {JobStatus.PENDING: 1, JobStatus.RUNNING: 1}

    await go_on(storage, replace(job, status=JobStatus.FAILED), finish=True)
    assert await storage.count_jobs() == {JobStatus.PENDING: 1, JobStatus.FAILED: 1}


async def test_wake_up_of_a_waiting_job_tells_timers_and_tasks_in_order(storage: Storage) -> None:
    """Timers come earliest first, open tasks by creation, then by index."""
    tasks = [a_task("t1", index=1), a_task("t2", index=0), a_task("t3", created_at=START - 1, index=9)]
    late, early = Timer("j1", TimerKind.JOB, START + 9), Timer("j1", TimerKind.RESULT, START + 5, "t1")
    ended = close(a_task("t4"))

    await create(storage, queue_tasks=tasks, save_tasks=[ended], set_timers=[late, early])

    wake_up = await storage.find_wake_up("j1")
    assert list(wake_up.timers) == [early, late]
    assert [task.id for task in wake_up.tasks] == ["t3", "t2", "t1"]
    assert wake_up.ready_at is None


async def test_wake_up_of_an_ended_claim_is_ready_again(storage: Storage, clock: FakeClock) -> None:
    """A claim shows until it ends; then the job waits for the next engine."""
    await create(storage, ready=Ready(START - 5))
    await claim_one(storage, "e7", lease=10)
    assert await storage.find_wake_up("j1") == WakeUp(claimed_by="e7", claimed_until=START + 10)

    await clock.advance(10)

    assert await storage.find_wake_up("j1") == WakeUp(ready_at=START - 5)


async def test_progress_the_last_one_wins(storage: Storage) -> None:
    """Progress is remembered beside the job and never in conflict with it."""
    await create(storage)
    assert await storage.find_progress("j1") is None

    await storage.put_progress("j1", Progress(0.2, "began", "t1", START))
    await storage.put_progress("j1", Progress(0.1, "again", "t1", START))

    assert await storage.find_progress("j1") == Progress(0.1, "again", "t1", START)
    assert await storage.find_job("j1") == a_job()


async def test_progress_of_an_ended_or_unknown_job_is_ignored(storage: Storage) -> None:
    """What comes after the end is not kept."""
    await create(storage, a_job(status=JobStatus.FINISHED), finish=True)

    await storage.put_progress("j1", Progress(0.5))
    await storage.put_progress("nobody", Progress(0.5))

    assert await storage.find_progress("j1") is None
    assert await storage.find_progress("nobody") is None
