"""Moments: where a job stood after any event of its history, and what its data were; pure arithmetic over events."""

from __future__ import annotations

import datetime
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

Event = Mapping[str, Any]
"""A row of ``GET /api/v1/jobs/{id}/history``."""

_BREAKS = frozenset({"job_failed", "job_quarantined"})
_MAX_CHANGES = 200
_MAX_VALUE = 300


@dataclass(frozen=True, slots=True)
class Lights:
    """What of the graph is lit.

    Args:
        current: the state that the job stands in; empty once it broke off.
        visited: the states that it was in, in order of the first visit.
        failed: the state in which it broke off, if any.
        steps: how often each edge, as (source, target), was taken.
    """

    current: str = ""
    visited: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    steps: Mapping[tuple[str, str], int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between two states of the data.

    Args:
        path: where, such as ``days[3].rain``.
        before: the value before as JSON text, None if it was not there.
        after: the value after likewise.
    """

    path: str
    before: str | None
    after: str | None


def lights_at(events: Sequence[Event]) -> Lights:
    """Returns what is lit after the last of the events.

    Args:
        events: the history of a job up to the moment, oldest first.
    """
    visited: dict[str, None] = {}
    steps: Counter[tuple[str, str]] = Counter()
    current = failed = ""
    for event in events:
        kind, state = event.get("event_type"), str(event.get("state") or "")
        if kind == "state_started":
            visited.setdefault(state)
            current, failed = state, ""
        elif kind == "state_finished" and event.get("next_state"):
            steps[state, str(event["next_state"])] += 1
        elif kind in _BREAKS:
            current, failed = "", state or current
        elif kind == "job_requeued":
            current, failed = state, ""
        elif kind == "job_rewound":
            failed = ""
    return Lights(current, tuple(visited), (failed,) if failed else (), dict(steps))


def data_at(events: Sequence[Event]) -> dict[str, Any]:
    """Returns the ``state_history`` of the job after the last of the events; events that did not change it lack it."""
    for event in reversed(events):
        snapshot = event.get("context_snapshot") or {}
        if isinstance(snapshot.get("state_history"), dict):
            return dict(snapshot["state_history"])
    return {}


def changes(before: Any, after: Any, path: str = "") -> list[Change]:
    """Returns how two values differ, by path: 200 differences at most, long values shortened."""
    found: list[Change] = []
    _collect(before, after, path, found)
    return found[:_MAX_CHANGES]


def seconds_at(event: Event) -> float:
    """Returns the moment of an event, Unix seconds."""
    return datetime.datetime.fromisoformat(str(event["timestamp"])).timestamp()


_NOTHING = object()


def _collect(before: Any, after: Any, path: str, found: list[Change]) -> None:
    if len(found) >= _MAX_CHANGES:
        return
    if isinstance(before, dict) and isinstance(after, dict):
        for name in dict.fromkeys([*before, *after]):
            inner = f"{path}.{name}" if path else str(name)
            _collect(before.get(name, _NOTHING), after.get(name, _NOTHING), inner, found)
    elif isinstance(before, list) and isinstance(after, list):
        for place, (one, other) in enumerate(zip_longest(before, after, fillvalue=_NOTHING)):
            _collect(one, other, f"{path}[{place}]", found)
    elif type(before) is not type(after) or before != after:  # True == 1 in Python, not in the data
        found.append(Change(path, _text(before), _text(after)))


def _text(value: Any) -> str | None:
    if value is _NOTHING:
        return None
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _MAX_VALUE else f"{text[:_MAX_VALUE]} … {len(text) - _MAX_VALUE:,} more characters"
