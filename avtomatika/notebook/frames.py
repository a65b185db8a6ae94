"""DataFrames: jobs, workers and their history as tables with fixed types.

The types never depend on the rows, so an empty table joins and plots like a full one:

==============================  ==========================================================
ids, messages, addresses        ``string``
names with few values           ``category`` (states, event types, statuses, blueprints)
whole numbers                   ``Int64``
other numbers                   ``Float64``
moments                         ``datetime64[us, UTC]``
lengths of time                 ``timedelta64[us]``
anything else                   ``object``: dicts and lists as they are
==============================  ==========================================================

This module alone imports pandas, and only when a table is made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avtomatika.history.reader import ROW_CAP, HistoryRows, Moment, Words

if TYPE_CHECKING:
    import pandas as pd

_ID, _CATEGORY, _INTEGER, _NUMBER, _MOMENT, _DURATION, _OBJECT = (
    "string",
    "category",
    "Int64",
    "Float64",
    "datetime64[us, UTC]",
    "timedelta64[us]",
    "object",
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_TERMINAL = frozenset({"finished", "failed", "quarantined", "cancelled", "error"})

JOB_HISTORY_TYPES: Mapping[str, str] = {
    "event_id": _ID,
    "job_id": _ID,
    "timestamp": _MOMENT,
    "state": _CATEGORY,
    "event_type": _CATEGORY,
    "duration": _DURATION,
    "previous_state": _CATEGORY,
    "next_state": _CATEGORY,
    "worker_id": _ID,
    "attempt_number": _INTEGER,
    "context_snapshot": _OBJECT,
    "task_id": _ID,
    "blueprint": _CATEGORY,
    "sequence": _INTEGER,
}
"""Columns of a job's history; ``duration`` takes the place of the rows' ``duration_ms``."""
WORKER_HISTORY_TYPES: Mapping[str, str] = {
    "event_id": _ID,
    "worker_id": _ID,
    "timestamp": _MOMENT,
    "event_type": _CATEGORY,
    "worker_info_snapshot": _OBJECT,
}
"""Columns of the workers' history."""
JOB_TYPES: Mapping[str, str] = {
    "id": _ID,
    "blueprint_name": _CATEGORY,
    "status": _CATEGORY,
    "current_state": _CATEGORY,
    "progress": _NUMBER,
    "progress_message": _ID,
    "created_at": _MOMENT,
    "updated_at": _MOMENT,
    "duration": _DURATION,
    "error_message": _ID,
    "attempt": _INTEGER,
    "source": _CATEGORY,
    "client": _CATEGORY,
    "parent_job_id": _ID,
    "current_task_id": _ID,
    "task_worker_id": _ID,
    "blueprint_version": _ID,
    "version": _INTEGER,
    "initial_data": _OBJECT,
    "state_history": _OBJECT,
    "result": _OBJECT,
}
"""Columns of jobs; ``duration`` is from creation to the end, and missing while the job goes on."""
WORKER_TYPES: Mapping[str, str] = {
    "worker_id": _ID,
    "worker_type": _CATEGORY,
    "status": _CATEGORY,
    "skills": _OBJECT,
    "available_skills": _OBJECT,
    "hot_skills": _OBJECT,
    "running_tasks": _INTEGER,
    "max_concurrent_tasks": _INTEGER,
    "cost_per_skill": _OBJECT,
    "resources": _OBJECT,
    "installed_software": _OBJECT,
    "load": _NUMBER,
    "usage": _OBJECT,
    "hostname": _ID,
    "protocol": _CATEGORY,
    "registered_at": _MOMENT,
    "last_seen_at": _MOMENT,
}
"""Columns of workers."""


class HistoryReader:
    """Reads a history into DataFrames, over a read-only connection of its own.

    An engine may be writing it at the same time. May be used from any thread. The tables of SQLite and of PostgreSQL
    are the same, types included.

    Args:
        path_or_uri: path of a SQLite file, or a value of ``HISTORY_DATABASE_URI``.
        cap: how many rows a read without ``limit`` may return.

    Raises:
        ConfigError: there is no such file, the history is in memory, or asyncpg is missing for PostgreSQL.
    """

    def __init__(self, path_or_uri: str | Path, cap: int = ROW_CAP) -> None:
        self._rows = HistoryRows(path_or_uri, cap)

    def job_history(
        self,
        job_id: Words = None,
        event_type: Words = None,
        state: Words = None,
        since: Moment = None,
        until: Moment = None,
        blueprint: Words = None,
        limit: int | None = None,
    ) -> pd.DataFrame:
        """Returns events of jobs, by time; the columns are JOB_HISTORY_TYPES.

        Args:
            job_id: of this job, or of any of several.
            event_type: of this type, or of any of several.
            state: in this state, or in any of several.
            since: at this moment or later: an aware datetime, ISO 8601 text, or Unix seconds.
            until: before this moment.
            blueprint: of jobs of this blueprint, or of any of several.
            limit: the newest that many rows; None for all, up to the cap.

        Raises:
            ValueError: more rows than the cap, a negative limit, or a moment that cannot be read.
            ConfigError: what is there is no history, or one of a newer version.
            StorageError: the database did not answer.
            ModuleNotFoundError: pandas is not installed.
        """
        rows = self._rows.job_events(
            job_id=job_id,
            event_type=event_type,
            state=state,
            blueprint=blueprint,
            since=since,
            until=until,
            limit=limit,
        )
        return job_history_frame(rows)

    def worker_history(
        self,
        worker_id: Words = None,
        event_type: Words = None,
        since: Moment = None,
        until: Moment = None,
        limit: int | None = None,
    ) -> pd.DataFrame:
        """Returns events of workers, by time; the columns are WORKER_HISTORY_TYPES.

        Arguments and errors are those of ``job_history``.
        """
        rows = self._rows.worker_events(
            worker_id=worker_id, event_type=event_type, since=since, until=until, limit=limit
        )
        return frame(rows, WORKER_HISTORY_TYPES)


