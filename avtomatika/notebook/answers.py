"""Answers to what a person asks about a job: a moment of its history, or one of its states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from avtomatika.blueprints import Graph
from avtomatika.notebook.job_model import Model, event_note, lit, short_json
from avtomatika.notebook.moments import Event, changes, data_at, lights_at, seconds_at

_MAX_VISITS = 20
_MAX_ATTEMPTS = 50

Sources = Mapping[str, Sequence[tuple[str, str, str]]]
"""State to its handlers: name, condition (or empty), source (or empty)."""


def moment(events: Sequence[Event], sequence: int, graph: Graph | None) -> Model:
    """Returns the job as it was right after an event: what is lit, its data, and what the event changed in them.

    Args:
        events: the history, oldest first.
        sequence: of the event; the last one before it if there is none of that number.
        graph: of its blueprint, or None.

    Raises:
        ValueError: there are no events.
    """
    upto = [event for event in events if int(event.get("sequence") or 0) <= sequence] or list(events[:1])
    if not upto:
        raise ValueError("the job has no history yet.")
    last = upto[-1]
    data = data_at(upto)
    return {
        "sequence": last.get("sequence"),
        "after": round(seconds_at(last) - seconds_at(events[0]), 3),
        "event": str(last.get("event_type")),
        "state": str(last.get("state") or ""),
        "note": event_note(last),
        "lit": None if graph is None else lit(lights_at(upto), graph),
        "data": short_json(data),
        "changes": [[change.path, change.before, change.after] for change in changes(data_at(upto[:-1]), data)],
    }


def state(events: Sequence[Event], name: str, sources: Sources, *, is_here: bool = False) -> Model:
    """Returns what a state is and what happened in it: handlers with source, and each visit with data in and out.

    Args:
        events: the history, oldest first.
        name: of the state.
        sources: of the blueprint's handlers, as far as known.
        is_here: the job is in the state now; its last visit then has no end.
    """
    visits: list[Model] = []
    for number, event in enumerate(events):
        if event.get("state") != name:
            continue
        kind = event.get("event_type")
        if kind == "state_started":
            before = data_at(events[:number])
            visits.append({"at": round(seconds_at(event) - seconds_at(events[0]), 3), "_in": before, "attempts": []})
        elif visits:
            _take(visits[-1], event)
    known = visits[-_MAX_VISITS:]
    for number, visit in enumerate(known, start=len(visits) - len(known) + 1):
        data_in, data_out = visit.pop("_in"), visit.pop("_out", None)
        visit["number"] = number
        visit["data_in"] = short_json(data_in)
        visit["data_out"] = None if data_out is None else short_json(data_out)
        visit["changes"] = [[c.path, c.before, c.after] for c in changes(data_in, data_out or data_in)]
        visit["attempts"] = visit["attempts"][-_MAX_ATTEMPTS:]
        visit["is_here"] = is_here and number == len(visits)
    return {
        "name": name,
        "handlers": [
            {"name": handler, "condition": condition, "source": source}
            for handler, condition, source in sources.get(name, ())
        ],
        "visits": known,
    }


def _take(visit: Model, event: Event) -> None:
    """Adds what an event says about the visit of its state."""
    details = event.get("context_snapshot") or {}
    if isinstance(details.get("state_history"), dict):
        visit["_out"] = dict(details["state_history"])
    match event.get("event_type"):
        case "state_finished":
            visit["took_ms"] = event.get("duration_ms")
            visit["next"] = str(event.get("next_state") or "")
            visit.setdefault("_out", visit["_in"])
        case "state_failed" | "task_finished" | "task_failed":
            visit["attempts"].append(
                {
                    "what": str(details.get("task_type") or "handler"),
                    "attempt": event.get("attempt_number") or 1,
                    "worker": str(event.get("worker_id") or ""),
                    "took_ms": event.get("duration_ms"),
                    "ok": event.get("event_type") == "task_finished",
                    "note": event_note(event),
                }
            )
        case _:
            pass
