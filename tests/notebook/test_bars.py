"""Bars of a timeline."""

from __future__ import annotations

from avtomatika.notebook.bars import Bar, BarKind, job_bars
from avtomatika.notebook.moments import seconds_at

from .events import STORY, history

ZERO = seconds_at(STORY[0])


def test_job_becomes_bars_of_states_waits_and_attempts() -> None:
    """Each state is a bar; each try of its task has one for waiting and one for the work."""
    found = [(bar.kind, bar.label, bar.start - ZERO, bar.until(0) - ZERO, bar.note) for bar in job_bars(STORY)]

    assert found == [
        (BarKind.STATE, "ask", 1, 9, ""),
        (BarKind.WAIT, "shout", 2, 3, "waits for a worker"),
        (BarKind.FAILED, "shout", 3, 4, "w-1, attempt 1, TRANSIENT_ERROR: hoarse"),
        (BarKind.WAIT, "shout", 6, 7, "waits for a worker"),
        (BarKind.WORK, "shout", 7, 8, "w-2, attempt 2"),
        (BarKind.STATE, "done", 10, 11, ""),
    ]


def test_bar_of_a_running_job_has_no_end() -> None:
    """What lasts ends now, whenever that is."""
    bars = job_bars(STORY[:4])

    assert [bar.end is None for bar in bars] == [True, False, True]
    assert bars[0].until(ZERO + 100) == ZERO + 100


def test_end_of_the_job_ends_every_bar() -> None:
    """A cancelled job leaves nothing open."""
    bars = job_bars(history(("state_started", "a"), ("task_dispatched", "a", {"task_id": "t"}), ("job_cancelled", "a")))

    assert [bar.end is None for bar in bars] == [False, False]


def test_failed_handler_is_noted_at_its_state() -> None:
    """The bar says why the state took so long."""
    details = {"code": "TRANSIENT_ERROR", "message": "oops"}
    (bar,) = job_bars(history(("state_started", "a"), ("state_failed", "a", {"details": details})))

    assert bar.note == "TRANSIENT_ERROR: oops"


def test_events_that_begin_in_the_middle_do_no_harm() -> None:
    """A history that was trimmed still gives what it has."""
    assert job_bars(STORY[8:10]) == []
    assert isinstance(job_bars(STORY[6:])[0], Bar)
