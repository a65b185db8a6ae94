"""What each route takes and gives; its summary is the docstring of its handler."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from avtomatika.core.states import TaskStatus
from avtomatika.server import (
    admin,
    approvals,
    blueprints,
    bulk,
    dead_letters,
    documentation,
    events,
    files,
    jobs,
    operations,
    overview,
    pasts,
    schedules,
    tasks,
    worker_messages,
    worker_polls,
    worker_results,
    worker_tokens,
)
from avtomatika.server.openapi.schemas import (
    CANCEL_BODY,
    HEARTBEAT,
    IDS,
    OBJECT,
    OBJECTS,
    REGISTRATION,
    REQUEUE_BODY,
    RESULT,
    RESULTS,
    SINCE,
    STATUSES,
    TEXT,
    TEXTS,
    WHOLE,
    WORKER_EVENT,
    Schema,
    list_of,
    or_empty,
    past_body,
    record,
    ref,
)

JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Operation:
    """One call of the API.

    Args:
        tag: the section that it stands in.
        answer: schema of what it gives; None where it gives nothing.
        media: content types of the answer.
        status: of a good answer.
        query: schemas of its parameters, by name.
        headers: schemas of the headers that it understands, by name.
        body: schema of what it takes, or None.
        body_media: content type of what it takes.
        redirects: status codes that lead elsewhere, each with a word why.
        errors: further status codes, each with a word why.
        error_media: content type of its errors.
    """

    tag: str
    answer: Schema | None = None
    media: tuple[str, ...] = (JSON,)
    status: int = 200
    query: Mapping[str, Schema] = field(default_factory=dict)
    headers: Mapping[str, Schema] = field(default_factory=dict)
    body: Schema | None = None
    body_media: str = JSON
    redirects: Mapping[int, str] = field(default_factory=dict)
    errors: Mapping[int, str] = field(default_factory=dict)
    error_media: str = JSON


_LIMIT: Schema = {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}
_WISH = {"batch": TEXT, "available_skills": TEXT, "hot_skills": TEXT}
_WAIT: Schema = {"type": "number", "minimum": 0, "description": "seconds to wait for the next change, at most 60"}
_CURSOR: Schema = {"type": "string", "description": "empty for the first page, then next_cursor of the page before"}
_LAST_ID: Schema = {"type": "string", "pattern": "^[0-9]{1,19}$", "description": "id of the last event that was seen"}
_EVENTS = "text/event-stream"
_BYTES = "application/octet-stream"
_EXPIRES: Schema = {"type": "number", "minimum": 1, "maximum": 604800, "description": "seconds that an address is good"}
_TASK_STATUSES: Schema = {"type": "string", "enum": [str(status) for status in TaskStatus]}
_CONFLICT = {409: "the job's status does not allow it"}
_PAST = {
    400: "the job never entered that state, or its history is not kept",
    409: "its blueprint lacks the state, or the Idempotency-Key was used for another request",
}

CREATION = Operation(
    "Create jobs",
    ref("JobAccepted"),
    status=202,
    headers={
        "Idempotency-Key": {"type": "string", "maxLength": 255, "description": "the same key gives the same job"},
        "traceparent": TEXT,
    },
    errors={400: "the data or an option is wrong", 409: "the Idempotency-Key was used for another request"},
)
"""Creating a job; the body is the blueprint's."""

