"""What each error code of a worker leads to (contract, section 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from avtomatika.blueprints.retries import RetryPolicy
from avtomatika.core.effects import SaveTask, SetTimer
from avtomatika.core.events import TimerKind
from avtomatika.core.states import JobStatus, TaskStatus
from avtomatika.core.steps import Limits

if TYPE_CHECKING:
    from tests.core.conftest import Machine

PASSING = ("TRANSIENT_ERROR", "RESOURCE_EXHAUSTED_ERROR", "TIMEOUT_ERROR", "INTERNAL_ERROR", "OUT_OF_PAPER", "", None)
LASTING = ("PERMANENT_ERROR", "SECURITY_ERROR", "DEPENDENCY_ERROR")
HOPELESS = ("INVALID_INPUT_ERROR", "INTEGRITY_MISMATCH_ERROR", "CONTRACT_VIOLATION_ERROR")
TO_REPAIR = {"success": "charge", "failure": "repair"}


def fail(machine: Machine, code: str | None) -> None:
    """Lets a worker take the task and report a failure, without an error if the code is None."""
    machine.claims()
    machine.reports("failure", code=code)


@pytest.mark.parametrize("code", PASSING)
def test_passing_failure_is_tried_again_after_a_delay(machine: Machine, code: str | None) -> None:
    """The next attempt waits for its moment; the job shows that it waits, and why."""
    task = machine.started().dispatches()
    machine.claims()
    machine.now += 3

    machine.reports("failure", code=code)

    saved = machine.tasks[task.id]
    assert (machine.job.status, machine.job.failure) == (JobStatus.AWAITING_RETRY, saved.failure)
    assert (saved.status, saved.attempt, saved.deliveries) == (TaskStatus.DELAYED, 2, 0)
    assert machine.effects(SaveTask) == [SaveTask(saved)]
    (timer,) = machine.effects(SetTimer)
    assert isinstance(timer, SetTimer)
    assert (timer.kind, timer.task_id) == (TimerKind.RETRY, task.id)
    assert machine.now <= timer.at < machine.now + 1.0
    assert machine.types() == ["task_failed", "task_retried"]
    assert (machine.row("task_failed").attempt, machine.row("task_failed").duration) == (1, 3.0)
    assert machine.row("task_retried").attempt == 2


def test_failure_without_an_error_is_transient(machine: Machine) -> None:
    """A worker that gives no reason is told so in the sentence."""
    machine.started().dispatches()
    fail(machine, None)

    assert machine.job.failure is not None
    assert (machine.job.failure.code, machine.job.failure.message) == ("TRANSIENT_ERROR", "the worker gave no reason")


@pytest.mark.parametrize("code", PASSING)
def test_passing_failure_that_stays_quarantines(machine: Machine, code: str | None) -> None:
    """After the last retry the job is put aside."""
    machine.started().dispatches()

    for _ in range(2):
        fail(machine, code)
        assert machine.retries().status is TaskStatus.QUEUED
        assert machine.job.status is JobStatus.WAITING_FOR_WORKER
    fail(machine, code)

    assert machine.job.status is JobStatus.QUARANTINED
    assert machine.task.status is TaskStatus.QUARANTINED
    assert machine.history["last_error"]["attempt"] == 3


@pytest.mark.parametrize("code", [*PASSING, *LASTING])
def test_failure_for_good_takes_its_transition(machines: type[Machine], code: str | None) -> None:
    """A blueprint that says what to do after a failure is followed; its handler finds the error."""
    machine = machines(limits=Limits(RetryPolicy(attempts=1))).started()
    machine.dispatches(transitions=TO_REPAIR)

    fail(machine, code)

    assert (machine.job.status, machine.job.state) == (JobStatus.RUNNING, "repair")
    assert machine.task.status is TaskStatus.QUARANTINED
    assert machine.history["last_error"]["state"] == "start"
    assert machine.job.failure is not None
    assert machine.job.failure.as_dict() == machine.history["last_error"]


@pytest.mark.parametrize("code", LASTING)
def test_lasting_failure_quarantines_at_once(machine: Machine, code: str) -> None:
    """Such a task must not run again unseen."""
    machine.started().dispatches()

    fail(machine, code)

    assert (machine.job.status, machine.task.status) == (JobStatus.QUARANTINED, TaskStatus.QUARANTINED)
    assert machine.types() == ["task_failed", "job_quarantined"]
    assert machine.row("job_quarantined").details == {"code": code, "message": "it broke"}


@pytest.mark.parametrize("code", HOPELESS)
@pytest.mark.parametrize("transitions", [{"success": "charge"}, TO_REPAIR])
def test_hopeless_failure_fails_the_job_at_once(machine: Machine, code: str, transitions: dict[str, str]) -> None:
    """The job cannot succeed with what it was given, so no transition is taken either."""
    machine.started().dispatches(transitions=transitions)

    fail(machine, code)

    assert (machine.job.status, machine.task.status) == (JobStatus.FAILED, TaskStatus.FAILED)
    assert machine.history["last_error"]["code"] == code
    assert machine.types() == ["task_failed", "job_failed"]


def test_failure_with_data_leaves_them_for_the_failure_state(machine: Machine) -> None:
    """What a worker could do before it failed is not lost."""
    machine.started().dispatches(transitions=TO_REPAIR)
    machine.claims()

    machine.fails("PERMANENT_ERROR", data={"pages_done": 3})

    assert machine.history["pages_done"] == 3
    assert machine.history["last_error"]["code"] == "PERMANENT_ERROR"


def test_failure_says_what_failed(machine: Machine) -> None:
    """The error names state, task, attempt and worker."""
    task = machine.started().dispatches()
    machine.claims("w7")
    machine.fails("PERMANENT_ERROR", worker="w7", message="no licence")

    assert machine.history["last_error"] == {
        "code": "PERMANENT_ERROR",
        "message": "no licence",
        "state": "start",
        "task_id": task.id,
        "task_type": "render",
        "attempt": 1,
        "worker_id": "w7",
    }


def test_success_after_a_failure_forgets_the_failure_of_the_task(machine: Machine) -> None:
    """A task that succeeded at its second attempt has no failure."""
    machine.started().dispatches()
    fail(machine, "TRANSIENT_ERROR")
    again = machine.retries()
    machine.claims()

    machine.reports("success", attempt=again.attempt)

    assert (machine.task.status, machine.task.failure, machine.task.attempt) == (TaskStatus.SUCCEEDED, None, 2)
    assert machine.job.state == "charge"
