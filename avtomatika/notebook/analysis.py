"""Analysis of a history: tasks, durations, success, and whether jobs kept to their graph; as tables with pictures."""

from __future__ import annotations

import math
import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from avtomatika.blueprints import Edge, EdgeKind, Graph
from avtomatika.blueprints.drawing import svg
from avtomatika.lengths import length
from avtomatika.notebook.bars import Bar, BarKind, job_bars
from avtomatika.notebook.charts import BAR_COLOURS, Chart, Row, bars_svg, gantt_svg, line_svg
from avtomatika.notebook.frames import frame
from avtomatika.notebook.moments import Event, seconds_at

if TYPE_CHECKING:
    import pandas as pd

_SPANS = {60.0: "minute", 3600.0: "hour", 86400.0: "day"}

TASK_EVENTS = ("task_dispatched", "task_started", "task_finished", "task_failed")
"""Event types that ``tasks`` needs."""
END_EVENTS = ("job_completed", "job_failed", "job_quarantined", "job_cancelled")
"""Event types that ``success_rate`` needs."""

TASK_TYPES: Mapping[str, str] = {
    "job_id": "string",
    "task_id": "string",
    "task_type": "category",
    "state": "category",
    "blueprint": "category",
    "attempt_number": "Int64",
    "worker_id": "string",
    "outcome": "category",
    "dispatched_at": "datetime64[us, UTC]",
    "started_at": "datetime64[us, UTC]",
    "ended_at": "datetime64[us, UTC]",
    "waited": "timedelta64[us]",
    "took": "timedelta64[us]",
    "code": "category",
    "message": "string",
}
"""Columns of tasks, one row for each attempt; ``outcome`` is ``finished``, ``failed`` or missing while it is open."""
TIMELINE_TYPES: Mapping[str, str] = {
    "job_id": "string",
    "lane": "string",
    "kind": "category",
    "label": "string",
    "start": "datetime64[us, UTC]",
    "end": "datetime64[us, UTC]",
    "took": "timedelta64[us]",
    "note": "string",
}
"""Columns of a timeline, one row for each bar."""
DURATION_TYPES: Mapping[str, str] = {
    "name": "string",
    "count": "Int64",
    "mean": "timedelta64[us]",
    "median": "timedelta64[us]",
    "p95": "timedelta64[us]",
    "longest": "timedelta64[us]",
    "total": "timedelta64[us]",
}
"""Columns of durations, the largest total first."""
SUCCESS_TYPES: Mapping[str, str] = {
    "since": "datetime64[us, UTC]",
    "ended": "Int64",
    "finished": "Int64",
    "rate": "Float64",
}
"""Columns of the success rate, one row for each span of time in which jobs ended."""
CONFORMANCE_TYPES: Mapping[str, str] = {
    "source": "string",
    "target": "string",
    "count": "Int64",
    "verdict": "category",
}
"""Columns of conformance; ``verdict`` is ``declared``, ``missing`` (never taken) or ``unexpected``."""


def tasks_frame(events: Iterable[Event]) -> pd.DataFrame:
    """Returns the attempts of tasks, in order of their dispatch; the columns are TASK_TYPES.

    Args:
        events: those of TASK_EVENTS, by time.
    """
    rows: dict[tuple[str, int], dict[str, Any]] = {}
    types: dict[str, str] = {}
    for event in events:
        task, attempt = str(event.get("task_id")), int(event.get("attempt_number") or 1)
        details = event.get("context_snapshot") or {}
        if details.get("task_type"):
            types[task] = str(details["task_type"])
        row = rows.setdefault(
            (task, attempt), {"job_id": event.get("job_id"), "task_id": task, "attempt_number": attempt}
        )
        row |= {"state": event.get("state"), "blueprint": event.get("blueprint"), "task_type": types.get(task)}
        row["worker_id"] = event.get("worker_id") or row.get("worker_id")
        at = seconds_at(event)
        match event.get("event_type"):
            case "task_dispatched":
                row["dispatched_at"] = at
            case "task_started":
                row["started_at"] = at
                row["waited"] = at - row["dispatched_at"] if "dispatched_at" in row else None
            case "task_finished" | "task_failed" as kind:
                row |= {"ended_at": at, "outcome": kind.removeprefix("task_")}
                row["took"] = None if event.get("duration_ms") is None else float(event["duration_ms"]) / 1e3
                row |= {"code": details.get("code"), "message": details.get("message")}
    return frame(list(rows.values()), TASK_TYPES)


def timeline(jobs: Sequence[tuple[str, Sequence[Event]]]) -> Chart:
    """Returns when what was done: of one job its states and tasks, of many jobs one lane each.

    Args:
        jobs: id and history of each.
    """
    now = time.time()
    by_job = [(job_id, job_bars(events)) for job_id, events in jobs]
    rows = [
        {
            "job_id": job_id,
            "lane": bar.lane,
            "kind": str(bar.kind),
            "label": bar.label,
            "start": bar.start,
            "end": bar.end,
            "took": bar.until(now) - bar.start,
            "note": bar.note,
        }
        for job_id, bars in by_job
        for bar in bars
    ]
    if len(by_job) == 1:
        title, shown = f"Job {by_job[0][0]}", by_job[0][1]
    else:
        title = f"{len(by_job)} jobs"
        shown = [
            replace(bar, lane=job_id, label=job_id[:8], note=bar.label)
            for job_id, bars in by_job
            for bar in bars
            if bar.kind is BarKind.STATE
        ]

    def draw(ax: Any) -> None:
        lanes = list(dict.fromkeys(bar.lane for bar in shown))
        first = min((bar.start for bar in shown), default=0.0)
        for bar in shown:
            place = lanes.index(bar.lane)
            ax.barh(place, bar.until(now) - bar.start, left=bar.start - first, color=BAR_COLOURS[bar.kind], height=0.6)
        ax.set_yticks(range(len(lanes)), [_label_of(lane, shown) for lane in lanes])
        ax.invert_yaxis()
        ax.set_xlabel("seconds")

    return Chart(title, frame(rows, TIMELINE_TYPES), gantt_svg(title, shown, now), draw)


