"""What people and changed blueprints do to a job: requeue it, rewind it, give it another version, let it pause."""

from __future__ import annotations

from avtomatika.core.document import NULL
from avtomatika.core.effects import CancelOpenTasks, ClearTimer, RecordHistory, RunHandler
from avtomatika.core.events import FileExpected, FileReceived, Repinned, Requeued, Rewound, StateMissing, TimerKind
from avtomatika.core.job import Failure
from avtomatika.core.states import REQUEUABLE, JobStatus
from avtomatika.core.steps import Step

MISSING_PAUSE = 5.0
"""Seconds after which a paused job looks again whether an engine knows its state."""


def requeued(step: Step, event: Requeued) -> str:
    """A job that failed or was quarantined goes on in the state where it stopped, with its attempts counted anew."""
    job = step.job
    if job.status not in REQUEUABLE:
        return "stale_task"
    step.record("job_requeued", details={"by": event.by} if event.by else {})
    step.change(
        status=JobStatus.PENDING,
        attempt=1,
        loop_start=job.transitions,
        entered_at=step.now,
        deadline_at=None,
        failure=None,
        result=NULL,
        has_result=False,
    )
    step.add(RecordHistory("state_started", job.state), RunHandler(job.state, step.now))
    return ""


def rewound(step: Step, event: Rewound) -> str:
    """The job starts again from a state that it was in; what it does now is given up."""
    job = step.job
    if event.state not in step.graph and step.graph.version == job.blueprint_version:
        return "unknown_state"
    step.record(
        "job_rewound",
        next_state=event.state,
        details={"sequence": event.sequence, "status": str(job.status), **({"by": event.by} if event.by else {})},
    )
    step.dismiss()
    if not job.is_terminal:
        step.add(CancelOpenTasks(), ClearTimer(TimerKind.SLEEP), ClearTimer(TimerKind.APPROVAL))
    step.change(
        status=JobStatus.PENDING,
        state=event.state,
        state_history=event.state_history,
        attempt=1,
        # Another step than the one before: outside systems must not take it for a repetition.
        transitions=job.transitions + 1,
        loop_start=job.transitions + 1,
        entered_at=step.now,
        task_id="",
        fan_out=event.fan_out,
        wait=None,
        # A job that had ended has missed its deadline, or had none to miss.
        deadline_at=None if job.is_terminal else job.deadline_at,
        failure=None,
        result=NULL,
        has_result=False,
    )
    step.add(
        step.entrance(event.state, job.state, event.fan_out, state_history=event.state_history),
        RunHandler(event.state, step.now),
    )
    return ""


def repinned(step: Step, event: Repinned) -> str:
    """The job goes on with another version of its blueprint."""
    job = step.job
    if job.status is not JobStatus.RUNNING:
        return "stale_task"
    details = {"from_version": job.blueprint_version, "to_version": event.version}
    step.record("version_changed", next_state=event.state, details=details)
    step.change(blueprint_version=event.version)
    if event.state != job.state:
        step.change(state=event.state, attempt=1, entered_at=step.now)
        step.add(RecordHistory("state_started", event.state, previous_state=job.state))
    step.add(RunHandler(event.state, step.now))
    return ""


def file_expected(step: Step, event: FileExpected) -> str:
    """A file will come: the job remembers it, so that its end removes it, whatever happens to whoever sends it."""
    # A handler that runs now, or is just being called, would lose what it does to this commit.
    if step.job.status is JobStatus.RUNNING or step.is_due:
        return "stale_task"
    step.learn([event.facts])
    return ""


def file_received(step: Step, event: FileReceived) -> str:
    """A file has come: the history tells of it, and tasks whose params name it hear what is known of it."""
    if step.job.status is JobStatus.RUNNING or step.is_due:
        return "stale_task"  # as above
    step.learn([event.file.facts])
    step.record_files([event.file], by=event.by)
    return ""


def state_missing(step: Step, event: StateMissing) -> str:
    """The job waits for an engine that knows its state; no attempt is lost by it."""
    job = step.job
    if job.status is not JobStatus.RUNNING:
        return "stale_task"
    failure = Failure("STATE_MISSING_ERROR", event.reason, job.state, attempt=job.attempt)
    if job.failure != failure:
        step.record("job_paused", details={"reason": event.reason})
    step.change(status=JobStatus.AWAITING_RETRY, failure=failure)
    step.add(RunHandler(job.state, step.now + MISSING_PAUSE))
    return ""
