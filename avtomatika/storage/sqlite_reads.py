"""What the SQLite storage reads without writing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgpack
from msgspec.structs import replace

from avtomatika.core.document import Document
from avtomatika.core.events import TimerKind
from avtomatika.core.job import Job, Task
from avtomatika.core.states import JobStatus, TaskStatus
from avtomatika.protocol.messages import WorkerProfile
from avtomatika.storage.base import Fault, JobQuery, Progress, Queue, TaskClaim, Timer, WakeUp
from avtomatika.storage.codec import decode_job, decode_task, decode_worker
from avtomatika.storage.invariants import JobFacts, MailFacts, check_counts, check_job
from avtomatika.storage.records import queue_of
from avtomatika.storage.rows import HistoryStep, parse_step_id
from avtomatika.storage.sqlite_messages import count_mail
from avtomatika.storage.sqlite_queries import QUERIES
from avtomatika.storage.sqlite_step import Row, Step

DOCUMENTS = ("initial_data", "state_history", "result")
"""The fields of a job that are kept apart, as they may be large; in the order of the columns of a job's query."""

_FILTERS = {
    "client": "j.client = :client",
    "status": "j.status = :status",
    "blueprint": "j.blueprint = :blueprint",
    "since": "j.created_at >= :since",
}


# --- jobs ---


def job_of(row: Row) -> Job:
    """Builds a job from its columns: the small fields, then the documents."""
    fields: dict[str, bytes] = msgpack.unpackb(row[0])
    fields.update((name, raw) for name, raw in zip(DOCUMENTS, row[1:], strict=True) if raw is not None)
    return decode_job(fields)


def load_job(step: Step, job_id: str) -> Job | None:
    """Returns the job as last committed."""
    row = step.row("find_job", job_id=job_id)
    return None if row is None else job_of(row)


def list_jobs(step: Step, query: JobQuery) -> list[Job]:
    """Returns jobs, newest first."""
    values = {name: getattr(query, name) for name in _FILTERS if getattr(query, name) is not None}
    filters = [_FILTERS[name] for name in values]
    if query.before is not None:
        filters.append("(j.created_at, j.id) < (:before_at, :before_id)")
        values |= {"before_at": query.before[0], "before_id": query.before[1]}
    sql = QUERIES["list_jobs"].replace("{filters}", " AND ".join(filters) or "1", 1)
    return [job_of(row) for row in step.rows_of(sql, values | {"limit": query.limit, "offset": query.offset})]


def count_jobs(step: Step) -> dict[JobStatus, int]:
    """Returns the numbers that the commits kept."""
    return {JobStatus(name): number for name, number in step.rows("list_counts") if name != "created"}


def find_wake_up(step: Step, job_id: str) -> WakeUp:
    """Returns what the job waits for."""
    timers = [timer_of(row) for row in step.rows("timers_of_job", job_id=job_id)]
    tasks = [decode_task(raw) for (raw,) in step.rows("open_tasks_of_job", job_id=job_id)]
    waiting = WakeUp(timers=tuple(timers), tasks=tuple(tasks))
    row = step.row("find_ready", job_id=job_id)
    if row is None:
        return waiting
    at, token, owner, due_at = row
    if token and due_at > step.now:
        return replace(waiting, claimed_by=owner, claimed_until=due_at)
    return replace(waiting, ready_at=at)


def find_progress(step: Step, job_id: str) -> Progress | None:
    """Returns the last progress."""
    row = step.row("find_progress", job_id=job_id)
    return None if row is None else Progress(*row)


# --- tasks ---


def find_task(step: Step, task_id: str) -> Task | None:
    """Returns the task as stored."""
    raw = step.value("find_task", task_id=task_id)
    return None if raw is None else decode_task(raw)


def list_tasks(step: Step, job_id: str, fan_out: str | None) -> list[Task]:
    """Returns the tasks of a job, or of one of its fan-outs."""
    query = "tasks_of_job" if fan_out is None else "tasks_of_fan_out"
    values = {"job_id": job_id} if fan_out is None else {"job_id": job_id, "fan_out": fan_out}
    return [decode_task(raw) for (raw,) in step.rows(query, **values)]


def list_queues(step: Step) -> list[Queue]:
    """Returns the queues in which tasks wait, by name."""
    return [
        queue_of(name, Document(needs).value(), length, oldest_at)
        for name, length, needs, oldest_at in step.rows("list_queues")
    ]


