"""View models of the tables and numbers of a whole engine, as plain JSON values without any widget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from avtomatika.notebook.feed import Feed, Sample
from avtomatika.notebook.job_book import JobBook, TableQuery, row_model

Model = dict[str, Any]

_MAX_WORKERS = 200
_MAX_QUEUES = 50
_MAX_SKILLS, _MAX_DEVICES = 12, 16


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
            "status": _status(worker),
            "skills": [str(skill) for skill in worker.get("skills") or ()][:_MAX_SKILLS],
            "busy": worker.get("running_tasks") or 0,
            "room": worker.get("max_concurrent_tasks"),
            "machine": machine_text(worker),
            "hostname": str(worker.get("hostname") or ""),
            "quiet": round(max(0.0, now - float(worker.get("last_seen_at") or now)), 0),
        }
        for worker in sorted(workers, key=lambda worker: str(worker["worker_id"]))[:_MAX_WORKERS]
    ]


def _status(worker: Mapping[str, Any]) -> str:
    """Returns what a worker is: its own word, unless that is older than the tasks that it has by now."""
    status, busy = str(worker.get("status") or ""), worker.get("running_tasks") or 0
    if status != "idle" or not busy:
        return status
    return "full" if busy >= (worker.get("max_concurrent_tasks") or float("inf")) else "busy"


def machine_text(worker: Mapping[str, Any]) -> str:
    """Returns how busy the machine of a worker is, such as ``12% CPU, 3.5 GB, GPU 0: 40%``; as far as it says.

    Args:
        worker: as the API returns it.
    """
    usage = worker.get("usage") or {}
    parts = [] if worker.get("load") is None else [f"{float(worker['load']):.0%} CPU"]
    if usage.get("ram_used_gb") is not None:
        parts.append(f"{float(usage['ram_used_gb']):.1f} GB")
    parts += [
        f"GPU {device.get('unit_id')}: {float(device['load_percent']):.0f}%"
        for device in (usage.get("devices_usage") or ())[:_MAX_DEVICES]
        if device.get("load_percent") is not None
    ]
    return ", ".join(parts)


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
