"""What workers say and hear, in one shape for all generations of the protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct, field

from avtomatika.protocol.files import FileFacts


class Skill(Struct, frozen=True):
    """Something that a worker can do.

    Args:
        name: what the type of a task must equal.
        type: concurrency group; the name unless the worker says otherwise.
        description: for people.
        version: of the skill.
        input_schema: JSON Schema of the params, or None.
        output_schema: JSON Schema of the data, or None.
        events_schema: the events that its tasks tell, with a JSON Schema of their payloads, or None.
        extra: members that the worker added.
    """

    name: str
    type: str = ""
    description: str = ""
    version: str = ""
    input_schema: Mapping[str, Any] | None = None
    output_schema: Mapping[str, Any] | None = None
    events_schema: Mapping[str, Any] | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


class WorkerProfile(Struct, frozen=True):
    """A worker as the engine knows it.

    Args:
        worker_id: its identity.
        type: its kind, for people.
        skills: everything it can do.
        available: names of the skills that it can start now; None if it has not said.
        hot: names of what it has loaded.
        status: ``idle``, ``busy``, ``full`` or ``offline``.
        max_tasks: how many tasks it runs at once; None if it has not said.
        current_tasks: ids of the tasks it runs, as it sees them; None if it does not tell.
        costs: skill name to cost.
        resources: ``cpu_cores``, ``ram_gb``, ``devices`` (list of maps), and whatever else it told.
        software: name to version.
        artifacts: names of installed models and files to version.
        load: 0 to 1, or None.
        usage: what of its machine is in use: ``cpu_load_percent``, ``ram_used_gb``, ``devices_usage`` (list of maps).
        hostname: where it runs, or empty.
        address: its address as it sees it, or empty.
        skills_hash: opaque word that changes with its skills, or with more of what it says of itself; or empty.
        dialect: what kind of message it last sent, for people: ``G0`` to ``G4``.
        registered_at: Unix seconds.
        seen_at: Unix seconds of its last message.
        extra: what else it said of itself.
    """

    worker_id: str
    type: str = "generic"
    skills: tuple[Skill, ...] = ()
    available: frozenset[str] | None = None
    hot: frozenset[str] = frozenset()
    status: str = "idle"
    max_tasks: int | None = None
    current_tasks: tuple[str, ...] | None = None
    costs: Mapping[str, float] = field(default_factory=dict)
    resources: Mapping[str, Any] = field(default_factory=dict)
    software: Mapping[str, str] = field(default_factory=dict)
    artifacts: Mapping[str, str] = field(default_factory=dict)
    load: float | None = None
    hostname: str = ""
    address: str = ""
    skills_hash: str = ""
    dialect: str = ""
    registered_at: float = 0.0
    seen_at: float = 0.0
    extra: Mapping[str, Any] = field(default_factory=dict)
    usage: Mapping[str, Any] = field(default_factory=dict)

    @property
    def skill_names(self) -> tuple[str, ...]:
        """Names of everything that it can do."""
        return tuple(skill.name for skill in self.skills)


class Heartbeat(Struct, frozen=True):
    """A sign of life.

    Args:
        worker_id: the sender.
        status: ``idle``, ``busy``, ``full`` or ``offline``.
        current_tasks: ids of its tasks; None if this kind of worker does not tell.
        skills: the full list if the message has one, else None (unchanged).
        available: names startable now; None if the message does not say.
        hot: names loaded; None if the message does not say.
        load: 0 to 1, or None.
        usage: as of a profile; empty if the message does not say.
        skills_hash: or empty.
        dialect: ``G0`` to ``G4``, or empty for an empty body.
    """

    worker_id: str
    status: str = "idle"
    current_tasks: tuple[str, ...] | None = None
    skills: tuple[Skill, ...] | None = None
    available: frozenset[str] | None = None
    hot: frozenset[str] | None = None
    load: float | None = None
    skills_hash: str = ""
    dialect: str = ""
    usage: Mapping[str, Any] = field(default_factory=dict)


class Result(Struct, frozen=True):
    """What came of a task.

    Args:
        job_id: echoed.
        task_id: echoed: the id on the wire.
        worker_id: who says it, or empty if the message does not.
        status: ``success``, ``failure``, ``cancelled`` or a word of the handler's own.
        data: any JSON value.
        error_code: for a failure; empty if none was given.
        error_message: for people.
        error_details: whatever else the worker said of the error.
        retry_after: seconds that the worker wants to pass before another attempt, or 0.
        data_metadata: path in the data to the facts of the file that stands there.
        costs: what it cost.
        dialect: ``G0`` to ``G4``.
    """

    job_id: str
    task_id: str
    worker_id: str = ""
    status: str = "success"
    data: Any = None
    error_code: str = ""
    error_message: str = ""
    error_details: Any = None
    retry_after: float = 0.0
    data_metadata: Mapping[str, FileFacts] = field(default_factory=dict)
    costs: Mapping[str, float] = field(default_factory=dict)
    dialect: str = ""


class WorkerEventMessage(Struct, frozen=True):
    """Something that happened at a worker, such as progress.

    Args:
        event_id: makes a repeated event recognisable, or empty.
        worker_id: the sender, or empty if the message does not say.
        event_type: ``progress`` or a word of the worker's own.
        payload: for progress: ``progress`` and ``message``.
        job_id: the job concerned, or empty.
        task_id: the task concerned as the worker sees it, or empty.
        origin: the worker that said it first, where the sender only passes it on; else empty.
        via: the ids of all that have passed it on, the sender last; this is what they say of each other.
    """

    event_type: str
    payload: Mapping[str, Any] = field(default_factory=dict)
    event_id: str = ""
    worker_id: str = ""
    job_id: str = ""
    task_id: str = ""
    origin: str = ""
    via: Sequence[str] = ()


class TaskMessage(Struct, frozen=True):
    """A task on its way to a worker.

    Args:
        job_id: the job.
        task_id: the id on the wire, of one attempt.
        type: name of the skill.
        params: an object.
        tracing_context: strings only.
        priority: larger is more urgent.
        deadline: whole Unix seconds, or None.
        attempt: which try this is, from 1; 0 if an engine did not say.
        params_metadata: path in the params to the facts of the file that stands there.
    """

    job_id: str
    task_id: str
    type: str
    params: Mapping[str, Any] = field(default_factory=dict)
    tracing_context: Mapping[str, str] = field(default_factory=dict)
    priority: float = 0.0
    deadline: int | None = None
    attempt: int = 0
    params_metadata: Mapping[str, FileFacts] = field(default_factory=dict)
