"""What a worker's answer means, and what its silence means."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from avtomatika.core import fan_outs
from avtomatika.core.dispatching import dispatch
from avtomatika.core.document import Document
from avtomatika.core.effects import ClearTimer, SaveTask, SetTimer
from avtomatika.core.events import EventTold, LeaseExpired, TaskReported, TimerFired, TimerKind
from avtomatika.core.job import Failure, Task
from avtomatika.core.retry import Verdict, judge, retry_delay, spread
from avtomatika.core.states import JobStatus, TaskStatus
from avtomatika.core.steps import Step
from avtomatika.errors import DataSizeError
from avtomatika.protocol.files import write_files


def reported(step: Step, event: TaskReported) -> str:
    """A worker sent a result; it counts once, and only from whom the task was handed to."""
    task = event.task
    if task is None or not task.status.is_open:
        return "stale_task"
    if task.worker_id != event.worker_id:
        return "worker_mismatch"
    if not _is_current(task, event.attempt):
        return "stale_task"
    is_late = event.attempt != task.attempt
    # A late result is that of the attempt which was given up; the one that was to follow is not needed any more.
    task = replace(task, attempt=event.attempt)
    if event.status == "failure":
        failure = event.failure or Failure("TRANSIENT_ERROR", "the worker gave no reason")
        if is_late and judge(step.retries(task.retry), failure.code) is Verdict.RETRY:
            return "stale_task"  # that attempt was counted as failed when its worker was given up
        _attempt_failed(step, task, replace(failure, worker_id=event.worker_id), event.data)
    elif event.status == "cancelled" and event.worker_is_leaving:
        # A worker that shuts down cancels what it could not finish; nobody asked for it (protocol, section 6.7).
        if task.status is not TaskStatus.CLAIMED:
            return "stale_task"  # it is waiting for another worker already
        _requeue(step, task)
    else:
        _succeeded(step, task, event)
    return ""


def told(step: Step, event: EventTold) -> str:
    """A worker tells of something in a task that it holds; the history keeps it, and nothing else changes."""
    task = event.task
    if task is None or task.status is not TaskStatus.CLAIMED or task.attempt != event.attempt:
        return "stale_task"
    if task.worker_id != event.worker_id:
        return "worker_mismatch"
    details: dict[str, Any] = {"type": event.type, "payload": dict(event.payload), "event_id": event.event_id}
    if event.origin:
        details |= {"origin": event.origin, "via": list(event.via)}
    step.record("task_event", task_id=task.id, attempt=task.attempt, worker_id=task.worker_id, details=details)
    return ""


def lease_expired(step: Step, event: LeaseExpired) -> str:
    """The claim ended: the worker took too long, vanished, or never got the task."""
    task = event.task
    if task is None or task.status is not TaskStatus.CLAIMED or (task.lease_until or 0.0) > step.now:
        return "stale_task"
    if task.claimed_at is not None and task.claimed_at + task.timeout_seconds <= step.now:
        what = f"worker {task.worker_id} sent no result within {task.timeout_seconds:g} s"
        _attempt_failed(step, task, Failure("TIMEOUT_ERROR", what, worker_id=task.worker_id), lost=True)
    elif not task.confirmed and task.deliveries < step.limits.max_deliveries:
        _requeue(step, task)
    else:
        what = f"worker {task.worker_id} vanished: it no longer sends heartbeats that name this task"
        _attempt_failed(step, task, Failure("WORKER_LOST", what, worker_id=task.worker_id), lost=True)
    return ""


def timer_fired(step: Step, event: TimerFired) -> None:
    """A moment has come: for the next attempt, or because something took too long."""
    task = event.task
    if task is None:
        return
    match event.kind:
        case TimerKind.RETRY if task.status is TaskStatus.DELAYED:
            _attempt_again(step, task)
        case TimerKind.DISPATCH if task.status is TaskStatus.QUEUED:
            what = f"no qualified worker took the task within {task.dispatch_timeout:g} s"
            _gave_up(step, task, Failure("DISPATCH_TIMEOUT", what))
        case TimerKind.RESULT if task.status.is_open:
            waited = step.now - task.created_at
            _gave_up(step, task, Failure("RESULT_TIMEOUT", f"the task had no result {waited:g} s after its dispatch"))


def _is_current(task: Task, attempt: int) -> bool:
    """Whether a result belongs to the attempt that was last handed out and that nobody has taken over."""
    if task.claimed_at is None:
        return False
    # The engine gave a worker up, which then answered after all, before anybody took the next attempt.
    is_given_up = task.deliveries == 0
    return attempt == (task.attempt - 1 if is_given_up else task.attempt)


def _close(step: Step, task: Task, status: TaskStatus, **facts: object) -> Task:
    """Gives the task its final status and forgets its timers."""
    closed = replace(task, status=status, ended_at=step.now, lease_until=None, **facts)
    step.add(SaveTask(closed))
    if task.dispatch_timeout is not None:
        step.add(ClearTimer(TimerKind.DISPATCH, task.id))
    if task.deadline_at is not None:
        step.add(ClearTimer(TimerKind.RESULT, task.id))
    if task.status is TaskStatus.DELAYED:
        step.add(ClearTimer(TimerKind.RETRY, task.id))
    return closed


# --- success ---


def _succeeded(step: Step, task: Task, event: TaskReported) -> None:
    word = event.status
    closed_as = TaskStatus.CANCELLED if word == "cancelled" else TaskStatus.SUCCEEDED
    files = event.data_metadata
    _close(step, task, closed_as, result_status=word, data=event.data, data_metadata=files, failure=None)
    excess = ""
    if not task.fan_out:
        # Those of branches are learnt by the aggregator, all at once: else each of a thousand would write them all.
        step.learn(files.values())
    if not task.fan_out and word in task.transitions:
        # Laid over the job's data before the row is recorded, so that the row shows what the result changed.
        excess = merge_data(step, task, event.data)
    if event.worker_id != step.job.last_worker and word != "cancelled":
        step.change(last_worker=event.worker_id)
    started_at = task.claimed_at if task.claimed_at is not None else step.now
    step.record(
        "task_finished",
        task_id=task.id,
        worker_id=event.worker_id,
        attempt=event.attempt,
        duration=step.now - started_at,
        details={"task_type": task.type, "status": word, **({"data_metadata": write_files(files)} if files else {})},
    )
    if excess:
        step.fail(_locate(step, task, Failure("CONTRACT_VIOLATION_ERROR", excess, worker_id=event.worker_id)))
    elif task.fan_out:
        _branch_ended(step, task, word)
    elif word in task.transitions:
        step.enter(task.transitions[word])
    elif word == "cancelled":
        step.cancel(f"worker {event.worker_id}")
    else:
        step.fail(_unknown_word(step, task, word))


def merge_data(step: Step, task: Task, data: Document) -> str:
    """Lays a result over the job's data: an object's members by name, any other value under the task's type.

    Returns:
        Why it was left out, because the job would hold too much; or an empty text.
    """
    value = data.value()
    if value is None:
        return ""
    changes = value if isinstance(value, dict) else {task.type: value}
    merged = step.state_history.merged(changes, "state_history")
    if len(merged) > step.limits.max_data:
        what = f"state_history with the result of task '{task.type}'"
        return str(DataSizeError(what, len(merged), step.limits.max_data))
    step.change(state_history=merged)
    return ""


def _unknown_word(step: Step, task: Task, word: str) -> Failure:
    known = ", ".join(f"'{one}'" for one in task.transitions) or "none"
    return Failure(
        "UNKNOWN_STATUS_ERROR",
        f"task '{task.type}' ended with status '{word}', for which its transitions have no state; known: {known}. "
        f"Add '{word}' to the transitions of the dispatch in state '{step.job.state}'.",
        step.job.state,
        task.id,
        task.type,
        task.attempt,
        task.worker_id,
    )


def _branch_ended(step: Step, task: Task, word: str) -> None:
    """One branch of a fan-out has a result that is no failure."""
    if word != "cancelled":
        fan_outs.branch_ended(step)
    elif fan_outs.is_tolerant(step):
        what = f"worker {task.worker_id} cancelled the task"
        fan_outs.branch_ended(step, _locate(step, task, Failure("TASK_CANCELLED", what, worker_id=task.worker_id)))
    else:
        step.cancel(f"worker {task.worker_id}")


# --- failure ---


def _attempt_failed(
    step: Step, task: Task, failure: Failure, data: Document | None = None, *, lost: bool = False
) -> None:
    """One attempt failed; another follows, or the task has failed for good.

    Args:
        step: the decision in the making.
        task: as stored.
        failure: code and message.
        data: what the worker sent along, if anything.
        lost: the engine gave the worker up, so that a late answer may still count.
    """
    failure = _locate(step, task, failure)
    started_at = task.claimed_at if task.claimed_at is not None else step.now
    delay, policy = None, step.retries(task.retry)
    verdict = judge(policy, failure.code)
    if verdict is Verdict.RETRY:
        delay = retry_delay(policy, task.attempt, spread(task.wire_id), failure.retry_after)
    step.record(
        "task_failed",
        task_id=task.id,
        worker_id=failure.worker_id,
        attempt=task.attempt,
        duration=step.now - started_at,
        details={"task_type": task.type, "code": failure.code, "message": failure.message},
    )
    if delay is None:
        _failed_for_good(step, task, failure, data, fail=verdict is Verdict.FAIL)
        return
    again = replace(
        task,
        status=TaskStatus.DELAYED,
        attempt=task.attempt + 1,
        deliveries=0,
        confirmed=False,
        lease_until=None,
        claimed_at=task.claimed_at if lost else None,
        failure=failure,
    )
    step.add(SaveTask(again), SetTimer(TimerKind.RETRY, step.now + delay, task.id))
    step.record("task_retried", task_id=task.id, attempt=again.attempt, details={"delay": delay})
    step.change(failure=failure)
    if not task.fan_out:
        step.change(status=JobStatus.AWAITING_RETRY)


def _failed_for_good(step: Step, task: Task, failure: Failure, data: Document | None, *, fail: bool) -> None:
    closed_as = TaskStatus.FAILED if fail else TaskStatus.QUARANTINED
    _close(step, task, closed_as, result_status="failure", data=data or task.data, failure=failure)
    way = _way_of(task, failure)
    if task.fan_out and (not fail or fan_outs.is_tolerant(step)):
        fan_outs.branch_ended(step, failure, way)
        return
    if data is not None and not task.fan_out:
        merge_data(step, task, data)
    if fail:
        step.fail(failure)
    else:
        fan_outs.take_failure(step, failure, way)


def _gave_up(step: Step, task: Task, failure: Failure) -> None:
    """A deadline of the task has passed: no attempt follows."""
    failure = _locate(step, task, failure)
    _close(step, task, TaskStatus.FAILED, failure=failure)
    step.record(
        "task_failed",
        task_id=task.id,
        worker_id=task.worker_id,
        attempt=task.attempt,
        details={"task_type": task.type, "code": failure.code, "message": failure.message},
    )
    way = _way_of(task, failure)
    if task.fan_out:
        fan_outs.branch_ended(step, failure, way)
    elif way:
        fan_outs.take_failure(step, failure, way)
    else:
        step.fail(failure)


def _way_of(task: Task, failure: Failure) -> str:
    """Returns where a failure for good leads: the transition of its code, else that of ``failure``, else nowhere."""
    return task.transitions.get(failure.code) or task.transitions.get("failure", "")


def _locate(step: Step, task: Task, failure: Failure) -> Failure:
    return replace(failure, state=step.job.state, task_id=task.id, task_type=task.type, attempt=task.attempt)


# --- again ---


def _attempt_again(step: Step, task: Task) -> None:
    if not task.fan_out:
        step.change(status=JobStatus.WAITING_FOR_WORKER)
    dispatch(step, replace(task, status=TaskStatus.QUEUED))


def _requeue(step: Step, task: Task) -> None:
    """Hands the same attempt to the next worker; whoever held it may still answer until one takes it."""
    dispatch(step, replace(task, status=TaskStatus.QUEUED, lease_until=None))
