"""JSON Schemas of what the API takes and gives."""

from __future__ import annotations

from typing import Any

from avtomatika.core.states import REQUEUABLE, JobStatus, TaskStatus

Schema = dict[str, Any]

STATUSES: Schema = {"type": "string", "enum": [str(status) for status in JobStatus]}
TEXT: Schema = {"type": "string"}
WHOLE: Schema = {"type": "integer", "minimum": 0}
MOMENT: Schema = {"type": "number", "description": "Unix seconds in UTC"}
ANYTHING: Schema = {"description": "any JSON value"}
OBJECT: Schema = {"type": "object"}
OBJECTS: Schema = {"type": "array", "items": OBJECT}
TEXTS: Schema = {"type": "array", "items": TEXT}


def or_null(schema: Schema) -> Schema:
    """Returns a schema that allows null as well."""
    return {"anyOf": [schema, {"type": "null"}]}


def or_empty(schema: Schema) -> Schema:
    """Returns the schema of a parameter that may be given without a value, which is as if it were not given."""
    if "enum" in schema:
        return {**schema, "enum": ["", *schema["enum"]]}
    return {"anyOf": [schema, {"type": "string", "const": ""}], "description": schema.get("description", "")}


def record(required: str, optional: str = "", **members: Schema) -> Schema:
    """Returns the schema of an object; members that have no schema of their own are texts, and others may come.

    Args:
        required: names of the members that are always there, separated by spaces.
        optional: names of further members.
        members: schemas of some of them.
    """
    names = [*required.split(), *optional.split()]
    properties = {name: members.get(name, TEXT) for name in names}
    return {"type": "object", "properties": properties, "required": required.split()}


def ref(name: str) -> Schema:
    """Returns a reference to one of ``SCHEMAS``."""
    return {"$ref": f"#/components/schemas/{name}"}


def list_of(name: str) -> Schema:
    """Returns an array of one of ``SCHEMAS``."""
    return {"type": "array", "items": ref(name)}


_SHARE: Schema = {"type": "number", "minimum": 0, "maximum": 1}
_TEXT_OR_NULL = or_null(TEXT)
_MOMENT_OR_NULL = or_null(MOMENT)
_FACTS = record("uri", "size etag metadata", size=WHOLE, metadata=OBJECT)
_FILES: Schema = {"type": "object", "additionalProperties": _FACTS, "description": "path to what is known of the file"}

