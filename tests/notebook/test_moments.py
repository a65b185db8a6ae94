"""Moments of a job: what is lit, what the data were, what changed."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from avtomatika.notebook.moments import Change, Lights, changes, data_at, lights_at

from .events import STORY, history

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def test_lights_follow_the_job() -> None:
    """The current state moves, visited ones stay, a taken edge is counted."""
    assert lights_at(STORY[:2]) == Lights("ask", ("ask",), (), {})
    assert lights_at(STORY) == Lights("done", ("ask", "done"), (), {("ask", "done"): 1})


def test_state_entered_twice_counts_each_step() -> None:
    """A loop shows how often it was taken."""
    step = [("state_started", "a"), ("state_finished", "a", {"next_state": "a"})]

    assert lights_at(history(*step, *step, *step)).steps == {("a", "a"): 3}


def test_broken_job_is_lit_as_failed_until_it_is_requeued() -> None:
    """Where a job broke off is marked; a requeue makes it the current state again."""
    broken = history(("state_started", "a"), ("job_quarantined", "a"))
    again = history(("state_started", "a"), ("job_quarantined", "a"), ("job_requeued", "a"))

    assert lights_at(broken) == Lights("", ("a",), ("a",))
    assert lights_at(again) == Lights("a", ("a",))


def test_data_are_those_of_the_last_event_that_changed_them() -> None:
    """Events without a snapshot of the data change nothing."""
    assert data_at(STORY[:2]) == {}
    assert data_at(STORY[:8]) == {"n": 1}
    assert data_at(STORY) == {"n": 1, "said": "A"}
    assert data_at([]) == {}


def test_changes_name_the_path_of_each_difference() -> None:
    """What was added, removed and replaced, deep inside too."""
    before = {"a": 1, "days": [{"rain": 0.5}, 2], "gone": "x"}
    after = {"a": 1, "days": [{"rain": 0.7}, 2, 3], "new": None}

    assert changes(before, after) == [
        Change("days[0].rain", "0.5", "0.7"),
        Change("days[2]", None, "3"),
        Change("gone", '"x"', None),
        Change("new", None, "null"),
    ]


def test_number_and_boolean_that_compare_equal_are_a_change() -> None:
    """True is not 1 for whoever reads the data."""
    assert changes({"a": 1}, {"a": True}) == [Change("a", "1", "true")]


def test_long_values_and_many_changes_are_cut() -> None:
    """A view stays small whatever the data."""
    assert changes({}, {"a": "x" * 1000}) == [Change("a", None, '"' + "x" * 299 + " … 702 more characters")]
    assert len(changes({}, {str(n): n for n in range(1000)})) == 200


@given(value=JSON, other=JSON)
def test_equal_values_have_no_changes_and_unequal_ones_do(value: Any, other: Any) -> None:
    """No difference is overlooked, none invented."""
    assert changes(value, value) == []
    assert bool(changes(value, other)) == (repr(value) != repr(other) and not _same(value, other))


def _same(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[name], other[name]) for name in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)
