"""Jobs that stopped and are let go on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from avtomatika.core.document import Document
from avtomatika.core.effects import RecordHistory, RunHandler
from avtomatika.core.events import Requeued
from avtomatika.core.job import FanOut
from avtomatika.core.states import JobStatus

if TYPE_CHECKING:
    from tests.core.conftest import Machine


def test_requeue_of_a_stopped_job_runs_its_handler_anew(machine: Machine) -> None:
    """The job goes on where it stopped, with its data and with all attempts before it."""
    machine.started(state_history=Document.of({"a": 1})).raises("no licence", code="PERMANENT_ERROR")
    machine.now += 60

    machine.feed(Requeued("alice"))

    assert (machine.job.status, machine.job.state, machine.job.attempt) == (JobStatus.PENDING, "start", 1)
    assert machine.job.failure is None
    assert machine.history["a"] == 1
    assert machine.effects() == [
        RecordHistory("job_requeued", "start", details={"by": "alice"}),
        RecordHistory("state_started", "start"),
        RunHandler("start", machine.now),
    ]


def test_requeue_of_an_aggregator_keeps_what_it_joins(machine: Machine) -> None:
    """The results of the branches are still there for the handler that failed to join them."""
    (task,) = machine.started().fans_out({})
    machine.claims()
    machine.reports(task=task)
    machine.raises("disk full", code="PERMANENT_ERROR")

    machine.feed(Requeued())

    assert (machine.job.state, machine.job.fan_out) == ("join", FanOut("j1-3", "join", 1, 0))


def test_requeue_after_a_failed_branch_fans_out_anew(machine: Machine) -> None:
    """A job that stopped before it could be joined dispatches its tasks again, under new ids."""
    (first,) = machine.started().fans_out({})
    machine.claims()
    machine.fails("PERMANENT_ERROR", task=first)
    machine.feed(Requeued())
    assert (machine.job.state, machine.job.fan_out) == ("start", None)

    (second,) = machine.fans_out({})

    assert second.id != first.id


def test_requeue_of_a_job_that_ended_well_is_ignored(machine: Machine) -> None:
    """What finished, or was cancelled on purpose, stays ended; so does what runs."""
    machine.started()
    assert machine.feed(Requeued()).ignored == "stale_task"
    machine.cancel()

    assert machine.feed(Requeued()).ignored
    assert machine.job.status is JobStatus.CANCELLED
