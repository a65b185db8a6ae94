"""What creating a job leads to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from avtomatika.core.document import Document
from avtomatika.core.effects import RecordHistory, RunHandler, SetTimer
from avtomatika.core.events import HandlerStarted, JobSubmitted, TimerKind
from avtomatika.core.states import JobStatus

if TYPE_CHECKING:
    from tests.core.conftest import Machine


def test_submission_of_a_job_wakes_the_start_handler(machine: Machine) -> None:
    """A new job waits in the start state for its handler."""
    machine.submit(state_history=Document.of({"a": 1}), source="schedule")

    assert (machine.job.status, machine.job.state, machine.job.version) == (JobStatus.PENDING, "start", 1)
    assert machine.job.entered_at == machine.now
    assert machine.effects() == [
        RecordHistory("job_created", "start", state_history=Document.of({"a": 1}), details={"source": "schedule"}),
        RecordHistory("state_started", "start"),
        RunHandler("start", machine.now),
    ]


def test_submission_with_a_deadline_sets_a_timer(machine: Machine) -> None:
    """The result_timeout of a whole job is watched from the start."""
    machine.submit(deadline_at=machine.now + 60)

    assert machine.effects(SetTimer) == [SetTimer(TimerKind.JOB, machine.now + 60)]


def test_submission_twice_is_ignored(machine: Machine) -> None:
    """A job is created once."""
    machine.submit()

    assert machine.feed(JobSubmitted()).ignored == "stale_task"


def test_start_of_the_handler_shows_the_job_running(machine: Machine) -> None:
    """Whoever looks at a job sees that its handler runs; nothing else follows from it."""
    machine.submit()

    machine.feed(HandlerStarted())

    assert machine.job.status is JobStatus.RUNNING
    assert machine.effects() == []


def test_start_of_the_handler_twice_is_ignored(machine: Machine) -> None:
    """A job that runs already is not started again."""
    machine.started()

    assert machine.feed(HandlerStarted()).ignored == "stale_task"


def test_start_of_the_handler_between_attempts_of_a_task_is_ignored(machine: Machine) -> None:
    """A job that waits for the next attempt of its task has no handler to call."""
    machine.started().dispatches()
    machine.claims()
    machine.fails()
    assert machine.job.status is JobStatus.AWAITING_RETRY

    assert machine.feed(HandlerStarted()).ignored == "stale_task"