def _label_of(lane: str, bars: Sequence[Bar]) -> str:
    return next(bar.label for bar in bars if bar.lane == lane)


def durations(found: Iterable[tuple[str, float]], title: str) -> Chart:
    """Returns how long things took, by name: bars to the median, a thin line to the 95th percentile.

    Args:
        found: a name and seconds for each.
        title: what the names are.
    """
    by_name: dict[str, list[float]] = defaultdict(list)
    for name, seconds in found:
        by_name[name].append(seconds)
    rows: list[dict[str, Any]] = [
        {
            "name": name,
            "count": len(values),
            "mean": statistics.fmean(values),
            "median": statistics.median(values),
            "p95": _percentile(values, 0.95),
            "longest": max(values),
            "total": sum(values),
        }
        for name, values in by_name.items()
    ]
    rows.sort(key=lambda row: (-row["total"], row["name"]))
    lines = [Row(row["name"], row["median"], row["p95"], f"{length(row['median'])} in {row['count']}") for row in rows]

    def draw(ax: Any) -> None:
        names = [row["name"] for row in rows]
        ax.barh(names, [row["p95"] for row in rows], color="#d5dbe3", label="95th percentile")
        ax.barh(names, [row["median"] for row in rows], color="#0e7490", label="median")
        ax.invert_yaxis()
        ax.set_xlabel("seconds")
        if rows:
            ax.legend()

    return Chart(title, frame(rows, DURATION_TYPES), bars_svg(title, lines, length), draw)


def success_rate(events: Iterable[Event], every: float) -> Chart:
    """Returns which share of the jobs that ended did finish, over time.

    Args:
        events: those of END_EVENTS, by time.
        every: length of a span, seconds.
    """
    ended: Counter[int] = Counter()
    finished: Counter[int] = Counter()
    for event in events:
        span = int(seconds_at(event) // every)
        ended[span] += 1
        finished[span] += event.get("event_type") == "job_completed"
    rows = [
        {"since": span * every, "ended": count, "finished": finished[span], "rate": finished[span] / count}
        for span, count in sorted(ended.items())
    ]
    table = frame(rows, SUCCESS_TYPES)
    spans = range(min(ended), min(max(ended) + 1, min(ended) + 2000)) if ended else range(0)
    values = [finished[span] / ended[span] if ended[span] else None for span in spans]
    first, last = (str(table["since"].iloc[i])[:19] if rows else "" for i in (0, -1))

    def draw(ax: Any) -> None:
        ax.plot(table["since"], table["rate"].astype(float), marker="o", color="#15803d")
        ax.set_ylim(0, 1.05)

    title = f"Jobs that finished, of those that ended in each {_SPANS.get(every) or length(every)}"
    return Chart(title, table, line_svg(title, values, first, last if last != first else ""), draw)


def conformance(events: Iterable[Event], graph: Graph) -> Chart:
    """Returns how the transitions that happened lie over the declared graph.

    Args:
        events: ``state_finished`` rows of the blueprint's jobs.
        graph: as declared.
    """
    seen = Counter((str(event["state"]), str(event["next_state"])) for event in events if event.get("next_state"))
    declared = list(dict.fromkeys((edge.source, edge.target) for edge in graph.edges))
    unexpected = [pair for pair in seen if pair not in set(declared)]
    verdicts = {pair: "declared" if pair in seen else "missing" for pair in declared} | dict.fromkeys(
        unexpected, "unexpected"
    )
    rows = [
        {"source": source, "target": target, "count": seen[source, target], "verdict": verdict}
        for (source, target), verdict in verdicts.items()
    ]
    marked = [
        edge if seen[edge.source, edge.target] else replace(edge, label=f"{edge.label} (never)".strip())
        for edge in graph.edges
    ]
    extra = [Edge(source, target, EdgeKind.DECLARED, "unexpected") for source, target in unexpected]
    drawn = Graph(graph.name, graph.states, (*marked, *extra))

    def draw(ax: Any) -> None:
        colours = {"declared": "#2f5fd0", "missing": "#d5dbe3", "unexpected": "#b91c1c"}
        names = [f"{row['source']} → {row['target']}" for row in rows]
        ax.barh(names, [row["count"] for row in rows], color=[colours[str(row["verdict"])] for row in rows])
        ax.invert_yaxis()
        ax.set_xlabel("times taken")

    title = f"Transitions of {graph.name}"
    picture = svg(drawn, visited={name for pair in seen for name in pair}, edge_counts=dict(seen))
    return Chart(title, frame(rows, CONFORMANCE_TYPES), picture, draw)


def _percentile(values: Sequence[float], share: float) -> float:
    """Returns the smallest value that at least this share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[math.ceil(len(ordered) * share) - 1]
