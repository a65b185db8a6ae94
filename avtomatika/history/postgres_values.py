"""Values for PostgreSQL: an event as the parameters of its INSERT, with what the server would refuse made storable.

A row that the server refuses would be offered again and again and hold up all rows behind it, so there must be none.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from avtomatika.core.history import HistoryEvent, WorkerEvent
from avtomatika.history.rows import JOB_COLUMNS, WORKER_COLUMNS, job_columns, worker_columns

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
# No text of PostgreSQL holds NUL, and no UTF-8 holds half a surrogate pair.
_FOREIGN = re.compile("[\x00\ud800-\udfff]")
# An escape in ASCII JSON. Group 1: NUL, or half a surrogate pair; whole pairs are matched first, and harmless.
_ESCAPE = re.compile(
    r"\\(?:u[dD][89abAB][\da-fA-F]{2}\\u[dD][c-fC-F][\da-fA-F]{2}|(u0000|u[dD][89a-fA-F][\da-fA-F]{2})|.)"
)
# JSONB writes such a float as a whole number, which is read back as another type and perhaps another value.
_LARGE_FLOAT = re.compile(r"\de\+")


def job_values(event: HistoryEvent) -> tuple[Any, ...]:
    """Returns the values of JOB_COLUMNS and, last, of ``snapshot_json``; moments are datetimes, in UTC."""
    return _values(job_columns(event), JOB_COLUMNS.index("context_snapshot"))


def worker_values(event: WorkerEvent) -> tuple[Any, ...]:
    """Returns the values of WORKER_COLUMNS and, last, of ``snapshot_json``."""
    return _values(worker_columns(event), WORKER_COLUMNS.index("worker_info_snapshot"))


def plain_text(text: str) -> str:
    """Returns ``text`` with a replacement character for what PostgreSQL's text cannot hold."""
    return _FOREIGN.sub(_REPLACEMENT, text)


def _values(columns: tuple[Any, ...], snapshot: int) -> tuple[Any, ...]:
    values = [plain_text(value) if isinstance(value, str) else value for value in columns]
    values[2] = datetime.fromisoformat(values[2])  # the moment is third in both tables
    values[snapshot], exact = _snapshot(columns[snapshot])
    return (*values, exact)


def _snapshot(text: str) -> tuple[str, str | None]:
    """Returns JSON that JSONB takes, and ``text`` itself if JSONB does not give that back."""
    storable = _ESCAPE.sub(lambda escape: r"\ufffd" if escape[1] else escape[0], text)
    is_exact = storable == text and not _LARGE_FLOAT.search(text)
    return storable, None if is_exact else text
