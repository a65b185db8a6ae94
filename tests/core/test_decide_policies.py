"""Policies of a fan-out: which end of a branch leads on, and where."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from avtomatika.blueprints.requests import Dispatch, TaskSpec
from avtomatika.core import fan_outs
from avtomatika.core.effects import CancelOpenTasks
from avtomatika.core.events import TimerKind
from avtomatika.core.states import JobStatus, TaskStatus

if TYPE_CHECKING:
    from .conftest import Machine

TO_REPAIR = {"failure": "repair"}


def three(machine: Machine, policy: str, at_least: int = 0, **options: object) -> list[str]:
    """Brings three branches to a worker; returns their ids."""
    tasks = machine.started().fans_out(*[options] * 3, policy=policy, at_least=at_least)
    for task in tasks:
        machine.claims(task=task)
    return [task.id for task in tasks]


def succeeds(machine: Machine, task_id: str) -> None:
    """Lets a branch succeed."""
    machine.reports(task=machine.tasks[task_id])


def fails(machine: Machine, task_id: str, code: str = "PERMANENT_ERROR") -> None:
    """Lets a branch fail for good."""
    machine.fails(code, task=machine.tasks[task_id])


def test_all_waits_for_the_others_after_a_failure(machine: Machine) -> None:
    """The common policy: a failure counts when all have ended."""
    ids = three(machine, "all", transitions=TO_REPAIR)

    fails(machine, ids[0])
    succeeds(machine, ids[1])

    assert machine.job.status is JobStatus.WAITING_FOR_PARALLEL_TASKS
    succeeds(machine, ids[2])
    assert machine.job.state == "repair"


def test_fail_fast_ends_the_others_at_the_first_failure(machine: Machine) -> None:
    """Nobody works on for a fan-out that has failed."""
    ids = three(machine, "fail_fast", transitions=TO_REPAIR)
    succeeds(machine, ids[0])

    fails(machine, ids[1])

    assert (machine.job.status, machine.job.state) == (JobStatus.RUNNING, "repair")
    assert machine.tasks[ids[2]].status is TaskStatus.CANCELLED
    assert machine.effects(CancelOpenTasks) == [CancelOpenTasks()]


def test_fail_fast_without_a_way_quarantines(machine: Machine) -> None:
    """As a single task does."""
    ids = three(machine, "fail_fast")

    fails(machine, ids[0])

    assert (machine.job.status, machine.open_tasks) == (JobStatus.QUARANTINED, [])


def test_fail_fast_lets_a_failure_that_may_pass_be_retried(machine: Machine) -> None:
    """Only a failure for good is fast."""
    ids = three(machine, "fail_fast")

    fails(machine, ids[0], "TRANSIENT_ERROR")

    assert (machine.job.status, len(machine.open_tasks)) == (JobStatus.WAITING_FOR_PARALLEL_TASKS, 3)


def test_collect_shows_failures_to_the_aggregator(machine: Machine) -> None:
    """The aggregator runs whatever came of the branches, and sees it."""
    ids = three(machine, "collect", transitions=TO_REPAIR)

    succeeds(machine, ids[0])
    fails(machine, ids[1])
    machine.reports("cancelled", task=machine.tasks[ids[2]])

    assert (machine.job.status, machine.job.state) == (JobStatus.RUNNING, "join")
    results = list(fan_outs.results(machine.tasks.values()).values())
    assert [result["status"] for result in results] == ["success", "failure", "cancelled"]
    assert results[1]["error"] == {"code": "PERMANENT_ERROR", "message": "it broke"}
    assert "error" not in results[0]


def test_collect_takes_wrong_input_as_a_failure_of_its_branch(machine: Machine) -> None:
    """One bad file among a hundred does not fail the job whose handler wants to see it."""
    ids = three(machine, "collect")
    succeeds(machine, ids[0])
    succeeds(machine, ids[1])

    fails(machine, ids[2], "INVALID_INPUT_ERROR")

    assert (machine.job.state, machine.tasks[ids[2]].status) == ("join", TaskStatus.FAILED)


def test_collect_shows_a_deadline_as_a_failure(machine: Machine) -> None:
    """A branch that was given up has no word of a worker; it failed all the same."""
    (task,) = machine.started().fans_out({"dispatch_timeout": 5.0}, policy="collect")

    machine.fires(TimerKind.DISPATCH, task)

    (result,) = fan_outs.results([machine.tasks[task.id]]).values()
    assert (machine.job.state, result["status"], result["error"]["code"]) == ("join", "failure", "DISPATCH_TIMEOUT")


@pytest.mark.parametrize("policy", ["all", "fail_fast"])
def test_wrong_input_fails_the_job_under_strict_policies(machine: Machine, policy: str) -> None:
    """The contract's rule: the job cannot succeed with what it was given."""
    ids = three(machine, policy, transitions=TO_REPAIR)

    fails(machine, ids[0], "INVALID_INPUT_ERROR")

    assert (machine.job.status, machine.open_tasks) == (JobStatus.FAILED, [])


