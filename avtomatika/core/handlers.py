"""What a handler's return means: the next state, tasks to send, or the end."""

from __future__ import annotations

from msgspec.structs import replace

from avtomatika.blueprints.actions import Dispatch, Parallel, TaskSpec, Transition
from avtomatika.core.document import NULL, Document
from avtomatika.core.effects import DispatchTask, RecordHistory, RunHandler, SetTimer
from avtomatika.core.events import HandlerFailed, HandlerReturned, Repinned, Requeued, StateMissing, TimerKind
from avtomatika.core.job import Failure, FanOut, Task, message_of
from avtomatika.core.matching import queue_name
from avtomatika.core.retry import Verdict, judge, retry_delay, spread
from avtomatika.core.states import REQUEUABLE, JobStatus, TaskStatus
from avtomatika.core.steps import Step
from avtomatika.errors import DocumentError, ProtocolError
from avtomatika.protocol.tasks import encode_task

MISSING_PAUSE = 5.0
"""Seconds after which a paused job looks again whether an engine knows its state."""
_EXPECTED = "actions.transition_to, actions.dispatch_task or actions.dispatch_parallel"


def submitted(step: Step) -> str:
    """A new job waits for its first handler."""
    if step.job.version != 0:
        return "stale_task"
    start = step.graph.start.name
    step.change(status=JobStatus.PENDING, state=start, entered_at=step.now)
    step.add(
        RecordHistory("job_created", start, state_history=step.job.state_history, details={"source": step.job.source}),
        RecordHistory("state_started", start),
        RunHandler(start, step.now),
    )
    if step.job.deadline_at is not None:
        step.add(SetTimer(TimerKind.JOB, step.job.deadline_at))
    return ""


def started(step: Step) -> str:
    """The handler is being called; people see the job run."""
    if step.job.status not in {JobStatus.PENDING, JobStatus.AWAITING_RETRY} or step.job.task_id:
        return "stale_task"
    step.change(status=JobStatus.RUNNING)
    return ""


def returned(step: Step, event: HandlerReturned) -> str:
    """The handler returned; what it asked for decides."""
    if step.job.status is not JobStatus.RUNNING:
        return "stale_task"
    if event.state_history != step.job.state_history:
        step.change(state_history=event.state_history)
    match event.action:
        case None if step.state.is_end:
            result = event.returned if event.has_returned else event.state_history
            step.finish(JobStatus(step.state.outcome), result)
        case None:
            step.quarantine(_fault(step, f"returned without an action; call {_EXPECTED}, or mark it is_end=True."))
        case _ if step.state.is_end:
            step.quarantine(_fault(step, "is an end state and asked for an action; drop is_end=True or the action."))
        case Transition(state):
            step.enter(state)
        case Dispatch(spec):
            _dispatch(step, spec)
        case Parallel():
            _fan_out(step, event.action)
    return ""


def failed(step: Step, event: HandlerFailed) -> str:
    """The handler raised: it is retried like a transient error, then the job is quarantined."""
    job = step.job
    if job.status is not JobStatus.RUNNING:
        return "stale_task"
    failure = Failure(event.code, event.message, job.state, attempt=job.attempt)
    step.record(
        "state_failed",
        attempt=job.attempt,
        duration=event.duration,
        details={"code": failure.code, "message": failure.message, "handler": event.handler},
    )
    delay, policy = None, step.retries()
    if judge(policy, event.code) is Verdict.RETRY:
        delay = retry_delay(policy, job.attempt, spread(f"{job.id}:{job.state}:{job.attempt}"))
    if delay is None:
        step.quarantine(failure)
        return ""
    step.change(status=JobStatus.AWAITING_RETRY, attempt=job.attempt + 1, failure=failure)
    step.add(RunHandler(job.state, step.now + delay))
    return ""


def requeued(step: Step, event: Requeued) -> str:
    """A job that failed or was quarantined goes on in the state where it stopped, with its attempts counted anew."""
    job = step.job
    if job.status not in REQUEUABLE:
        return "stale_task"
    step.record("job_requeued", details={"by": event.by} if event.by else {})
    step.change(
        status=JobStatus.PENDING,
        attempt=1,
        transitions=0,
        entered_at=step.now,
        deadline_at=None,
        failure=None,
        result=NULL,
        has_result=False,
    )
    step.add(RecordHistory("state_started", job.state), RunHandler(job.state, step.now))
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


