"""Jobs as they were last committed: looked up, listed, audited and forgotten."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from avtomatika.core.job import Job
from avtomatika.core.states import JobStatus
from avtomatika.storage.contract.wakes import WakeUp


class JobQuery(Struct, frozen=True):
    """Which jobs to list, newest first.

    Args:
        client: name of the client whose jobs they are; None for all.
        status: only of this status.
        blueprint: only of this blueprint.
        since: created at or after this moment.
        limit: at most so many.
        offset: skip so many.
        before: (created_at, id) of the last job of the page before, or None; the next page begins behind it.
    """

    client: str | None = None
    status: JobStatus | None = None
    blueprint: str | None = None
    since: float | None = None
    limit: int = 100
    offset: int = 0
    before: tuple[float, str] | None = None


class Progress(Struct, frozen=True):
    """How far a job's work is; not part of its state and never in conflict with it.

    Args:
        value: 0 to 1.
        message: for people.
        task_id: the attempt that reported it, as ``Task.wire_id``; of a job that waits for a child, the child's id; or
            empty.
        at: when.
    """

    value: float
    message: str = ""
    task_id: str = ""
    at: float = 0.0


class Fault(Struct, frozen=True):
    """A broken invariant, found by ``audit``.

    Args:
        invariant: its letter in ``docs/explanation/durability.md``.
        job_id: the job concerned.
        message: what is wrong.
    """

    invariant: str
    job_id: str
    message: str


class JobStorage(Protocol):
    """What a storage tells of jobs."""

    async def find_job(self, job_id: str) -> Job | None:
        """Returns the job as last committed."""
        ...

    async def list_jobs(self, query: JobQuery) -> list[Job]:
        """Returns the jobs of ``query`` by creation, newest first; by id, descending, among those of one moment."""
        ...

    async def count_jobs(self) -> dict[JobStatus, int]:
        """Returns how many jobs there are of each status that occurs."""
        ...

    async def find_wake_up(self, job_id: str) -> WakeUp:
        """Returns what the job waits for; nothing if there is no such job."""
        ...

    async def put_progress(self, job_id: str, progress: Progress) -> None:
        """Remembers the progress until the job ends; the last one wins. Ignored if the job has ended or is unknown."""
        ...

    async def find_progress(self, job_id: str) -> Progress | None:
        """Returns the last progress, or None if there was none or the job has ended."""
        ...

    async def purge_jobs(self, ended_before: float, limit: int) -> list[str]:
        """Forgets up to ``limit`` jobs that ended before ``ended_before``, earliest first, with their tasks.

        A job whose history or messages wait in the outbox is kept until they are acknowledged. Dead letters go with
        their job, but not before they, too, are older than that moment. Dedupe keys live on for their own time. A
        forgotten job's id may be created again.

        Returns:
            The ids of the jobs that are gone.
        """
        ...

    async def audit(self) -> list[Fault]:
        """Checks the invariants over all jobs; an empty list is a healthy storage."""
        ...
