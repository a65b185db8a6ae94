"""The decision: what follows from an event, for one job.

``decide`` is a pure function. It takes the job as stored and something that happened, and returns the new job and the
effects that the same commit writes. An event that comes late, twice or from the wrong place changes nothing: the same
job comes back, with the reason in ``Decision.ignored``.

This file routes events; ``steps`` says how a job goes on or ends, ``handlers`` what a handler's return means,
``dispatching`` how tasks are sent, ``tasks`` what a worker's answer means, ``waiting`` what else a job may wait for,
``children`` what it is to wait for a job of one's own, ``control`` what people do to it.
"""

from __future__ import annotations

from avtomatika.blueprints.graph import Graph
from avtomatika.core import children, control, handlers, tasks, waiting
from avtomatika.core.effects import ClearTimer, Decision
from avtomatika.core.events import (
    CancelRequested,
    ChildEnded,
    Decided,
    Event,
    EventTold,
    FileExpected,
    FileReceived,
    HandlerFailed,
    HandlerReturned,
    HandlerStarted,
    JobSubmitted,
    LeaseExpired,
    Repinned,
    Requeued,
    Rewound,
    StateMissing,
    StepBroke,
    TaskReported,
    TimerFired,
    TimerKind,
)
from avtomatika.core.job import Failure, Job
from avtomatika.core.states import TRANSITIONS, JobStatus
from avtomatika.core.steps import DEFAULT_LIMITS, Limits, Step
from avtomatika.errors import AvtomatikaError, PayloadLostError


class IllegalTransitionError(AvtomatikaError):
    """The decision core contradicted its own table: a defect of this package, not of a blueprint."""

    code = "illegal_transition"

    def __init__(self, job: Job, event: Event, status: JobStatus) -> None:
        super().__init__(
            f"job {job.id} (blueprint '{job.blueprint}', state '{job.state}', status {job.status}, version "
            f"{job.version}, {job.transitions} transitions) cannot become {status} by {type(event).__name__}. "
            "Please report this."
        )


def decide(job: Job, event: Event, graph: Graph, now: float, limits: Limits = DEFAULT_LIMITS) -> Decision:
    """Returns what follows from ``event``.

    Args:
        job: as stored; at version 0 for JobSubmitted.
        event: what happened.
        graph: the version of the blueprint that the job started with.
        now: the moment, Unix seconds.
        limits: retries, timeouts and the loop limit.

    Returns:
        The new job, one version on, and the effects; or the same job and why the event was ignored.

    A job whose data are lost is quarantined by whatever would be laid over them.

    Raises:
        DocumentAwayError: it takes a document that has to be fetched first; then ask again.
        IllegalTransitionError: a defect of the core.
    """
    if job.is_terminal and not isinstance(event, Requeued | Rewound):
        return Decision(job, ignored="job_cancelled" if job.status is JobStatus.CANCELLED else "stale_task")
    step = Step(job, graph, now, limits)
    try:
        ignored = _route(step, event)
    except PayloadLostError as error:
        step = Step(job, graph, now, limits)
        step.quarantine(Failure("PAYLOAD_LOST_ERROR", str(error), job.state, attempt=job.attempt))
        return step.decision()
    if ignored:
        return Decision(job, ignored=ignored)
    if step.status not in TRANSITIONS.get((job.status, type(event).__name__), ()):
        raise IllegalTransitionError(job, event, step.status)
    return step.decision()


def _route(step: Step, event: Event) -> str:
    """Lets the event change the step; returns why it does not, or an empty string."""
    match event:
        case HandlerReturned():
            return handlers.returned(step, event)
        case JobSubmitted():
            return handlers.submitted(step, event)
        case HandlerStarted():
            return handlers.started(step)
        case HandlerFailed():
            return handlers.failed(step, event)
        case StepBroke():
            return handlers.broke(step, event)
        case TaskReported():
            return tasks.reported(step, event)
        case EventTold():
            return tasks.told(step, event)
        case LeaseExpired():
            return tasks.lease_expired(step, event)
        case TimerFired():
            return _timer_fired(step, event)
        case ChildEnded():
            return children.ended(step, event)
        case Decided():
            return waiting.decided(step, event)
        case _:
            return _control(step, event)


def _control(step: Step, event: Event) -> str:
    """As ``_route``, for what people and changed blueprints do."""
    match event:
        case CancelRequested():
            step.cancel(event.by)
            return ""
        case Requeued():
            return control.requeued(step, event)
        case Rewound():
            return control.rewound(step, event)
        case Repinned():
            return control.repinned(step, event)
        case StateMissing():
            return control.state_missing(step, event)
        case FileExpected():
            return control.file_expected(step, event)
        case FileReceived():
            return control.file_received(step, event)
    raise TypeError(f"{type(event).__name__} is no event")


def _timer_fired(step: Step, event: TimerFired) -> str:
    """A moment has come that was written down."""
    if event.kind is TimerKind.JOB:
        waited = step.now - step.job.created_at
        step.fail(Failure("RESULT_TIMEOUT", f"the job had no result after {waited:g} s (its result_timeout)"))
        return ""
    is_own = event.kind in {TimerKind.SLEEP, TimerKind.APPROVAL}
    if is_own and waiting.is_early(step):
        return "too_early"
    # Cleared even if it no longer matters: a timer that nobody clears comes back.
    step.add(ClearTimer(event.kind, event.task_id))
    match event.kind:
        case TimerKind.SLEEP:
            waiting.wake(step)
        case TimerKind.APPROVAL:
            waiting.expired(step)
        case _:
            tasks.timer_fired(step, event)
    return ""
