"""Waiting: a job that lets time pass or asks a person, and what makes it go on."""

from __future__ import annotations

from avtomatika.blueprints.requests import EXPIRED, HumanApproval, Sleep
from avtomatika.core.effects import ClearTimer, SetTimer
from avtomatika.core.events import Decided, TimerKind
from avtomatika.core.job import Failure
from avtomatika.core.states import JobStatus
from avtomatika.core.steps import Step
from avtomatika.core.waits import ApprovalWait, SleepWait


def fall_asleep(step: Step, action: Sleep) -> None:
    """The handler asked to go on later."""
    fault = step.missing_target({"": action.state})
    if fault:
        step.quarantine(fault)
        return
    until = action.until if action.until is not None else step.now + (action.seconds or 0.0)
    if until <= step.now:
        step.enter(action.state)
        return
    step.record("sleep_started", next_state=action.state, details={"until": until})
    # Pending, as a new job: nothing of it runs, and its next handler has its moment.
    step.change(status=JobStatus.PENDING, wait=SleepWait(until, action.state), task_id="", fan_out=None)
    step.add(SetTimer(TimerKind.SLEEP, until))


def ask(step: Step, action: HumanApproval) -> None:
    """The handler asked for a person's decision."""
    fault = step.missing_target(action.transitions)
    if fault:
        step.quarantine(fault)
        return
    expires_at = None if action.timeout_seconds is None else step.now + action.timeout_seconds
    wait = ApprovalWait(
        step.job.version + 1,
        action.message,
        dict(action.transitions),
        step.now,
        expires_at,
        action.integration,
    )
    step.change(status=JobStatus.WAITING_FOR_HUMAN, wait=wait, task_id="", fan_out=None)
    step.record(
        "approval_requested",
        details={
            "message": wait.message,
            "decisions": list(wait.decisions),
            "integration": wait.integration,
            "expires_at": expires_at,
        },
    )
    if expires_at is not None:
        step.add(SetTimer(TimerKind.APPROVAL, expires_at))


def decided(step: Step, event: Decided) -> str:
    """A person decided; it counts once, and only for the very wait that it was meant for."""
    wait = step.job.wait
    if not isinstance(wait, ApprovalWait) or wait.number != event.wait:
        return "not_waiting"
    if event.decision not in wait.decisions:
        return "unknown_decision"
    said = {"by": event.by, "via": event.via, "comment": event.comment}
    facts = {"decision": event.decision, **{name: text for name, text in said.items() if text}}
    step.change(state_history=step.state_history.merged({"approval": {**facts, "at": step.now}}, "state_history"))
    step.record("approval_received", details=facts, duration=step.now - wait.asked_at)
    if wait.expires_at is not None:
        step.add(ClearTimer(TimerKind.APPROVAL))
    step.enter(wait.transitions[event.decision])
    return ""


def is_early(step: Step) -> bool:
    """Returns whether the moment that the job waits for is still to come: its timer comes back by itself."""
    match step.job.wait:
        case SleepWait(until=moment) | ApprovalWait(expires_at=float() as moment):
            return step.now < moment
    return False


def wake(step: Step) -> None:
    """The moment that a job sleeps until has come."""
    if isinstance(step.job.wait, SleepWait):
        step.enter(step.job.wait.state)


def expired(step: Step) -> None:
    """Nobody decided in time."""
    wait = step.job.wait
    if not isinstance(wait, ApprovalWait):
        return
    waited = step.now - wait.asked_at
    failure = Failure("APPROVAL_EXPIRED", f"nobody decided within {waited:g} s: {wait.message}", step.job.state)
    step.record("approval_expired", details={"message": wait.message}, duration=waited)
    if EXPIRED in wait.transitions:
        step.remember(failure)
        step.enter(wait.transitions[EXPIRED])
    else:
        step.fail(failure)