def list_claims(step: Step, worker_id: str) -> list[TaskClaim]:
    """Returns the claims of the worker."""
    rows = step.rows("claims_of_worker", worker_id=worker_id)
    return [TaskClaim(task_id, attempt, worker_id) for task_id, attempt in rows]


def expired_tasks(step: Step, limit: int) -> list[Task]:
    """Returns claimed tasks whose lease has ended."""
    return [decode_task(raw) for (raw,) in step.rows("expired_tasks", now=step.now, limit=limit)]


# --- time ---


def timer_of(row: Row) -> Timer:
    """Builds a timer from its columns."""
    job_id, kind, at, task_id = row
    return Timer(job_id, TimerKind(kind), at, task_id)


def next_wake_at(step: Step) -> float | None:
    """Returns the earliest moment at which there is something to do."""
    moment: float | None = step.value("next_moment", now=step.now)
    return moment


def has_due_jobs(step: Step) -> bool:
    """Whether a claim of jobs would find one."""
    return bool(step.value("has_due_ready", now=step.now))


def has_due_timers(step: Step) -> bool:
    """Whether a claim of timers would find one."""
    return bool(step.value("has_due_timer", now=step.now))


def has_tasks(step: Step, queues: Sequence[str]) -> bool:
    """Whether a task waits in one of the queues."""
    return any(step.value("has_queue", queue=name) for name in queues)


# --- the outbox and workers ---


def read_events(step: Step, limit: int) -> list[HistoryStep]:
    """Returns the history of the oldest steps."""
    return [HistoryStep(*parse_step_id(step_id), raw) for step_id, raw in step.rows("list_rows", limit=limit)]


def find_worker(step: Step, worker_id: str) -> WorkerProfile | None:
    """Returns the worker if its time has not run out."""
    raw = step.value("find_worker", worker_id=worker_id, now=step.now)
    return None if raw is None else decode_worker(raw)


def list_workers(step: Step) -> list[WorkerProfile]:
    """Returns the workers by id."""
    return [decode_worker(raw) for (raw,) in step.rows("list_workers", now=step.now)]


# --- proof ---


def audit(step: Step) -> list[Fault]:
    """Collects the facts of every job and checks them."""
    rows = {row[1]: row for row in step.rows("audit_jobs")}
    jobs = {job_id: job_of((row[0], None, None, None)) for job_id, row in rows.items()}
    mail = dict.fromkeys(jobs, MailFacts()) | count_mail(step)
    parents = {job.parent_job_id for job_id, job in jobs.items() if not job.is_terminal or mail[job_id].waiting}
    waiting: dict[str, list[int]] = {}
    for step_id, raw in step.rows("audit_outbox"):
        job_id, first = parse_step_id(step_id)
        number = len(HistoryStep(job_id, first, raw).decode())
        waiting.setdefault(job_id, []).extend(range(first, first + number))
    counts: dict[str, int] = dict(step.rows("list_counts"))
    created = counts.pop("created", 0)
    counted = {JobStatus(name): number for name, number in counts.items()}
    faults = check_counts(created, counted, Counter(job.status for job in jobs.values()))
    for job_id, job in jobs.items():
        facts = _facts(step, job, rows[job_id], waiting.get(job_id, ()), mail[job_id], job_id in parents)
        faults += check_job(facts)
    return faults


def _facts(
    step: Step, job: Job, row: Row, waiting_rows: Sequence[int], mail: MailFacts, has_live_child: bool
) -> JobFacts:
    _, _, history_rows, acknowledged, wake_ups, timers, progress = row
    tasks = [
        (decode_task(raw), in_queue, watched)
        for raw, in_queue, watched in step.rows("open_tasks_with_reach", job_id=job.id)
    ]
    return JobFacts(
        job,
        wake_ups=wake_ups,
        timers=timers,
        open_tasks=[task for task, _, _ in tasks],
        unreachable=[task.id for task, in_queue, watched in tasks if not _is_reachable(task, in_queue, watched)],
        has_live_child=has_live_child,
        rows=history_rows,
        acknowledged=acknowledged,
        waiting_rows=waiting_rows,
        has_progress=bool(progress),
        mail=mail,
    )


def _is_reachable(task: Task, in_queue: int, watched: int) -> bool:
    """Whether somebody can take the task, or its lease is watched."""
    if task.status is TaskStatus.QUEUED:
        return bool(in_queue)
    return task.status is not TaskStatus.CLAIMED or bool(watched)
