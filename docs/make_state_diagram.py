"""Draws the diagram in ``docs/explanation/job-states.md`` from the table that the engine decides by.

Run it after the table has changed: ``python docs/make_state_diagram.py``. A test fails while the page is out of date.
"""

from __future__ import annotations

import inspect
from collections import defaultdict
from pathlib import Path
from typing import get_args

from avtomatika.core.events import Event
from avtomatika.core.states import TERMINAL, TRANSITIONS, JobStatus

PAGE = Path(__file__).parent / "explanation" / "job-states.md"
BEGIN, END = "<!-- drawn by docs/make_state_diagram.py -->\n", "<!-- end of what is drawn -->\n"
LIVE = [status for status in JobStatus if status not in TERMINAL]
ANY_LIVE = "any_live_status"
EVENTS = get_args(Event)

Edge = tuple[str, JobStatus]


def edges() -> dict[Edge, list[str]]:
    """Returns (from, to) to the names of the events that lead there; what every live status has is drawn once."""
    found: dict[Edge, list[str]] = defaultdict(list)
    for event in (one.__name__ for one in EVENTS):
        for target in JobStatus:
            sources = [status for status in JobStatus if target in TRANSITIONS.get((status, event), ())]
            if set(LIVE) <= set(sources):
                found[ANY_LIVE, target].append(event)
                sources = [source for source in sources if source not in LIVE]
            for source in sources:
                if source is not target:
                    found[source, target].append(event)
    return found


def diagram() -> str:
    """Returns the states and edges as Mermaid text."""
    lines = ["stateDiagram-v2", f"    [*] --> {JobStatus.PENDING} : JobSubmitted"]
    lines += [f"    {source} --> {target} : {', '.join(events)}" for (source, target), events in edges().items()]
    lines += [f"    {status} --> [*]" for status in JobStatus if status in TERMINAL]
    return "\n".join(lines)


def legend() -> str:
    """Returns what each event means, in the words of its class."""
    rows = [f"| `{one.__name__}` | {(inspect.getdoc(one) or '').splitlines()[0]} |" for one in EVENTS]
    return "\n".join(["| Event | Meaning |", "|---|---|", *rows])


def drawn() -> str:
    """Returns the part of the page that follows from the table."""
    return f"{BEGIN}\n```mermaid\n{diagram()}\n```\n\n{legend()}\n\n{END}"


def redraw(page: str) -> str:
    """Returns the page with its drawn part brought up to date.

    Raises:
        ValueError: the marks around the drawn part are missing.
    """
    before, rest = page.split(BEGIN)
    return before + drawn() + rest.split(END)[1]


if __name__ == "__main__":
    PAGE.write_text(redraw(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
