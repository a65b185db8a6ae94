"""The task on its way to a worker, written so that no generation of workers stumbles over it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from avtomatika.errors import ProtocolError
from avtomatika.protocol.codec import to_json
from avtomatika.protocol.files import read_files, write_files
from avtomatika.protocol.identity import check_identifier
from avtomatika.protocol.messages import TaskMessage
from avtomatika.protocol.reading import read_mapping, read_number, read_object, read_text, read_whole, require_text

MAX_PARAMS_DEPTH = 29
"""Deeper objects stop the newest published workers from polling until they are restarted."""
_INT_MIN, _INT_MAX = -(2**63), 2**64 - 1


def encode_task(task: TaskMessage) -> dict[str, Any]:
    """Writes a task with the members that some generation needs, and in the types that the strictest one demands.

    A member of a wrong type would not be refused by the worker: its poll loop would die, and it would never ask for a
    task again. So what cannot be sent is found here. Call this before a task is queued, too.

    Raises:
        ProtocolError: an id is not made of letters, digits, ``_`` and ``-``; the type is empty; the params are no
            object, have a value without JSON form, an integer beyond 64 bits, or are nested deeper than 29 levels.
    """
    if not isinstance(task.type, str) or not task.type:
        raise ProtocolError(f"task {task.task_id}: its type is {task.type!r}; the name of a skill was expected.")
    if not isinstance(task.params, Mapping):
        raise ProtocolError(f"task {task.task_id}: its params are a {type(task.params).__name__}; a dict was expected.")
    params = to_json(task.params, "params", MAX_PARAMS_DEPTH)
    _check_integers(params, "params")
    body: dict[str, Any] = {
        "job_id": check_identifier(task.job_id, "the task's job_id"),
        "task_id": check_identifier(task.task_id, "the task's task_id"),
        "type": task.type,
        "params": params,
        "tracing_context": {str(k): v for k, v in task.tracing_context.items() if isinstance(v, str)},
        "priority": _whole_if_possible(task.priority),
    }
    if task.deadline is not None:
        body["deadline"] = int(task.deadline)
    if task.params_metadata:
        body["params_metadata"] = write_files(task.params_metadata)
    if task.attempt:
        body["attempt"] = task.attempt  # no published worker knows it; none minds
    return body


def parse_task(body: Any) -> TaskMessage:
    """Reads a task, at the worker.

    Raises:
        ProtocolError: it is no object, or ``job_id``, ``task_id`` or ``type`` is missing.
    """
    body = read_object(body, "task")
    tracing = read_mapping(body.get("tracing_context"))
    return TaskMessage(
        job_id=require_text(body, "job_id", "task"),
        task_id=require_text(body, "task_id", "task"),
        type=require_text(body, "type", "task"),
        params=_params(body.get("params")),
        tracing_context={key: read_text(value) for key, value in tracing.items()},
        priority=read_number(body.get("priority")) or 0.0,
        deadline=read_whole(body.get("deadline")),
        attempt=read_whole(body.get("attempt")) or 0,
        params_metadata=read_files(body.get("params_metadata")),
    )


def _params(value: object) -> Mapping[str, Any]:
    return {} if value is None else read_object(value, "task's 'params'")


def _whole_if_possible(priority: object) -> float | int:
    number = read_number(priority) or 0.0
    return int(number) if number.is_integer() else number


def _check_integers(value: Any, path: str) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            _check_integers(item, f"{path}.{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _check_integers(item, f"{path}[{index}]")
    elif isinstance(value, int) and not _INT_MIN <= value <= _INT_MAX:
        raise ProtocolError(f"{path} is an integer beyond 64 bits, which workers cannot read. Send it as a string.")
