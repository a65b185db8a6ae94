"""Children: jobs that a job starts and waits for. Both sides meet through messages, never in one commit."""

from __future__ import annotations

import hashlib

from avtomatika.blueprints.requests import SubBlueprint
from avtomatika.core.document import Document
from avtomatika.core.effects import SendMessage
from avtomatika.core.events import ChildEnded
from avtomatika.core.job import Failure
from avtomatika.core.states import JobStatus
from avtomatika.core.steps import CHILD_TOPIC, Step
from avtomatika.core.waits import ChildWait
from avtomatika.errors import DocumentError


def start(step: Step, action: SubBlueprint) -> None:
    """The handler asked to run another blueprint."""
    job = step.job
    fault = step.missing_target(action.transitions)
    if fault:
        step.quarantine(fault)
        return
    if job.depth >= step.limits.max_depth:
        step.fail(
            Failure(
                "LOOP_LIMIT_ERROR",
                f"{job.depth} jobs stand above this one, and it would start another, of blueprint "
                f"'{action.blueprint}'; blueprints seem to run each other in a circle.",
                job.state,
            )
        )
        return
    child_id = _child_id(job.id, job.version + 1)
    order = {"do": "start", "child": child_id, "blueprint": action.blueprint, "initial_data": dict(action.initial_data)}
    try:
        message = SendMessage(CHILD_TOPIC, Document.of(order, "run_blueprint"), key=child_id)
    except DocumentError as error:
        step.quarantine(step.fault(f"runs a blueprint with data that cannot be stored: {error}"))
        return
    wait = ChildWait(child_id, action.blueprint, dict(action.transitions), step.now)
    step.change(status=JobStatus.WAITING_FOR_SUB_JOB, wait=wait, task_id="", fan_out=None)
    step.record("sub_blueprint_started", details={"job_id": child_id, "blueprint": action.blueprint})
    step.add(message)


def ended(step: Step, event: ChildEnded) -> str:
    """The child has ended; it counts once, and only for the job that waits for it."""
    wait = step.job.wait
    if not isinstance(wait, ChildWait) or wait.child_id != event.child_id:
        return "not_waiting"
    outcome = {"job_id": wait.child_id, "status": str(event.status), "result": event.result.value()}
    if event.failure is not None:
        outcome["error"] = {"code": event.failure.code, "message": event.failure.message}
    step.change(state_history=step.state_history.merged({wait.blueprint: outcome}, "state_history"), wait=None)
    details = {"job_id": wait.child_id, "blueprint": wait.blueprint, "status": str(event.status)}
    step.record("sub_blueprint_finished", details=details, duration=step.now - wait.started_at)
    word = _word(event.status)
    way = wait.transitions.get(event.status) or wait.transitions.get(word)
    failure = _failure(step, wait, event)
    if way:
        if word == "failure":
            step.remember(failure)
        step.enter(way)
    elif word == "cancelled":
        step.cancel(f"child job {wait.child_id}")
    elif event.status is JobStatus.QUARANTINED:
        step.quarantine(failure)
    else:
        step.fail(failure)
    return ""


def _word(status: JobStatus) -> str:
    if status is JobStatus.FINISHED:
        return "success"
    return "cancelled" if status is JobStatus.CANCELLED else "failure"


def _failure(step: Step, wait: ChildWait, event: ChildEnded) -> Failure:
    why = f": {event.failure.message}" if event.failure is not None else ""
    what = f"job {wait.child_id} of blueprint '{wait.blueprint}' is {event.status}{why}"
    return Failure("SUB_BLUEPRINT_FAILED", what, step.job.state)


def _child_id(job_id: str, version: int) -> str:
    """Returns an id that a commit repeated after an ambiguous error gives again, as long as any other job's."""
    digest = hashlib.sha256(f"{job_id}:{version}".encode()).hexdigest()
    return "-".join((digest[:8], digest[8:12], digest[12:16], digest[16:20], digest[20:32]))
