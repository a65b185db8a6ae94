"""Analysis: tables with fixed types, pictures that need nothing, and what they say is true."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
import pytest

from avtomatika import ActionFactory, StateMachineBlueprint
from avtomatika.blueprints import Edge, Graph, State
from avtomatika.notebook import Workbench, analysis
from avtomatika.notebook.history_views import HistoryViews

from .events import STORY, history

GRAPH = Graph(
    "orders",
    (State("ask", is_start=True), State("lost", is_end=True), State("done", is_end=True)),
    (Edge("ask", "done"), Edge("ask", "lost")),
)
HOSTILE = "<script>\x00'\""


def _types(frame: pd.DataFrame) -> dict[str, str]:
    return {name: str(kind) for name, kind in frame.dtypes.items()}


def test_tasks_have_a_row_for_each_attempt() -> None:
    """When it was sent, when begun, when ended, by whom, and how."""
    frame = analysis.tasks_frame(event for event in STORY if event["event_type"] in analysis.TASK_EVENTS)

    assert frame["outcome"].tolist() == ["failed", "finished"]
    assert frame["worker_id"].tolist() == ["w-1", "w-2"]
    assert frame["waited"].dt.total_seconds().tolist() == [1.0, 1.0]
    assert frame["took"].dt.total_seconds().tolist() == [1.0, 1.0]
    assert frame["code"].tolist()[0] == "TRANSIENT_ERROR"


@pytest.mark.parametrize("events", [[], STORY], ids=["empty", "full"])
def test_types_do_not_depend_on_the_rows(events: list[dict[str, Any]]) -> None:
    """An empty table joins and plots like a full one."""
    ends = [event for event in events if event["event_type"] in analysis.END_EVENTS]
    frames = {
        "tasks": (
            analysis.tasks_frame([e for e in events if e["event_type"] in analysis.TASK_EVENTS]),
            analysis.TASK_TYPES,
        ),
        "timeline": (analysis.timeline([("j", events)]).frame, analysis.TIMELINE_TYPES),
        "durations": (analysis.durations([("a", 1.0)] * bool(events), "t").frame, analysis.DURATION_TYPES),
        "success": (analysis.success_rate(ends, 60.0).frame, analysis.SUCCESS_TYPES),
        "conformance": (analysis.conformance(events, GRAPH).frame, analysis.CONFORMANCE_TYPES),
    }

    for name, (frame, types) in frames.items():
        assert _types(frame) == dict(types), name


def test_durations_tell_median_and_tail() -> None:
    """The largest total comes first."""
    frame = analysis.durations([("fast", 1.0)] * 5 + [("slow", float(n)) for n in range(1, 101)], "t").frame

    assert frame["name"].tolist() == ["slow", "fast"]
    slow = frame.iloc[0]
    assert (slow["median"].total_seconds(), slow["p95"].total_seconds(), slow["count"]) == (50.5, 95.0, 100)


def test_success_rate_counts_each_span() -> None:
    """Two of three jobs finished in the first minute; a minute without an end is no row."""
    rows = [("job_completed", "a")] * 2 + [("job_failed", "a")]
    events = [*history(*rows), {**history(("job_completed", "a"))[0], "timestamp": "2026-01-01T00:05:00+00:00"}]

    chart = analysis.success_rate(events, 60.0)

    assert chart.frame["ended"].tolist() == [3, 1]
    assert chart.frame["rate"].tolist() == [pytest.approx(2 / 3), 1.0]
    assert chart.title == "Jobs that finished, of those that ended in each minute"
    assert ">67%</text>" in chart.svg


def test_conformance_marks_missing_and_unexpected_edges() -> None:
    """What was never taken, and what the graph does not know."""
    events = history(
        ("state_finished", "ask", {"next_state": "done"}), ("state_finished", "ask", {"next_state": "moon"})
    )

    chart = analysis.conformance(events, GRAPH)

    assert {(row.source, row.target): (row.count, row.verdict) for row in chart.frame.itertuples(index=False)} == {
        ("ask", "done"): (1, "declared"),
        ("ask", "lost"): (0, "missing"),
        ("ask", "moon"): (1, "unexpected"),
    }
    assert "unexpected" in chart.svg
    assert "(never)" in chart.svg


def test_timeline_of_many_jobs_has_a_line_for_each() -> None:
    """Of one job its states and tasks, of several their states, job by job."""
    one, many = analysis.timeline([("j1", STORY)]), analysis.timeline([("j1", STORY), ("j2", STORY)])

    assert one.svg.count("<rect") == 1 + 6
    assert many.svg.count("<rect") == 1 + 2 * 2
    assert many.frame["job_id"].nunique() == 2


def test_pictures_are_well_formed_whatever_the_names() -> None:
    """No value of a job can break a picture, and each can be drawn with matplotlib."""
    mpl.use("agg")
    events = history(
        ("state_started", HOSTILE), ("state_finished", HOSTILE, {"next_state": HOSTILE}), ("job_failed", HOSTILE)
    )
    charts = [
        analysis.timeline([(HOSTILE, events)]),
        analysis.durations([(HOSTILE, 1.0)], HOSTILE),
        analysis.success_rate(events[2:], 60.0),
        analysis.conformance(events, Graph(HOSTILE, (State(HOSTILE, is_start=True),))),
        analysis.timeline([]),
        analysis.durations([], "none"),
        analysis.success_rate([], 60.0),
    ]

    for chart in charts:
        ET.fromstring(chart.svg)
        bundle = chart._repr_mimebundle_()
        assert "<script>" not in bundle["text/html"]
        figure = chart.plot().figure
        figure.clear()
        mpl.pyplot.close(figure)


def test_workbench_analyses_its_history(workbench: Workbench, doubling: StateMachineBlueprint, tmp_path: Path) -> None:
    """Everything over real jobs, filters included, also from the file alone."""
    bp = StateMachineBlueprint("asking")

    @bp.handler_for("ask", is_start=True)
    async def ask(actions: ActionFactory) -> None:
        actions.dispatch_task("shout", {}, transitions={"success": "done"})

    @bp.handler_for("done", is_end=True)
    async def done() -> None: ...

    @workbench.task
    def shout() -> None: ...

    job = workbench.submit(bp).wait(30)
    other = workbench.submit(doubling).wait(30)

    assert workbench.tasks(job)["task_type"].tolist() == ["shout"]
    assert len(workbench.tasks(blueprint="doubling")) == 0
    assert set(workbench.durations().frame["name"]) == {"ask", "done", "check", "rejected"}
    assert workbench.durations("task").frame["name"].tolist() == ["shout"]
    assert set(workbench.durations("blueprint", blueprint="asking").frame["name"]) == {"asking"}
    assert workbench.success_rate("day").frame["finished"].sum() == 1
    assert set(workbench.conformance("doubling").frame["verdict"]) == {"declared", "missing"}
    assert workbench.timeline(job, other.id).frame["job_id"].nunique() == 2
    views = HistoryViews(workbench._config.HISTORY_DATABASE_URI)
    assert len(views.tasks(since="2100-01-01T00:00:00+00:00")) == 0
    with pytest.raises(ValueError, match="by state, blueprint, worker, task; got 'moon'"):
        views.durations("moon")
    for wrong in ("moon", 0, -1.0):
        with pytest.raises(ValueError, match="every is"):
            views.success_rate(wrong)
    with pytest.raises(ValueError, match="narrow them down"):
        HistoryViews(workbench._config.HISTORY_DATABASE_URI, cap=1).durations()
