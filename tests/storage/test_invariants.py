"""The rules of the audit, on facts that no healthy storage would report."""

from __future__ import annotations

import pytest

from avtomatika.core.job import Job
from avtomatika.core.states import JobStatus
from avtomatika.storage.invariants import JobFacts, MailFacts, check_counts, check_job

LIVE = Job("j1", "orders", "v1", JobStatus.RUNNING, "start", 1.0, 1.0)
PARENT = Job("j1", "orders", "v1", JobStatus.WAITING_FOR_SUB_JOB, "start", 1.0, 1.0)


@pytest.mark.parametrize(
    ("letters", "facts"),
    [
        ("", JobFacts(LIVE, wake_ups=1)),
        ("", JobFacts(LIVE, timers=1, rows=3, acknowledged=1, waiting_rows=[2, 3])),
        ("U", JobFacts(LIVE, wake_ups=2)),
        ("W", JobFacts(LIVE, wake_ups=1, unreachable=["t1"])),
        ("H", JobFacts(LIVE, wake_ups=1, rows=3, acknowledged=1, waiting_rows=[3])),
        ("H", JobFacts(LIVE, wake_ups=1, rows=2, waiting_rows=[2, 2])),
        ("H", JobFacts(LIVE, wake_ups=1, rows=2, waiting_rows=[2, 3])),
        ("H", JobFacts(LIVE, wake_ups=1, rows=1, waiting_rows=[0])),
        ("WH", JobFacts(LIVE, rows=1)),
        ("", JobFacts(LIVE, wake_ups=1, mail=MailFacts(sent=6, delivered=3, waiting=2, dead=1))),
        ("O", JobFacts(LIVE, wake_ups=1, mail=MailFacts(sent=6, delivered=3, waiting=1, dead=1))),
        ("O", JobFacts(LIVE, wake_ups=1, mail=MailFacts(sent=1, delivered=1, dead=1))),
        ("", JobFacts(PARENT, has_live_child=True)),
        ("", JobFacts(PARENT, mail=MailFacts(sent=1, waiting=1))),
        ("W", JobFacts(PARENT, mail=MailFacts(sent=1, dead=1))),
        ("W", JobFacts(LIVE, mail=MailFacts(sent=1, waiting=1))),
    ],
)
def test_job_facts_are_judged_by_each_invariant(letters: str, facts: JobFacts) -> None:
    """Each rule that is broken is named once, and no other."""
    faults = check_job(facts)

    assert "".join(fault.invariant for fault in faults) == letters
    assert all(fault.job_id == "j1" for fault in faults)


def test_counts_that_agree_have_no_faults() -> None:
    """Created is live plus ended."""
    assert (
        check_counts(3, {JobStatus.RUNNING: 1, JobStatus.FAILED: 2}, {JobStatus.FAILED: 2, JobStatus.RUNNING: 1}) == []
    )


def test_job_that_vanished_is_missed() -> None:
    """A job that was created and is not stored any more was lost."""
    (fault,) = check_counts(3, {JobStatus.RUNNING: 2}, {JobStatus.RUNNING: 2})

    assert (fault.invariant, fault.message) == ("C", "3 jobs were created, but 2 are stored")


def test_count_that_is_wrong_is_named_by_its_status() -> None:
    """A counter that drifted is found, on both sides."""
    faults = check_counts(1, {JobStatus.RUNNING: 1}, {JobStatus.FAILED: 1})

    assert [fault.message for fault in faults] == [
        "0 jobs are counted as failed, but 1 are stored",
        "1 jobs are counted as running, but 0 are stored",
    ]