OPERATIONS: Mapping[Callable[..., Any], Operation] = {
    overview.status: Operation("Engine", ref("Status"), errors={503: "the engine cannot do its work now"}),
    overview.live: Operation("Engine", record("status")),
    overview.ready: Operation("Engine", ref("Status"), errors={503: "the engine cannot do its work now"}),
    overview.metrics: Operation(
        "Engine", TEXT, ("text/plain", "application/openmetrics-text"), errors={501: "a package is not installed"}
    ),
    documentation.page: Operation("Engine", TEXT, ("text/html",)),
    operations.page: Operation("Engine", TEXT, ("text/html",)),
    operations.asset: Operation("Engine", TEXT, ("text/javascript", "text/css")),
    documentation.asset: Operation("Engine", TEXT, ("text/javascript", "text/css", "text/html")),
    jobs.list_: Operation(
        "Jobs",
        {"anyOf": [list_of("Job"), ref("JobPage")]},
        query={
            "status": or_empty(STATUSES),
            "blueprint": TEXT,
            "since": or_empty(SINCE),
            "limit": or_empty(_LIMIT),
            "offset": or_empty({**WHOLE, "maximum": 10**9}),
            "cursor": _CURSOR,
        },
    ),
    jobs.get: Operation("Jobs", ref("Job"), query={"wait": _WAIT, "version": or_empty({**WHOLE, "maximum": 10**18})}),
    jobs.cancel: Operation("Jobs", ref("JobChanged"), errors=_CONFLICT),
    jobs.requeue: Operation("Jobs", ref("JobChanged"), errors=_CONFLICT),
    pasts.rewind: Operation("Jobs", ref("JobChanged"), body=past_body(), errors=_PAST),
    pasts.fork: Operation(
        "Jobs",
        ref("JobAccepted"),
        status=202,
        headers=CREATION.headers,
        body=past_body(initial_data=OBJECT, state_history=OBJECT),
        errors=_PAST,
    ),
    jobs.explanation: Operation("Jobs", ref("Explanation")),
    jobs.history: Operation("Jobs", list_of("HistoryEvent")),
    operations.job_graph: Operation("Jobs", TEXT, ("image/svg+xml",)),
    tasks.list_: Operation("Jobs", list_of("Task"), query={"status": or_empty(_TASK_STATUSES)}),
    files.list_: Operation("Files", ref("FilePage"), query={"folder": TEXT, "limit": or_empty(_LIMIT), "cursor": TEXT}),
    files.get: Operation(
        "Files",
        {"anyOf": [{}, ref("FileAddress")]},
        (_BYTES, JSON),
        query={"for": {"type": "string", "enum": ["", "download", "upload"]}, "expires": or_empty(_EXPIRES)},
        headers={"Range": TEXT, "If-None-Match": TEXT},
        redirects={206: "the part that was asked for", 304: "it has not changed", 307: "it is in an object store"},
        errors={409: "the job has ended and takes no files", 416: "it has no such part", 503: "the store is away"},
    ),
    files.put: Operation(
        "Files",
        ref("File"),
        status=201,
        body={},
        body_media=_BYTES,
        errors={
            408: "nothing more of the file came",
            409: "the job has ended",
            413: "the file is too large",
            415: "it is compressed in an unknown way",
            502: "the store holds something else than was sent",
            503: "the store is away",
        },
    ),
    bulk.cancel: Operation("Jobs", ref("JobsCancelled"), body=CANCEL_BODY),
    bulk.requeue: Operation("Jobs", ref("JobsRequeued"), body=REQUEUE_BODY),
    events.stream: Operation(
        "Jobs",
        TEXT,
        (_EVENTS,),
        query={
            "job_id": {"type": "array", "items": TEXT, "maxItems": 100},
            "blueprint": TEXT,
            "last_event_id": _LAST_ID,
        },
        headers={"Last-Event-ID": _LAST_ID},
        errors={429: "too many streams are open"},
    ),
    approvals.show: Operation(
        "Approvals",
        TEXT,
        ("text/html",),
        query={"token": TEXT},
        errors={401: "the token is not of this wait", 409: "nobody is asked any more"},
        error_media="text/html",
    ),
    approvals.decide: Operation(
        "Approvals",
        ref("JobChanged"),
        query={"token": TEXT},
        body=record("decision", "token by comment", decision={**TEXT, "minLength": 1}),
        errors={400: "the decision is unknown", 401: "the token is not of this wait", 409: "nobody is asked any more"},
    ),
    dead_letters.list_: Operation(
        "Dead letters", ref("DeadLetters"), query={"topic": TEXT, "limit": or_empty(_LIMIT), "cursor": _CURSOR}
    ),
    dead_letters.replay: Operation(
        "Dead letters",
        record("replayed unknown", replayed=TEXTS, unknown=TEXTS),
        body={**record("ids", ids=IDS), "additionalProperties": False},
    ),
    blueprints.list_: Operation("Blueprints", list_of("Blueprint")),
    blueprints.graph: Operation(
        "Blueprints",
        OBJECT,
        ("text/vnd.graphviz", "image/svg+xml", "text/vnd.mermaid", JSON),
        query={"format": {"type": "string", "enum": ["dot", "svg", "json", "mermaid"], "default": "dot"}},
    ),
    overview.workers: Operation("Workers", list_of("Worker")),
    overview.catalog: Operation("Workers", list_of("Skill")),
    overview.dashboard: Operation("Engine", ref("Dashboard")),
    schedules.list_: Operation("Engine", {"type": "array", "items": OBJECT}),
    admin.reload_workers: Operation("Engine", record("status", "sections", sections=WHOLE)),
    worker_messages.register: Operation("Worker protocol", ref("Registered"), body=REGISTRATION),
    worker_messages.heartbeat: Operation("Worker protocol", OBJECT, body=HEARTBEAT),
    worker_polls.next_task: Operation(
        "Worker protocol", ref("TaskMessages"), query={"timeout": TEXT, "quiet": TEXT, **_WISH}
    ),
    worker_results.results: Operation(
        "Worker protocol", record("answers", answers=OBJECTS, tasks=OBJECTS), body=RESULTS, query=_WISH
    ),
    worker_results.result: Operation(
        "Worker protocol", record("status", "reason", tasks=OBJECTS), body=RESULT, query=_WISH
    ),
    worker_tokens.issue: Operation("Worker protocol", OBJECT),
    worker_tokens.refresh: Operation("Worker protocol", OBJECT, body=record("refresh_token")),
    worker_messages.event: Operation("Worker protocol", record("status"), body=WORKER_EVENT),
}
"""Every handler whose answers are described; a route of another one is listed with its summary alone."""
