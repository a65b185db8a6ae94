"""Steps of the SQLite storage that write tasks: queues, claims, leases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from avtomatika.core.document import Document
from avtomatika.core.job import Task
from avtomatika.core.states import TaskStatus
from avtomatika.errors import StorageError
from avtomatika.storage.base import Signal, TakenTasks, TaskClaim
from avtomatika.storage.codec import decode_task, encode_task
from avtomatika.storage.records import claimed, is_held, needs_of, released, renewed, started, task_signal
from avtomatika.storage.rows import encode_rows
from avtomatika.storage.sqlite_step import Step


def write_task(step: Step, task: Task, *, in_queue: bool = False, until: float | None = None) -> None:
    """Stores the task and puts it where it belongs.

    Args:
        step: the transaction.
        task: the task.
        in_queue: hand it out.
        until: the end of its lease, to be watched; None for none.
    """
    raw = encode_task(task)
    old = step.row("find_task_row", task_id=task.id)
    if old is not None and old[5]:
        _leave_queue(step, old[4])
    if task.limits:
        _count(step, task.limits, was_held=old is not None and bool(old[6]), is_held=until is not None)
    step.write(
        "insert_task" if old is None else "update_task",
        task_id=task.id,
        job_id=task.job_id,
        is_open=int(task.status.is_open),
        attempt=task.attempt,
        worker_id=task.worker_id,
        queue=task.queue,
        in_queue=int(in_queue),
        priority=task.rank,
        created_at=task.created_at,
        place=task.index,
        fan_out=task.fan_out,
        watched_until=until,
        raw=raw,
    )
    if in_queue:
        needs = Document.of(needs_of(task), task.id).raw
        step.write("enter_queue", queue=task.queue, needs=needs)


def _count(step: Step, limits: Mapping[str, int], *, was_held: bool, is_held: bool) -> None:
    """Counts a task that is claimed from now on, or not any more, under the names of its limits."""
    for name in limits if was_held != is_held else ():
        if is_held:
            step.write("add_running", name=name)
        else:
            step.write("drop_running", name=name)
            step.write("forget_running", name=name)


def _has_room(step: Step, limits: Mapping[str, int]) -> bool:
    running = ((step.row("count_running", name=name) or (0,))[0] < limit for name, limit in limits.items())
    return all(running)


def _leave_queue(step: Step, queue: str) -> None:
    step.write("leave_queue", queue=queue)
    step.write("forget_empty_queue", queue=queue)


def forget_tasks(step: Step, job_id: str) -> None:
    """Removes all tasks of a job."""
    for (queue,) in step.rows("queued_tasks_of_job", job_id=job_id):
        _leave_queue(step, queue)
    step.write("forget_tasks", job_id=job_id)


def claim_tasks(step: Step, worker_id: str, queues: Sequence[str], lease: float, limit: int) -> TakenTasks:
    """Takes the first tasks of the queues."""
    tasks: list[Task] = []
    while len(tasks) < limit and (task := _claim_task(step, worker_id, queues, lease)) is not None:
        tasks.append(task)
    if tasks:
        step.tell(Signal("timer", at=min(task.lease_until or 0.0 for task in tasks)), Signal("event"))
    left = sum((step.row("queue_length", queue=name) or (0,))[0] for name in queues)
    return TakenTasks(tasks, left)


def _claim_task(step: Step, worker_id: str, queues: Sequence[str], lease: float) -> Task | None:
    heads = [head for name in queues if (head := step.row("find_first_task", queue=name)) is not None]
    waiting = None
    for head in sorted(heads, key=lambda head: head[:3]):
        waiting = decode_task(head[3])
        if _has_room(step, waiting.limits):
            break
    else:
        return None
    task = claimed(waiting, worker_id, step.now, lease)
    _hold(step, task)
    _record_start(step, task)
    return task


def _hold(step: Step, task: Task) -> None:
    write_task(step, task, until=task.lease_until)


def _record_start(step: Step, task: Task) -> None:
    row = step.row("count_row", job_id=task.job_id)
    if row is None:
        raise StorageError(f"task {task.id} is stored, but its job {task.job_id} is not. Run the audit of the storage.")
    state, blueprint, number = row
    step.write("set_rows", job_id=task.job_id, rows=number)
    write_rows(step, task.job_id, number, encode_rows(blueprint, step.now, [started(task, state)]))


def write_rows(step: Step, job_id: str, first: int, raw: bytes) -> None:
    """Appends rows of the history, numbered from ``first``, to the outbox."""
    step.write("put_rows", step_id=f"{job_id}:{first}", job_id=job_id, raw=raw)


def renew_tasks(step: Step, claims: Sequence[TaskClaim], lease: float) -> list[TaskClaim]:
    """Moves the ends of claims; returns those that do not hold."""
    lost, ends = [], []
    for claim in claims:
        task = _held_task(step, claim)
        task = None if task is None else renewed(task, step.now, lease)
        if task is None:
            lost.append(claim)
        else:
            _hold(step, task)
            ends.append(task.lease_until or 0.0)
    if ends:
        step.tell(Signal("timer", at=min(ends)))
    return lost


def release_task(step: Step, claim: TaskClaim) -> None:
    """Puts a task back."""
    task = _held_task(step, claim)
    if task is not None and task.status is TaskStatus.CLAIMED:
        task = released(task)
        write_task(step, task, in_queue=True)
        step.tell(task_signal(task))


def _held_task(step: Step, claim: TaskClaim) -> Task | None:
    """Returns the task if the claim is the stored one."""
    row = step.row("find_task_row", task_id=claim.task_id)
    return decode_task(row[0]) if row is not None and is_held(claim, *row[1:4]) else None
