"""How a job ends in an end state, and with what result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from avtomatika.blueprints.graph import Graph, State
from avtomatika.blueprints.requests import Transition
from avtomatika.core.document import Document
from avtomatika.core.effects import CancelOpenTasks, FinishJob, RecordHistory, SendMessage
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


@pytest.mark.parametrize(
    ("state", "event", "result"), [("done", "job_finished", {"n": 1}), ("charge_failed", "job_failed", {"n": 1})]
)
def test_end_is_told_to_the_webhook_after_everything_else(
    machine: Machine, state: str, event: str, result: dict[str, Any]
) -> None:
    """The outcome leaves with the very commit that ends the job."""
    machine.started(webhook_url="https://example.com/hook").goes_to(state)

    machine.returns(returned=result)

    told = machine.effects()[-1]
    assert isinstance(told, SendMessage)
    assert told.topic == "webhook"
    body = told.body.value()
    assert body["url"] == "https://example.com/hook"
    payload = {"event": event, "job_id": machine.job.id, "status": str(machine.job.status), "result": result}
    assert body["payload"] == {**payload, "error": None}


def test_failure_is_told_with_its_reason(machine: Machine) -> None:
    """A job that was quarantined says why."""
    machine.started(webhook_url="https://example.com/hook")

    machine.raises("no such shelf", "PERMANENT_ERROR")

    payload = machine.effects()[-1].body.value()["payload"]
    assert (payload["event"], payload["result"]) == ("job_quarantined", None)
    assert payload["error"] == "PERMANENT_ERROR: no such shelf"


def test_job_without_webhook_tells_nobody(machine: Machine) -> None:
    """No message is written that nobody wants."""
    machine.started().goes_to("done")

    machine.returns()

    assert not any(isinstance(effect, SendMessage) for effect in machine.effects())
