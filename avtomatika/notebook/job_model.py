"""The view model of a job: what a live view shows of it, as plain JSON values without any widget."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from avtomatika.blueprints import Graph
from avtomatika.blueprints.drawing import edge_ids, state_ids, svg
from avtomatika.client import TERMINAL_STATUSES
from avtomatika.notebook.badges import BROKEN, badge
from avtomatika.notebook.bars import job_bars
from avtomatika.notebook.moments import Event, Lights, lights_at, seconds_at

_MAX_EVENTS = 200
_MAX_BARS = 120
_MAX_TEXT = 5_000
_REQUEUABLE = frozenset({"failed", "quarantined", "error"})

Model = dict[str, Any]


def head(job: Mapping[str, Any]) -> Model:
    """Returns the members of the head line: what it is, how it is, and what can be done with it.

    Args:
        job: as the API returns it.
    """
    status = str(job["status"])
    icon, colour = badge(status)
    ended = status in TERMINAL_STATUSES
    actions = [] if ended else ["cancel"]
    if status in _REQUEUABLE:
        actions.append("requeue")
    return {
        "id": str(job["id"]),
        "blueprint": str(job["blueprint_name"]),
        "status": status,
        "icon": icon,
        "colour": colour,
        "state": str(job["current_state"]),
        "progress": None if status in BROKEN else round(float(job.get("progress") or 0.0), 3),
        "message": str(job.get("progress_message") or ""),
        "error": str(job.get("error_message") or ""),
        "created_at": float(job["created_at"]),
        "updated_at": float(job["updated_at"]),
        "ended": ended,
        "actions": actions,
        "approval": _approval(job.get("approval")),
    }


def _approval(approval: Mapping[str, Any] | None) -> Model | None:
    """Returns the question and the answers to choose from; its URL holds a token, which a view must not keep."""
    if not approval:
        return None
    return {
        "message": str(approval.get("message") or ""),
        "decisions": [str(one) for one in approval.get("decisions") or ()],
        "expires_at": approval.get("expires_at"),
    }


def drawing(graph: Graph) -> str:
    """Returns the graph as SVG with room for a count at each edge; ``lit`` says by ids what to show of it."""
    return svg(graph, edge_counts={(edge.source, edge.target): 1 for edge in graph.edges})


def lit(lights: Lights, graph: Graph) -> Model:
    """Returns ids of what is lit in the ``drawing``, and how often each edge was taken."""
    states, edges = state_ids(graph), edge_ids(graph)
    return {
        "current": states.get(lights.current, ""),
        "visited": [states[name] for name in lights.visited if name in states],
        "failed": [states[name] for name in lights.failed if name in states],
        "edges": {edges[pair]: count for pair, count in lights.steps.items() if pair in edges},
    }


def now_lit(job: Mapping[str, Any], events: Sequence[Event], graph: Graph) -> Model:
    """Returns what is lit now: where the job stands is what it says itself, as its history may be heard of later."""
    lights = lights_at(events)
    state, is_broken = str(job["current_state"]), str(job["status"]) in _REQUEUABLE
    return lit(
        Lights("" if is_broken else state, lights.visited, (state,) if is_broken else (), lights.steps),
        graph,
    )


def event_rows(events: Sequence[Event]) -> list[list[Any]]:
    """Returns the newest 200 events: sequence, seconds since the first, type, state, worker, milliseconds, note."""
    if not events:
        return []
    first = seconds_at(events[0])
    return [
        [
            event.get("sequence"),
            round(seconds_at(event) - first, 3),
            str(event.get("event_type")),
            str(event.get("state") or ""),
            str(event.get("worker_id") or ""),
            event.get("duration_ms"),
            event_note(event),
        ]
        for event in events[-_MAX_EVENTS:]
    ]


def event_note(event: Event) -> str:
    """Returns what is special about an event, in a few words."""
    details = event.get("context_snapshot") or {}
    if details.get("code"):
        return f"{details['code']}: {details.get('message', '')}"[:_MAX_TEXT]
    if event.get("next_state"):
        return f"to {event['next_state']}"
    words = [str(details[name]) for name in ("task_type", "status", "decision") if details.get(name)]
    attempt = event.get("attempt_number")
    if attempt and attempt > 1:
        words.append(f"attempt {attempt}")
    return ", ".join(words)


def bar_rows(events: Sequence[Event]) -> list[list[Any]]:
    """Returns the newest bars of the timeline: lane, kind, label, seconds from the first event to begin and end, note.

    The end of a bar that lasts is None.
    """
    if not events:
        return []
    first = seconds_at(events[0])
    return [
        [
            bar.lane,
            str(bar.kind),
            bar.label,
            round(bar.start - first, 4),
            None if bar.end is None else round(bar.end - first, 4),
            bar.note,
        ]
        for bar in job_bars(events)[-_MAX_BARS:]
    ]


def short_json(value: Any) -> str:
    """Returns a value as indented JSON, cut with a note if it is long."""
    text = json.dumps(value, indent=2, ensure_ascii=False, default=str)
    return text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]}\n… {len(text) - _MAX_TEXT:,} more characters"
