"""Reputation: what results make of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avtomatika.core.effects import RecordHistory
from avtomatika.core.reputation import BROKEN, HALF_LIFE, SPOILED, Mark, Reputation, Scale, after, marks

CODES = [*sorted(BROKEN | SPOILED), "TRANSIENT_ERROR", "MY_OWN_ERROR", ""]


@pytest.mark.parametrize(
    ("code", "worth"),
    [
        ("", 0.001),
        ("CONTRACT_VIOLATION_ERROR", -0.2),
        ("PERMANENT_ERROR", -0.05),
        ("SECURITY_ERROR", -0.05),
        ("DEPENDENCY_ERROR", -0.05),
        ("WORKER_LOST", -0.05),
        ("TRANSIENT_ERROR", 0.0),
        ("RESOURCE_EXHAUSTED_ERROR", 0.0),
        ("TIMEOUT_ERROR", 0.0),
        ("INTERNAL_ERROR", 0.0),
        ("INVALID_INPUT_ERROR", 0.0),
        ("INTEGRITY_MISMATCH_ERROR", 0.0),
        ("DISPATCH_TIMEOUT", 0.0),
        ("RESULT_TIMEOUT", 0.0),
        ("MY_OWN_ERROR", 0.0),
    ],
)
def test_attempt_counts_what_the_published_engine_counts(code: str, worth: float) -> None:
    """The numbers of its configuration, for the codes for which it was seen to use them; its lost workers were not."""
    assert Scale().of(code) == worth


def test_worker_begins_with_1_and_goes_up_and_down_by_what_it_does() -> None:
    """A penalty and a reward are added, and no worker gets above 1."""
    spoiled = after(Reputation(), -0.05, 0.0)

    assert spoiled == Reputation(0.95, 0.0)
    assert after(spoiled, 0.001, 0.0).score == pytest.approx(0.951)
    assert after(Reputation(), 0.001, 0.0).score == 1.0


def test_worker_that_spoils_everything_keeps_a_little() -> None:
    """Costs are divided by it."""
    reputation = Reputation()
    for _ in range(10):
        reputation = after(reputation, -0.2, 0.0)

    assert reputation.score == 0.01


def test_time_heals() -> None:
    """Half of what is missing comes back in a half-life, so that nobody is barred for ever."""
    assert Reputation(0.5, 100.0).now(100.0 + HALF_LIFE) == pytest.approx(0.75)
    assert Reputation(0.5, 100.0).now(50.0) == 0.5


@given(st.lists(st.tuples(st.sampled_from(CODES), st.floats(0, 1e6)), max_size=200))
def test_reputation_stays_above_0_and_up_to_1(history: list[tuple[str, float]]) -> None:
    """Whatever happens; so a cost can be divided by it."""
    reputation, moment = Reputation(), 0.0
    for code, pause in history:
        moment += pause
        reputation = after(reputation, Scale().of(code), moment)
        assert 0.0 < reputation.score <= 1.0


def test_marks_are_what_ended_at_a_worker() -> None:
    """Failures with their codes, successes, and nothing for what was called off or never began."""
    rows = (
        RecordHistory("task_failed", "s", worker_id="w1", details={"code": "TIMEOUT_ERROR"}),
        RecordHistory("task_finished", "s", worker_id="w2", details={"status": "nobody_home"}),
        RecordHistory("task_finished", "s", worker_id="w3", details={"status": "cancelled"}),
        RecordHistory("task_failed", "s", details={"code": "DISPATCH_TIMEOUT"}),
        RecordHistory("state_finished", "s"),
    )

    assert marks(rows) == [Mark("w1", "TIMEOUT_ERROR"), Mark("w2")]
