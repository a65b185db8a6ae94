"""The life of jobs and tasks: their statuses, and which status may follow which."""

from __future__ import annotations

from collections.abc import Iterable
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


REQUEUABLE = frozenset({JobStatus.FAILED, JobStatus.QUARANTINED, JobStatus.ERROR})
"""Ended, but not as wanted: a person may let such a job go on."""


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

_LIVE = tuple(status for status in JobStatus if status not in TERMINAL)
_GOES_ON = frozenset({JobStatus.RUNNING, JobStatus.FAILED, JobStatus.QUARANTINED})

_RULES: tuple[tuple[Iterable[JobStatus], str, frozenset[JobStatus]], ...] = (
    # in any of these statuses | this may happen | and leads to one of these
    ((JobStatus.PENDING,), "JobSubmitted", frozenset({JobStatus.PENDING})),
    ((JobStatus.PENDING, JobStatus.AWAITING_RETRY), "HandlerStarted", frozenset({JobStatus.RUNNING})),
    (
        (JobStatus.RUNNING,),
        "HandlerReturned",
        _GOES_ON
        | {
            JobStatus.PENDING,
            JobStatus.WAITING_FOR_WORKER,
            JobStatus.WAITING_FOR_HUMAN,
            JobStatus.WAITING_FOR_SUB_JOB,
            JobStatus.WAITING_FOR_PARALLEL_TASKS,
            JobStatus.FINISHED,
        },
    ),
    (
        (JobStatus.RUNNING,),
        "HandlerFailed",
        frozenset({JobStatus.AWAITING_RETRY, JobStatus.QUARANTINED, JobStatus.FAILED}),
    ),
    # Wherever a handler is due or runs.
    ((JobStatus.PENDING, JobStatus.RUNNING, JobStatus.AWAITING_RETRY), "StepBroke", frozenset({JobStatus.ERROR})),
    (
        (JobStatus.WAITING_FOR_WORKER,),
        "TaskReported",
        _GOES_ON | {JobStatus.WAITING_FOR_WORKER, JobStatus.AWAITING_RETRY, JobStatus.CANCELLED},
    ),
    (
        (JobStatus.WAITING_FOR_PARALLEL_TASKS,),
        "TaskReported",
        _GOES_ON | {JobStatus.WAITING_FOR_PARALLEL_TASKS, JobStatus.CANCELLED},
    ),
    # A worker that was given up answers after all.
    ((JobStatus.AWAITING_RETRY,), "TaskReported", _GOES_ON | {JobStatus.CANCELLED}),
    (
        (JobStatus.WAITING_FOR_WORKER,),
        "LeaseExpired",
        _GOES_ON | {JobStatus.WAITING_FOR_WORKER, JobStatus.AWAITING_RETRY},
    ),
    ((JobStatus.WAITING_FOR_PARALLEL_TASKS,), "LeaseExpired", _GOES_ON | {JobStatus.WAITING_FOR_PARALLEL_TASKS}),
    # A job that sleeps wakes up.
    ((JobStatus.PENDING,), "TimerFired", frozenset({JobStatus.RUNNING})),
    ((JobStatus.WAITING_FOR_WORKER,), "TimerFired", frozenset({JobStatus.RUNNING})),
    ((JobStatus.WAITING_FOR_HUMAN,), "TimerFired", frozenset({JobStatus.RUNNING})),
    ((JobStatus.WAITING_FOR_SUB_JOB,), "ChildEnded", _GOES_ON | {JobStatus.CANCELLED}),
    ((JobStatus.WAITING_FOR_HUMAN,), "Decided", frozenset({JobStatus.RUNNING, JobStatus.FAILED})),
    ((JobStatus.WAITING_FOR_PARALLEL_TASKS,), "TimerFired", frozenset({JobStatus.RUNNING, JobStatus.QUARANTINED})),
    ((JobStatus.AWAITING_RETRY,), "TimerFired", frozenset({JobStatus.RUNNING, JobStatus.WAITING_FOR_WORKER})),
    # Any live job may have a deadline, and may see a timer that no longer matters.
    *(((status,), "TimerFired", frozenset({status, JobStatus.FAILED})) for status in _LIVE),
    ((JobStatus.RUNNING,), "Repinned", frozenset({JobStatus.RUNNING})),
    ((JobStatus.RUNNING,), "StateMissing", frozenset({JobStatus.AWAITING_RETRY})),
    (tuple(sorted(REQUEUABLE)), "Requeued", frozenset({JobStatus.PENDING})),
    (tuple(JobStatus), "Rewound", frozenset({JobStatus.PENDING})),
    (_LIVE, "CancelRequested", frozenset({JobStatus.CANCELLED})),
    # What is noted beside the steps: by a worker of a task of its own, and of files that clients send.
    ((JobStatus.WAITING_FOR_WORKER,), "EventTold", frozenset({JobStatus.WAITING_FOR_WORKER})),
    ((JobStatus.WAITING_FOR_PARALLEL_TASKS,), "EventTold", frozenset({JobStatus.WAITING_FOR_PARALLEL_TASKS})),
    *(
        ((status,), event, frozenset({status}))
        for event in ("FileExpected", "FileReceived")
        for status in _LIVE
        if status is not JobStatus.RUNNING
    ),
)


def _spread_rules() -> dict[tuple[JobStatus, str], frozenset[JobStatus]]:
    table: dict[tuple[JobStatus, str], frozenset[JobStatus]] = {}
    for statuses, event, leads_to in _RULES:
        for status in statuses:
            table[status, event] = table.get((status, event), frozenset()) | leads_to
    return table


TRANSITIONS = _spread_rules()
"""(status, name of the event) to the statuses that may follow; ``decide`` keeps to it. A pair that is missing cannot
happen, or changes nothing: every event that comes late or twice."""
