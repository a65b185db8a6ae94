"""Jobs and their tasks, as frozen records that compare by value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field
from msgspec.structs import force_setattr

from avtomatika.blueprints.retries import RetryPolicy
from avtomatika.core.document import EMPTY, NULL, Document
from avtomatika.core.states import TERMINAL, JobStatus, TaskStatus
from avtomatika.core.waits import Wait
from avtomatika.protocol.files import FileFacts
from avtomatika.protocol.messages import TaskMessage


class Client(Struct, frozen=True, omit_defaults=True):
    """Who created a job. Never holds the token.

    Args:
        name: the name in ``clients.toml``; ``default`` for the token of ``CLIENT_TOKEN``; ``internal`` for the engine.
        plan: the client's plan, or empty.
        params: what else the file says of the client.
    """

    name: str = "default"
    plan: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)


HOLON = "holon"
"""The source of jobs that a parent engine asked for; how they end goes up to it."""
INTERNAL = Client("internal")
"""The engine itself: schedules and ``create_background_job``."""


class Failure(Struct, frozen=True):
    """Why an attempt did not succeed.

    Args:
        code: a word of the contract's table, or a worker's own.
        message: a sentence for people.
        state: the job's state at that moment.
        task_id: the task, or empty for a handler.
        task_type: the task's type, or empty.
        attempt: which attempt it was, from 1.
        worker_id: who reported it, or empty.
        retry_after: seconds that the worker wants to pass before another attempt, or 0.
    """

    code: str
    message: str
    state: str = ""
    task_id: str = ""
    task_type: str = ""
    attempt: int = 1
    worker_id: str = ""
    retry_after: float = 0.0

    def __post_init__(self) -> None:
        # A file name that is no UTF-8 comes into a traceback as lone surrogates, which no storage can write.
        force_setattr(self, "code", _encodable(self.code))
        force_setattr(self, "message", _encodable(self.message))

    def as_dict(self) -> dict[str, Any]:
        """Returns the fields that are set, for ``state_history["last_error"]`` and the API."""
        return {name: value for name in self.__struct_fields__ if (value := getattr(self, name)) not in ("", 0.0)}


def _encodable(text: str) -> str:
    """Returns the text with what UTF-8 cannot express escaped, in letters and digits."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


class FanOut(Struct, frozen=True):
    """A job's wait for parallel tasks.

    Args:
        id: the prefix that the ids of its tasks share.
        aggregate_into: the state that joins them.
        total: how many tasks there are.
        open: how many have not ended.
        failure: the first branch that failed for good, or None.
        failure_state: where that branch's transitions send the job, or empty.
        policy: what leads on: ``all``, ``fail_fast``, ``collect`` or ``at_least``.
        needed: how many must succeed under ``at_least``.
        failed: how many have failed for good.
    """

    id: str
    aggregate_into: str
    total: int
    open: int
    failure: Failure | None = None
    failure_state: str = ""
    policy: str = "all"
    needed: int = 0
    failed: int = 0

    @property
    def succeeded(self) -> int:
        """How many branches have ended well."""
        return self.total - self.open - self.failed


class Job(Struct, frozen=True):
    """One run of a blueprint.

    Args:
        id: letters, digits, ``_`` and ``-``.
        blueprint: name of the blueprint.
        blueprint_version: version of the graph that the job started with.
        status: the life of the job.
        state: the node of the graph.
        created_at: Unix seconds.
        updated_at: Unix seconds of the last commit.
        initial_data: what the job was created with.
        state_history: what its steps left for each other.
        client: who created it.
        version: number of commits; the fencing token of every write.
        attempt: attempts at the current handler, from 1.
        transitions: changes of state so far.
        loop_start: how many of them were made when a person last let it go on; those count towards no loop.
        entered_at: when the current state was entered.
        task_id: the single task that it waits for, or empty.
        fan_out: the parallel tasks that it waits for, or whose results the next handler joins; else None.
        wait: the moment, person or job that it waits for, or None.
        result: what the end handler returned, or the state_history.
        has_result: whether ``result`` is meant (it may be None on purpose).
        failure: why it last failed, or None.
        webhook_url: where to send the outcome, or empty.
        parent_job_id: the job that waits for this one, or empty.
        depth: how many jobs stand above it.
        forked_from: the job whose past it began with, or empty.
        source: how it came to be: ``api``, ``internal``, ``schedule``, ...
        tracing_context: W3C trace context.
        dispatch_timeout: default for its tasks, in seconds.
        deadline_at: when the whole job times out, or None.
        last_worker: who did its last task, or empty.
        file_facts: address to what is known of the files that its tasks brought, the last ones.
    """

    id: str
    blueprint: str
    blueprint_version: str
    status: JobStatus
    state: str
    created_at: float
    updated_at: float
    initial_data: Document = EMPTY
    state_history: Document = EMPTY
    client: Client = INTERNAL
    version: int = 0
    attempt: int = 1
    transitions: int = 0
    entered_at: float = 0.0
    task_id: str = ""
    fan_out: FanOut | None = None
    wait: Wait | None = None
    result: Document = NULL
    has_result: bool = False
    failure: Failure | None = None
    webhook_url: str = ""
    parent_job_id: str = ""
    source: str = "api"
    tracing_context: Mapping[str, str] = field(default_factory=dict)
    dispatch_timeout: float | None = None
    deadline_at: float | None = None
    depth: int = 0
    loop_start: int = 0
    forked_from: str = ""
    last_worker: str = ""
    file_facts: Mapping[str, FileFacts] = field(default_factory=dict)

    @property
    def is_terminal(self) -> bool:
        """Whether the job has ended."""
        return self.status in TERMINAL


