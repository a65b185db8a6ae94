"""Cancelling a job, whatever it does."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from avtomatika.blueprints.requests import Transition
from avtomatika.core.document import EMPTY
from avtomatika.core.effects import CancelOpenTasks, FinishJob, RecordHistory
from avtomatika.core.events import HandlerReturned
from avtomatika.core.states import JobStatus, TaskStatus

if TYPE_CHECKING:
    from tests.core.conftest import Machine


def in_branches(machine: Machine) -> None:
    """One branch is done, one is with a worker, one is delayed, one is queued."""
    done, claimed, delayed, _ = machine.started().fans_out({}, {"result_timeout": 60.0}, {}, {"dispatch_timeout": 60.0})
    for task in (done, claimed, delayed):
        machine.claims(task=task)
    machine.reports(task=done)
    machine.fails(task=delayed)


def in_retry_of_a_task(machine: Machine) -> None:
    """The task waits for its second attempt."""
    machine.started().dispatches()
    machine.claims()
    machine.fails()


LIVE: dict[JobStatus, list[Callable[[Machine], object]]] = {
    JobStatus.PENDING: [lambda machine: machine.submit()],
    JobStatus.RUNNING: [lambda machine: machine.started()],
    JobStatus.WAITING_FOR_WORKER: [lambda machine: machine.started().dispatches(dispatch_timeout=5.0)],
    JobStatus.WAITING_FOR_PARALLEL_TASKS: [in_branches],
    JobStatus.AWAITING_RETRY: [lambda machine: machine.started().raises(), in_retry_of_a_task],
}


@pytest.mark.parametrize(("status", "bring"), [(status, one) for status, ways in LIVE.items() for one in ways])
def test_cancel_ends_a_live_job(machine: Machine, status: JobStatus, bring: Callable[[Machine], object]) -> None:
    """A cancelled job ends at once; its open tasks, timers and wake-ups go with it."""
    bring(machine)
    assert machine.job.status is status

    machine.cancel("alice")

    assert machine.job.status is JobStatus.CANCELLED
    assert machine.effects(CancelOpenTasks, FinishJob) == [CancelOpenTasks(), FinishJob()]
    assert machine.row("job_cancelled").details == {"by": "alice"}


def test_cancel_leaves_branches_that_are_done(machine: Machine) -> None:
    """Only open tasks are closed."""
    in_branches(machine)

    machine.cancel()

    assert [task.status for task in machine.tasks.values()] == [TaskStatus.SUCCEEDED, *[TaskStatus.CANCELLED] * 3]


def test_cancel_by_nobody_says_nothing(machine: Machine) -> None:
    """Without a name the history names nobody."""
    machine.submit()
    machine.now += 2

    machine.cancel("")

    assert machine.effects(RecordHistory) == [RecordHistory("job_cancelled", "start", duration=2.0)]


def test_return_of_a_handler_after_a_cancel_is_ignored(machine: Machine) -> None:
    """What the handler of a cancelled job still asked for is void."""
    machine.started().cancel()

    assert machine.feed(HandlerReturned(Transition("charge"), EMPTY)).ignored == "job_cancelled"