def job_history_frame(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Returns the rows of ``GET /api/v1/jobs/{id}/history``, or of a history database, as a DataFrame."""
    return frame(
        [
            {
                **{name: value for name, value in row.items() if name != "duration_ms"},
                "duration": _scaled(row.get("duration_ms"), 1e-3),
            }
            for row in rows
        ],
        JOB_HISTORY_TYPES,
    )


def jobs_frame(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Returns the rows of ``GET /api/v1/jobs`` as a DataFrame, in their order.

    Members that JOB_TYPES lacks follow as ``object``. A row's own ``duration`` (seconds) is kept; without one, a job
    that has ended gets the time from its creation to its last change.
    """
    return frame([{**row, "duration": _job_seconds(row)} for row in rows], JOB_TYPES)


def workers_frame(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Returns the rows of ``GET /api/v1/workers`` as a DataFrame, in their order.

    Members that WORKER_TYPES lacks follow as ``object``.
    """
    return frame(rows, WORKER_TYPES)


def _job_seconds(row: Mapping[str, Any]) -> float | None:
    if (given := row.get("duration")) is not None:
        return float(given)
    if row.get("status") not in _TERMINAL or row.get("created_at") is None or row.get("updated_at") is None:
        return None
    return (_microseconds_at(row["updated_at"]) - _microseconds_at(row["created_at"])) / 1e6


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def frame(rows: Sequence[Mapping[str, Any]], types: Mapping[str, str]) -> pd.DataFrame:
    """Returns rows as a DataFrame with these types, whatever the rows are; other columns follow as ``object``."""
    pandas = _pandas()
    extra = dict.fromkeys(name for row in rows for name in row if name not in types)
    columns = {**types, **dict.fromkeys(extra, _OBJECT)}
    made: pd.DataFrame = pandas.DataFrame(
        {name: _column([row.get(name) for row in rows], kind) for name, kind in columns.items()},
        columns=pandas.Index(list(columns), dtype=object),
    )
    return made


def _column(values: list[Any], kind: str) -> Any:
    """Returns a Series of that type; None is what is missing."""
    pandas = _pandas()
    match kind:
        case "category":
            # Sorted, and of one type even when there are none: otherwise pandas infers it from the rows.
            words = pandas.Index(sorted({str(value) for value in values if value is not None}), dtype="string")
            return pandas.Series(pandas.Categorical(_texts(values), categories=words))
        case "string":
            return pandas.Series(_texts(values), dtype="string")
        case "object":
            return _objects(values)
        case "datetime64[us, UTC]":
            return _ticks(values, _microseconds_at, "datetime64[us]").dt.tz_localize("UTC")
        case "timedelta64[us]":
            return _ticks(values, lambda seconds: round(seconds * 1e6), "timedelta64[us]")
        case _:
            return pandas.Series(values, dtype=kind)


def _texts(values: Iterable[Any]) -> list[str | None]:
    return [None if value is None else str(value) for value in values]


def _objects(values: Sequence[Any]) -> Any:
    """Keeps each value as it is: given a list of lists, pandas would look inside."""
    import numpy as np  # noqa: PLC0415 - comes with pandas, which is optional

    column = np.empty(len(values), dtype=object)
    for i, value in enumerate(values):
        column[i] = value
    return _pandas().Series(column, dtype=object)


def _ticks(values: Sequence[Any], microseconds: Callable[[Any], int], kind: str) -> Any:
    """Turns values into whole microseconds; what is missing becomes NaT."""
    import numpy as np  # noqa: PLC0415 - as above

    missing = np.iinfo(np.int64).min  # how numpy writes NaT
    ticks = [missing if value is None else microseconds(value) for value in values]
    return _pandas().Series(np.array(ticks, dtype=np.int64).view(kind))


def _microseconds_at(moment: float | str | datetime) -> int:
    """Returns microseconds since 1970 for Unix seconds, ISO 8601 text or an aware datetime."""
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment)
    if isinstance(moment, datetime):
        return (moment - _EPOCH) // _MICROSECOND
    return round(moment * 1e6)


def _pandas() -> Any:
    try:
        import pandas  # noqa: PLC0415 - optional, and slow to import
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "DataFrames need pandas, which is not installed; install it with: pip install 'avtomatika[notebook]'",
            name="pandas",
        ) from error
    return pandas
