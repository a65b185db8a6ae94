"""The jobs, tasks and batches that the storage tests are about, and the steps by which they come into a storage."""

from __future__ import annotations

from msgspec.structs import replace

from avtomatika.core.document import Document
from avtomatika.core.history import HistoryEvent
from avtomatika.core.job import Job, Task, job_fields
from avtomatika.core.states import JobStatus, TaskStatus
from avtomatika.storage.base import Batch, Committed, JobClaim, Message, Ready, Storage, TaskClaim
from avtomatika.testing import FakeClock

START = FakeClock().now()
ALL = frozenset(job_fields())


def a_job(job_id: str = "j1", version: int = 1, **facts: object) -> Job:
    """Returns a job; its other fields are given or plain."""
    plain = {"status": JobStatus.PENDING, "state": "start", "created_at": START, "updated_at": START}
    return Job(job_id, "orders", "v1", version=version, **{**plain, **facts})


def a_task(task_id: str = "t1", job_id: str = "j1", **facts: object) -> Task:
    """Returns a queued task; its other fields are given or plain."""
    plain = {"type": "render", "queue": "render", "status": TaskStatus.QUEUED, "created_at": START}
    return Task(task_id, job_id, **{**plain, **facts})


def a_message(number: int = 0, job_id: str = "j1", topic: str = "webhook", **facts: object) -> Message:
    """Returns a message that is due; its other fields are given or plain."""
    plain = {"key": "", "body": Document.of({"n": number}), "created_at": START, "due_at": START}
    return Message(f"{job_id}:1:{number}", topic, job_id, **{**plain, **facts})


def a_batch(job: Job, **facts: object) -> Batch:
    """Returns a batch that writes the whole job."""
    return Batch(job, ALL, START, **facts)


async def create(storage: Storage, job: Job | None = None, **facts: object) -> Job:
    """Creates a job, with a wake-up that is due unless something else is given."""
    job = job or a_job()
    facts = facts or {"ready": Ready(START)}
    assert await storage.commit(a_batch(job, **facts)) == Committed(1)
    return job


async def go_on(storage: Storage, job: Job, **facts: object) -> Job:
    """Commits the next version of a job."""
    job = replace(job, version=job.version + 1)
    assert await storage.commit(a_batch(job, **facts)) == Committed(job.version)
    return job


async def claim_one(storage: Storage, owner: str = "e1", lease: float = 10) -> JobClaim:
    """Claims the only due job."""
    (claim,) = await storage.claim_jobs(owner, 10, lease)
    return claim


async def claimed_task(storage: Storage, task: Task | None = None, lease: float = 30) -> Task:
    """Creates a job with a task and lets w1 claim it."""
    task = task or a_task()
    await create(storage, queue_tasks=[task])
    claimed = await storage.claim_task("w1", [task.queue], lease)
    assert claimed is not None
    return claimed


def claim_of(task: Task) -> TaskClaim:
    """Returns the claim that the task says it is under."""
    return TaskClaim(task.id, task.attempt, task.worker_id)


def close(task: Task, status: TaskStatus = TaskStatus.SUCCEEDED) -> Task:
    """Returns the task as ended."""
    return replace(task, status=status, ended_at=START, lease_until=None)


async def events_of(storage: Storage, limit: int = 1000) -> list[HistoryEvent]:
    """Returns the rows of the oldest steps in the outbox."""
    return [event for step in await storage.read_events(limit) for event in step.decode()]
