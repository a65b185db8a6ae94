"""The result: what came of a task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from avtomatika.errors import ProtocolError
from avtomatika.protocol.dialects import is_nested_result, result_dialect
from avtomatika.protocol.files import read_files, write_files
from avtomatika.protocol.messages import Result
from avtomatika.protocol.reading import read_costs, read_number, read_object, read_text, require_text

SUCCESS, FAILURE, CANCELLED = "success", "failure", "cancelled"
"""The status words that every worker knows; a function may answer with words of its own."""
_OUTCOME = ("status", "data", "error")


def parse_result(body: Any) -> Result:
    """Reads a result of any generation.

    The status alone decides, and a missing one is a success: workers add ``error`` members to successes too, which are
    dropped here.

    Args:
        body: the decoded JSON.

    Raises:
        ProtocolError: it is no object, has no ``task_id``, or its ``status`` is not a text.
    """
    body = read_object(body, "result")
    outcome = _nested(body["result"]) if is_nested_result(body) else body
    status = _status(outcome.get("status"))
    error = None if status == SUCCESS else outcome.get("error")
    code, message, details = _error(error)
    return Result(
        job_id=read_text(body.get("job_id")),
        task_id=require_text(body, "task_id", "result"),
        worker_id=read_text(body.get("worker_id")),
        status=status,
        data=outcome.get("data"),
        error_code=code,
        error_message=message,
        error_details=details,
        retry_after=_retry_after(error),
        data_metadata=read_files(body.get("data_metadata")),
        costs=read_costs(body.get("costs")),
        dialect=result_dialect(body),
    )


def encode_result(result: Result, now: float) -> dict[str, Any]:
    """Writes a result as today's workers do.

    Args:
        result: what to say.
        now: Unix seconds, for the message's time stamp.
    """
    body: dict[str, Any] = {
        "job_id": result.job_id,
        "task_id": result.task_id,
        "worker_id": result.worker_id,
        "origin_worker_id": result.worker_id,
        "timestamp": int(now),
        # Always written, although success may be left out: every reader understands it.
        "status": result.status,
    }
    if result.data is not None:
        body["data"] = result.data
    error = {
        "code": result.error_code,
        "message": result.error_message,
        "details": result.error_details,
        "retry_after": result.retry_after,
    }
    optional = {
        "error": {key: value for key, value in error.items() if value not in ("", None, 0.0)},
        "data_metadata": write_files(result.data_metadata),
        "costs": dict(result.costs),
    }
    return body | {key: value for key, value in optional.items() if value}


def _nested(returned: Any) -> Mapping[str, Any]:
    """What the first workers' functions returned: an outcome, or data alone."""
    if isinstance(returned, dict) and (not returned or any(key in returned for key in _OUTCOME)):
        return returned
    return {"data": returned}


def _status(value: object) -> str:
    if value is None or value == "":
        return SUCCESS
    word = read_text(value)
    if word:
        return word
    raise ProtocolError(f"result: 'status' is a {type(value).__name__}; a text was expected, such as 'success'.")


def _error(value: object) -> tuple[str, str, Any]:
    """Returns code, message and details of an error object, or of the text that the first workers send."""
    if not isinstance(value, dict):
        return "", read_text(value), None if value is None or isinstance(value, str) else value
    return read_text(value.get("code")), read_text(value.get("message")), value.get("details")


def _retry_after(error: object) -> float:
    """Returns the pause that a failure asks for; published SDKs pass on what stands in its details only."""
    if not isinstance(error, dict):
        return 0.0
    details = error.get("details")
    for place in (error, details if isinstance(details, dict) else {}):
        seconds = read_number(place.get("retry_after"))
        if seconds is not None and seconds > 0:
            return seconds
    return 0.0
