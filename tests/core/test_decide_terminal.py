"""Jobs that have ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from avtomatika.blueprints.requests import Transition
from avtomatika.core.document import EMPTY
from avtomatika.core.events import (
    CancelRequested,
    Event,
    HandlerFailed,
    HandlerReturned,
    HandlerStarted,
    JobSubmitted,
    LeaseExpired,
    StepBroke,
    TaskReported,
    TimerFired,
    TimerKind,
)
from avtomatika.core.states import TERMINAL, JobStatus

if TYPE_CHECKING:
    from tests.core.conftest import Machine

EVENTS: tuple[Event, ...] = (
    JobSubmitted(),
    HandlerStarted(),
    HandlerReturned(Transition("charge"), EMPTY),
    HandlerFailed("TRANSIENT_ERROR", "boom"),
    StepBroke("?"),
    TaskReported(None, 1, "w1", "success"),
    LeaseExpired(None),
    TimerFired(TimerKind.JOB),
    CancelRequested("alice"),
)


def end(machine: Machine, state: str) -> None:
    """Ends the job in an end state."""
    machine.started().goes_to(state)
    machine.returns()


ENDINGS: dict[JobStatus, Callable[[Machine], object]] = {
    JobStatus.FINISHED: lambda machine: end(machine, "done"),
    JobStatus.FAILED: lambda machine: end(machine, "charge_failed"),
    JobStatus.QUARANTINED: lambda machine: machine.started().goes_to("nowhere"),
    JobStatus.CANCELLED: lambda machine: machine.started().cancel(),
    JobStatus.ERROR: lambda machine: machine.started().feed(StepBroke("?")),
}


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
@pytest.mark.parametrize("status", ENDINGS)
def test_ended_job_ignores_everything(machine: Machine, status: JobStatus, event: Event) -> None:
    """Whatever comes after the end changes nothing, and says why."""
    ENDINGS[status](machine)
    assert machine.job.status is status

    ignored = machine.feed(event).ignored

    assert ignored == ("job_cancelled" if status is JobStatus.CANCELLED else "stale_task")


def test_every_way_to_end_is_tried() -> None:
    """A status that ends a job and is not listed here would not be tested."""
    assert set(ENDINGS) == TERMINAL
