"""What can happen to a job: the events that ``decide`` takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from msgspec import Struct

from avtomatika.blueprints.requests import Action
from avtomatika.core.document import NULL, Document
from avtomatika.core.job import Failure, FanOut, Task
from avtomatika.core.states import JobStatus
from avtomatika.protocol.files import FileFacts


class JobSubmitted(Struct, frozen=True):
    """Somebody created the job; it is at version 0.

    Args:
        state: where it begins; empty for the start.
        tasks: ended tasks of another job, as its own: what an aggregator that it begins with joins.
        details: further facts for the history.
    """

    state: str = ""
    tasks: tuple[Task, ...] = ()
    details: Mapping[str, Any] = {}


class HandlerStarted(Struct, frozen=True):
    """An engine took the job and calls its handler."""


class FileMove(Struct, frozen=True):
    """A file of the job that was moved.

    Args:
        way: ``read`` or ``written`` by a handler, ``received`` from a client.
        name: of the file in the job.
        facts: what the store tells of it.
    """

    way: str
    name: str
    facts: FileFacts


class HandlerReturned(Struct, frozen=True):
    """The handler of the current state returned.

    Args:
        action: what it asked for, or None.
        state_history: as the handler left it.
        returned: its return value; used for end states if it is a mapping.
        has_returned: whether the return value was a mapping.
        duration: seconds that the call took.
        handler: name of the function.
        file_facts: address to what is known of files that the handler has come across, such as those of branches.
        moved: the files that it has read and written.
    """

    action: Action | None
    state_history: Document
    returned: Document = NULL
    has_returned: bool = False
    duration: float = 0.0
    handler: str = ""
    file_facts: Mapping[str, FileFacts] = {}
    moved: Sequence[FileMove] = ()


class HandlerFailed(Struct, frozen=True):
    """The handler of the current state raised, or could not be called.

    Args:
        code: ``TRANSIENT_ERROR`` for an exception of the user's code, ``PERMANENT_ERROR`` for a fault in the blueprint.
        message: a sentence for people.
        duration: seconds that the call took.
        handler: name of the function.
        moved: the files that it had read and written until then.
    """

    code: str
    message: str
    duration: float = 0.0
    handler: str = ""
    moved: Sequence[FileMove] = ()


class StepBroke(Struct, frozen=True):
    """The engine cannot do a step of the job, however often it tries: a defect of the engine, not of a handler.

    Args:
        message: a sentence for people.
    """

    message: str


class TaskReported(Struct, frozen=True):
    """A worker sent a result.

    Args:
        task: the task as stored, or None if there is none of that id.
        attempt: the attempt that the result belongs to.
        worker_id: who sent it.
        status: the status word.
        data: what it returned.
        failure: code and message if the status is ``failure``, else None.
        worker_is_leaving: the worker has said that it goes offline, so that ``cancelled`` is its own doing.
        data_metadata: path in the data to the facts of the file that stands there.
    """

    task: Task | None
    attempt: int
    worker_id: str
    status: str
    data: Document = NULL
    failure: Failure | None = None
    worker_is_leaving: bool = False
    data_metadata: Mapping[str, FileFacts] = {}


class EventTold(Struct, frozen=True):
    """A worker tells of something that happened in a task, by a word of its own.

    Args:
        task: the task as stored, or None if there is none of that id.
        attempt: the attempt that it belongs to.
        worker_id: who sent it.
        type: the word.
        payload: what else it says.
        event_id: the worker's own id of the event, or empty.
        origin: the worker that said it first, where a holon passes it on; else empty.
        via: the holons that passed it on, the sender last.
    """

    task: Task | None
    attempt: int
    worker_id: str
    type: str
    payload: Mapping[str, Any] = {}
    event_id: str = ""
    origin: str = ""
    via: Sequence[str] = ()


class LeaseExpired(Struct, frozen=True):
    """The claim of a task ended without a result."""

    task: Task | None


class TimerKind(StrEnum):
    """What a timer of a job is for."""

    RETRY = "retry"
    DISPATCH = "dispatch"
    RESULT = "result"
    JOB = "job"
    SLEEP = "sleep"
    APPROVAL = "approval"


class TimerFired(Struct, frozen=True):
    """A moment that was written down has come.

    Args:
        kind: what it was for.
        task_id: the task that it belongs to, or empty.
        task: that task as stored, or None.
    """

    kind: TimerKind
    task_id: str = ""
    task: Task | None = None


class Decided(Struct, frozen=True):
    """A person decided what a job shall do.

    Args:
        wait: number of the wait that the decision is for.
        decision: one of those offered.
        by: who decided, as far as that is known.
        via: how they proved that they may: ``client`` for the owner's token, ``token`` for that of the wait.
        comment: what else they said, or empty.
    """

    wait: int
    decision: str
    by: str = ""
    via: str = ""
    comment: str = ""


class ChildEnded(Struct, frozen=True):
    """The job that this one started has ended.

    Args:
        child_id: that job.
        status: how it ended.
        result: what it ended with.
        failure: what went wrong there, or None.
    """

    child_id: str
    status: JobStatus
    result: Document = NULL
    failure: Failure | None = None


class CancelRequested(Struct, frozen=True):
    """Somebody wants the job to end.

    Args:
        by: name of the client, for the history.
    """

    by: str = ""


class Requeued(Struct, frozen=True):
    """Somebody has mended what stopped a job, and wants it to go on.

    Args:
        by: name of the client, for the history.
    """

    by: str = ""


class Rewound(Struct, frozen=True):
    """Somebody wants the job to start again from a state that it was in.

    Args:
        state: where it goes on.
        state_history: its data when it entered that state.
        fan_out: what the handler of that state joins, or None.
        sequence: number of the row of history that tells of that moment.
        by: name of the client, for the history.
    """

    state: str
    state_history: Document
    fan_out: FanOut | None = None
    sequence: int = 0
    by: str = ""


class Repinned(Struct, frozen=True):
    """The version that the job started with is not loaded any more; it goes on with another one.

    Args:
        version: the version of the graph that it goes on with.
        state: where it stands there: its own state, or the one that the migration map names.
    """

    version: str
    state: str


class StateMissing(Struct, frozen=True):
    """Nothing that is loaded knows the job's state: it pauses until something does.

    Args:
        reason: what is missing and what to do, for people.
    """

    reason: str


class FileExpected(Struct, frozen=True):
    """A client is about to send a file to the job.

    Args:
        facts: of the file, as far as they are known.
    """

    facts: FileFacts


class FileReceived(Struct, frozen=True):
    """A client has sent a file to the job, and it is stored.

    Args:
        file: what came.
        by: name of the client, for the history.
    """

    file: FileMove
    by: str = ""


Event = (
    JobSubmitted
    | HandlerStarted
    | HandlerReturned
    | HandlerFailed
    | StepBroke
    | TaskReported
    | EventTold
    | LeaseExpired
    | TimerFired
    | Decided
    | ChildEnded
    | CancelRequested
    | Requeued
    | Rewound
    | Repinned
    | StateMissing
    | FileExpected
    | FileReceived
)
