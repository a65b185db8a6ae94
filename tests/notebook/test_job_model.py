"""The view model of a job: true, small, and free of secrets."""

from __future__ import annotations

import json
from typing import Any

import pytest

from avtomatika import ActionFactory, StateMachineBlueprint
from avtomatika.blueprints import Graph
from avtomatika.notebook import answers, job_model

from .events import STORY, history

JOB = {
    "id": "7f3a",
    "blueprint_name": "orders",
    "status": "running",
    "current_state": "ask",
    "created_at": 100.0,
    "updated_at": 101.25,
    "progress": 0.5,
}


@pytest.fixture
def graph() -> Graph:
    """A graph of two states."""
    bp = StateMachineBlueprint("orders")

    @bp.handler_for("ask", is_start=True)
    async def ask(actions: ActionFactory) -> None:
        actions.dispatch_task("shout", {}, transitions={"success": "done"})

    @bp.handler_for("done", is_end=True)
    async def done() -> None: ...

    return bp.graph


@pytest.mark.parametrize(
    ("status", "actions", "progress"),
    [("running", ["cancel"], 0.5), ("finished", [], 0.5), ("quarantined", ["requeue"], None), ("cancelled", [], None)],
)
def test_head_offers_what_is_possible(status: str, actions: list[str], progress: float | None) -> None:
    """A button is there when the engine would do it; a bar where progress means something."""
    head = job_model.head({**JOB, "status": status})

    assert (head["actions"], head["progress"]) == (actions, progress)


def test_approval_is_shown_without_its_token() -> None:
    """The URL of an approval holds a token: what a view shows may be saved to disk."""
    approval = {"message": "Ship?", "decisions": ["yes", "no"], "url": "http://e/x?token=SECRET", "expires_at": 200.0}

    head = job_model.head({**JOB, "status": "waiting_for_human", "approval": approval})

    assert head["approval"] == {"message": "Ship?", "decisions": ["yes", "no"], "expires_at": 200.0}
    assert "SECRET" not in json.dumps(head)


def test_lit_names_elements_of_the_drawing(graph: Graph) -> None:
    """Every id that is lit is one of the drawing."""
    drawing = job_model.drawing(graph)

    lit = job_model.now_lit({**JOB, "current_state": "done"}, STORY, graph)

    assert lit == {
        "current": "state-done",
        "visited": ["state-ask", "state-done"],
        "failed": [],
        "edges": {"edge-ask--done": 1},
    }
    assert all(f'id="{name}"' in drawing for name in [lit["current"], *lit["visited"], *lit["edges"]])


def test_broken_job_is_lit_as_failed(graph: Graph) -> None:
    """The state where it broke off is marked, and no state is current."""
    lit = job_model.now_lit({**JOB, "status": "quarantined"}, STORY[:5], graph)

    assert (lit["current"], lit["failed"]) == ("", ["state-ask"])


def test_state_that_the_graph_lacks_lights_nothing(graph: Graph) -> None:
    """A job may have run an older version."""
    assert job_model.now_lit({**JOB, "current_state": "gone"}, [], graph)["current"] == ""


def test_rows_are_bounded() -> None:
    """A job with thousands of events does not make the view grow."""
    events = history(*[("state_started", f"s{number}") for number in range(3000)])

    assert len(job_model.event_rows(events)) == 200
    assert len(job_model.bar_rows(events)) == 120
    assert job_model.event_rows([]) == job_model.bar_rows([]) == []


def test_event_rows_say_what_happened() -> None:
    """When, what, where, who, how long, and what is special."""
    rows = job_model.event_rows(STORY)

    assert rows[4] == [5, 4.0, "task_failed", "ask", "w-1", 1000.0, "TRANSIENT_ERROR: hoarse"]
    assert rows[7][6] == "attempt 2"
    assert rows[9][6] == "to done"


def test_moment_shows_the_past(graph: Graph) -> None:
    """At an event, the graph, the data and what changed are those of then."""
    then = answers.moment(STORY, 3, graph)

    assert then["lit"]["current"] == "state-ask"
    assert json.loads(then["data"]) == {"n": 1}
    assert then["changes"] == [["n", None, "1"]]
    assert answers.moment(STORY, 99, graph)["sequence"] == 13
    assert answers.moment(STORY, 0, graph)["sequence"] == 1
    with pytest.raises(ValueError, match="no history yet"):
        answers.moment([], 1, graph)


def test_state_answer_has_source_data_and_attempts() -> None:
    """A click on a state tells what it is and all that happened there."""
    told = answers.state(STORY, "ask", {"ask": [("ask", "", "async def ask(): ...")]})

    (visit,) = told["visits"]
    assert told["handlers"] == [{"name": "ask", "condition": "", "source": "async def ask(): ..."}]
    assert json.loads(visit["data_in"]) == {}
    assert json.loads(visit["data_out"]) == {"n": 1, "said": "A"}
    assert [(one["attempt"], one["worker"], one["ok"]) for one in visit["attempts"]] == [
        (1, "w-1", False),
        (2, "w-2", True),
    ]
    assert (visit["number"], visit["next"], visit["is_here"]) == (1, "done", False)


def test_state_that_the_job_is_in_has_no_data_out() -> None:
    """What is not over is not shown as if it were."""
    (visit,) = answers.state(STORY[:2], "ask", {}, is_here=True)["visits"]

    assert visit["data_out"] is None
    assert visit["is_here"]


def test_state_never_entered_has_no_visits() -> None:
    """A click on any state is answered."""
    assert answers.state(STORY, "nowhere", {}) == {"name": "nowhere", "handlers": [], "visits": []}


def test_only_the_newest_visits_are_told() -> None:
    """A loop of a thousand rounds fits into the panel."""
    rows: list[Any] = [("state_started", "a"), ("state_finished", "a", {"next_state": "a"})] * 50

    visits = answers.state(history(*rows), "a", {})["visits"]

    assert [visit["number"] for visit in visits] == list(range(31, 51))
