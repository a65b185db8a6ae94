"""Fan-outs: parallel tasks, and the aggregator that joins them."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from avtomatika.core.effects import CancelOpenTasks, DispatchTask, RunHandler
from avtomatika.core.job import FanOut
from avtomatika.core.states import JobStatus, TaskStatus

if TYPE_CHECKING:
    from tests.core.conftest import Machine


def test_fan_out_dispatches_every_task_in_order(machine: Machine) -> None:
    """All tasks are queued by the same commit and know their places."""
    tasks = machine.started().fans_out({"params": {"n": 0}}, {"task_type": "mix"}, {"params": {"n": 2}})

    assert machine.job.status is JobStatus.WAITING_FOR_PARALLEL_TASKS
    assert machine.job.fan_out == FanOut("j1-3", "join", 3, 3)
    assert [(task.id, task.index, task.type, task.fan_out) for task in tasks] == [
        ("j1-3-0", 0, "render", "j1-3"),
        ("j1-3-1", 1, "mix", "j1-3"),
        ("j1-3-2", 2, "render", "j1-3"),
    ]
    assert machine.effects(DispatchTask) == [DispatchTask(task) for task in tasks]


def test_fan_out_of_nothing_goes_straight_to_the_aggregator(machine: Machine) -> None:
    """An empty list of tasks is joined at once."""
    machine.started().fans_out()

    assert (machine.job.status, machine.job.state) == (JobStatus.RUNNING, "join")
    assert machine.job.fan_out == FanOut("j1-3", "join", 0, 0)
    assert machine.effects(RunHandler) == [RunHandler("join", machine.now)]


def test_fan_out_of_one_is_joined_after_it(machine: Machine) -> None:
    """One branch is a fan-out, too."""
    (task,) = machine.started().fans_out({})
    machine.claims()

    machine.reports("success", {"n": 1}, task=task)

    assert (machine.job.status, machine.job.state) == (JobStatus.RUNNING, "join")


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_aggregator_runs_once_after_the_last_branch(machine: Machine, order: tuple[int, ...]) -> None:
    """In whatever order the branches end, the aggregator runs once, when all have."""
    tasks = machine.started().fans_out({}, {}, {})
    for task in tasks:
        machine.claims(task=task)
    runs = []

    for index in order:
        machine.reports("success", {"n": index}, task=tasks[index])
        runs.append(len(machine.effects(RunHandler)))

    assert runs == [0, 0, 1]
    assert (machine.job.state, machine.job.transitions) == ("join", 1)
    assert [machine.tasks[task.id].data.value() for task in tasks] == [{"n": 0}, {"n": 1}, {"n": 2}]


def test_aggregator_finds_the_fan_out_that_it_joins(machine: Machine) -> None:
    """The aggregator's job still names the fan-out, and forgets it when the aggregator returns."""
    (task,) = machine.started().fans_out({})
    machine.claims()
    machine.reports(task=task)
    assert machine.job.fan_out == FanOut("j1-3", "join", 1, 0)

    machine.goes_to("charge")

    assert machine.job.fan_out is None


def test_results_of_branches_stay_apart(machine: Machine) -> None:
    """Branches do not write over each other in the job's data: the aggregator decides what becomes of them."""
    tasks = machine.started().fans_out({"transitions": {"success": "charge"}}, {})
    for task in tasks:
        machine.claims(task=task)
        machine.reports("success", {"n": task.index}, task=task)

    assert machine.history == {}
    assert machine.job.state == "join"


def test_branch_with_a_word_of_its_own_counts_as_done(machine: Machine) -> None:
    """The aggregator sees each branch's status word."""
    (task,) = machine.started().fans_out({})
    machine.claims()

    machine.reports("half_done", task=task)

    assert machine.job.state == "join"
    assert machine.tasks[task.id].result_status == "half_done"


def test_branch_that_fails_is_retried_while_the_others_go_on(machine: Machine) -> None:
    """A passing failure of one branch delays that branch alone."""
    first, second = machine.started().fans_out({}, {})
    machine.claims(task=first)
    machine.claims(task=second)

    machine.fails(task=first)
    machine.reports(task=second)
    assert machine.job.status is JobStatus.WAITING_FOR_PARALLEL_TASKS
    machine.retries(first)
    again = machine.claims(task=first)
    machine.reports(task=again)

    assert again.attempt == 2
    assert machine.job.state == "join"


