"""How a job goes from state to state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from avtomatika.blueprints.requests import Transition
from avtomatika.core.document import Document
from avtomatika.core.effects import RecordHistory, RunHandler
from avtomatika.core.states import JobStatus
from avtomatika.core.steps import Limits

if TYPE_CHECKING:
    from tests.core.conftest import Machine


def test_transition_to_a_state_runs_its_handler(machine: Machine) -> None:
    """The next handler is due at once, and the history has both states."""
    machine.started()
    machine.now += 2

    machine.goes_to("charge")

    assert (machine.job.status, machine.job.state, machine.job.transitions) == (JobStatus.RUNNING, "charge", 1)
    assert machine.job.entered_at == machine.now
    assert machine.effects() == [
        RecordHistory("state_finished", "start", next_state="charge", duration=2.0),
        RecordHistory("state_started", "charge", previous_state="start"),
        RunHandler("charge", machine.now),
    ]


def test_transition_after_a_change_records_the_data(machine: Machine) -> None:
    """What a handler left is saved with the job, and recorded once, in the row of its state."""
    machine.started()

    machine.returns(Transition("charge"), history={"total": 3})

    assert machine.history == {"total": 3}
    assert [effect.state_history for effect in machine.effects(RecordHistory)] == [Document.of({"total": 3}), None]


def test_transition_without_a_change_records_no_data(machine: Machine) -> None:
    """Unchanged data stay the very same object, so that nothing of them is written again."""
    machine.started(state_history=Document.of({"total": 3}))
    before = machine.job.state_history

    machine.returns(Transition("charge"), history={"total": 3})

    assert machine.job.state_history is before
    assert {effect.state_history for effect in machine.effects(RecordHistory)} == {None}


def test_transition_into_the_same_state_counts(machine: Machine) -> None:
    """A state may lead to itself."""
    machine.started().goes_to("start")

    assert (machine.job.state, machine.job.transitions) == ("start", 1)


def test_transition_to_an_unknown_state_quarantines_with_a_guess(machine: Machine) -> None:
    """The sentence names where it came from, where it should go, and what was probably meant."""
    machine.started().goes_to("chrge")

    assert machine.job.status is JobStatus.QUARANTINED
    assert machine.job.failure is not None
    assert machine.job.failure.code == "TRANSITION_ERROR"
    assert machine.job.failure.message == (
        "'start' leads to 'chrge', which blueprint 'orders' lacks; "
        "known: start, charge, join, repair, done, charge_failed. Did you mean 'charge'?"
    )
    assert machine.history["last_error"]["state"] == "start"


def test_loop_within_the_limit_goes_on(machines: type[Machine]) -> None:
    """As many transitions as allowed are made."""
    machine = machines(limits=Limits(max_transitions=3)).started()

    for _ in range(3):
        machine.goes_to("start")

    assert (machine.job.status, machine.job.transitions) == (JobStatus.RUNNING, 3)


def test_loop_over_the_limit_fails_with_a_sentence(machines: type[Machine]) -> None:
    """A job that never ends is stopped, and told which setting stopped it."""
    machine = machines(limits=Limits(max_transitions=3)).started()
    for _ in range(3):
        machine.goes_to("start")

    machine.goes_to("charge")

    assert (machine.job.status, machine.job.state) == (JobStatus.FAILED, "start")
    assert machine.job.failure is not None
    assert machine.job.failure.code == "LOOP_LIMIT_ERROR"
    assert "made 3 transitions and would go on from 'start' to 'charge'" in machine.job.failure.message
    assert "MAX_TRANSITIONS_PER_JOB" in machine.job.failure.message


def test_loop_through_a_worker_is_stopped_too(machines: type[Machine]) -> None:
    """Transitions that results lead along count as well."""
    machine = machines(limits=Limits(max_transitions=0)).started()
    machine.dispatches()
    machine.claims()

    machine.reports("success")

    assert machine.job.status is JobStatus.FAILED
    assert machine.history["last_error"]["code"] == "LOOP_LIMIT_ERROR"
