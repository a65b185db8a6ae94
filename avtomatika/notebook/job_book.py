"""The job book: what a table of jobs knows of each, and which of them it shows; without widgets and without I/O."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from avtomatika.client import TERMINAL_STATUSES
from avtomatika.notebook.badges import BROKEN, badge

_REQUEUABLE = frozenset({"failed", "quarantined", "error"})
_MAX_SIZE = 100


@dataclass(slots=True)
class JobRow:
    """What a table knows of a job.

    Args:
        id: the job's id.
        blueprint: name of its blueprint.
        status: its life.
        state: where it stands.
        progress: from 0 to 1.
        created_at: Unix seconds.
        updated_at: Unix seconds.
    """

    id: str
    blueprint: str
    status: str
    state: str
    progress: float
    created_at: float
    updated_at: float


@dataclass(frozen=True, slots=True)
class TableQuery:
    """What a table shows.

    Args:
        status: only jobs of this status, or empty.
        blueprint: only jobs of this blueprint, or empty.
        text: only jobs whose id, blueprint or state contains this, or empty.
        sort: the column to order by.
        descending: the largest first.
        page: from 0.
        size: rows of a page, at most 100.
    """

    status: str = ""
    blueprint: str = ""
    text: str = ""
    sort: str = "created"
    descending: bool = True
    page: int = 0
    size: int = 15

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> TableQuery:
        """Returns what a front end asked for; whatever it cannot have meant becomes the default."""
        default = cls()
        page, size, sort = given.get("page"), given.get("size"), str(given.get("sort"))
        return cls(
            str(given.get("status") or ""),
            str(given.get("blueprint") or ""),
            str(given.get("text") or "").strip().lower(),
            sort if sort in _SORTS else default.sort,
            bool(given.get("descending", True)),
            max(0, page) if isinstance(page, int) else 0,
            min(max(1, size), _MAX_SIZE) if isinstance(size, int) else default.size,
        )


_SORTS: dict[str, Any] = {
    "created": lambda row: row.created_at,
    "updated": lambda row: row.updated_at,
    "blueprint": lambda row: row.blueprint,
    "status": lambda row: row.status,
    "state": lambda row: row.state,
    "progress": lambda row: row.progress,
    "took": lambda row: row.updated_at - row.created_at,
}


class Page(NamedTuple):
    """What a table shows of the book.

    Args:
        rows: of this page.
        total: jobs that match.
        page: number of this page, from 0; the last one if fewer match than asked for.
        pages: how many pages there are, at least 1.
    """

    rows: list[JobRow]
    total: int
    page: int
    pages: int


class JobBook:
    """The newest jobs.

    Args:
        capacity: how many; the oldest are forgotten beyond that.

    Attributes:
        version: rises with every change.
        ended: how many jobs were seen to end.
        failed: how many of these failed.
    """

    def __init__(self, capacity: int = 10_000) -> None:
        self._capacity = capacity
        self._rows: dict[str, JobRow] = {}
        self._order: deque[str] = deque()
        self._statuses: Counter[str] = Counter()
        self._blueprints: Counter[str] = Counter()
        self.version = 0
        self.ended = 0
        self.failed = 0

    def __len__(self) -> int:
        return len(self._rows)

    def find(self, job_id: str) -> JobRow | None:
        """Returns the row of a job, or None."""
        return self._rows.get(job_id)

    def load(self, job: Mapping[str, Any]) -> None:
        """Takes a job in as ``GET /api/v1/jobs`` shows it, unless something newer is known."""
        known = self._rows.get(str(job["id"]))
        if known is None or known.updated_at <= float(job["updated_at"]):
            self._put(
                JobRow(
                    str(job["id"]),
                    str(job["blueprint_name"]),
                    str(job["status"]),
                    str(job["current_state"]),
                    float(job.get("progress") or 0.0),
                    float(job["created_at"]),
                    float(job["updated_at"]),
                )
            )

    def change(self, event: Mapping[str, Any]) -> None:
        """Takes a ``job`` event of ``GET /api/v1/events`` in; a job that is new was created at that moment."""
        job_id, status, at = str(event["job_id"]), str(event["status"]), float(event["updated_at"])
        known = self._rows.get(job_id)
        if known is not None and known.updated_at > at:
            return
        if status in TERMINAL_STATUSES and (known is None or known.status not in TERMINAL_STATUSES):
            self.ended += 1
            self.failed += status not in {"finished", "cancelled"}  # what somebody called off did not fail
        self._put(
            JobRow(
                job_id,
                str(event["blueprint_name"]),
                status,
                str(event["current_state"]),
                float(event.get("progress") or 0.0),
                known.created_at if known is not None else at,
                at,
            )
        )

    def advance(self, job_id: str, progress: float) -> None:
        """Takes a ``progress`` event in."""
        known = self._rows.get(job_id)
        if known is not None and known.status not in TERMINAL_STATUSES:
            self._put(replace(known, progress=float(progress)))

    def page(self, query: TableQuery) -> Page:
        """Returns the rows that a table shows."""
        rows = [row for row in list(self._rows.values()) if _matches(row, query)]
        rows.sort(key=_SORTS[query.sort], reverse=query.descending)
        pages = max(1, -(-len(rows) // query.size))
        page = min(query.page, pages - 1)
        return Page(rows[page * query.size : (page + 1) * query.size], len(rows), page, pages)

    def statuses(self) -> dict[str, int]:
        """Returns how many jobs there are of each status."""
        return {status: count for status, count in sorted(self._statuses.items()) if count}

    def blueprints(self) -> list[str]:
        """Returns the names of the blueprints."""
        return sorted(name for name, count in self._blueprints.items() if count)

    def _put(self, row: JobRow) -> None:
        self.version += 1
        known = self._rows.get(row.id)
        if known is None:
            self._order.append(row.id)
            self._blueprints[row.blueprint] += 1
        else:
            self._statuses[known.status] -= 1
        self._statuses[row.status] += 1
        self._rows[row.id] = row
        while len(self._rows) > self._capacity:
            oldest = self._rows.pop(self._order.popleft())
            self._statuses[oldest.status] -= 1
            self._blueprints[oldest.blueprint] -= 1


def _matches(row: JobRow, query: TableQuery) -> bool:
    if query.status and row.status != query.status:
        return False
    if query.blueprint and row.blueprint != query.blueprint:
        return False
    text = query.text
    return not text or text in row.id.lower() or text in row.blueprint.lower() or text in row.state.lower()


def row_model(row: JobRow) -> dict[str, Any]:
    """Returns a row as a live table shows it."""
    icon, colour = badge(row.status)
    ended = row.status in TERMINAL_STATUSES
    return {
        "id": row.id,
        "blueprint": row.blueprint,
        "status": row.status,
        "icon": icon,
        "colour": colour,
        "state": row.state,
        "progress": None if row.status in BROKEN else round(row.progress, 3),
        "created_at": row.created_at,
        "took": round(row.updated_at - row.created_at, 3) if ended else None,
        "actions": [] if ended and row.status not in _REQUEUABLE else ["requeue" if ended else "cancel"],
    }
