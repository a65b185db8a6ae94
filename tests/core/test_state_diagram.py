"""The page on the life of a job shows the table that the engine decides by."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from avtomatika.core.states import TERMINAL, TRANSITIONS, JobStatus

SCRIPT = Path(__file__).parents[2] / "docs" / "make_state_diagram.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """Returns the script that draws the page."""
    spec = importlib.util.spec_from_file_location("make_state_diagram", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_page_is_up_to_date(script: ModuleType) -> None:
    """Whoever changes the table runs docs/make_state_diagram.py and commits the page."""
    page = script.PAGE.read_text(encoding="utf-8")

    assert script.redraw(page) == page


def test_diagram_has_every_change_of_status(script: ModuleType) -> None:
    """Read back, the arrows are the table, without what leaves the status as it is."""
    live = set(JobStatus) - TERMINAL
    found = set()
    for source, target, events in re.findall(r"^    (\w+) --> (\w+) : (.+)$", script.diagram(), re.MULTILINE):
        sources = live if source == script.ANY_LIVE else {JobStatus(source)}
        ways = {(one, event, JobStatus(target)) for one in sources for event in events.split(", ")}
        found |= {way for way in ways if way[0] is not way[2]}

    assert found == {
        (status, event, after)
        for (status, event), leads_to in TRANSITIONS.items()
        for after in leads_to
        if after is not status
    }


def test_every_status_is_explained(script: ModuleType) -> None:
    """No status is left out of the page."""
    page = script.PAGE.read_text(encoding="utf-8")

    assert [status for status in JobStatus if f"`{status}`" not in page] == []
