"""Bars: what a job did when, as lengths of time; from its history, for timelines of every kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from avtomatika.notebook.moments import Event, seconds_at


class BarKind(StrEnum):
    """What a bar stands for."""

    STATE = "state"
    """From entering a state to leaving it."""
    WAIT = "wait"
    """A task waits for a worker."""
    WORK = "work"
    """A worker works on a task."""
    FAILED = "failed"
    """A worker worked on a task in vain."""


@dataclass(frozen=True, slots=True)
class Bar:
    """A length of time.

    Args:
        lane: what it belongs to: the state's name, or the task's id; bars of one lane never overlap.
        kind: what it stands for.
        label: what to write beside it.
        start: Unix seconds.
        end: Unix seconds; None while it lasts.
        note: more about it, such as the worker and the error.
    """

    lane: str
    kind: BarKind
    label: str
    start: float
    end: float | None = None
    note: str = ""

    def until(self, now: float) -> float:
        """Returns its end, or ``now`` while it lasts."""
        return now if self.end is None else self.end


def job_bars(events: Sequence[Event]) -> list[Bar]:
    """Returns the bars of a job in order of their start: its states, and below each the tasks that it sent.

    Args:
        events: its history, oldest first.
    """
    bars: list[Bar] = []
    open_bars: dict[tuple[str, str], int] = {}
    types: dict[str, str] = {}

    def begin(place: tuple[str, str], bar: Bar) -> None:
        open_bars[place] = len(bars)
        bars.append(bar)

    def end(place: tuple[str, str], at: float, kind: BarKind | None = None, note: str = "") -> None:
        number = open_bars.pop(place, None)
        if number is not None:
            bar = bars[number]
            bars[number] = replace(bar, end=at, kind=kind or bar.kind, note=", ".join(filter(None, (bar.note, note))))

    for event in events:
        at, state, task = seconds_at(event), str(event.get("state") or ""), str(event.get("task_id") or "")
        details = event.get("context_snapshot") or {}
        match event.get("event_type"):
            case "state_started":
                end(("state", state), at)
                begin(("state", state), Bar(state, BarKind.STATE, state, at))
            case "state_finished":
                end(("state", state), at)
            case "state_failed":
                number = open_bars.get(("state", state))
                if number is not None:
                    bars[number] = replace(bars[number], note=_trouble(details))
            case "task_dispatched":
                types[task] = str(details.get("task_type") or types.get(task, "task"))
                begin(("task", task), Bar(task, BarKind.WAIT, types[task], at, note="waits for a worker"))
            case "task_started":
                end(("task", task), at)
                worker = str(event.get("worker_id") or "")
                label = types.get(task, "task")
                begin(("task", task), Bar(task, BarKind.WORK, label, at, note=f"{worker}, {_attempt(event)}"))
            case "task_finished":
                end(("task", task), at)
            case "task_failed":
                end(("task", task), at, BarKind.FAILED, _trouble(details))
            case "job_completed" | "job_failed" | "job_quarantined" | "job_cancelled":
                for place in list(open_bars):
                    end(place, at)
    return bars


def _attempt(event: Event) -> str:
    return f"attempt {event.get('attempt_number') or 1}"


def _trouble(details: Event) -> str:
    return ": ".join(str(details[name]) for name in ("code", "message") if details.get(name))
