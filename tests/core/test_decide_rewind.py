"""A job that starts again from its past, and one that begins with another one's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from avtomatika.core.document import Document
from avtomatika.core.effects import RecordHistory, RunHandler
from avtomatika.core.events import JobSubmitted, Requeued
from avtomatika.core.job import FanOut
from avtomatika.core.states import JobStatus, TaskStatus

if TYPE_CHECKING:
    from .conftest import Machine


def test_ended_job_starts_again_with_the_data_of_then(machine: Machine) -> None:
    """State, data and attempts are those of the past; result and failure are gone."""
    machine.started(deadline_at=machine.now + 10).goes_to("done")
    machine.returns(history={"a": 2}, returned={"x": 1})
    machine.now += 60

    machine.rewinds("charge", {"a": 1}, sequence=4, by="alice")

    job = machine.job
    assert (job.status, job.state, job.attempt, job.deadline_at) == (JobStatus.PENDING, "charge", 1, None)
    assert (machine.history, job.has_result, job.failure) == ({"a": 1}, False, None)
    assert machine.effects(RecordHistory, RunHandler) == [
        RecordHistory(
            "job_rewound",
            "done",
            next_state="charge",
            details={"sequence": 4, "status": "finished", "by": "alice"},
        ),
        RecordHistory("state_started", "charge", previous_state="done", state_history=Document.of({"a": 1})),
        RunHandler("charge", machine.now),
    ]


def test_live_job_gives_up_what_it_does(machine: Machine) -> None:
    """Its tasks are called off, and late results change nothing; the machine checks that no timer is left."""
    first, second = machine.started(deadline_at=machine.now + 600).fans_out(
        {"dispatch_timeout": 50.0}, {"result_timeout": 60.0}
    )
    machine.claims(task=first)

    machine.rewinds("start")

    assert {machine.tasks[task.id].status for task in (first, second)} == {TaskStatus.CANCELLED}
    assert machine.job.deadline_at is not None
    assert machine.reports(task=machine.tasks[first.id]).ignored == "stale_task"


def test_job_that_waits_gives_its_wait_up(machine: Machine) -> None:
    """Nobody is asked any more, nobody sleeps, and a child is called off."""
    wait = machine.started().asks(timeout_seconds=5.0)
    machine.rewinds("start")
    assert machine.decides(wait=wait.number).ignored

    machine.sleeps(60.0)
    machine.rewinds("start")
    child = machine.runs()
    machine.rewinds("start")

    assert (machine.job.wait, machine.timers) == (None, {})
    assert machine.orders[-1] == {"do": "cancel", "child": child.child_id}


def test_rewound_step_is_another_step(machine: Machine) -> None:
    """Systems outside must not take it for a repetition; and a loop is counted from here."""
    machine.started().goes_to("charge")
    before = machine.job.transitions

    machine.rewinds("charge")

    assert (machine.job.transitions, machine.job.loop_start) == (before + 1, before + 1)


def test_requeued_step_is_the_same_step_with_a_new_count_of_loops(machine: Machine) -> None:
    """What an outside system has heard of it still counts."""
    machine.started().goes_to("charge")
    machine.raises("no", code="PERMANENT_ERROR")
    before = machine.job.transitions

    machine.feed(Requeued())

    assert (machine.job.transitions, machine.job.loop_start) == (before, before)


def test_rewind_to_an_aggregator_joins_what_it_joined(machine: Machine) -> None:
    """The results of then are given to it again, and the row tells how to find them once more."""
    (task,) = machine.started().fans_out({})
    machine.claims()
    machine.reports()
    fan_out = machine.job.fan_out
    assert fan_out is not None
    assert machine.row("state_started").details == {"fan_out": fan_out.id}
    machine.goes_to("charge")

    machine.rewinds("join", fan_out=FanOut(task.fan_out, "join", 1, 0))

    assert machine.job.fan_out == FanOut(fan_out.id, "join", 1, 0)
    assert machine.row("state_started").details == {"fan_out": fan_out.id}


def test_rewind_to_a_state_that_is_gone_changes_nothing(machine: Machine) -> None:
    """The blueprint of the job has never had it."""
    machine.started()

    assert machine.rewinds("nowhere").ignored == "unknown_state"


def test_child_that_is_rewound_tells_its_parent_again(machine: Machine) -> None:
    """The parent decides whether it still wants to know."""
    machine.started(parent_job_id="p1").goes_to("done")
    machine.returns()

    machine.rewinds("done")
    machine.returns()

    assert [report["status"] for report in machine.told] == ["finished", "finished"]


def test_new_job_may_begin_anywhere_with_tasks_of_another(machines: type[Machine]) -> None:
    """An aggregator joins copies of what the other job's tasks came to."""
    other = machines()
    (task,) = other.started().fans_out({})
    other.claims()
    other.reports(data={"n": 7})
    machine = machines()
    copied = replace(other.tasks[task.id], id="j1-1-0", fan_out="j1-1")
    machine.tasks[copied.id] = copied
    machine.job = replace(machine.job, fan_out=FanOut("j1-1", "join", 1, 0))

    machine.feed(JobSubmitted("join", (copied,), {"forked_from": "j0"}))

    assert (machine.job.status, machine.job.state) == (JobStatus.PENDING, "join")
    assert machine.row("job_created").details == {"source": "api", "forked_from": "j0"}
    assert machine.tasks["j1-1-0"].data.value() == {"n": 7}
