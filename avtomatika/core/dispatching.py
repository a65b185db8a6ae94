"""Dispatching: how what a handler asked for becomes tasks in their queues."""

from __future__ import annotations

from msgspec.structs import replace

from avtomatika.blueprints.requests import Parallel, TaskSpec
from avtomatika.core.document import Document
from avtomatika.core.effects import DispatchTask, SetTimer
from avtomatika.core.events import TimerKind
from avtomatika.core.job import FanOut, Task, message_of
from avtomatika.core.matching import queue_name
from avtomatika.core.states import JobStatus, TaskStatus
from avtomatika.core.steps import Step
from avtomatika.errors import DataSizeError, DocumentError, ProtocolError
from avtomatika.protocol.files import find_files
from avtomatika.protocol.tasks import encode_task


def dispatch(step: Step, task: Task) -> None:
    """Puts a task into its queue and watches how long it waits there."""
    step.add(DispatchTask(task))
    step.record(
        "task_dispatched", task_id=task.id, attempt=task.attempt, details={"task_type": task.type, "index": task.index}
    )
    if task.dispatch_timeout is not None:
        step.add(SetTimer(TimerKind.DISPATCH, step.now + task.dispatch_timeout, task.id))


def send(step: Step, spec: TaskSpec) -> None:
    """The handler asked for one task."""
    missing = step.missing_target(spec.transitions)
    if missing:
        step.quarantine(missing)
        return
    try:
        task = _task(step, spec, 0)
    except (DocumentError, ProtocolError) as error:
        step.quarantine(step.fault(f"dispatches a task that no worker could take: {error}"))
        return
    step.change(status=JobStatus.WAITING_FOR_WORKER, task_id=task.id, fan_out=None)
    _first_dispatch(step, task)


def fan_out(step: Step, action: Parallel) -> None:
    """The handler asked for several tasks."""
    into = action.aggregate_into
    fault = next((fault for spec in action.tasks if (fault := step.missing_target(spec.transitions))), None)
    if into not in step.graph:
        fault = step.unknown_state(into)
    elif not step.is_aggregator(into):
        fault = step.fault(f"aggregates into '{into}', which has no @aggregator_for('{into}') handler.")
    if fault:
        step.quarantine(fault)
        return
    try:
        tasks = [_task(step, spec, index) for index, spec in enumerate(action.tasks)]
    except (DocumentError, ProtocolError) as error:
        step.quarantine(step.fault(f"dispatches a task that no worker could take: {error}"))
        return
    wait = FanOut(
        f"{step.job.id}-{step.job.version + 1}",
        into,
        total=len(tasks),
        open=len(tasks),
        policy=action.policy,
        needed=action.at_least,
    )
    if not action.tasks:
        step.enter(into, wait)
        return
    step.change(status=JobStatus.WAITING_FOR_PARALLEL_TASKS, fan_out=wait, task_id="")
    for task in tasks:
        _first_dispatch(step, replace(task, fan_out=wait.id))


def _first_dispatch(step: Step, task: Task) -> None:
    dispatch(step, task)
    if task.deadline_at is not None:
        step.add(SetTimer(TimerKind.RESULT, task.deadline_at, task.id))


def limits_of(step: Step, spec: TaskSpec) -> dict[str, int]:
    """Returns how many tasks may be claimed at a time that share something with this one, by what they share."""
    name, own = spec.task_type, step.graph.concurrency.get(spec.task_type)
    common = step.limits.concurrency.get(name)
    limits = {} if common is None else {f"type:{name}": common}
    if own is not None:
        limits[f"blueprint:{step.graph.name}:{name}"] = own
    if spec.concurrency_key is not None:
        limits[f"key:{name}:{spec.concurrency_key}"] = spec.concurrency_limit
    return limits


def urgency(priority: float, created_at: float, ageing: float) -> float | None:
    """Returns what a task is queued by where waiting weighs, or None where it does not.

    Each ``ageing`` seconds of waiting raise a task by one unit of priority. All tasks that wait age alike, so the order
    between two of them never changes: it is that of priority minus creation, fixed when a task is made.

    Args:
        priority: of the task.
        created_at: Unix seconds.
        ageing: seconds of waiting that weigh as much as one unit of priority, or 0.
    """
    return priority - created_at / ageing if ageing else None


def _task(step: Step, spec: TaskSpec, index: int) -> Task:
    job = step.job
    limits = limits_of(step, spec)
    timeout = spec.timeout_seconds if spec.timeout_seconds is not None else step.limits.task_timeout
    task = Task(
        # Derived from job, version and index, so that a commit repeated after an ambiguous error makes the same task.
        id=f"{job.id}-{job.version + 1}-{index}",
        job_id=job.id,
        type=spec.task_type,
        queue=queue_name(spec.task_type, spec.resource_requirements, spec.max_cost, limits),
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
        urgency=urgency(spec.priority, step.now, step.limits.ageing),
        limits=limits,
        preferred=job.last_worker,
        affinity_seconds=spec.affinity_seconds,
        result_schema=spec.result_schema,
        params_metadata=find_files(spec.params, step.file_facts),
    )
    if len(task.params) > step.limits.max_data:
        raise DataSizeError(f"params of task '{spec.task_type}'", len(task.params), step.limits.max_data)
    # Found here, where the handler can be named: a malformed task would stop the worker that fetches it.
    encode_task(message_of(task))
    return task
