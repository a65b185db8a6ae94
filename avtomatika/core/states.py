"""The life of jobs and tasks: their statuses, and which status may follow which."""

from __future__ import annotations

from enum import StrEnum


class JobStatus(StrEnum):
    """The life of a job."""

    PENDING = "pending"
    RUNNING = "running"
    WAITING_FOR_WORKER = "waiting_for_worker"
    WAITING_FOR_HUMAN = "waiting_for_human"
    WAITING_FOR_PARALLEL_TASKS = "waiting_for_parallel_tasks"
    WAITING_FOR_SUB_JOB = "waiting_for_sub_job"
    AWAITING_RETRY = "awaiting_retry"
    FINISHED = "finished"
    FAILED = "failed"
    QUARANTINED = "quarantined"
    CANCELLED = "cancelled"
    ERROR = "error"

    @property
    def is_terminal(self) -> bool:
        """Whether a job of this status never changes again by itself."""
        return self in TERMINAL


TERMINAL = frozenset(
    {JobStatus.FINISHED, JobStatus.FAILED, JobStatus.QUARANTINED, JobStatus.CANCELLED, JobStatus.ERROR}
)


class TaskStatus(StrEnum):
    """The life of a task."""

    QUEUED = "queued"
    """It waits for a worker."""
    CLAIMED = "claimed"
    """A worker holds it under a lease."""
    DELAYED = "delayed"
    """It failed and waits for its next attempt."""
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    QUARANTINED = "quarantined"
    CANCELLED = "cancelled"

    @property
    def is_open(self) -> bool:
        """Whether a result of this task can still matter."""
        return self in OPEN


OPEN = frozenset({TaskStatus.QUEUED, TaskStatus.CLAIMED, TaskStatus.DELAYED})
