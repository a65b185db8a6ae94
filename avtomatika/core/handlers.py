"""What a handler's return means: the next state, tasks to send, or the end."""

from __future__ import annotations

from avtomatika.blueprints.requests import Dispatch, HumanApproval, Parallel, Sleep, SubBlueprint, Transition
from avtomatika.core import children, dispatching, waiting
from avtomatika.core.effects import RecordHistory, RunHandler, SaveTask, SetTimer
from avtomatika.core.events import HandlerFailed, HandlerReturned, JobSubmitted, StepBroke, TimerKind
from avtomatika.core.job import Failure
from avtomatika.core.retry import Verdict, judge, retry_delay, spread
from avtomatika.core.states import JobStatus
from avtomatika.core.steps import Step
from avtomatika.errors import DataSizeError

_EXPECTED = "actions.transition_to, actions.dispatch_task or actions.dispatch_parallel"


def submitted(step: Step, event: JobSubmitted) -> str:
    """A new job waits for its first handler."""
    if step.job.version != 0:
        return "stale_task"
    start = event.state or step.graph.start.name
    details = {"source": step.job.source, **event.details}
    step.change(status=JobStatus.PENDING, state=start, entered_at=step.now)
    step.add(
        RecordHistory("job_created", start, state_history=step.job.state_history, details=details),
        *(SaveTask(task) for task in event.tasks),
        step.entrance(start, fan_out=step.job.fan_out),
        RunHandler(start, step.now),
    )
    if step.job.deadline_at is not None:
        step.add(SetTimer(TimerKind.JOB, step.job.deadline_at))
    return ""


def started(step: Step) -> str:
    """The handler is being called; people see the job run."""
    if not step.is_due:
        return "stale_task"
    step.change(status=JobStatus.RUNNING)
    return ""


def returned(step: Step, event: HandlerReturned) -> str:
    """The handler returned; what it asked for decides."""
    if step.job.status is not JobStatus.RUNNING:
        return "stale_task"
    size = len(event.state_history)
    if size > step.limits.max_data and size > len(step.job.state_history):
        error = DataSizeError("state_history", size, step.limits.max_data)
        step.quarantine(step.fault(f"left too much: {error}"))
    else:
        _took(step, event)
    return ""


def _took(step: Step, event: HandlerReturned) -> None:
    """What the handler asked for can be done."""
    if event.state_history != step.job.state_history:
        step.change(state_history=event.state_history)
    if event.file_facts or event.moved:
        step.learn(event.file_facts.values())
        step.record_files(event.moved, attempt=step.job.attempt)
    state = step.state
    match event.action:
        case None if state.is_end:
            result = event.returned if event.has_returned else event.state_history
            step.finish(JobStatus(state.outcome), result)
        case None:
            step.quarantine(step.fault(f"returned without an action; call {_EXPECTED}, or mark it is_end=True."))
        case _ if state.is_end:
            step.quarantine(step.fault("is an end state and asked for an action; drop is_end=True or the action."))
        case Transition():
            step.enter(event.action.state)
        case Dispatch(spec) if step.is_aggregator(spec.transitions.get("success", "")):
            # One of several calls that lead into an aggregator, which happens to be the only one this time.
            dispatching.fan_out(step, Parallel((spec,), spec.transitions["success"]))
        case Dispatch(spec):
            dispatching.send(step, spec)
        case Parallel():
            dispatching.fan_out(step, event.action)
        case Sleep():
            waiting.fall_asleep(step, event.action)
        case SubBlueprint():
            children.start(step, event.action)
        case HumanApproval():
            waiting.ask(step, event.action)


def failed(step: Step, event: HandlerFailed) -> str:
    """The handler raised: it is retried like a transient error, then the job is quarantined."""
    job = step.job
    if job.status is not JobStatus.RUNNING:
        return "stale_task"
    failure = Failure(event.code, event.message, job.state, attempt=job.attempt)
    step.record_files(event.moved, attempt=job.attempt)
    step.record(
        "state_failed",
        attempt=job.attempt,
        duration=event.duration,
        details={"code": failure.code, "message": failure.message, "handler": event.handler},
    )
    delay, policy = None, step.retries()
    verdict = judge(policy, event.code)
    if verdict is Verdict.FAIL:
        step.fail(failure)
        return ""
    if verdict is Verdict.RETRY:
        delay = retry_delay(policy, job.attempt, spread(f"{job.id}:{job.state}:{job.attempt}"))
    if delay is None:
        step.quarantine(failure)
        return ""
    step.change(status=JobStatus.AWAITING_RETRY, attempt=job.attempt + 1, failure=failure)
    step.add(RunHandler(job.state, step.now + delay))
    return ""


def broke(step: Step, event: StepBroke) -> str:
    """The engine cannot go on with the job: it ends, for neither its handler nor a worker can do anything about it."""
    job = step.job
    if job.status is not JobStatus.RUNNING and not step.is_due:
        return "stale_task"
    step.give_up(Failure("ENGINE_ERROR", event.message, job.state, attempt=job.attempt))
    return ""
