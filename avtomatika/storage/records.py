"""What becomes of records when a storage does what it is asked: the same for every backend that keeps whole records."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from msgspec.structs import replace

from avtomatika.core.document import Document
from avtomatika.core.effects import RecordHistory
from avtomatika.core.job import Task
from avtomatika.core.states import TaskStatus
from avtomatika.storage.base import Batch, Count, Message, Queue, Signal, TaskClaim

POSITION_BITS = 20
"""How many bits of a position number the changes of one millisecond."""


def claimed(task: Task, worker_id: str, now: float, lease: float) -> Task:
    """Returns the waiting task as taken by a worker for ``lease`` seconds, but not beyond its own time."""
    return replace(
        task,
        status=TaskStatus.CLAIMED,
        worker_id=worker_id,
        claimed_at=now,
        lease_until=now + min(lease, task.timeout_seconds),
        confirmed=False,
        deliveries=task.deliveries + 1,
    )


def renewed(task: Task, now: float, lease: float) -> Task | None:
    """Returns the task as claimed by its last worker for ``lease`` seconds more; None if it may not go on.

    Args:
        task: an open task whose last claim is the worker's.
        now: the moment.
        lease: seconds, cut off at the end of the task's own time.
    """
    claimed_at = now if task.claimed_at is None else task.claimed_at
    limit = claimed_at + task.timeout_seconds
    if task.status is not TaskStatus.CLAIMED:
        # Queued again: the worker may go on with the attempt that it was given, within the time it was given.
        was_given = task.status is TaskStatus.QUEUED and task.deliveries > 0
        if not was_given or limit <= now:
            return None
    return replace(
        task,
        status=TaskStatus.CLAIMED,
        claimed_at=claimed_at,
        lease_until=min(now + lease, limit),
        confirmed=True,
    )


def released(task: Task) -> Task:
    """Returns the claimed task as if its last claim had not been made."""
    return replace(
        task,
        status=TaskStatus.QUEUED,
        worker_id="",
        claimed_at=None,
        lease_until=None,
        confirmed=False,
        deliveries=task.deliveries - 1,
    )


def is_held(claim: TaskClaim, is_open: bool, attempt: int, worker_id: str) -> bool:
    """Whether a stored task was last claimed so, and has neither ended nor been taken over."""
    return is_open and attempt == claim.attempt and worker_id == claim.worker_id


def started(task: Task, state: str) -> RecordHistory:
    """Returns the row of history that tells that a worker took the task, in that state of its job."""
    return RecordHistory("task_started", state, worker_id=task.worker_id, attempt=task.attempt, task_id=task.id)


def signals_of(batch: Batch) -> list[Signal]:
    """Returns what the commit of a batch tells."""
    signals = [Signal("job", batch.job.id, final=batch.finish)]
    ready, hold = batch.ready, batch.hold
    if ready is not None and not batch.finish and not (batch.claim and batch.keep_claim):
        # Either the wake-up is queued, or a claim of this very step holds it until that ends.
        signals.append(Signal("ready", at=ready.at) if hold is None else Signal("timer", at=batch.at + hold.lease))
    if batch.queue_tasks:
        signals += map(task_signal, batch.queue_tasks)
    if batch.save_tasks:
        signals += _slot_signals(batch.save_tasks)
    if batch.set_timers and not batch.finish:
        signals.append(Signal("timer", at=min(timer.at for timer in batch.set_timers)))
    if batch.events:
        signals.append(Signal("event"))
    if batch.messages:
        signals += message_signals(batch.messages)
    return signals


def _slot_signals(saved: Iterable[Task]) -> list[Signal]:
    """Returns what tells that tasks which count against a limit count no more, by type.

    Those that ``cancel_open_tasks`` closes are not known here; a dispatcher that is held up looks again by itself.
    """
    return [Signal("slot", name) for name in dict.fromkeys(task.type for task in saved if task.limits)]


def message_signals(messages: Iterable[Message]) -> list[Signal]:
    """Returns what tells that messages wait: for each topic, when its first one is due."""
    due: dict[str, float] = {}
    for message in messages:
        due[message.topic] = min(message.due_at, due.get(message.topic, message.due_at))
    return [Signal("message", topic, at) for topic, at in due.items()]


def first_position(moment: float) -> int:
    """Returns the first position of the log of changes that belongs to a moment, Unix seconds.

    Positions are milliseconds and a number, so that those of a new log are above those of a lost one.
    """
    return int(moment * 1000) << POSITION_BITS


def next_position(last: int, now: float) -> int:
    """Returns where the next change stands; the clock may have gone back since the last one."""
    first = first_position(now)
    return first if first > last else last + 1


def needs_of(task: Task) -> list[object]:
    """Returns what tasks of one queue have in common, as plain data; ``queue_of`` makes a queue of it."""
    needs: list[object] = [task.type, task.requirements, task.max_cost]
    return [*needs, dict(task.limits)] if task.limits else needs


def queue_of(name: str, needs: Sequence[Any], length: int = 0, oldest_at: float | None = None) -> Queue:
    """Returns a queue from its name and what its tasks have in common."""
    task_type, requirements, max_cost, *limits = needs
    return Queue(name, task_type, requirements, max_cost, length, oldest_at, limits[0] if limits else {})


def task_signal(task: Task) -> Signal:
    """Returns what tells that a task was queued."""
    queue = Queue(task.queue, task.type, task.requirements, task.max_cost, limits=task.limits)
    return Signal(
        "task",
        task.queue,
        queue=queue,
        strategy=task.strategy,
        preferred=task.preferred,
        patience=task.affinity_seconds,
    )


def counted(stored: tuple[int, float] | None, limit: int, resets_at: float, amount: int) -> Count:
    """Returns what comes of counting.

    Args:
        stored: how much is counted, and when the window ends; None if no window is open.
        limit: the most that may be counted.
        resets_at: when a window ends that is opened now.
        amount: how much is to be counted; negative to give back.
    """
    total, resets_at = (0, resets_at) if stored is None else stored
    granted = amount < 0 or total + amount <= limit
    return Count(granted, max(0, total + amount) if granted else total, resets_at)


def check_name(*parts: str) -> None:
    """Checks that every storage can keep something under a name.

    Raises:
        DocumentError: a part of it is no text.
    """
    Document.of(parts, "name")
