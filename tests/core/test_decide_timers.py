"""Moments that come: the next attempt, and what took too long."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from avtomatika.core.document import Document
from avtomatika.core.effects import ClearTimer, DispatchTask
from avtomatika.core.events import TimerFired, TimerKind
from avtomatika.core.states import JobStatus, TaskStatus

if TYPE_CHECKING:
    from tests.core.conftest import Machine


def test_retry_timer_hands_out_the_next_attempt(machine: Machine) -> None:
    """After its delay the task is queued again, and the job waits for a worker again."""
    machine.started().dispatches(dispatch_timeout=9.0)
    machine.claims()
    machine.fails()

    again = machine.retries()

    assert (machine.job.status, again.status, again.attempt) == (JobStatus.WAITING_FOR_WORKER, TaskStatus.QUEUED, 2)
    assert machine.effects(ClearTimer, DispatchTask) == [ClearTimer(TimerKind.RETRY, again.id), DispatchTask(again)]
    assert machine.timers == {(TimerKind.DISPATCH, again.id): machine.now + 9}
    assert machine.row("task_dispatched").attempt == 2


@pytest.mark.parametrize("kind", [TimerKind.RETRY, TimerKind.DISPATCH])
def test_timer_that_no_longer_matters_is_only_cleared(machine: Machine, kind: TimerKind) -> None:
    """A timer that nobody clears would come back for ever."""
    task = machine.started().dispatches(dispatch_timeout=9.0)
    machine.claims()

    machine.fires(kind)

    assert machine.effects() == [ClearTimer(kind, task.id)]
    assert machine.job.status is JobStatus.WAITING_FOR_WORKER


@pytest.mark.parametrize("kind", [TimerKind.RETRY, TimerKind.DISPATCH, TimerKind.RESULT])
def test_timer_of_a_closed_task_is_only_cleared(machine: Machine, kind: TimerKind) -> None:
    """A task that has ended cannot take too long any more."""
    task = machine.started().dispatches()
    machine.claims()
    machine.reports()

    machine.fires(kind, task)

    assert machine.effects() == [ClearTimer(kind, task.id)]
    assert machine.job.state == "charge"


@pytest.mark.parametrize("status", ["success", "failure"])
@pytest.mark.parametrize("option", ["dispatch_timeout", "result_timeout"])
def test_timer_of_a_task_goes_with_it(machine: Machine, status: str, option: str) -> None:
    """A task that ends takes its timers along, so that nobody looks at them for nothing."""
    machine.started().dispatches(transitions={"success": "charge", "failure": "repair"}, **{option: 60.0})
    machine.claims()
    assert len(machine.timers) == 1

    machine.reports(status, code="PERMANENT_ERROR")

    assert machine.timers == {}


def test_timer_of_an_unknown_task_is_only_cleared(machine: Machine) -> None:
    """The task may be gone, its timer must not stay."""
    machine.started().dispatches()

    machine.feed(TimerFired(TimerKind.RESULT, "gone", None))

    assert machine.effects() == [ClearTimer(TimerKind.RESULT, "gone")]


def test_dispatch_timeout_without_a_failure_transition_fails(machine: Machine) -> None:
    """A task that no worker took in time fails its job, with a sentence."""
    machine.started().dispatches(dispatch_timeout=9.0, result_timeout=90.0)

    machine.fires(TimerKind.DISPATCH)

    assert (machine.job.status, machine.task.status) == (JobStatus.FAILED, TaskStatus.FAILED)
    assert machine.history["last_error"]["code"] == "DISPATCH_TIMEOUT"
    assert machine.history["last_error"]["message"] == "no qualified worker took the task within 9 s"


def test_dispatch_timeout_with_a_failure_transition_takes_it(machine: Machine) -> None:
    """A blueprint may say what follows when nobody is there."""
    machine.started().dispatches(dispatch_timeout=9.0, transitions={"success": "charge", "failure": "repair"})

    machine.fires(TimerKind.DISPATCH)

    assert (machine.job.status, machine.job.state) == (JobStatus.RUNNING, "repair")
    assert machine.history["last_error"]["code"] == "DISPATCH_TIMEOUT"


def test_dispatch_timeout_begins_anew_when_a_task_is_handed_back(machine: Machine) -> None:
    """The time that a worker held the task is no time of waiting."""
    task = machine.started().dispatches(dispatch_timeout=30.0)
    machine.now += 25
    machine.claims()

    machine.lease_ends()

    assert machine.timers == {(TimerKind.DISPATCH, task.id): machine.now + 30}


@pytest.mark.parametrize("situation", ["queued", "claimed", "delayed"])
def test_result_timeout_closes_the_task_wherever_it_is(machine: Machine, situation: str) -> None:
    """The result_timeout of a task counts from its dispatch, waiting and retries included."""
    machine.started().dispatches(result_timeout=60.0)
    if situation != "queued":
        machine.claims()
    if situation == "delayed":
        machine.fails()

    machine.fires(TimerKind.RESULT)

    assert (machine.job.status, machine.task.status) == (JobStatus.FAILED, TaskStatus.FAILED)
    assert machine.history["last_error"]["code"] == "RESULT_TIMEOUT"
    assert "60 s after its dispatch" in machine.history["last_error"]["message"]


def test_result_timeout_with_a_failure_transition_takes_it(machine: Machine) -> None:
    """A late result does not end a job whose blueprint knows what to do."""
    machine.started().dispatches(result_timeout=60.0, transitions={"success": "charge", "failure": "repair"})
    machine.claims()
    machine.fails()

    machine.fires(TimerKind.RESULT)

    assert (machine.job.status, machine.job.state, machine.timers) == (JobStatus.RUNNING, "repair", {})


def test_timeout_of_a_branch_waits_for_the_others(machine: Machine) -> None:
    """One branch that took too long does not stop the others; the first failure decides when all have ended."""
    first, second = machine.started().fans_out({"dispatch_timeout": 9.0, "transitions": {"failure": "repair"}}, {})
    machine.claims(task=second, lease=100)

    machine.fires(TimerKind.DISPATCH, first)
    assert machine.job.status is JobStatus.WAITING_FOR_PARALLEL_TASKS
    machine.reports(task=second)

    assert (machine.job.status, machine.job.state) == (JobStatus.RUNNING, "repair")
    assert machine.history["last_error"]["code"] == "DISPATCH_TIMEOUT"


def before_its_handler(machine: Machine) -> None:
    """Brings the job to: pending."""
    machine.submit(deadline_at=machine.now + 60)


def in_its_handler(machine: Machine) -> None:
    """Brings the job to: running."""
    machine.started(deadline_at=machine.now + 60)


def before_the_next_try(machine: Machine) -> None:
    """Brings the job to: awaiting_retry, of a handler."""
    machine.started(deadline_at=machine.now + 60).raises()


def with_a_worker(machine: Machine) -> None:
    """Brings the job to: waiting_for_worker."""
    machine.started(deadline_at=machine.now + 60).dispatches(dispatch_timeout=1.0)
    machine.claims()


def before_the_next_attempt(machine: Machine) -> None:
    """Brings the job to: awaiting_retry, of a task."""
    with_a_worker(machine)
    machine.fails()


def with_branches(machine: Machine) -> None:
    """Brings the job to: waiting_for_parallel_tasks."""
    machine.started(deadline_at=machine.now + 60).fans_out({}, {})


@pytest.mark.parametrize(
    "bring",
    [
        before_its_handler,
        in_its_handler,
        before_the_next_try,
        with_a_worker,
        before_the_next_attempt,
        with_branches,
    ],
)
def test_deadline_of_a_job_fails_it_whatever_it_does(machine: Machine, bring: Callable[[Machine], object]) -> None:
    """The result_timeout of a job holds in every status, and closes what is open."""
    bring(machine)
    created_at = machine.job.created_at

    machine.fires(TimerKind.JOB)

    assert machine.now == created_at + 60
    assert machine.job.status is JobStatus.FAILED
    assert machine.history["last_error"]["code"] == "RESULT_TIMEOUT"
    assert "no result after 60 s" in machine.history["last_error"]["message"]
    assert {task.status for task in machine.tasks.values()} <= {TaskStatus.CANCELLED}


def test_deadline_keeps_the_data_of_the_job(machine: Machine) -> None:
    """What was done before the deadline can be read."""
    machine.started(deadline_at=machine.now + 60, state_history=Document.of({"done": 3}))

    machine.fires(TimerKind.JOB)

    assert machine.history["done"] == 3
