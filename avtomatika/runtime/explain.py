"""Explaining: what a job waits for, who holds it and until when, in sentences."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from avtomatika.core.events import TimerKind
from avtomatika.core.job import Job, Task
from avtomatika.core.matching import is_qualified
from avtomatika.core.states import REQUEUABLE, JobStatus, TaskStatus
from avtomatika.core.waits import EXPIRED, ApprovalWait, ChildWait, SleepWait
from avtomatika.lengths import length
from avtomatika.protocol.messages import WorkerProfile
from avtomatika.storage.base import Timer, WakeUp

# Messages between a job and its child take seconds; when none has come for so long, something is wrong.
_MAIL_PATIENCE = 600.0


def explain(
    job: Job,
    wake_up: WakeUp,
    workers: Sequence[WorkerProfile],
    now: float,
    child: Job | None = None,
    is_barred: Callable[[str], bool] = lambda _worker_id: False,
) -> list[str]:
    """Returns why the job stands where it stands, one sentence for each reason; never empty.

    Args:
        job: as stored.
        wake_up: what will make it go on.
        workers: those that were heard of lately.
        now: the moment, Unix seconds.
        child: the job that it waits for, or None if it waits for none or that is not there yet.
        is_barred: whether the worker of an id gets no tasks because of its reputation.
    """
    if job.is_terminal:
        return _ended(job, now)
    reasons = [*_claim(wake_up, now), *_ready(job, wake_up, now)]
    reasons += [_task(task, workers, now, is_barred) for task in wake_up.tasks]
    if isinstance(job.wait, ApprovalWait):
        words = ", ".join(job.wait.decisions)
        reasons.append(f"It waits {_ago(job.wait.asked_at, now)} for a person to decide ({words}): {job.wait.message}")
    if isinstance(job.wait, ChildWait):
        reasons.append(_child(job.wait, child, now))
    reasons += [_timer(job, timer, now) for timer in wake_up.timers]
    if reasons:
        return reasons
    return [
        (
            f"Nothing will wake this job, though it is {job.status}: this is a defect of the engine. Please report it "
            "with the job's history; cancel the job and create it anew."
        )
    ]


def _ended(job: Job, now: float) -> list[str]:
    reasons = [f"The job is {job.status} since {_ago(job.updated_at, now)}: nothing more happens to it."]
    if job.failure is not None and job.status is not JobStatus.FINISHED:
        reasons.append(f"The last failure: {job.failure.code}: {job.failure.message}")
    if job.status in REQUEUABLE:
        reasons.append(f"Once that is mended, it can go on: avtomatika jobs requeue {job.id}")
    return reasons


def is_stuck(job: Job, wake_up: WakeUp, child: Job | None = None, now: float = 0.0) -> bool:
    """Whether invariant W is broken: the job lives, and nothing will wake it.

    Args:
        job: as stored.
        wake_up: what will make it go on.
        child: the job that it waits for, if that exists.
        now: the moment, Unix seconds.
    """
    if job.is_terminal:
        return False
    if job.status is JobStatus.WAITING_FOR_SUB_JOB and isinstance(job.wait, ChildWait):
        if child is not None and not child.is_terminal:
            return False
        # A message is on its way between the two.
        return now - (job.wait.started_at if child is None else child.updated_at) > _MAIL_PATIENCE
    if job.status is JobStatus.WAITING_FOR_HUMAN and isinstance(job.wait, ApprovalWait):
        return False
    return wake_up.ready_at is None and not wake_up.claimed_by and not wake_up.timers and not wake_up.tasks


def _child(wait: ChildWait, child: Job | None, now: float) -> str:
    name = f"job {wait.child_id} of blueprint '{wait.blueprint}'"
    if child is None:
        return f"It waits for {name}, which was asked for {_ago(wait.started_at, now)} ago and is not created yet."
    if child.is_terminal:
        return f"It waits for {name}, which is {child.status} since {_ago(child.updated_at, now)}; it hears so soon."
    return f"It waits for {name}, which is {child.status} in state '{child.state}' since {_ago(child.updated_at, now)}."


def _claim(wake_up: WakeUp, now: float) -> list[str]:
    if not wake_up.claimed_by:
        return []
    until = _in(wake_up.claimed_until, now)
    return [f"Engine {wake_up.claimed_by} runs its handler; should that engine die, another one takes over {until}."]


def _ready(job: Job, wake_up: WakeUp, now: float) -> list[str]:
    if wake_up.ready_at is None:
        return []
    why = f" after: {job.failure.message}" if job.failure and job.status is JobStatus.AWAITING_RETRY else ""
    if wake_up.ready_at > now:
        return [f"Its handler of state '{job.state}' is tried again {_in(wake_up.ready_at, now)}{why}"]
    return [
        (
            f"Its handler of state '{job.state}' is due since {_ago(wake_up.ready_at, now)} and waits for an engine "
            "with a free place (EXECUTOR_MAX_CONCURRENT_JOBS)."
        )
    ]


def _timer(job: Job, timer: Timer, now: float) -> str:
    wait = job.wait
    match timer.kind:
        case TimerKind.SLEEP if isinstance(wait, SleepWait):
            return f"It sleeps and goes on in state '{wait.state}' {_in(timer.at, now)}."
        case TimerKind.APPROVAL if isinstance(wait, ApprovalWait):
            way = wait.transitions.get(EXPIRED)
            then = f"goes on in state '{way}'" if way else "fails"
            return f"Unless somebody decides, it {then} {_in(timer.at, now)}."
        case TimerKind.RETRY:
            return f"The next attempt of task {timer.task_id} is due {_in(timer.at, now)}."
        case TimerKind.JOB:
            return f"Unless it has ended, the job fails {_in(timer.at, now)}: its result_timeout."
        case _:
            return f"Task {timer.task_id} is given up {_in(timer.at, now)}: its {timer.kind}_timeout."


def _task(task: Task, workers: Sequence[WorkerProfile], now: float, is_barred: Callable[[str], bool]) -> str:
    name = f"Task {task.id} ('{task.type}', attempt {task.attempt})"
    match task.status:
        case TaskStatus.CLAIMED:
            confirmed = "runs at" if task.confirmed else "was handed to"
            until = _in(task.lease_until, now)
            return f"{name} {confirmed} worker {task.worker_id}; without a sign of life it is handed on {until}."
        case TaskStatus.DELAYED:
            why = task.failure.message if task.failure else "a failure"
            return f"{name} waits for its next attempt, after: {why}"
        case _:
            return f"{name} waits {_ago(task.created_at, now)} for a worker: {_candidates(task, workers, is_barred)}"


def _candidates(task: Task, workers: Sequence[WorkerProfile], is_barred: Callable[[str], bool]) -> str:
    skilled = [worker for worker in workers if task.type in worker.skill_names]
    if not skilled:
        return f"no registered worker has the skill '{task.type}'."
    fit = [w.worker_id for w in skilled if is_qualified(w, task.type, task.requirements, task.max_cost)]
    if not fit:
        return f"{len(skilled)} have the skill, but none meets its requirements or its max_cost."
    good = [worker_id for worker_id in fit if not is_barred(worker_id)]
    if not good:
        return f"{', '.join(fit[:5])} could do it, but their reputation is below REPUTATION_MIN_THRESHOLD for a while."
    fit = good
    if task.limits:
        shared = ", ".join(f"{limit} at a time ({name})" for name, limit in task.limits.items())
        return f"{', '.join(fit[:5])} can do it when the limits leave room: {shared}."
    return f"{', '.join(fit[:5])} can do it, and {'is' if len(fit) == 1 else 'are'} busy or about to ask for it."


def _in(moment: float | None, now: float) -> str:
    return "at once" if moment is None or moment <= now else f"in {length(moment - now)}"


def _ago(moment: float, now: float) -> str:
    return length(now - moment)
