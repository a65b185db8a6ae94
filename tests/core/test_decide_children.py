"""Jobs that run other blueprints, and what they are told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from avtomatika.blueprints.requests import SubBlueprint
from avtomatika.core.effects import RecordHistory, SendMessage
from avtomatika.core.events import TimerKind
from avtomatika.core.job import HOLON, Failure
from avtomatika.core.states import JobStatus
from avtomatika.core.steps import Limits

if TYPE_CHECKING:
    from .conftest import Machine


def test_job_that_runs_a_blueprint_waits_for_its_child(machine: Machine) -> None:
    """The child is asked for by a message of the same commit; it is created elsewhere."""
    machine.started()

    wait = machine.runs("invoices", {"n": 7}, success="charge", failure="repair")

    assert (machine.job.status, machine.job.state) == (JobStatus.WAITING_FOR_SUB_JOB, "start")
    assert (wait.blueprint, wait.transitions) == ("invoices", {"success": "charge", "failure": "repair"})
    assert machine.orders == [
        {"do": "start", "child": wait.child_id, "blueprint": "invoices", "initial_data": {"n": 7}},
    ]
    details = {"job_id": wait.child_id, "blueprint": "invoices"}
    assert machine.effects(RecordHistory) == [RecordHistory("sub_blueprint_started", "start", details=details)]


def test_child_of_a_repeated_commit_is_the_same(machines: type[Machine]) -> None:
    """The id follows from job and version: an ambiguous error makes no second child."""
    first, second = (machines().started().runs().child_id for _ in range(2))

    assert first == second
    assert len(first) == 36


def test_children_of_a_job_are_different_ones(machine: Machine) -> None:
    """Each time is another job."""
    first = machine.started().runs(success="start").child_id
    machine.child_ends()

    assert machine.runs().child_id != first


def test_finished_child_leads_on_with_its_result(machine: Machine) -> None:
    """Outcome and result stand under the blueprint's name in the job's data."""
    wait = machine.started().runs()
    machine.now += 9

    machine.child_ends(result={"total": 12})

    assert (machine.job.status, machine.job.state, machine.job.wait) == (JobStatus.RUNNING, "charge", None)
    assert machine.history["invoices"] == {"job_id": wait.child_id, "status": "finished", "result": {"total": 12}}
    assert machine.row("sub_blueprint_finished").duration == 9
    assert machine.orders[-1]["do"] == "start"


@pytest.mark.parametrize(
    ("status", "state"),
    [
        (JobStatus.FAILED, "repair"),
        (JobStatus.QUARANTINED, "join"),
        (JobStatus.CANCELLED, "charge_failed"),
        (JobStatus.ERROR, "repair"),
    ],
)
def test_end_of_a_child_leads_where_its_word_leads(machine: Machine, status: JobStatus, state: str) -> None:
    """The status itself goes before the common words."""
    machine.started().runs(success="charge", failure="repair", quarantined="join", cancelled="charge_failed")

    machine.child_ends(status, failure=Failure("PERMANENT_ERROR", "no such customer"))

    assert machine.job.state == state
    assert machine.history["invoices"]["error"] == {"code": "PERMANENT_ERROR", "message": "no such customer"}


def test_failed_child_is_the_last_error_of_its_parent(machine: Machine) -> None:
    """The handler of the failure state finds what went wrong below."""
    wait = machine.started().runs(success="charge", failure="repair")

    machine.child_ends(JobStatus.FAILED, failure=Failure("PERMANENT_ERROR", "no such customer"))

    assert machine.history["last_error"]["code"] == "SUB_BLUEPRINT_FAILED"
    assert machine.history["last_error"]["message"] == (
        f"job {wait.child_id} of blueprint 'invoices' is failed: no such customer"
    )


@pytest.mark.parametrize("status", [JobStatus.FAILED, JobStatus.QUARANTINED, JobStatus.CANCELLED])
def test_end_of_a_child_without_a_way_is_the_end_of_its_parent(machine: Machine, status: JobStatus) -> None:
    """It ends as the child ended, and calls nobody off who has ended already."""
    machine.started().runs()

    machine.child_ends(status)

    assert machine.job.status is status
    assert [order["do"] for order in machine.orders] == ["start"]


def test_end_of_a_child_counts_once(machine: Machine) -> None:
    """A message that comes twice changes nothing."""
    wait = machine.started().runs()
    machine.child_ends()

    assert machine.child_ends(child_id=wait.child_id).ignored == "not_waiting"


def test_end_of_another_child_changes_nothing(machine: Machine) -> None:
    """A child that was given up reports when its parent waits for the next one."""
    first = machine.started().runs(success="start")
    machine.child_ends()
    machine.runs()

    assert machine.child_ends(child_id=first.child_id).ignored == "not_waiting"


@pytest.mark.parametrize("how", ["cancel", "deadline"])
def test_end_of_a_parent_calls_its_child_off(machine: Machine, how: str) -> None:
    """Whatever ends the parent: the child is told in the same commit."""
    wait = machine.started(deadline_at=machine.now + 10).runs()

    if how == "cancel":
        machine.cancel()
    else:
        machine.fires(TimerKind.JOB)

    assert machine.orders[-1] == {"do": "cancel", "child": wait.child_id}


def test_child_tells_its_parent_how_it_ended(machine: Machine) -> None:
    """With what came of it."""
    machine.started(parent_job_id="p1").goes_to("done")

    machine.returns(returned={"total": 12})

    assert machine.told == [{"child": "j1", "status": "finished", "result": {"total": 12}, "failure": None}]
    (message,) = machine.effects(SendMessage)
    assert isinstance(message, SendMessage)
    assert (message.topic, message.key) == ("parent", "p1")


def test_job_of_a_parent_engine_tells_it_how_it_ended(machine: Machine) -> None:
    """In the commit that ends it, so that no crash loses the news."""
    machine.started(source=HOLON).goes_to("done")

    machine.returns(returned={"total": 12})

    (message,) = machine.effects(SendMessage)
    assert isinstance(message, SendMessage)
    assert (message.topic, message.key) == ("holon", "j1")
    assert message.body.value() == {"child": "j1", "status": "finished", "result": {"total": 12}, "failure": None}


def test_child_that_fails_tells_why(machine: Machine) -> None:
    """Code and message go along."""
    machine.started(parent_job_id="p1").raises("no", code="PERMANENT_ERROR")

    assert machine.told == [
        {
            "child": "j1",
            "status": "quarantined",
            "result": None,
            "failure": {"code": "PERMANENT_ERROR", "message": "no"},
        }
    ]


def test_job_without_a_parent_tells_nobody(machine: Machine) -> None:
    """Most jobs have none."""
    machine.started().cancel()

    assert machine.effects(SendMessage) == []


def test_blueprints_that_run_each_other_for_ever_are_stopped(machines: type[Machine]) -> None:
    """So deep that it can only be a circle."""
    machine = machines(limits=Limits(max_depth=3)).started(depth=3)

    machine.returns(SubBlueprint("orders", {}, {"success": "charge"}))

    assert machine.job.status is JobStatus.FAILED
    assert machine.history["last_error"]["code"] == "LOOP_LIMIT_ERROR"


def test_data_that_cannot_be_stored_is_a_fault(machine: Machine) -> None:
    """It is told with its path."""
    machine.started().returns(SubBlueprint("invoices", {"when": {1, 2}}, {"success": "charge"}))

    assert machine.job.status is JobStatus.QUARANTINED
    assert "run_blueprint.initial_data.when" in machine.history["last_error"]["message"]


def test_way_to_nowhere_is_a_fault(machine: Machine) -> None:
    """No child is started for it."""
    machine.started().returns(SubBlueprint("invoices", {}, {"success": "chrage"}))

    assert (machine.job.status, machine.orders) == (JobStatus.QUARANTINED, [])
