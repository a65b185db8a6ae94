"""Retry policies in decisions: whose policy holds, which codes end it, and where the last failure leads."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from avtomatika.blueprints.retries import RetryPolicy
from avtomatika.core.events import TimerKind
from avtomatika.core.states import JobStatus, TaskStatus

from .conftest import GRAPH

if TYPE_CHECKING:
    from .conftest import Machine

FAILURE_WAYS = {"success": "charge", "failure": "repair"}


def attempts_at_a_task(machine: Machine, **options: object) -> int:
    """Returns how many attempts fail before the job goes another way."""
    machine.started().dispatches(transitions=FAILURE_WAYS, **options)
    while True:
        machine.claims()
        machine.fails()
        if machine.job.status is not JobStatus.AWAITING_RETRY:
            return machine.task.attempt
        machine.retries()


def test_policy_of_a_task_goes_before_all(machines: type[Machine]) -> None:
    """The task says five attempts, its blueprint two, the engine three."""
    machine = machines(replace(GRAPH, retry=RetryPolicy(attempts=2)))

    assert attempts_at_a_task(machine, retry=RetryPolicy(attempts=5)) == 5


def test_policy_of_a_blueprint_goes_before_the_engine(machines: type[Machine]) -> None:
    """The blueprint says two attempts, the engine three; it holds for tasks and handlers."""
    graph = replace(GRAPH, retry=RetryPolicy(attempts=2))
    raising = machines(graph).started()

    raising.raises()
    raising.raises()

    assert attempts_at_a_task(machines(graph)) == 2
    assert (raising.job.status, raising.job.attempt) == (JobStatus.QUARANTINED, 2)


def test_delay_of_a_task_is_that_of_its_policy(machine: Machine) -> None:
    """A policy may ask for no delay at all, and for no growth."""
    machine.started().dispatches(retry=RetryPolicy(delay=0.0))
    machine.claims()

    machine.fails()

    assert machine.timers == {(TimerKind.RETRY, machine.task.id): machine.now}


def test_code_that_is_never_retried_quarantines_at_once(machine: Machine) -> None:
    """The task says that an exhausted quota is not worth another attempt."""
    machine.started().dispatches(retry=RetryPolicy(never=("QUOTA_ERROR",)))
    machine.claims()

    machine.fails("QUOTA_ERROR")

    assert (machine.job.status, machine.task.status) == (JobStatus.QUARANTINED, TaskStatus.QUARANTINED)


def test_late_failure_with_a_code_that_is_never_retried_counts(machine: Machine) -> None:
    """A worker that was given up says why it would have been useless: no attempt follows."""
    machine.started().dispatches(retry=RetryPolicy(never=("QUOTA_ERROR",)))
    machine.claims()
    machine.confirms()
    machine.lease_ends()

    machine.fails("QUOTA_ERROR", attempt=1)

    assert machine.job.status is JobStatus.QUARANTINED


def test_pause_that_a_worker_asks_for_is_kept(machine: Machine) -> None:
    """The next attempt does not come before the pause is over; the pause stands in the failure."""
    task = machine.started().dispatches()
    machine.claims()

    machine.fails("RATE_LIMIT", retry_after=40.0)

    assert machine.now + 40 <= machine.timers[TimerKind.RETRY, task.id] < machine.now + 41
    assert machine.job.failure is not None
    assert machine.job.failure.as_dict()["retry_after"] == 40.0


def test_retry_stands_in_the_history_with_its_attempt(machine: Machine) -> None:
    """Who reads the history sees which attempt follows, and after which delay."""
    machine.started().dispatches()
    machine.claims()

    machine.fails()

    assert (machine.row("task_failed").attempt, machine.row("task_retried").attempt) == (1, 2)
    assert 0 <= machine.row("task_retried").details["delay"] < 1


@pytest.mark.parametrize(
    ("code", "timer", "options"),
    [
        ("DISPATCH_TIMEOUT", TimerKind.DISPATCH, {"dispatch_timeout": 5.0}),
        ("RESULT_TIMEOUT", TimerKind.RESULT, {"result_timeout": 5.0}),
    ],
)
def test_deadline_leads_where_its_code_leads(
    machine: Machine, code: str, timer: TimerKind, options: dict[str, float]
) -> None:
    """Each deadline may have a transition of its own, before that of any failure."""
    machine.started().dispatches(transitions={code: "charge", "failure": "repair"}, **options)

    machine.fires(timer)

    assert (machine.job.status, machine.job.state) == (JobStatus.RUNNING, "charge")
    assert machine.history["last_error"]["code"] == code


def test_time_of_a_task_that_is_over_leads_where_its_code_leads(machine: Machine) -> None:
    """A task that takes longer than its timeout is tried again; then it leads where TIMEOUT_ERROR leads."""
    ways = {"TIMEOUT_ERROR": "charge", "failure": "repair"}
    machine.started().dispatches(transitions=ways, timeout_seconds=5.0, retry=RetryPolicy(attempts=1))
    machine.claims()

    machine.lease_ends()

    assert (machine.job.status, machine.job.state) == (JobStatus.RUNNING, "charge")


def test_code_of_a_worker_leads_where_its_transition_leads(machine: Machine) -> None:
    """A word of the worker's own works, too; any other failure takes the common way."""
    ways = {"OUT_OF_PAPER": "charge", "failure": "repair"}
    machine.started().dispatches(transitions=ways, retry=RetryPolicy(attempts=1))
    machine.claims()

    machine.fails("OUT_OF_PAPER")

    assert machine.job.state == "charge"


def test_branch_leads_where_the_code_of_its_failure_leads(machine: Machine) -> None:
    """Branches know ways of their own as well."""
    ways = {"DISPATCH_TIMEOUT": "repair", "failure": "charge"}
    (task,) = machine.started().fans_out({"transitions": ways, "dispatch_timeout": 5.0})

    machine.fires(TimerKind.DISPATCH, task)

    assert machine.job.state == "repair"
