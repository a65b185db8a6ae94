"""The context of a job: what its handlers and conditions can see."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from msgspec import Struct, field

from avtomatika.blueprints.actions import ActionFactory


class JobContext(Struct, dict=True):  # a decorator of handlers may hang something of its own on it
    """Everything that a handler can ask for, in one object.

    Handlers usually name single fields as their arguments; a handler that names ``context`` receives the whole.

    Args:
        job_id: the job.
        current_state: the state whose handler runs.
        initial_data: what the job was created with; changes to it are not kept.
        state_history: what the steps leave for each other; changes to it are saved with the job.
        actions: where the handler asks for what comes next.
        client: who created the job: an object with ``name``, ``plan`` and ``params``.
        data_stores: the blueprint's stores, one attribute for each.
        task_files: the files of the job: ``download``, ``upload``, ``read_json`` and others.
        aggregation_results: in an aggregator, id of each parallel task to its result.
        tracing_context: W3C trace context, header name to value.
        webhook_url: where the outcome of the job is sent, or None.
        idempotency_key: the same whenever this very step is run again; to pass on to outside systems.
        attempt: which try of this step it is, from 1.
        file_facts: address of a file that a task has brought to what is known of it: ``size``, ``etag``, ``metadata``.
    """

    job_id: str
    current_state: str
    initial_data: dict[str, Any] = field(default_factory=dict)
    state_history: dict[str, Any] = field(default_factory=dict)
    actions: ActionFactory = field(default_factory=ActionFactory)
    client: Any = None
    data_stores: SimpleNamespace = field(default_factory=SimpleNamespace)
    task_files: Any = None
    aggregation_results: dict[str, dict[str, Any]] = field(default_factory=dict)
    tracing_context: dict[str, str] = field(default_factory=dict)
    webhook_url: str | None = None
    idempotency_key: str = ""
    attempt: int = 1
    file_facts: dict[str, Any] = field(default_factory=dict)
