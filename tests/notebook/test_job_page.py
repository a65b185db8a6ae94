"""The page of a job: true, escaped, and never in the way."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avtomatika import ActionFactory, StateMachineBlueprint
from avtomatika.notebook import job_page

HOSTILE = "</pre><script>alert(1)</script><img src=x onerror=alert(2)>'\"&\x00\u202e"
JOB = {
    "id": "7f3a",
    "blueprint_name": "orders",
    "status": "finished",
    "current_state": "done",
    "created_at": 100.0,
    "updated_at": 101.25,
    "progress": 1.0,
    "progress_message": None,
    "error_message": None,
    "state_history": {"n": 1},
    "result": {"sum": 3},
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


class Tags(HTMLParser):
    """Collects tags and attributes, and refuses a page whose tags do not close in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Takes note of one."""
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in {"img", "br"}:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Closes the last one."""
        assert self._open.pop() == tag


@pytest.fixture
def blueprint() -> StateMachineBlueprint:
    """A blueprint of two states."""
    bp = StateMachineBlueprint("orders")

    @bp.handler_for("begin", is_start=True)
    async def begin(actions: ActionFactory) -> None:
        actions.transition_to("done")

    @bp.handler_for("done", is_end=True)
    async def done() -> None: ...

    return bp


def _event(kind: str, second: float = 0.0, **members: Any) -> dict[str, Any]:
    return {"timestamp": f"2026-01-01T00:00:{second:06.3f}+00:00", "event_type": kind, **members}


def test_finished_job_shows_result_state_and_duration() -> None:
    """The result is open, the data is there to be opened."""
    page = job_page.html(JOB, [], None)

    assert "✔ finished" in page
    assert "1.25 s" in page
    assert "<details open><summary>Result</summary>" in page
    assert "<details><summary>Data (state_history)</summary>" in page


@pytest.mark.parametrize("status", ["failed", "error", "quarantined", "cancelled", "pending", "running", "new_word"])
def test_status_is_told_by_icon_and_word(status: str) -> None:
    """A status can be told without seeing colours, and a word that is new does no harm."""
    page = job_page.html({**JOB, "status": status, "error_message": "because of that"}, [], None)

    assert any(f"{icon} {status}</span>" in page for icon in "✖⚠⊘○●")
    assert "because of that" in page


def test_job_with_hostile_values_is_escaped(blueprint: StateMachineBlueprint) -> None:
    """Whatever stands in a job, it stays text."""
    hostile = dict.fromkeys(("id", "blueprint_name", "current_state", "status", "error_message"), HOSTILE)
    job = {**JOB, **hostile, "progress_message": HOSTILE, "result": {HOSTILE: [HOSTILE]}, "state_history": HOSTILE}
    events = [_event("state_started", state=HOSTILE, worker_id=HOSTILE)]

    page = Tags(job_page.html(job, events, blueprint.graph))

    assert "script" not in page.tags
    assert page.tags.count("img") == 1
    assert not any(name.startswith("on") for name in page.attributes)


@settings(max_examples=60)
@given(value=JSON, text=st.text(), progress=st.none() | st.floats())
def test_page_is_well_formed_for_any_job(value: Any, text: str, progress: float | None) -> None:
    """No value of a job can break the page."""
    job = {**JOB, "status": text, "current_state": text, "progress": progress, "result": value, "error_message": text}

    page = Tags(job_page.html({**job, "state_history": value}, [_event(text, state=text, duration_ms=progress)], None))

    assert "script" not in page.tags


@pytest.mark.parametrize(("status", "bars"), [("running", 1), ("finished", 1), ("failed", 0), ("cancelled", 0)])
def test_progress_is_shown_where_it_means_something(status: str, bars: int) -> None:
    """A job that broke off shows no empty bar."""
    page = job_page.html({**JOB, "status": status, "progress": 0.5}, [], None)

    assert page.count('role="progressbar" aria-valuenow="50"') == bars


def test_short_life_is_told_in_milliseconds() -> None:
    """A job of four milliseconds did not take 0.00 s."""
    assert ">4 ms<" in job_page.html({**JOB, "updated_at": 100.004}, [], None)


def test_picture_lights_where_the_job_stands(blueprint: StateMachineBlueprint) -> None:
    """The graph tells the state of a running job, and where a failed one broke."""
    events = [
        _event("state_started", state="begin"),
        _event("state_finished", state="begin", next_state="done", duration_ms=1.0),
        _event("state_started", state="done"),
    ]

    running = job_page.html({**JOB, "status": "running"}, events, blueprint.graph)
    broken = job_page.html({**JOB, "status": "quarantined"}, events, blueprint.graph)

    assert "now at done" in running
    assert "failed at done" in broken
    assert "now at" not in broken


def test_timeline_counts_from_the_first_event() -> None:
    """Each row says when, what, where, who and how long."""
    events = [_event("job_created"), _event("task_finished", 1.5, state="ask", worker_id="w-1", duration_ms=1234.5)]

    page = job_page.html(JOB, events, None)

    assert "Timeline (2 events)" in page
    for cell in ("1.500 s", "task_finished", "ask", "w-1", "1,234.5 ms"):
        assert f">{cell}</td>" in page


def test_long_timeline_and_long_data_are_cut_with_a_note() -> None:
    """A notebook must not grow by megabytes; what is left out is said."""
    events = [_event("job_created")] + [_event("state_started", 1.0, state=f"s{number}") for number in range(300)]

    page = job_page.html({**JOB, "result": "x" * 100_000}, events, None)

    assert "<details><summary>Result</summary>" in page
    assert "The first 101 events are left out." in page
    assert ">s299<" in page
    assert ">s99<" not in page
    assert "80,002 more characters" in page
    assert len(page) < 100_000