def test_branch_that_fails_for_good_quarantines_after_the_others(machine: Machine) -> None:
    """The other branches may end their work first; then the job is put aside with the branch's failure."""
    first, second = machine.started().fans_out({}, {})
    machine.claims(task=first)
    machine.claims(task=second)

    machine.fails("PERMANENT_ERROR", task=first, message="no licence")
    assert machine.job.status is JobStatus.WAITING_FOR_PARALLEL_TASKS
    assert machine.tasks[first.id].status is TaskStatus.QUARANTINED
    machine.reports(task=second)

    assert machine.job.status is JobStatus.QUARANTINED
    assert machine.history["last_error"] == {
        "code": "PERMANENT_ERROR",
        "message": "no licence",
        "state": "start",
        "task_id": first.id,
        "task_type": "render",
        "attempt": 1,
        "worker_id": "w1",
    }


def test_branch_that_fails_for_good_last_takes_its_failure_transition(machine: Machine) -> None:
    """A branch may name the state that repairs what it could not do."""
    first, second = machine.started().fans_out({}, {"transitions": {"failure": "repair"}})
    machine.claims(task=first)
    machine.claims(task=second)

    machine.reports(task=first)
    machine.fails("SECURITY_ERROR", task=second)

    assert (machine.job.status, machine.job.state) == (JobStatus.RUNNING, "repair")
    assert machine.job.fan_out is None
    assert machine.history["last_error"]["task_id"] == second.id


def test_first_branch_that_failed_decides(machine: Machine) -> None:
    """Of several failures the first one is told, and its transition is taken."""
    first, second = machine.started().fans_out({"transitions": {"failure": "repair"}}, {})
    machine.claims(task=first)
    machine.claims(task=second)

    machine.fails("PERMANENT_ERROR", task=first, message="first")
    machine.fails("PERMANENT_ERROR", task=second, message="second")

    assert machine.job.state == "repair"
    assert machine.history["last_error"]["message"] == "first"


def test_invalid_input_in_a_branch_fails_the_job_and_closes_the_others(machine: Machine) -> None:
    """Nothing the other branches do can save the job: they are stopped at once, whatever the transitions say."""
    first, second, third = machine.started().fans_out({"transitions": {"failure": "repair"}}, {}, {})
    machine.claims(task=first)
    machine.claims(task=second)

    machine.fails("INVALID_INPUT_ERROR", task=first)

    assert machine.job.status is JobStatus.FAILED
    assert machine.effects(CancelOpenTasks) == [CancelOpenTasks()]
    assert machine.tasks[first.id].status is TaskStatus.FAILED
    assert {machine.tasks[task.id].status for task in (second, third)} == {TaskStatus.CANCELLED}
    assert machine.reports(task=second).ignored == "stale_task"


def test_branch_that_its_worker_cancels_cancels_the_job(machine: Machine) -> None:
    """A fan-out with a cancelled branch can never be joined."""
    first, second = machine.started().fans_out({}, {})
    machine.claims(task=first)

    machine.reports("cancelled", task=first)

    assert machine.job.status is JobStatus.CANCELLED
    assert machine.tasks[second.id].status is TaskStatus.CANCELLED


def test_branch_of_a_leaving_worker_is_handed_to_the_next(machine: Machine) -> None:
    """A worker that shuts down takes nothing with it."""
    first, second = machine.started().fans_out({}, {})
    machine.claims(task=first)

    machine.reports("cancelled", task=first, leaving=True)

    assert machine.job.status is JobStatus.WAITING_FOR_PARALLEL_TASKS
    assert {machine.tasks[task.id].status for task in (first, second)} == {TaskStatus.QUEUED}


def test_branch_reported_twice_counts_once(machine: Machine) -> None:
    """A repeated result cannot stand for a branch that is still open."""
    first, second = machine.started().fans_out({}, {})
    machine.claims(task=first)
    machine.claims(task=second)
    machine.reports(task=first)

    assert machine.reports(task=first).ignored == "stale_task"
    assert machine.job.fan_out is not None
    assert machine.job.fan_out.open == 1


def test_aggregator_may_fan_out_again(machine: Machine) -> None:
    """The next fan-out has an id of its own, so that its results are not mixed with the first one's."""
    (first,) = machine.started().fans_out({})
    machine.claims()
    machine.reports(task=first)

    (second,) = machine.fans_out({})
    machine.claims()
    machine.reports(task=second)

    assert second.fan_out != first.fan_out
    assert machine.job.state == "join"
    assert machine.job.fan_out is not None
    assert machine.job.fan_out.id == second.fan_out
