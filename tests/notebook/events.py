"""Histories for the tests, written as short as may be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def history(*rows: tuple[str, str] | tuple[str, str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Returns events a second apart: each row is an event type, a state, and members to add.

    ``data`` becomes the event's ``state_history``, ``details`` the rest of its snapshot.
    """
    events = []
    for number, (kind, state, *rest) in enumerate(rows, start=1):
        members = dict(rest[0]) if rest else {}
        snapshot = dict(members.pop("details", {}))
        if "data" in members:
            snapshot["state_history"] = members.pop("data")
        events.append(
            {
                "sequence": number,
                "timestamp": f"2026-01-01T00:{number // 60:02}:{number % 60:02}+00:00",
                "event_type": kind,
                "state": state,
                "context_snapshot": snapshot,
                **members,
            }
        )
    return events


STORY = history(
    ("job_created", "ask", {"data": {}}),
    ("state_started", "ask"),
    ("task_dispatched", "ask", {"task_id": "t1", "details": {"task_type": "shout"}, "data": {"n": 1}}),
    ("task_started", "ask", {"task_id": "t1", "worker_id": "w-1", "attempt_number": 1}),
    (
        "task_failed",
        "ask",
        {
            "task_id": "t1",
            "worker_id": "w-1",
            "attempt_number": 1,
            "duration_ms": 1000.0,
            "details": {"task_type": "shout", "code": "TRANSIENT_ERROR", "message": "hoarse"},
        },
    ),
    ("task_retried", "ask", {"task_id": "t1", "attempt_number": 2}),
    ("task_dispatched", "ask", {"task_id": "t1", "attempt_number": 2, "details": {"task_type": "shout"}}),
    ("task_started", "ask", {"task_id": "t1", "worker_id": "w-2", "attempt_number": 2}),
    (
        "task_finished",
        "ask",
        {
            "task_id": "t1",
            "worker_id": "w-2",
            "attempt_number": 2,
            "duration_ms": 1000.0,
            "details": {"task_type": "shout", "status": "success"},
            "data": {"n": 1, "said": "A"},
        },
    ),
    ("state_finished", "ask", {"next_state": "done", "duration_ms": 8000.0}),
    ("state_started", "done", {"previous_state": "ask"}),
    ("state_finished", "done", {"duration_ms": 1.0}),
    ("job_completed", "done"),
)
"""A job that asks a worker, twice, and ends."""