SCHEMAS: dict[str, Schema] = {
    "Error": record("error code", error={**TEXT, "description": "what happened, what was expected, what to do"}),
    "Job": record(
        "id blueprint_name blueprint_version status current_state initial_data state_history result progress "
        "progress_message error_message created_at updated_at current_task_id task_worker_id parent_job_id source "
        "client attempt version file_facts",
        "forked_from parallel sleep approval sub_job",
        status=STATUSES,
        initial_data=ANYTHING,
        state_history=ANYTHING,
        result=ANYTHING,
        progress=_SHARE,
        progress_message=_TEXT_OR_NULL,
        error_message=_TEXT_OR_NULL,
        created_at=MOMENT,
        updated_at=MOMENT,
        current_task_id=_TEXT_OR_NULL,
        task_worker_id=_TEXT_OR_NULL,
        parent_job_id=_TEXT_OR_NULL,
        attempt=WHOLE,
        version=WHOLE,
        forked_from=_TEXT_OR_NULL,
        file_facts={**_FILES, "description": "address to what is known of the file"},
        parallel=OBJECT,
        sleep=OBJECT,
        approval=record(
            "message decisions url expires_at asked_at integration",
            decisions=TEXTS,
            expires_at=_MOMENT_OR_NULL,
            asked_at=MOMENT,
        ),
        sub_job=record("job_id blueprint_name"),
    ),
    "JobPage": record("jobs next_cursor", jobs=list_of("Job"), next_cursor=_TEXT_OR_NULL),
    "JobAccepted": record("status job_id", status={"type": "string", "const": "accepted"}),
    "JobChanged": record("status job_id"),
    "JobsCancelled": record(
        "matched cancelled refused more",
        matched=WHOLE,
        cancelled=TEXTS,
        refused={"type": "array", "items": record("job_id code error")},
        more={"type": "boolean"},
    ),
    "JobsRequeued": record(
        "matched requeued refused more",
        matched=WHOLE,
        requeued=TEXTS,
        refused={"type": "array", "items": record("job_id code error")},
        more={"type": "boolean"},
    ),
    "DeadLetters": record(
        "dead_letters next_cursor",
        dead_letters={
            "type": "array",
            "items": record(
                "id topic job_id key created_at buried_at attempts error",
                created_at=MOMENT,
                buried_at=_MOMENT_OR_NULL,
                attempts=WHOLE,
            ),
        },
        next_cursor=_TEXT_OR_NULL,
    ),
    "Explanation": record("job_id status current_state reasons", status=STATUSES, reasons=TEXTS),
    "HistoryEvent": record(
        "event_id job_id timestamp event_type",
        "state previous_state next_state duration_ms worker_id attempt_number task_id blueprint sequence "
        "context_snapshot",
        timestamp={"type": "string", "format": "date-time"},
        state=_TEXT_OR_NULL,
        previous_state=_TEXT_OR_NULL,
        next_state=_TEXT_OR_NULL,
        duration_ms=or_null({"type": "number"}),
        worker_id=_TEXT_OR_NULL,
        attempt_number=or_null(WHOLE),
        task_id=_TEXT_OR_NULL,
        sequence=WHOLE,
        context_snapshot=ANYTHING,
    ),
    "Task": record(
        "task_id task_type index status attempt worker_id params params_metadata result_status data data_metadata "
        "error created_at claimed_at ended_at deadline_at",
        index=WHOLE,
        status={"type": "string", "enum": [str(status) for status in TaskStatus]},
        attempt=WHOLE,
        worker_id=_TEXT_OR_NULL,
        params=ANYTHING,
        params_metadata=_FILES,
        data_metadata=_FILES,
        result_status=_TEXT_OR_NULL,
        data=ANYTHING,
        error=or_null(record("code message")),
        created_at=MOMENT,
        claimed_at=_MOMENT_OR_NULL,
        ended_at=_MOMENT_OR_NULL,
        deadline_at=_MOMENT_OR_NULL,
    ),
    "Blueprint": record("name version url states start ends", url=_TEXT_OR_NULL, states=TEXTS, ends=TEXTS),
    "File": record("name uri size etag", size=WHOLE),
    "FilePage": record("files next_cursor", files=list_of("File"), next_cursor=_TEXT_OR_NULL),
    "FileAddress": record(
        "url method expires_in token_required",
        expires_in={"type": "number", "description": "seconds"},
        token_required={"type": "boolean", "description": "the address is this engine's own"},
    ),
    "Worker": record(
        "worker_id worker_type status skills available_skills hot_skills running_tasks max_concurrent_tasks "
        "cost_per_skill resources installed_software load usage hostname protocol registered_at last_seen_at "
        "same_file_store",
        skills=TEXTS,
        available_skills=or_null(TEXTS),
        hot_skills=TEXTS,
        running_tasks=WHOLE,
        max_concurrent_tasks=or_null(WHOLE),
        cost_per_skill=OBJECT,
        resources=OBJECT,
        installed_software=OBJECT,
        load=or_null({"type": "number"}),
        usage=OBJECT,
        hostname=_TEXT_OR_NULL,
        protocol=_TEXT_OR_NULL,
        registered_at=MOMENT,
        last_seen_at=MOMENT,
        same_file_store={"type": ["boolean", "null"], "description": "null if one of the two does not say"},
    ),
    "Skill": record(
        "name description input_schema output_schema events_schema workers",
        description=_TEXT_OR_NULL,
        input_schema=ANYTHING,
        output_schema=ANYTHING,
        events_schema=ANYTHING,
        workers=TEXTS,
    ),
    "Dashboard": record("workers jobs tasks engine", workers=OBJECT, jobs=OBJECT, tasks=OBJECT, engine=OBJECT),
    "Status": record("status version instance_id blueprints", blueprints=WHOLE),
    "Registered": record(
        "status",
        "batch tasks_with_results quiet",
        batch=WHOLE,
        tasks_with_results={"type": "boolean"},
        quiet={"type": "number", "description": "seconds for which a poll stands for heartbeats"},
    ),
    "TaskMessages": {
        "anyOf": [
            ref("TaskMessage"),
            record("tasks", "require_full_sync", tasks=list_of("TaskMessage"), require_full_sync={"type": "boolean"}),
        ]
    },
    "TaskMessage": record(
        "job_id task_id type params",
        "tracing_context priority deadline params_metadata",
        params=ANYTHING,
        tracing_context=OBJECT,
        priority={"type": "number"},
        deadline=or_null({"type": "number"}),
        params_metadata=_FILES,
    ),
}
"""What the API gives, by the names under which the document has it."""

