"""A program for the crash tests: writes jobs into the file that it is given, and says what was acknowledged.

Each line it prints is a job's id and the version that was committed. It never ends by itself.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import sys

from msgspec.structs import replace

from avtomatika.core.effects import RecordHistory
from avtomatika.core.job import Job, Task, job_fields
from avtomatika.core.states import JobStatus, TaskStatus
from avtomatika.storage import SQLiteStorage
from avtomatika.storage.base import Batch, Committed, Ready, Storage, TaskClaim

_FIELDS = frozenset(job_fields())
_EVENTS = [RecordHistory("state_started", "start")]


async def write_jobs(storage: Storage, writer: int) -> None:
    """Takes job after job through a task to its end."""
    for number in itertools.count():
        now = await storage.now()
        job_id = f"{os.getpid()}-{writer}-{number}"
        queue = f"{os.getpid()}-{writer}"  # what an earlier process left is not ours
        job = Job(job_id, "b", "v", JobStatus.RUNNING, "start", now, now, version=1)
        task = Task(f"{job_id}-t", job_id, queue, queue, TaskStatus.QUEUED, now)
        await write(storage, Batch(job, _FIELDS, now, ready=Ready(now), events=_EVENTS))
        job = replace(job, version=2, status=JobStatus.WAITING_FOR_WORKER)
        await write(storage, Batch(job, _FIELDS, now, queue_tasks=[task], events=_EVENTS, ready=Ready(now + 60)))
        taken = await storage.claim_task(f"w{writer}", [queue], 30)
        assert taken is not None
        claim = TaskClaim(taken.id, taken.attempt, taken.worker_id)
        done = replace(taken, status=TaskStatus.SUCCEEDED, ended_at=now, lease_until=None)
        job = replace(job, version=3, status=JobStatus.FINISHED)
        await write(
            storage, Batch(job, _FIELDS, now, task_claims=[claim], save_tasks=[done], finish=True, events=_EVENTS)
        )


async def write(storage: Storage, batch: Batch) -> None:
    """Commits and says so."""
    assert await storage.commit(batch) == Committed(batch.job.version)
    os.write(sys.stdout.fileno(), f"{batch.job.id} {batch.job.version}\n".encode())


async def main(path: str) -> None:
    """Writes with eight writers at a time."""
    storage = SQLiteStorage(path)
    await storage.open()
    await asyncio.gather(*(write_jobs(storage, writer) for writer in range(8)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
