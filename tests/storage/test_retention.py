"""What every storage promises about forgetting jobs that ended."""

from __future__ import annotations

from msgspec.structs import replace

from avtomatika.core.effects import RecordHistory
from avtomatika.core.states import JobStatus
from avtomatika.storage.base import JobQuery, Ready, Storage

from .builders import START, a_job, a_task, claim_one, close, create, go_on


async def end(storage: Storage, job_id: str, at: float) -> None:
    """Creates a job with an ended task and ends it at a moment."""
    job = await create(storage, a_job(job_id), queue_tasks=[a_task(f"{job_id}-t", job_id)])
    await go_on(
        storage,
        replace(job, status=JobStatus.FINISHED, updated_at=at),
        save_tasks=[close(a_task(f"{job_id}-t", job_id))],
        finish=True,
    )


async def test_purge_forgets_the_jobs_that_ended_first_with_their_tasks(storage: Storage) -> None:
    """Jobs and tasks go together, the earliest first, no more than asked for."""
    for number, job_id in enumerate(("j1", "j2", "j3")):
        await end(storage, job_id, START + number)

    assert await storage.purge_jobs(START + 10, 2) == ["j1", "j2"]

    assert [job.id for job in await storage.list_jobs(JobQuery())] == ["j3"]
    assert await storage.find_job("j1") is None
    assert await storage.find_task("j1-t") is None
    assert await storage.list_tasks("j1") == []
    assert await storage.count_jobs() == {JobStatus.FINISHED: 1}


async def test_purge_keeps_live_jobs_and_those_that_ended_later(storage: Storage) -> None:
    """Only what ended before the moment goes."""
    await create(storage, a_job("live"))
    await end(storage, "late", START + 5)

    assert await storage.purge_jobs(START + 5, 10) == []
    assert await storage.purge_jobs(START + 5.1, 10) == ["late"]
    assert await storage.find_job("live") is not None


async def test_purge_keeps_a_job_whose_history_waits(storage: Storage) -> None:
    """No row of history is lost because its job was forgotten."""
    job = await create(storage, ready=Ready(START), events=[RecordHistory("job_created", "start")])
    await go_on(storage, replace(job, status=JobStatus.FINISHED), finish=True)

    assert await storage.purge_jobs(START + 10, 10) == []
    await storage.ack_events([step.id for step in await storage.read_events(10)])
    assert await storage.purge_jobs(START + 10, 10) == ["j1"]


async def test_purge_keeps_a_job_whose_task_was_started_after_its_end(bare_storage: Storage) -> None:
    """Even the history of a job that should not have gone on is kept until it is acknowledged."""
    await create(bare_storage, a_job(status=JobStatus.FAILED), queue_tasks=[a_task()], finish=True)
    assert await bare_storage.claim_task("w1", ["render"], 10) is not None

    assert await bare_storage.purge_jobs(START + 99, 10) == []
    await bare_storage.ack_events(["j1:1"])
    assert await bare_storage.purge_jobs(START + 99, 10) == ["j1"]


async def test_purge_keeps_a_job_that_goes_on_after_its_end(storage: Storage) -> None:
    """A job that was requeued is live, whenever it had ended."""
    await end(storage, "j1", START)
    job = await storage.find_job("j1")
    assert job is not None

    await go_on(storage, replace(job, status=JobStatus.PENDING), ready=Ready(START))

    assert await storage.purge_jobs(START + 99, 10) == []
    await claim_one(storage)


async def test_purged_job_can_be_created_again(storage: Storage) -> None:
    """Nothing of the old job is left under its id."""
    await end(storage, "j1", START)
    await storage.purge_jobs(START + 1, 10)

    await create(storage, a_job("j1"))

    assert [job.id for job in await storage.list_jobs(JobQuery())] == ["j1"]
