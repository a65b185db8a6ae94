"""View models of the tables and numbers of a whole engine, as plain JSON values without any widget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from avtomatika.notebook.feed import Feed, Sample
from avtomatika.notebook.job_book import JobBook, TableQuery, row_model

Model = dict[str, Any]

_MAX_WORKERS = 200
_MAX_QUEUES = 50
_MAX_SKILLS = 12


def table_model(book: JobBook, query: TableQuery) -> Model:
    """Returns one page of the table of jobs, and what can be filtered by."""
    page = book.page(query)
    return {
        "rows": [row_model(row) for row in page.rows],
        "total": page.total,
        "page": page.page,
        "pages": page.pages,
        "statuses": book.statuses(),
        "blueprints": book.blueprints(),
    }


def workers_model(workers: Sequence[Mapping[str, Any]], now: float) -> list[Model]:
    """Returns the rows of the worker board, at most 200.

    Args:
        workers: as the API returns them.
        now: Unix seconds.
    """
    return [
        {
            "id": str(worker["worker_id"]),
            "status": str(worker.get("status") or ""),
            "skills": [str(skill) for skill in worker.get("skills") or ()][:_MAX_SKILLS],
            "busy": worker.get("running_tasks") or 0,
            "room": worker.get("max_concurrent_tasks"),
            "load": worker.get("load"),
            "hostname": str(worker.get("hostname") or ""),
            "quiet": round(max(0.0, now - float(worker.get("last_seen_at") or now)), 0),
        }
        for worker in sorted(workers, key=lambda worker: str(worker["worker_id"]))[:_MAX_WORKERS]
    ]


def queues_model(numbers: Mapping[str, Any], now: float) -> list[Model]:
    """Returns the queues in which tasks wait, the longest first, at most 50.

    Args:
        numbers: as ``GET /api/v1/dashboard`` returns them.
        now: Unix seconds.
    """
    queues = (numbers.get("tasks") or {}).get("queues") or {}
    rows: list[Model] = [
        {
            "name": str(name),
            "waiting": int(queue.get("waiting") or 0),
            "oldest": round(max(0.0, now - float(queue["oldest_at"])), 0) if queue.get("oldest_at") else None,
        }
        for name, queue in queues.items()
    ]
    return sorted(rows, key=lambda row: -int(row["waiting"]))[:_MAX_QUEUES]


def samples_model(samples: Sequence[Sample]) -> list[list[Any]]:
    """Returns the samples for the chart: moment, waiting tasks, open jobs, ended and failed jobs in that second."""
    return [[round(one.at, 1), one.waiting, one.open, one.ended, one.failed] for one in samples]


def numbers_model(feed: Feed) -> Model:
    """Returns the few numbers that stand above everything else."""
    jobs = {name: int(count) for name, count in (feed.numbers.get("jobs") or {}).items() if name != "queued" and count}
    return {
        "jobs": jobs,
        "workers": int((feed.numbers.get("workers") or {}).get("total") or 0),
        "waiting": int((feed.numbers.get("tasks") or {}).get("waiting") or 0),
    }