IDS: Schema = {"type": "array", "items": TEXT, "maxItems": 1000}
SINCE: Schema = {
    "anyOf": [{"type": "number"}, {"type": "string", "format": "date-time"}],
    "description": "only those created since: Unix seconds or ISO 8601",
}


def bulk_body(statuses: list[str]) -> Schema:
    """Returns the body that names jobs or filters them."""
    chosen = {
        "type": "object",
        "properties": {
            "status": or_null({"type": "string", "enum": statuses}),
            "blueprint": or_null(TEXT),
            "since": or_null(SINCE),
        },
        "additionalProperties": False,
    }
    limit = {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}
    by_name = {"properties": {"ids": IDS}, "required": ["ids"]}
    by_filter = {"properties": {"filter": chosen, "limit": limit}, "required": ["filter"]}
    return {"oneOf": [{"type": "object", **some, "additionalProperties": False} for some in (by_name, by_filter)]}


CANCEL_BODY = bulk_body([str(status) for status in JobStatus if not status.is_terminal])
REQUEUE_BODY = bulk_body(sorted(str(status) for status in REQUEUABLE))


def creation_body(input_schema: Schema | None) -> Schema:
    """Returns the body that creates a job: the initial data alone, or with options.

    Args:
        input_schema: of the initial data, or None where the blueprint says nothing.
    """
    data = input_schema or OBJECT
    seconds = {"type": "number", "exclusiveMinimum": 0}
    with_options = {
        "type": "object",
        "properties": {
            "initial_data": or_null(data),
            "webhook_url": or_null({"type": "string", "format": "uri", "description": "where to send the outcome"}),
            "dispatch_timeout": or_null({**seconds, "description": "seconds that a task may wait for a worker"}),
            "result_timeout": or_null({**seconds, "description": "seconds until the job must have ended"}),
        },
        "required": ["initial_data"],
        "additionalProperties": False,
    }
    alone = {"allOf": [data, {"type": "object", "not": {"required": ["initial_data"]}}]}
    return {"anyOf": [with_options, alone, {"type": "null"}]}


def past_body(**more: Schema) -> Schema:
    """Returns the body that names a moment in a job's past, by its state or by the row of its history.

    Args:
        more: further members that may stand in it.
    """
    moments = {"state": {**TEXT, "minLength": 1}, "sequence": {"type": "integer", "minimum": 1}}
    return {
        "oneOf": [
            {
                "type": "object",
                "properties": {name: schema, **more},
                "required": [name],
                "additionalProperties": False,
            }
            for name, schema in moments.items()
        ]
    }


WORKER_ID: Schema = {"type": "string", "minLength": 1}
REGISTRATION = record(
    "worker_id",
    "worker_type supported_skills resources",
    worker_id=WORKER_ID,
    supported_skills={"type": "array", "items": record("name", "type description")},
    resources=OBJECT,
)
HEARTBEAT = record("worker_id", "status current_tasks", worker_id=WORKER_ID, current_tasks=TEXTS)
RESULT = record("job_id task_id worker_id", "status data error", worker_id=WORKER_ID, data=ANYTHING, error=ANYTHING)
RESULTS = record("worker_id results", worker_id=WORKER_ID, results={"type": "array", "items": RESULT, "maxItems": 64})
WORKER_EVENT = record("worker_id event_type", "payload", worker_id=WORKER_ID, payload=OBJECT)
