"""A job that asks a person."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from avtomatika.blueprints.requests import HumanApproval
from avtomatika.core.effects import RecordHistory, RunHandler, SetTimer
from avtomatika.core.events import Decided, TimerFired, TimerKind
from avtomatika.core.states import JobStatus
from avtomatika.core.waits import ApprovalWait

if TYPE_CHECKING:
    from .conftest import Machine

WAYS = {"approved": "charge", "rejected": "repair"}


def test_job_that_asks_waits_for_its_answer(machine: Machine) -> None:
    """It says what is asked, what may be answered and until when; nothing but a person and the timer wakes it."""
    machine.started()

    wait = machine.asks(timeout_seconds=60.0)

    assert (machine.job.status, machine.job.state) == (JobStatus.WAITING_FOR_HUMAN, "start")
    assert wait == ApprovalWait(machine.job.version, "Really?", WAYS, machine.now, machine.now + 60, "webhook")
    assert wait.decisions == ("approved", "rejected")
    assert machine.effects() == [
        RecordHistory(
            "approval_requested",
            "start",
            details={
                "message": "Really?",
                "decisions": ["approved", "rejected"],
                "integration": "webhook",
                "expires_at": machine.now + 60,
            },
        ),
        SetTimer(TimerKind.APPROVAL, machine.now + 60),
    ]


def test_question_without_a_time_limit_waits_for_ever(machine: Machine) -> None:
    """A person is something that wakes a job: no timer is needed."""
    machine.started().asks()

    assert machine.timers == {}


@pytest.mark.parametrize(("decision", "state"), [("approved", "charge"), ("rejected", "repair")])
def test_decision_leads_where_its_transition_leads(machine: Machine, decision: str, state: str) -> None:
    """Who decided what, and when, stands in the job's data and in its history."""
    machine.started().asks()
    machine.now += 30

    machine.decides(decision, comment="looks good")

    assert (machine.job.status, machine.job.state, machine.job.wait) == (JobStatus.RUNNING, state, None)
    facts = {"decision": decision, "by": "Ada", "via": "token", "comment": "looks good"}
    assert machine.history["approval"] == {**facts, "at": machine.now}
    assert machine.row("approval_received").details == facts
    assert machine.row("approval_received").duration == 30
    assert machine.effects(RunHandler) == [RunHandler(state, machine.now)]


def test_decision_counts_once(machine: Machine) -> None:
    """Two people answer: the first one counts."""
    wait = machine.started().asks()
    machine.decides("approved")

    assert machine.decides("rejected", wait=wait.number).ignored == "not_waiting"


def test_decision_for_an_earlier_wait_changes_nothing(machine: Machine) -> None:
    """A mail that was answered late does not answer the next question."""
    first = machine.started().asks(transitions={"approved": "start"})
    machine.decides("approved")
    machine.asks()

    assert machine.decides("approved", wait=first.number).ignored == "not_waiting"


@pytest.mark.parametrize("decision", ["perhaps", "expired", ""])
def test_decision_that_was_not_offered_changes_nothing(machine: Machine, decision: str) -> None:
    """Nobody can choose that the time is over."""
    machine.started().asks(transitions={**WAYS, "expired": "charge"}, timeout_seconds=5.0)

    assert machine.decides(decision).ignored == "unknown_decision"


def test_decision_in_time_forgets_the_time_limit(machine: Machine) -> None:
    """The machine checks that no timer is left behind."""
    machine.started().asks(timeout_seconds=5.0)

    machine.decides()

    assert machine.timers == {}


def test_question_that_nobody_answers_leads_where_expired_leads(machine: Machine) -> None:
    """The handler of that state finds why."""
    machine.started().asks(transitions={**WAYS, "expired": "charge"}, timeout_seconds=5.0)

    machine.fires(TimerKind.APPROVAL)

    assert (machine.job.status, machine.job.state, machine.job.wait) == (JobStatus.RUNNING, "charge", None)
    assert machine.history["last_error"]["code"] == "APPROVAL_EXPIRED"
    assert machine.row("approval_expired").duration == 5.0


def test_question_that_nobody_answers_without_a_way_fails_the_job(machine: Machine) -> None:
    """The question stands in the reason."""
    machine.started().asks(timeout_seconds=5.0)

    machine.fires(TimerKind.APPROVAL)

    assert machine.job.status is JobStatus.FAILED
    assert machine.history["last_error"]["message"] == "nobody decided within 5 s: Really?"


def test_decision_after_the_time_is_over_changes_nothing(machine: Machine) -> None:
    """Whichever is written first counts."""
    wait = machine.started().asks(transitions={**WAYS, "expired": "charge"}, timeout_seconds=5.0)
    machine.fires(TimerKind.APPROVAL)

    assert machine.decides("approved", wait=wait.number).ignored == "not_waiting"


def test_time_limit_that_fires_too_early_ends_nothing(machine: Machine) -> None:
    """The storage's moment counts."""
    machine.started().asks(timeout_seconds=5.0)

    assert machine.feed(TimerFired(TimerKind.APPROVAL)).ignored == "too_early"


def test_question_that_leads_nowhere_is_a_fault(machine: Machine) -> None:
    """It is told at once, not when somebody has answered."""
    machine.started()

    machine.returns(HumanApproval("Really?", {"approved": "chrage"}))

    assert machine.job.status is JobStatus.QUARANTINED
    assert "Did you mean 'charge'" in machine.history["last_error"]["message"]


def test_job_that_waits_for_a_person_can_be_cancelled(machine: Machine) -> None:
    """Nobody is asked any more."""
    wait = machine.started().asks(timeout_seconds=5.0)

    machine.cancel()

    assert (machine.job.status, machine.job.wait, machine.timers) == (JobStatus.CANCELLED, None, {})
    assert machine.decides(wait=wait.number).ignored


def test_decision_of_nobody_in_particular_is_written_without_a_name(machine: Machine) -> None:
    """What is not known is left out."""
    machine.started().asks()

    machine.feed(Decided(machine.job.version, "approved"))

    assert machine.row("approval_received").details == {"decision": "approved"}


def test_two_waits_of_a_job_have_different_numbers(machine: Machine) -> None:
    """So the token of one is none of the other."""
    first = machine.started().asks(transitions={"approved": "start"})
    machine.decides()
    second = machine.asks()

    assert first.number != second.number
    assert replace(first, number=second.number, asked_at=second.asked_at).transitions != second.transitions