def test_at_least_goes_on_as_soon_as_enough_have_succeeded(machine: Machine) -> None:
    """The rest is cancelled, and the aggregator sees that."""
    ids = three(machine, "at_least", 2)
    fails(machine, ids[0])
    succeeds(machine, ids[1])
    assert machine.job.status is JobStatus.WAITING_FOR_PARALLEL_TASKS

    succeeds(machine, ids[2])

    assert (machine.job.status, machine.job.state) == (JobStatus.RUNNING, "join")
    assert machine.job.fan_out is not None
    assert (machine.job.fan_out.succeeded, machine.job.fan_out.failed) == (2, 1)


def test_at_least_cancels_what_is_not_needed(machine: Machine) -> None:
    """A branch that still runs when enough have succeeded is called off."""
    ids = three(machine, "at_least", 1)

    succeeds(machine, ids[1])

    words = [result["status"] for result in fan_outs.results(machine.tasks.values()).values()]
    assert (machine.job.state, words) == ("join", ["cancelled", "success", "cancelled"])


def test_at_least_fails_when_too_few_can_succeed(machine: Machine) -> None:
    """Two of three are needed: with the second failure the rest is useless."""
    ids = three(machine, "at_least", 2, transitions=TO_REPAIR)
    fails(machine, ids[0])

    fails(machine, ids[1], "INVALID_INPUT_ERROR")

    assert (machine.job.state, machine.tasks[ids[2]].status) == ("repair", TaskStatus.CANCELLED)
    assert machine.history["last_error"]["code"] == "PERMANENT_ERROR"


def test_timers_of_cancelled_branches_are_forgotten(machine: Machine) -> None:
    """What is called off has no deadline: the machine checks that no timer is left."""
    ids = three(machine, "at_least", 1, dispatch_timeout=50.0, result_timeout=60.0)

    succeeds(machine, ids[0])

    assert machine.timers == {}


def test_late_result_of_a_cancelled_branch_changes_nothing(machine: Machine) -> None:
    """The aggregator starts once."""
    ids = three(machine, "at_least", 1)
    succeeds(machine, ids[0])

    assert machine.reports(task=machine.tasks[ids[1]]).ignored == "stale_task"


def test_branch_that_waits_for_its_next_attempt_is_called_off(machine: Machine) -> None:
    """Its retry does not come back."""
    ids = three(machine, "at_least", 1)
    fails(machine, ids[0], "TRANSIENT_ERROR")

    succeeds(machine, ids[1])

    assert (machine.tasks[ids[0]].status, machine.timers) == (TaskStatus.CANCELLED, {})


def test_single_task_into_an_aggregator_is_a_fan_out_of_one(machine: Machine) -> None:
    """A loop of dispatch_task calls may come to one: its aggregator sees the result as usual."""
    machine.started().returns(Dispatch(TaskSpec("render", transitions={"success": "join"})))
    machine.claims()

    machine.reports(data={"n": 7})

    assert (machine.job.state, machine.job.fan_out is not None) == ("join", True)
    assert "n" not in machine.history
    (result,) = fan_outs.results(machine.tasks.values()).values()
    assert result["data"] == {"n": 7}
