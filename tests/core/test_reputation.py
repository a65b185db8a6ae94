"""Reputation: what results make of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avtomatika.core.effects import RecordHistory
from avtomatika.core.reputation import FACTORS, HALF_LIFE, REWARD, Mark, Reputation, after, marks

CODES = [*FACTORS, "MY_OWN_ERROR", ""]


def test_failure_multiplies_and_success_closes_a_part_of_the_gap() -> None:
    """The published rule."""
    lost = after(Reputation(), "WORKER_LOST", 0.0)
    assert lost == Reputation(0.7, 0.0)

    assert after(lost, "", 0.0).score == pytest.approx(0.7 + 0.3 * REWARD)


def test_time_heals() -> None:
    """Half of what is missing comes back in a half-life, so that nobody is barred for ever."""
    assert Reputation(0.5, 100.0).now(100.0 + HALF_LIFE) == pytest.approx(0.75)
    assert Reputation(0.5, 100.0).now(50.0) == 0.5


def test_failure_that_is_the_tasks_fault_costs_nothing() -> None:
    """A worker is not blamed for bad input, nor for a deadline that passed before it began."""
    for code in ("INVALID_INPUT_ERROR", "PERMANENT_ERROR", "DISPATCH_TIMEOUT", "RESULT_TIMEOUT"):
        assert after(Reputation(), code, 5.0).score == 1.0


@given(st.lists(st.tuples(st.sampled_from(CODES), st.floats(0, 1e6)), max_size=200))
def test_reputation_stays_above_0_and_up_to_1(history: list[tuple[str, float]]) -> None:
    """Whatever happens; so a cost can be divided by it."""
    reputation, moment = Reputation(), 0.0
    for code, pause in history:
        moment += pause
        reputation = after(reputation, code, moment)
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
