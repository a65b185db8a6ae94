"""The meter: what it counts, and what it answers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.exposition import choose_encoder

from avtomatika.core.effects import Decision
from avtomatika.core.job import Job, Task
from avtomatika.core.states import JobStatus, TaskStatus
from avtomatika.observability.base import Sample
from avtomatika.observability.durations import Durations
from avtomatika.observability.metrics import PrometheusMeter, reference

NEW = Job("j", "orders", "1", JobStatus.PENDING, "start", created_at=100.0, updated_at=100.0)
TASK = Task("t", "j", "resize", "resize", TaskStatus.CLAIMED, 100.0, claimed_at=107.0, deliveries=1)


@pytest.fixture
def meter() -> PrometheusMeter:
    """A meter that has counted nothing."""
    return PrometheusMeter()


def value(meter: PrometheusMeter, name: str, **labels: str) -> float | None:
    """Returns one number."""
    return meter.registry.get_sample_value(f"orchestrator_{name}", labels)


def stepped(job: Job, **changes: object) -> Decision:
    """Returns what a step wrote."""
    return Decision(replace(job, version=job.version + 1, **changes))  # type: ignore[arg-type]


def test_meter_creation_counts_once(meter: PrometheusMeter) -> None:
    """A job counts when it is made, not at its later steps."""
    made = stepped(NEW)
    meter.committed(NEW, made)
    meter.committed(made.job, stepped(made.job, status=JobStatus.RUNNING))

    assert value(meter, "jobs_total", blueprint="orders") == 1
    assert value(meter, "job_duration_seconds_count", blueprint="orders", status="finished") is None


@pytest.mark.parametrize(
    ("status", "failed"),
    [(JobStatus.FINISHED, None), (JobStatus.CANCELLED, None), (JobStatus.FAILED, 1), (JobStatus.QUARANTINED, 1)],
)
def test_meter_end_notes_duration_and_failure(meter: PrometheusMeter, status: JobStatus, failed: int | None) -> None:
    """Each end has its duration; failed and quarantined jobs count as failed."""
    running = replace(NEW, version=3)

    meter.committed(running, stepped(running, status=status, updated_at=130.0))

    assert value(meter, "job_duration_seconds_sum", blueprint="orders", status=status) == 30
    assert value(meter, "jobs_failed_total", blueprint="orders", status=status) == failed


def test_meter_schedule_to_start_leaves_out_later_deliveries(meter: PrometheusMeter) -> None:
    """Only the first time that a task is handed out tells how long tasks wait for workers."""
    meter.task_claimed(TASK)
    meter.task_claimed(replace(TASK, deliveries=2, claimed_at=200.0))
    meter.task_claimed(replace(TASK, attempt=2, claimed_at=300.0))

    assert value(meter, "task_schedule_to_start_seconds_sum", task_type="resize") == 7
    assert value(meter, "task_schedule_to_start_seconds_count", task_type="resize") == 1


def test_meter_results_are_told_apart(meter: PrometheusMeter) -> None:
    """What counted, what was sent again, and what came too late."""
    for outcome in ("accepted", "accepted", "repeated", "stale_task", "worker_mismatch"):
        meter.result(outcome)

    assert value(meter, "results_total", outcome="accepted") == 2
    assert value(meter, "results_duplicate_total") == 1
    assert value(meter, "results_stale_total") == 2


def test_meter_counts_conflicts_leases_and_handlers(meter: PrometheusMeter) -> None:
    """The rest of what happens."""
    meter.conflict()
    meter.lease_ended(TASK)
    meter.handler_ran(NEW, 0.2, "raised")
    meter.storage_lost("rolled_back")

    assert value(meter, "commit_conflicts_total") == 1
    assert value(meter, "storage_losses_total", kind="rolled_back") == 1
    assert value(meter, "lease_expiries_total", task_type="resize") == 1
    labels = {"blueprint": "orders", "state": "start", "outcome": "raised"}
    assert value(meter, "handler_duration_seconds_sum", **labels) == 0.2


@pytest.mark.parametrize("accept", ["", "application/openmetrics-text; version=1.0.0"])
def test_durations_are_told_as_the_library_tells_them(accept: str) -> None:
    """Whoever reads the text cannot tell them from a histogram of prometheus_client, but for when it was made."""
    bounds, labels = (0.1, 1, 900, 7 * 24 * 3600), ("state", "outcome")
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    durations = Durations("took", "How long.", bounds, labels)
    ours.register(durations)
    histogram = Histogram("took", "How long.", labels, registry=theirs, buckets=bounds)
    for values in (("send", "returned"), ('a "b"\n', "raised")):
        for seconds in (0.0, 0.1, 0.11, 5, 900, 1e9):
            durations.observe(values, seconds)
            histogram.labels(*values).observe(seconds)

    encode, _ = choose_encoder(accept)

    told = [line for line in encode(theirs).decode().splitlines() if "_created" not in line]
    assert encode(ours).decode().splitlines() == told
    assert len(told) > 2 * len(bounds)


def test_meter_write_shows_the_sample_and_forgets_the_last_one(meter: PrometheusMeter) -> None:
    """A queue that is empty by now does not stay in the text with its old length."""
    meter.write(Sample(waiting={"old": 3}))

    text, content_type = meter.write(
        Sample({"running": 4}, {"resize": 2}, {"resize": 61.0}, {"idle": 2, "offline": 1}, 1, 5, 6, 0.25)
    )

    shown = set(text.decode().splitlines())
    assert content_type.startswith("text/plain")
    assert shown >= {
        'orchestrator_task_queue_length{task_type="resize"} 2.0',
        'orchestrator_task_oldest_waiting_seconds{task_type="resize"} 61.0',
        'orchestrator_jobs_present{status="running"} 4.0',
        "orchestrator_active_workers 2.0",
        "orchestrator_polls_held 1.0",
        "orchestrator_handlers_running 5.0",
        "orchestrator_jobs_without_wakeup 6.0",
        "orchestrator_loop_lag_seconds 0.25",
    }
    assert not any("old" in line for line in shown if line.startswith("orchestrator_task_queue"))


def test_meter_write_speaks_openmetrics_when_asked(meter: PrometheusMeter) -> None:
    """The newer format for those who read it."""
    text, content_type = meter.write(Sample(), "application/openmetrics-text; version=1.0.0")

    assert content_type.startswith("application/openmetrics-text")
    assert text.endswith(b"# EOF\n")


def test_two_meters_share_nothing() -> None:
    """Several engines in one process do not mix their numbers, and the global registry stays as it is."""
    one, other = PrometheusMeter(), PrometheusMeter()

    one.conflict()

    assert (value(one, "commit_conflicts_total"), value(other, "commit_conflicts_total")) == (1, 0)


def test_reference_has_the_metrics_of_the_contract() -> None:
    """The page is made from the registry, and what users know is there."""
    page = reference()

    for name in (
        "jobs_total",
        "jobs_failed_total",
        "job_duration_seconds",
        "task_queue_length",
        "active_workers",
        "loop_lag_seconds",
        "jobs_without_wakeup",
    ):
        assert f"| `orchestrator_{name}` |" in page


def test_processes_tell_what_all_of_them_count(tmp_path: Path) -> None:
    """With a folder for it: counts add up, the storage is told as whoever is asked reads it, the dead are silent."""
    program = """
import sys
from avtomatika.observability.base import Sample
from avtomatika.observability.metrics import PrometheusMeter
meter = PrometheusMeter()
meter.conflict()
meter.lives(2, 3, 0, float(sys.argv[1]))
print(meter.write(Sample(waiting={sys.argv[1]: 7}, polls=2, handlers=3, loop_lag=float(sys.argv[1])))[0].decode())
"""
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    said = [
        subprocess.run(
            [sys.executable, "-c", program, lag], env=environment, check=True, capture_output=True, text=True
        )
        for lag in ("0.5", "0.25")
    ]

    shown = set(said[1].stdout.splitlines())

    assert shown >= {
        "orchestrator_commit_conflicts_total 2.0",
        "orchestrator_polls_held 4.0",
        "orchestrator_handlers_running 6.0",
        "orchestrator_loop_lag_seconds 0.5",
        'orchestrator_task_queue_length{task_type="0.25"} 7.0',
    }
    assert not any("python_info" in line or '"0.5"' in line for line in shown)
