"""A job that lets time pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from avtomatika.blueprints.requests import Sleep
from avtomatika.core.effects import ClearTimer, RecordHistory, RunHandler, SetTimer
from avtomatika.core.events import HandlerStarted, Requeued, TimerFired, TimerKind
from avtomatika.core.states import JobStatus
from avtomatika.core.waits import SleepWait

if TYPE_CHECKING:
    from .conftest import Machine


def test_sleeping_job_stays_in_its_state_until_its_moment(machine: Machine) -> None:
    """Nothing of it runs, and only the timer stands."""
    machine.started()

    machine.sleeps(30.0, "charge")

    until = machine.now + 30
    assert (machine.job.status, machine.job.state) == (JobStatus.PENDING, "start")
    assert machine.job.wait == SleepWait(until, "charge")
    assert machine.effects() == [
        RecordHistory("sleep_started", "start", next_state="charge", details={"until": until}),
        SetTimer(TimerKind.SLEEP, until),
    ]


def test_sleeping_job_goes_on_when_its_moment_has_come(machine: Machine) -> None:
    """The time that it slept belongs to the state in which it fell asleep."""
    machine.started().sleeps(30.0, "charge")

    machine.fires(TimerKind.SLEEP)

    assert (machine.job.status, machine.job.state, machine.job.wait) == (JobStatus.RUNNING, "charge", None)
    assert machine.effects(ClearTimer, RunHandler) == [
        ClearTimer(TimerKind.SLEEP),
        RunHandler("charge", machine.now),
    ]
    assert machine.row("state_finished").duration == 30.0


def test_sleep_until_a_moment_ends_then(machine: Machine) -> None:
    """The handler may name the moment itself."""
    moment = machine.now + 3600
    machine.started()

    machine.returns(Sleep("charge", until=moment))

    assert machine.timers == {(TimerKind.SLEEP, ""): moment}


@pytest.mark.parametrize("seconds", [0.0, -5.0])
def test_sleep_that_is_over_already_is_a_transition(machine: Machine, seconds: float) -> None:
    """No timer is needed for a moment that has passed."""
    machine.started()

    machine.returns(Sleep("charge", until=machine.now + seconds))

    assert (machine.job.status, machine.job.state, machine.timers) == (JobStatus.RUNNING, "charge", {})


def test_handler_of_a_sleeping_job_is_not_called(machine: Machine) -> None:
    """It is pending as a new job is, but nobody may begin with it."""
    machine.started().sleeps(30.0)

    assert machine.feed(HandlerStarted()).ignored == "stale_task"


def test_timer_that_fires_too_early_wakes_nobody(machine: Machine) -> None:
    """A clock that was set back does not make a night short: the storage's moment counts."""
    machine.started().sleeps(30.0)

    machine.feed(TimerFired(TimerKind.SLEEP))

    assert machine.job.status is JobStatus.PENDING
    assert machine.timers == {(TimerKind.SLEEP, ""): machine.now + 30}


def test_sleep_before_an_unknown_state_is_a_fault(machine: Machine) -> None:
    """It is told at once, not when the night is over."""
    machine.started().sleeps(30.0, "chrage")

    assert machine.job.status is JobStatus.QUARANTINED
    assert "Did you mean 'charge'" in machine.history["last_error"]["message"]


def test_sleeping_job_can_be_cancelled(machine: Machine) -> None:
    """An ended job owns no timer."""
    machine.started().sleeps(30.0)

    machine.cancel()

    assert (machine.job.status, machine.job.wait, machine.timers) == (JobStatus.CANCELLED, None, {})


def test_sleeping_job_has_its_deadline(machine: Machine) -> None:
    """The time for the whole job goes on while it sleeps."""
    machine.started(deadline_at=machine.now + 10).sleeps(30.0)

    machine.fires(TimerKind.JOB)

    assert (machine.job.status, machine.history["last_error"]["code"]) == (JobStatus.FAILED, "RESULT_TIMEOUT")


def test_job_in_a_loop_of_sleeps_is_stopped(machine: Machine) -> None:
    """A sleep is a transition like any other."""
    machine.started()
    while machine.job.transitions < machine.limits.max_transitions:
        machine.sleeps(1.0, "start")
        machine.fires(TimerKind.SLEEP)
    machine.sleeps(1.0, "start")

    machine.fires(TimerKind.SLEEP)

    assert machine.history["last_error"]["code"] == "LOOP_LIMIT_ERROR"
    assert not machine.feed(Requeued()).ignored
