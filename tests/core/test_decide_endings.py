"""How a job ends in an end state, and with what result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from avtomatika.blueprints.graph import Graph, State
from avtomatika.blueprints.requests import Transition
from avtomatika.core.document import Document
from avtomatika.core.effects import CancelOpenTasks, FinishJob, RecordHistory
from avtomatika.core.states import JobStatus

if TYPE_CHECKING:
    from tests.core.conftest import Machine


@pytest.mark.parametrize(
    ("state", "status", "row"),
    [("done", JobStatus.FINISHED, "job_completed"), ("charge_failed", JobStatus.FAILED, "job_failed")],
)
def test_end_state_decides_the_outcome(machine: Machine, state: str, status: JobStatus, row: str) -> None:
    """The outcome of the end state is the status of the job."""
    machine.started().goes_to(state)
    machine.now += 5

    machine.returns()

    assert (machine.job.status, machine.job.state) == (status, state)
    assert machine.effects() == [
        RecordHistory("state_finished", state, duration=5.0),
        RecordHistory(row, state, duration=5.0),
        CancelOpenTasks(),
        FinishJob(),
    ]


def test_end_handler_that_returns_a_dict_gives_the_result(machine: Machine) -> None:
    """A returned dict is the result."""
    machine.started(state_history=Document.of({"a": 1})).goes_to("done")

    machine.returns(returned={"total": 7})

    assert machine.job.has_result
    assert machine.job.result.value() == {"total": 7}
    assert machine.history == {"a": 1}


def test_end_handler_that_returns_an_empty_dict_gives_an_empty_result(machine: Machine) -> None:
    """An empty dict is a result too."""
    machine.started(state_history=Document.of({"a": 1})).goes_to("done")

    machine.returns(returned={})

    assert machine.job.result.value() == {}


@pytest.mark.parametrize("returned", [None, 7, "seven", [7]])
def test_end_handler_that_returns_no_dict_gives_the_data(machine: Machine, returned: Any) -> None:
    """Without a dict the job's data, as the end handler left them, are the result."""
    machine.started().goes_to("done")

    machine.returns(history={"a": 2}, returned=returned)

    assert machine.job.has_result
    assert machine.job.result.value() == machine.history == {"a": 2}


def test_start_state_that_is_an_end_finishes_at_once(machines: type[Machine]) -> None:
    """A blueprint of one state is a blueprint."""
    machine = machines(Graph("tiny", (State("only", is_start=True, is_end=True, outcome="finished"),))).started()

    machine.returns(returned={"n": 1})

    assert machine.job.status is JobStatus.FINISHED


def test_result_of_another_state_is_dropped(machine: Machine) -> None:
    """Only an end handler's return value is the job's result."""
    machine.started().returns(Transition("done"), returned={"not": "this"})

    assert not machine.job.has_result