def dispatch(step: Step, task: Task) -> None:
    """Puts a task into its queue and watches how long it waits there."""
    step.add(DispatchTask(task))
    step.record(
        "task_dispatched", task_id=task.id, attempt=task.attempt, details={"task_type": task.type, "index": task.index}
    )
    if task.dispatch_timeout is not None:
        step.add(SetTimer(TimerKind.DISPATCH, step.now + task.dispatch_timeout, task.id))


def _dispatch(step: Step, spec: TaskSpec) -> None:
    missing = _missing_target(step, spec)
    if missing:
        step.quarantine(missing)
        return
    try:
        task = _task(step, spec, 0)
    except (DocumentError, ProtocolError) as error:
        step.quarantine(_fault(step, f"dispatches a task that no worker could take: {error}"))
        return
    step.change(status=JobStatus.WAITING_FOR_WORKER, task_id=task.id, fan_out=None)
    _first_dispatch(step, task)


def _fan_out(step: Step, action: Parallel) -> None:
    into = action.aggregate_into
    fault = next((fault for spec in action.tasks if (fault := _missing_target(step, spec))), None)
    if into not in step.graph:
        fault = step.unknown_state(into)
    elif not step.graph.state(into).is_aggregator:
        fault = _fault(step, f"aggregates into '{into}', which has no @aggregator_for('{into}') handler.")
    if fault:
        step.quarantine(fault)
        return
    try:
        tasks = [_task(step, spec, index) for index, spec in enumerate(action.tasks)]
    except (DocumentError, ProtocolError) as error:
        step.quarantine(_fault(step, f"dispatches a task that no worker could take: {error}"))
        return
    fan_out = FanOut(f"{step.job.id}-{step.job.version + 1}", into, len(action.tasks), len(action.tasks))
    if not action.tasks:
        step.enter(into, fan_out)
        return
    step.change(status=JobStatus.WAITING_FOR_PARALLEL_TASKS, fan_out=fan_out, task_id="")
    for task in tasks:
        _first_dispatch(step, replace(task, fan_out=fan_out.id))


def _first_dispatch(step: Step, task: Task) -> None:
    dispatch(step, task)
    if task.deadline_at is not None:
        step.add(SetTimer(TimerKind.RESULT, task.deadline_at, task.id))


def _task(step: Step, spec: TaskSpec, index: int) -> Task:
    job = step.job
    timeout = spec.timeout_seconds if spec.timeout_seconds is not None else step.limits.task_timeout
    task = Task(
        # Derived from job, version and index, so that a commit repeated after an ambiguous error makes the same task.
        id=f"{job.id}-{job.version + 1}-{index}",
        job_id=job.id,
        type=spec.task_type,
        queue=queue_name(spec.task_type, spec.resource_requirements, spec.max_cost),
        status=TaskStatus.QUEUED,
        created_at=step.now,
        params=Document.of(dict(spec.params), f"params of task '{spec.task_type}'"),
        transitions=dict(spec.transitions),
        index=index,
        priority=spec.priority,
        strategy=spec.dispatch_strategy,
        requirements=spec.resource_requirements,
        max_cost=spec.max_cost,
        timeout_seconds=timeout,
        dispatch_timeout=spec.dispatch_timeout if spec.dispatch_timeout is not None else job.dispatch_timeout,
        deadline_at=step.now + spec.result_timeout if spec.result_timeout is not None else None,
        tracing_context=job.tracing_context,
        retry=spec.retry,
    )
    # Found here, where the handler can be named: a malformed task would stop the worker that fetches it.
    encode_task(message_of(task))
    return task


def _missing_target(step: Step, spec: TaskSpec) -> Failure | None:
    """Returns the failure of a task whose transitions lead nowhere: better now than when its result is there."""
    for state in spec.transitions.values():
        if state not in step.graph:
            return step.unknown_state(state)
    return None


def _fault(step: Step, what: str) -> Failure:
    return Failure(
        "HANDLER_ERROR", f"handler of state '{step.job.state}' {what}", step.job.state, attempt=step.job.attempt
    )
