"""Jobs whose documents are kept elsewhere, and lost there: nothing is laid over what nobody can read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from avtomatika.core.document import Document, DocumentAwayError, LostDocument
from avtomatika.core.effects import RecordHistory
from avtomatika.core.states import JobStatus
from avtomatika.errors import PayloadLostError

if TYPE_CHECKING:
    from tests.core.conftest import Machine

AWAY = Document.away("ab" * 32, 300_000)
LOST = LostDocument(AWAY.raw, "a document of 300,000 bytes is lost: s3://b/k is not there any more.")


def test_reference_tells_hash_and_size_and_no_value() -> None:
    """Whoever reads it without fetching it first is told so."""
    assert (AWAY.is_away, AWAY.digest, len(AWAY), len(AWAY.raw)) == (True, "ab" * 32, 300_000, 43)
    assert repr(AWAY) == "Document(away, 300,000 bytes)"
    with pytest.raises(DocumentAwayError):
        AWAY.value()
    with pytest.raises(DocumentAwayError):
        AWAY.merged({"n": 1})
    with pytest.raises(PayloadLostError, match="is not there any more"):
        LOST.value()


def test_value_is_never_a_reference() -> None:
    """Not even one of the same bytes: so nobody can make a job read what it must not."""
    for value in (AWAY.raw, AWAY.raw.decode("latin-1"), [AWAY.raw]):
        assert not Document.of(value).is_away


def test_decision_that_takes_no_value_is_made_without_it(machine: Machine) -> None:
    """A job is cancelled whatever became of its data."""
    machine.started().dispatches()
    machine.job = replace(machine.job, state_history=AWAY)

    machine.cancel()

    assert (machine.job.status, machine.job.state_history) == (JobStatus.CANCELLED, AWAY)


def test_decision_that_takes_a_value_asks_for_it(machine: Machine) -> None:
    """The result would be laid over data that are not there yet."""
    machine.started().dispatches()
    machine.claims()
    machine.job = replace(machine.job, state_history=AWAY)

    with pytest.raises(DocumentAwayError):
        machine.reports(data={"n": 1})


def test_result_for_lost_data_quarantines_the_job_and_keeps_their_place(machine: Machine) -> None:
    """Once the document is back, the job can be requeued with all its data."""
    machine.started().dispatches()
    machine.claims()
    machine.job = replace(machine.job, state_history=LOST)

    machine.reports(data={"n": 1})

    failure = machine.job.failure
    assert (machine.job.status, machine.job.state_history) == (JobStatus.QUARANTINED, AWAY)
    assert failure is not None
    assert (failure.code, failure.message, failure.state) == ("PAYLOAD_LOST_ERROR", LOST.reason, "start")
    assert [row.type for row in machine.effects(RecordHistory)] == ["job_quarantined"]  # type: ignore[union-attr]


def test_failure_of_a_job_with_lost_data_is_remembered_beside_them(machine: Machine) -> None:
    """The place of the data is not overwritten with the failure alone."""
    machine.started()
    machine.job = replace(machine.job, state_history=LOST)

    machine.raises(LOST.reason, "PERMANENT_ERROR")

    assert (machine.job.status, machine.job.state_history) == (JobStatus.QUARANTINED, AWAY)
    assert machine.job.failure is not None
