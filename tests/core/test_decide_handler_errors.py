"""Handlers that raise."""

from __future__ import annotations

from typing import TYPE_CHECKING

from avtomatika.core.effects import RunHandler
from avtomatika.core.states import JobStatus

if TYPE_CHECKING:
    from tests.core.conftest import Machine


def test_exception_in_a_handler_is_retried_after_a_delay(machine: Machine) -> None:
    """An exception is taken for a passing trouble: the same handler runs again a little later."""
    machine.started()

    machine.raises("no route to host")

    assert (machine.job.status, machine.job.attempt) == (JobStatus.AWAITING_RETRY, 2)
    (run,) = machine.effects(RunHandler)
    assert isinstance(run, RunHandler)
    assert run.state == "start"
    assert machine.now <= run.at < machine.now + 1.0
    row = machine.row("state_failed")
    assert (row.attempt, row.duration) == (1, 0.25)
    assert row.details == {"code": "TRANSIENT_ERROR", "message": "no route to host", "handler": "handler"}


def test_exception_in_a_handler_is_told_before_the_retry(machine: Machine) -> None:
    """While the job waits, its failure can be read; its data are as before."""
    machine.started().raises("no route to host")

    assert machine.job.failure is not None
    assert machine.job.failure.message == "no route to host"
    assert machine.history == {}


def test_handler_that_recovers_goes_on(machine: Machine) -> None:
    """The next state begins at its first attempt."""
    machine.started().raises()

    machine.goes_to("charge")

    assert (machine.job.status, machine.job.state, machine.job.attempt) == (JobStatus.RUNNING, "charge", 1)


def test_handler_that_keeps_raising_is_quarantined(machine: Machine) -> None:
    """After the last retry the job is put aside, with the last exception."""
    machine.started()

    for attempt in range(1, 3):
        machine.raises(f"boom {attempt}")
        assert machine.job.status is JobStatus.AWAITING_RETRY
    machine.raises("boom at last")

    assert machine.job.status is JobStatus.QUARANTINED
    assert machine.history["last_error"] == {
        "code": "TRANSIENT_ERROR",
        "message": "boom at last",
        "state": "start",
        "attempt": 3,
    }
    assert machine.types() == ["state_failed", "job_quarantined"]


def test_fault_found_by_the_caller_is_quarantined_at_once(machine: Machine) -> None:
    """A handler that cannot be called is not called again."""
    machine.started().raises("asks for argument 'ordr'", code="PERMANENT_ERROR")

    assert machine.job.status is JobStatus.QUARANTINED
    assert machine.history["last_error"]["attempt"] == 1


def test_text_that_is_no_unicode_in_an_exception_can_be_stored(machine: Machine) -> None:
    """File names that are not UTF-8 reach messages as lone surrogates; they must not stop the job from ending."""
    name = b"caf\xe9".decode("utf-8", "surrogateescape")

    machine.started().raises(f"no such file: {name}", code="PERMANENT_ERROR")

    assert machine.job.status is JobStatus.QUARANTINED
    assert machine.history["last_error"]["message"] == r"no such file: caf\udce9"
    assert machine.row("state_failed").details["message"] == r"no such file: caf\udce9"