class Task(Struct, frozen=True, omit_defaults=True):
    """One unit of work for a worker.

    Args:
        id: derived from the job's id, the version of the commit that made it and its index there.
        job_id: the job that waits for it.
        type: the skill that a worker must have.
        queue: where it waits: the type, and a digest of its requirements when it has any.
        status: the life of the task.
        params: what the worker's function receives.
        transitions: status word of the result to the next state.
        created_at: Unix seconds.
        attempt: which try this is, from 1.
        index: its place in the fan-out, from 0.
        fan_out: id of its fan-out, or empty for a single task.
        priority: higher first.
        strategy: how to choose among waiting workers.
        requirements: what the worker must have, or None.
        max_cost: highest cost of the skill at a worker, or None.
        timeout_seconds: from start to result.
        dispatch_timeout: how long it may wait for a worker, or None.
        deadline_at: when its result is too late, or None.
        tracing_context: W3C trace context for the worker.
        worker_id: who claimed it last, or empty.
        claimed_at: when, or None.
        lease_until: when that claim ends by itself, or None.
        confirmed: whether the worker has named the task in a heartbeat, so that its start is certain.
        deliveries: how often this attempt was handed out.
        result_status: the status word of the result, or empty.
        data: the data of the result.
        failure: why the last attempt failed, or None.
        ended_at: when it got its final status, or None.
        retry: its own policy of retries, or None.
        urgency: its place in the queue, higher first, where that is not its priority alone.
        limits: name of what it shares with other tasks to how many of them may be claimed at a time.
        preferred: the worker that did the job's last task, or empty.
        affinity_seconds: how long other workers leave it to that one.
        result_schema: JSON Schema of the data of its success, or None.
        params_metadata: path in the params to the facts of the file that stands there.
        data_metadata: path in the data to the same.
    """

    id: str
    job_id: str
    type: str
    queue: str
    status: TaskStatus
    created_at: float
    params: Document = EMPTY
    transitions: Mapping[str, str] = field(default_factory=dict)
    attempt: int = 1
    index: int = 0
    fan_out: str = ""
    priority: float = 0.0
    strategy: str = "default"
    requirements: Mapping[str, Any] | None = None
    max_cost: float | None = None
    timeout_seconds: float = 300.0
    dispatch_timeout: float | None = None
    deadline_at: float | None = None
    tracing_context: Mapping[str, str] = field(default_factory=dict)
    worker_id: str = ""
    claimed_at: float | None = None
    lease_until: float | None = None
    confirmed: bool = False
    deliveries: int = 0
    result_status: str = ""
    data: Document = NULL
    failure: Failure | None = None
    ended_at: float | None = None
    retry: RetryPolicy | None = None
    urgency: float | None = None
    limits: Mapping[str, int] = field(default_factory=dict)
    preferred: str = ""
    affinity_seconds: float = 0.0
    result_schema: Mapping[str, Any] | None = None
    params_metadata: Mapping[str, FileFacts] = field(default_factory=dict)
    data_metadata: Mapping[str, FileFacts] = field(default_factory=dict)

    @property
    def rank(self) -> float:
        """What it is queued by, higher first; then older, then first queued."""
        return self.priority if self.urgency is None else self.urgency

    @property
    def wire_id(self) -> str:
        """The id that a worker sees; each attempt has its own, so that a result says which attempt it belongs to."""
        return f"{self.id}-{self.attempt}"


def parse_wire_id(wire_id: str) -> tuple[str, int]:
    """Splits the id that a worker sent into task id and attempt.

    Returns:
        The task id and the attempt; attempt 0 when the id is none of ours.
    """
    task_id, _, attempt = wire_id.rpartition("-")
    # Longer numbers are none of ours, and Python refuses to read those of more than 4300 digits.
    is_ours = task_id and attempt.isascii() and attempt.isdecimal() and len(attempt) < 10
    return (task_id, int(attempt)) if is_ours else (wire_id, 0)


def message_of(task: Task) -> TaskMessage:
    """Returns the task as it goes to a worker."""
    return TaskMessage(
        job_id=task.job_id,
        task_id=task.wire_id,
        type=task.type,
        params=task.params.value(),
        tracing_context=task.tracing_context,
        priority=task.priority,
        deadline=int(task.deadline_at) if task.deadline_at is not None else None,
        attempt=task.attempt,
        params_metadata=task.params_metadata,
    )


def job_fields() -> tuple[str, ...]:
    """Returns the names of the fields of a job."""
    return Job.__struct_fields__
