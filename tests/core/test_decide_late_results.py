"""Results that come late, twice, from the wrong worker or for the wrong attempt."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from avtomatika.core.events import TaskReported
from avtomatika.core.states import JobStatus, TaskStatus

if TYPE_CHECKING:
    from tests.core.conftest import Machine


def give_up(machine: Machine) -> None:
    """Lets a worker take the task, confirm it and vanish."""
    machine.claims()
    machine.confirms()
    machine.lease_ends()
    assert (machine.job.status, machine.task.attempt) == (JobStatus.AWAITING_RETRY, 2)


def test_result_twice_is_ignored(machine: Machine) -> None:
    """A result counts once."""
    task = machine.started().dispatches()
    machine.claims()
    machine.reports()

    assert machine.reports(task=task).ignored == "stale_task"


def test_failure_twice_is_ignored(machine: Machine) -> None:
    """A failure that is told twice costs one attempt."""
    machine.started().dispatches()
    machine.claims()
    machine.fails()

    assert machine.fails(attempt=1).ignored == "stale_task"
    assert machine.task.attempt == 2


@pytest.mark.parametrize("is_queued_again", [False, True])
@pytest.mark.parametrize(("status", "code"), [("success", None), ("failure", "PERMANENT_ERROR"), ("odd", None)])
def test_other_answer_after_a_failure_is_ignored(
    machine: Machine, status: str, code: str | None, *, is_queued_again: bool
) -> None:
    """A worker cannot change its mind: the first answer to an attempt is the one that counts."""
    machine.started().dispatches()
    machine.claims()
    machine.fails()
    if is_queued_again:
        machine.retries()

    assert machine.reports(status, code=code, attempt=1).ignored == "stale_task"


def test_result_of_an_unknown_task_is_ignored(machine: Machine) -> None:
    """A result for a task that nobody knows changes nothing."""
    machine.started().dispatches()
    machine.claims()

    assert machine.feed(TaskReported(None, 1, "w1", "success")).ignored == "stale_task"


def test_result_of_another_worker_is_ignored(machine: Machine) -> None:
    """Only the worker that was given the task may answer."""
    machine.started().dispatches()
    machine.claims("w1")

    assert machine.reports(worker="w2").ignored == "worker_mismatch"


def test_result_of_a_task_that_nobody_took_is_ignored(machine: Machine) -> None:
    """Nobody can answer before the task was handed out."""
    machine.started().dispatches()

    assert machine.reports(worker="w1").ignored == "worker_mismatch"
    assert machine.reports(worker="").ignored == "stale_task"


@pytest.mark.parametrize("attempt", [0, 2, 99])
def test_result_of_another_attempt_is_ignored(machine: Machine, attempt: int) -> None:
    """A result says which attempt it belongs to."""
    machine.started().dispatches()
    machine.claims()

    assert machine.reports(attempt=attempt).ignored == "stale_task"


def test_result_of_an_attempt_before_the_present_one_is_ignored(machine: Machine) -> None:
    """Once the same worker took the next attempt, its answer to the first one is void."""
    machine.started().dispatches()
    give_up(machine)
    machine.retries()
    machine.claims("w1")

    assert machine.reports(attempt=1).ignored == "stale_task"


def test_result_of_the_attempt_before_one_that_was_handed_out_is_ignored(machine: Machine) -> None:
    """The next attempt was taken once, though it waits again: the answer to the one before it came too late."""
    machine.started().dispatches()
    give_up(machine)
    machine.retries()
    machine.claims("w1")
    machine.lease_ends()
    assert (machine.task.status, machine.task.attempt) == (TaskStatus.QUEUED, 2)

    assert machine.reports(attempt=1).ignored == "stale_task"


def test_late_result_before_takeover_counts(machine: Machine) -> None:
    """A worker that was given up may still answer while its task waits for the next attempt: no work is lost."""
    task = machine.started().dispatches()
    give_up(machine)

    machine.reports("success", {"n": 1}, attempt=1)

    assert (machine.job.status, machine.job.state, machine.history) == (JobStatus.RUNNING, "charge", {"n": 1})
    assert (machine.tasks[task.id].status, machine.tasks[task.id].attempt) == (TaskStatus.SUCCEEDED, 1)
    assert machine.row("task_finished").attempt == 1


def test_late_result_counts_while_the_next_attempt_waits_for_a_worker(machine: Machine) -> None:
    """The same holds after the delay, until a worker takes the next attempt."""
    machine.started().dispatches()
    give_up(machine)
    machine.retries()
    assert machine.job.status is JobStatus.WAITING_FOR_WORKER

    machine.reports(attempt=1)

    assert (machine.job.state, machine.open_tasks) == ("charge", [])


def test_late_result_after_takeover_is_ignored(machine: Machine) -> None:
    """Once another worker works on the task, its answer is the one that counts."""
    machine.started().dispatches()
    give_up(machine)
    machine.retries()
    machine.claims("w2")

    assert machine.reports(worker="w1", attempt=1).ignored == "worker_mismatch"
    machine.reports(worker="w2", attempt=2)
    assert machine.job.state == "charge"


def test_late_result_of_an_unconfirmed_delivery_counts(machine: Machine) -> None:
    """The task went back to its queue because no heartbeat named it; its worker had it all the same."""
    machine.started().dispatches()
    machine.claims()
    machine.lease_ends()
    assert (machine.task.status, machine.task.attempt) == (TaskStatus.QUEUED, 1)

    machine.reports()

    assert machine.job.state == "charge"


def test_late_failure_of_an_unconfirmed_delivery_counts(machine: Machine) -> None:
    """The attempt was not counted yet: its failure is the first."""
    machine.started().dispatches()
    machine.claims()
    machine.lease_ends()

    machine.fails()

    assert (machine.job.status, machine.task.attempt) == (JobStatus.AWAITING_RETRY, 2)


@pytest.mark.parametrize("is_queued_again", [False, True])
def test_late_passing_failure_of_a_lost_attempt_is_ignored(machine: Machine, *, is_queued_again: bool) -> None:
    """The attempt was counted as failed when its worker was given up; one attempt never fails twice."""
    machine.started().dispatches()
    give_up(machine)
    if is_queued_again:
        machine.retries()

    assert machine.fails(attempt=1).ignored == "stale_task"
    assert machine.task.attempt == 2


def test_late_lasting_failure_of_a_lost_attempt_counts(machine: Machine) -> None:
    """A worker that found that the task can never work is believed, however late."""
    machine.started().dispatches()
    give_up(machine)

    machine.fails("PERMANENT_ERROR", attempt=1)

    assert machine.job.status is JobStatus.QUARANTINED
    assert machine.history["last_error"]["attempt"] == 1
    assert machine.row("task_failed").attempt == 1


@pytest.mark.parametrize("is_queued_again", [False, True])
def test_result_of_an_attempt_that_was_never_handed_out_is_ignored(machine: Machine, *, is_queued_again: bool) -> None:
    """A worker cannot answer the attempt after the one that it was given."""
    machine.started().dispatches()
    give_up(machine)
    if is_queued_again:
        machine.retries()

    assert machine.reports(attempt=2).ignored == "stale_task"


def test_result_of_a_closed_job_is_ignored(machine: Machine) -> None:
    """The answer tells the worker that the job was cancelled."""
    machine.started().dispatches()
    machine.claims()
    machine.cancel()

    assert machine.reports().ignored == "job_cancelled"
