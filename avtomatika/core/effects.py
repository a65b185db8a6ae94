"""What is to be done: the effects that ``decide`` returns, all written by the same commit as the job."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field

from avtomatika.core.document import Document
from avtomatika.core.events import TimerKind
from avtomatika.core.job import Job, Task


class RunHandler(Struct, frozen=True):
    """Call the handler of the job's state.

    Args:
        state: name of the state.
        at: not before this moment, Unix seconds.
    """

    state: str
    at: float


class DispatchTask(Struct, frozen=True):
    """Put the task where workers find it."""

    task: Task


class SaveTask(Struct, frozen=True):
    """Write the task without handing it out: it ended, or waits for its next attempt."""

    task: Task


class CancelOpenTasks(Struct, frozen=True):
    """Close every open task of the job as cancelled; the workers that hold one are told."""


class SetTimer(Struct, frozen=True):
    """Wake the job at a moment.

    Args:
        kind: what for.
        at: Unix seconds.
        task_id: the task that it belongs to, or empty.
    """

    kind: TimerKind
    at: float
    task_id: str = ""


class ClearTimer(Struct, frozen=True):
    """The moment does not matter any more."""

    kind: TimerKind
    task_id: str = ""


class RecordHistory(Struct, frozen=True, array_like=True):
    """One row of the job's history.

    It is stored as a list, so the order of the fields is part of the format, and new ones come last.

    Args:
        type: one of the contract's event types.
        state: the state that it happened in.
        worker_id: the worker concerned, or empty.
        attempt: the attempt concerned, or None.
        task_id: the task concerned, or empty.
        previous_state: where the job came from, or empty.
        next_state: where it goes, or empty.
        duration: seconds, or None.
        details: small facts, such as an error's code and message.
        state_history: the job's data at that moment, or None where it did not change.
    """

    type: str
    state: str
    worker_id: str = ""
    attempt: int | None = None
    task_id: str = ""
    previous_state: str = ""
    next_state: str = ""
    duration: float | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    state_history: Document | None = None


class SendMessage(Struct, frozen=True):
    """Let something leave the engine: at least once, as soon as its receiver can be reached.

    Args:
        topic: names the carrier that knows what to do with it.
        body: what the carrier needs.
        key: whom it concerns, or empty; for carriers and people.
        at: not before this moment, Unix seconds; None for at once.
    """

    topic: str
    body: Document
    key: str = ""
    at: float | None = None


class FinishJob(Struct, frozen=True):
    """The job has ended: whatever it still owns is given up."""


Effect = (
    RunHandler
    | DispatchTask
    | SaveTask
    | CancelOpenTasks
    | SetTimer
    | ClearTimer
    | RecordHistory
    | SendMessage
    | FinishJob
)


class Decision(Struct, frozen=True):
    """What follows from an event.

    Args:
        job: the new job; the very same object when nothing changes.
        effects: in order.
        changed: names of the job's fields that are new.
        ignored: why the event changes nothing, as one of the protocol's words, or empty.
    """

    job: Job
    effects: tuple[Effect, ...] = ()
    changed: frozenset[str] = frozenset()
    ignored: str = ""
