"""Leases that end: workers that are too slow, vanish, or never got the task."""

from __future__ import annotations

from typing import TYPE_CHECKING

from avtomatika.core.effects import DispatchTask, SaveTask, SetTimer
from avtomatika.core.events import LeaseExpired, TimerKind
from avtomatika.core.states import JobStatus, TaskStatus

if TYPE_CHECKING:
    from tests.core.conftest import Machine


def test_unconfirmed_lease_that_ends_hands_out_the_same_attempt(machine: Machine) -> None:
    """A task that no heartbeat named probably never arrived: nothing failed."""
    task = machine.started().dispatches()
    machine.claims()

    machine.lease_ends()

    again = machine.tasks[task.id]
    assert machine.effects(DispatchTask) == [DispatchTask(again)]
    assert (again.status, again.attempt, again.deliveries, again.worker_id) == (TaskStatus.QUEUED, 1, 1, "w1")
    assert machine.job.status is JobStatus.WAITING_FOR_WORKER
    assert machine.types() == ["task_dispatched"]


def test_fifth_delivery_without_a_sign_counts_as_an_attempt(machine: Machine) -> None:
    """A task that kills each worker which takes it must not be handed out for ever."""
    machine.started().dispatches()
    for _ in range(machine.limits.max_deliveries - 1):
        machine.claims()
        machine.lease_ends()
        assert machine.task.attempt == 1
    machine.claims()

    machine.lease_ends()

    assert (machine.task.status, machine.task.attempt, machine.task.deliveries) == (TaskStatus.DELAYED, 2, 0)
    assert machine.row("task_failed").details["code"] == "WORKER_LOST"


def test_confirmed_lease_that_ends_counts_as_an_attempt(machine: Machine) -> None:
    """A worker that ran the task and fell silent is given up; the next attempt waits for its moment."""
    task = machine.started().dispatches()
    machine.claims()
    machine.confirms()

    machine.lease_ends()

    again = machine.tasks[task.id]
    assert (machine.job.status, again.status, again.attempt) == (JobStatus.AWAITING_RETRY, TaskStatus.DELAYED, 2)
    assert machine.effects(SaveTask) == [SaveTask(again)]
    assert [effect.kind for effect in machine.effects(SetTimer)] == [TimerKind.RETRY]
    assert machine.job.failure is not None
    assert (machine.job.failure.code, machine.job.failure.worker_id) == ("WORKER_LOST", "w1")
    assert "worker w1 vanished" in machine.job.failure.message


def test_worker_that_is_lost_every_time_quarantines(machine: Machine) -> None:
    """Lost workers use up the retries like any passing failure."""
    machine.started().dispatches()

    for last in (False, False, True):
        machine.claims()
        machine.confirms()
        machine.lease_ends()
        if not last:
            machine.retries()

    assert machine.job.status is JobStatus.QUARANTINED
    assert machine.history["last_error"]["code"] == "WORKER_LOST"


def test_execution_that_takes_too_long_is_a_timeout(machine: Machine) -> None:
    """Heartbeats keep a task only for its timeout_seconds; then the attempt has failed."""
    machine.started().dispatches(timeout_seconds=50.0)
    machine.claims()
    for _ in range(3):
        machine.now += 15
        machine.confirms()

    machine.lease_ends()

    assert machine.now == machine.task.claimed_at + 50
    assert machine.job.failure is not None
    assert machine.job.failure.code == "TIMEOUT_ERROR"
    assert machine.job.failure.message == "worker w1 sent no result within 50 s"
    assert (machine.task.status, machine.task.attempt) == (TaskStatus.DELAYED, 2)


def test_unconfirmed_execution_that_takes_too_long_is_a_timeout(machine: Machine) -> None:
    """A timeout shorter than the first lease needs no heartbeat to count."""
    machine.started().dispatches(timeout_seconds=5.0)
    machine.claims()

    machine.lease_ends()

    assert machine.job.failure is not None
    assert machine.job.failure.code == "TIMEOUT_ERROR"


def test_timeout_for_good_takes_its_failure_transition(machine: Machine) -> None:
    """Silence leads where an answer of failure would."""
    machine.started().dispatches(timeout_seconds=5.0, transitions={"success": "charge", "failure": "repair"})

    for last in (False, False, True):
        machine.claims()
        machine.lease_ends()
        if not last:
            machine.retries()

    assert (machine.job.status, machine.job.state) == (JobStatus.RUNNING, "repair")


def test_lease_of_a_branch_that_ends_leaves_the_others_alone(machine: Machine) -> None:
    """Each branch has a lease of its own."""
    first, second = machine.started().fans_out({}, {})
    machine.claims(task=first)
    machine.claims(task=second, lease=100)
    machine.confirms(first)

    machine.lease_ends(first)

    assert machine.job.status is JobStatus.WAITING_FOR_PARALLEL_TASKS
    assert machine.tasks[first.id].status is TaskStatus.DELAYED
    assert machine.tasks[second.id].status is TaskStatus.CLAIMED


def test_lease_that_was_renewed_meanwhile_is_ignored(machine: Machine) -> None:
    """The lease may have been renewed between the look and the decision."""
    task = machine.started().dispatches()
    machine.claims()
    machine.now += 10
    renewed = machine.confirms()

    machine.now = task.created_at + 20
    assert machine.feed(LeaseExpired(renewed)).ignored == "stale_task"


def test_lease_that_was_answered_meanwhile_is_ignored(machine: Machine) -> None:
    """A result that was faster has closed the task."""
    task = machine.started().dispatches()
    machine.claims()
    machine.reports()

    assert machine.lease_ends(task).ignored == "stale_task"


def test_lease_twice_is_ignored(machine: Machine) -> None:
    """Two engines may see the same lease end; it counts once."""
    machine.started().dispatches()
    machine.claims()
    machine.lease_ends()

    assert machine.lease_ends().ignored == "stale_task"


def test_lease_of_an_unknown_task_is_ignored(machine: Machine) -> None:
    """A task that is gone has no lease."""
    machine.started().dispatches()

    assert machine.feed(LeaseExpired(None)).ignored == "stale_task"
