"""Rows: how an event becomes the columns of its table, and columns become the row that readers see."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from avtomatika.core.history import HistoryEvent, WorkerEvent

JOB_COLUMNS = (
    "event_id",
    "job_id",
    "timestamp",
    "state",
    "event_type",
    "duration_ms",
    "previous_state",
    "next_state",
    "worker_id",
    "attempt_number",
    "context_snapshot",
    "task_id",
    "blueprint",
    "sequence",
)
"""Columns of ``job_history``, in the order of every statement and row."""
WORKER_COLUMNS = ("event_id", "worker_id", "timestamp", "event_type", "worker_info_snapshot")
"""Columns of ``worker_history``, likewise."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def format_moment(at: float) -> str:
    """Returns Unix seconds as ISO 8601 in UTC, always with six decimals: the order of the texts is that of the time.

    Raises:
        OverflowError: the moment is outside the years 1 to 9999.
    """
    moment = _EPOCH + timedelta(microseconds=round(at * 1e6))
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def job_columns(event: HistoryEvent) -> tuple[Any, ...]:
    """Returns the values of JOB_COLUMNS; what is empty becomes None.

    ``duration_ms`` has three decimals, as handlers take less than a millisecond. ``context_snapshot`` is JSON: the
    event's details and, where the job's data changed, ``state_history``.
    """
    snapshot = dict(event.details)
    if event.state_history is not None:
        snapshot["state_history"] = event.state_history.value()
    return (
        event.event_id,
        event.job_id,
        format_moment(event.at),
        event.state or None,
        event.type,
        None if event.duration is None else round(event.duration * 1e3, 3),
        event.previous_state or None,
        event.next_state or None,
        event.worker_id or None,
        event.attempt,
        dump_json(snapshot),
        event.task_id or None,
        event.blueprint or None,
        event.sequence,
    )


def worker_columns(event: WorkerEvent) -> tuple[Any, ...]:
    """Returns the values of WORKER_COLUMNS."""
    return (event.event_id, event.worker_id, format_moment(event.at), event.type, dump_json(event.info))


def job_event_from_columns(columns: Sequence[Any]) -> dict[str, Any]:
    """Returns the row that the API shows: JOB_COLUMNS to values, ``context_snapshot`` as a dict."""
    row = dict(zip(JOB_COLUMNS, columns, strict=True))
    row["context_snapshot"] = json.loads(row["context_snapshot"])
    return row


def worker_event_from_columns(columns: Sequence[Any]) -> dict[str, Any]:
    """Returns the row of a worker: WORKER_COLUMNS to values, ``worker_info_snapshot`` as a dict."""
    row = dict(zip(WORKER_COLUMNS, columns, strict=True))
    row["worker_info_snapshot"] = json.loads(row["worker_info_snapshot"])
    return row


def dump_json(value: Any) -> str:
    """Returns ``value`` as JSON that every database takes: bytes as base64 text, NaN and infinities as null.

    A history must not refuse what a job could hold, so what is no JSON otherwise becomes its text.
    """
    try:
        return json.dumps(value, allow_nan=False, separators=(",", ":"), default=_as_text)
    except (TypeError, ValueError):
        return json.dumps(_finite(value), separators=(",", ":"), default=_as_text)


def _as_text(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, set | frozenset):
        return sorted(value, key=str)
    return base64.b64encode(value).decode("ascii") if isinstance(value, bytes) else str(value)


def _finite(value: Any) -> Any:
    match value:
        case float():
            return value if math.isfinite(value) else None
        case Mapping():
            return {key if isinstance(key, str) else str(key): _finite(item) for key, item in value.items()}
        case list() | tuple():
            return [_finite(item) for item in value]
        case _:
            return value
