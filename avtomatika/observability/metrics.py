"""The numbers of an engine for Prometheus, on a registry of its own, so that several engines fit into one process.

Several processes of one engine can share their numbers, so that whichever is asked answers for all: then the library
keeps counts in files of a folder, which ``PROMETHEUS_MULTIPROC_DIR`` names before it is imported.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Literal

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from avtomatika.core.effects import Decision
from avtomatika.core.job import Job, Task
from avtomatika.core.states import JobStatus
from avtomatika.observability.base import Meter, Sample
from avtomatika.observability.durations import Durations

# A job may take a blink or a week, a task may wait for a worker just as long.
_LONG = (0.005, 0.025, 0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 24 * 3600, 7 * 24 * 3600)
_SHORT = (0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_FAILED = frozenset({JobStatus.FAILED, JobStatus.QUARANTINED, JobStatus.ERROR})

# Counts one more by the values of its labels: seconds that something took.
_Observe = Callable[[tuple[str, ...], float], None]


class PrometheusMeter(Meter):
    """Counts into ``prometheus_client``.

    Attributes:
        registry: where the numbers are; a program may add its own to it.
        labels: names of the labels of each metric of the engine, by the metric's name.
    """

    def __init__(self) -> None:
        self._is_shared = bool(os.environ.get("PROMETHEUS_MULTIPROC_DIR"))
        self.registry = registry = CollectorRegistry()
        self.labels: dict[str, tuple[str, ...]] = {}
        if not self._is_shared:
            ProcessCollector(registry=registry)
            PlatformCollector(registry=registry)
            GCCollector(registry=registry)

        def full(name: str, labels: tuple[str, ...]) -> str:
            self.labels[f"orchestrator_{name}"] = labels
            return f"orchestrator_{name}"

        def counter(name: str, meaning: str, *labels: str) -> Counter:
            return Counter(full(name, labels), meaning, labels, registry=registry)

        def gauge(name: str, meaning: str, together: Literal["livesum", "livemax"]) -> Gauge:
            return Gauge(full(name, ()), meaning, registry=registry, multiprocess_mode=together)

        def histogram(name: str, meaning: str, bounds: tuple[float, ...], *labels: str) -> _Observe:
            if not self._is_shared:
                durations = Durations(full(name, labels), meaning, bounds, labels)
                registry.register(durations)
                return durations.observe
            shared = Histogram(full(name, labels), meaning, labels, registry=registry, buckets=bounds)
            of = functools.cache(shared.labels)
            return lambda values, seconds: of(*values).observe(seconds)

        self._jobs = counter("jobs", "Jobs created through this engine.", "blueprint")
        self._jobs_failed = counter(
            "jobs_failed",
            "Jobs that ended failed, quarantined or in error by this engine's doing.",
            "blueprint",
            "status",
        )
        self._job_took = histogram(
            "job_duration_seconds", "From a job's creation to its end.", _LONG, "blueprint", "status"
        )
        self._handler_took = histogram(
            "handler_duration_seconds", "Calls of handlers.", _SHORT, "blueprint", "state", "outcome"
        )
        self._start_took = histogram(
            "task_schedule_to_start_seconds",
            "From the dispatch of a task to the moment when a worker first gets it.",
            _LONG,
            "task_type",
        )
        self._results = counter("results", "Results of workers, by what became of them.", "outcome")
        self._results_stale = counter("results_stale", "Results that came too late or for another attempt.")
        self._results_duplicate = counter("results_duplicate", "Results that were sent again and had counted already.")
        self._lease_expiries = counter("lease_expiries", "Claims of tasks that ended without a result.", "task_type")
        self._conflicts = counter("commit_conflicts", "Commits that lost against a faster one on the same job.")
        self._blocked = counter("ratelimit_blocked", "Calls that were refused or held off by a limit.", "kind")
        self._webhooks = counter("webhooks", "Webhooks by what came of them.", "outcome")
        self._webhook_failures = counter("webhook_failures", "Attempts at webhooks that failed.")
        self._losses = counter(
            "storage_losses", "Times that the storage had lost what it had acknowledged; must be 0.", "kind"
        )
        # Looked up once for each set of labels: that takes longer than to count.
        self._jobs_of = functools.cache(self._jobs.labels)
        self._results_of = functools.cache(self._results.labels)
        self._polls = gauge("polls_held", "Polls of free workers that this engine holds.", "livesum")
        self._handlers = gauge("handlers_running", "Handlers that run in this engine.", "livesum")
        self._stuck = gauge(
            "jobs_without_wakeup", "Jobs that nothing will wake, at the last audit; must be 0.", "livemax"
        )
        self._loop_lag = gauge(
            "loop_lag_seconds", "Longest delay of this engine's event loop in the last minute.", "livemax"
        )
        self._stored = _Stored()
        registry.register(self._stored)
        for family in self._stored.collect():
            self.labels[family.name] = _STORED[family.name.removeprefix("orchestrator_")][1]

    def committed(self, old: Job, decision: Decision) -> None:
        """Counts creations and ends."""
        job = decision.job
        if old.version == 0:
            self._jobs_of(job.blueprint).inc()
        if job.is_terminal:
            self._job_took((job.blueprint, job.status), job.updated_at - job.created_at)
            if job.status in _FAILED:
                self._jobs_failed.labels(job.blueprint, job.status).inc()

    def conflict(self) -> None:
        """Counts a lost race."""
        self._conflicts.inc()

    def handler_ran(self, job: Job, seconds: float, outcome: str) -> None:
        """Notes the duration."""
        self._handler_took((job.blueprint, job.state, outcome), seconds)

    def task_claimed(self, task: Task) -> None:
        """Notes how long the task waited, unless it is handed out again."""
        if task.attempt == 1 and task.deliveries == 1 and task.claimed_at is not None:
            self._start_took((task.type,), max(0.0, task.claimed_at - task.created_at))

    def result(self, outcome: str) -> None:
        """Counts the result."""
        self._results_of(outcome).inc()
        if outcome == "repeated":
            self._results_duplicate.inc()
        elif outcome != "accepted":
            self._results_stale.inc()

    def lease_ended(self, task: Task) -> None:
        """Counts the claim."""
        self._lease_expiries.labels(task.type).inc()

    def rate_limited(self, kind: str) -> None:
        """Counts the refusal."""
        self._blocked.labels(kind).inc()

    def webhook(self, outcome: str) -> None:
        """Counts the webhook."""
        self._webhooks.labels(outcome).inc()
        if outcome == "failed":
            self._webhook_failures.inc()

    def storage_lost(self, kind: str) -> None:
        """Counts the loss."""
        self._losses.labels(kind).inc()

    def lives(self, polls: int, handlers: int, stuck: int, loop_lag: float) -> None:
        """Keeps the numbers for whoever is asked, here or in another process."""
        self._polls.set(polls)
        self._handlers.set(handlers)
        self._stuck.set(stuck)
        self._loop_lag.set(loop_lag)

    def write(self, sample: Sample, accept: str = "") -> tuple[bytes, str]:
        """Returns the numbers in the newest format that the asking side reads."""
        self._stored.sample = sample
        self.lives(sample.polls, sample.handlers, sample.stuck, sample.loop_lag)
        registry = self.registry
        if self._is_shared:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # the library has no types here
            registry.register(self._stored)
        encode, content_type = choose_encoder(accept)
        return encode(registry), content_type


_STORED: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "task_queue_length": ("Tasks that wait for a worker.", ("task_type",)),
    "task_oldest_waiting_seconds": ("Age of the oldest task that waits.", ("task_type",)),
    "jobs_present": ("Jobs in the storage, by status.", ("status",)),
    "active_workers": ("Workers that were heard of lately and are not going offline.", ()),
    "workers": ("Workers that were heard of lately, by what they say of themselves.", ("status",)),
}


class _Stored(Collector):
    """What was read from the storage when somebody asked: of this moment only, whichever process reads it."""

    def __init__(self) -> None:
        self.sample: Sample | None = None

    def collect(self) -> Iterator[GaugeMetricFamily]:
        sample = self.sample or Sample()
        values: Mapping[str, Mapping[str, float]] = {
            "task_queue_length": sample.waiting,
            "task_oldest_waiting_seconds": sample.oldest,
            "jobs_present": sample.jobs,
            "active_workers": {"": sum(n for status, n in sample.workers.items() if status != "offline")},
            "workers": sample.workers,
        }
        for name, (meaning, labels) in _STORED.items():
            family = GaugeMetricFamily(f"orchestrator_{name}", meaning, labels=labels)
            for label, value in values[name].items():
                family.add_metric([label] if labels else [], value)
            yield family


def reference() -> str:
    """Returns the reference page of the metrics, as Markdown."""
    meter, rows = PrometheusMeter(), []
    for family in meter.registry.collect():
        if family.name in meter.labels:
            name = f"{family.name}_total" if family.type == "counter" else family.name
            labels = ", ".join(f"`{label}`" for label in meter.labels[family.name]) or "none"
            rows.append(f"| `{name}` | {family.type} | {labels} | {family.documentation} |")
    return "\n".join([_REFERENCE_HEAD, *sorted(rows), ""])


_REFERENCE_HEAD = """\
# Metrics

`GET /_public/metrics` answers with these numbers in the text format of Prometheus. They need the extra `telemetry`
(`pip install 'avtomatika[telemetry]'`). Numbers of the process, the platform and the garbage collector
(`process_...`, `python_...`) are there as well. [Watch an engine](../howto/observability.md) says what to look at.

Counters and histograms are each engine's own: sum them up over engines. The gauges of jobs, tasks and workers are read
from the storage at the moment of the question, so every engine on one storage tells the same: take the maximum, not the
sum. The processes of one `avtomatika run --processes` answer for each other: whichever is asked tells what all of them
have counted, also those that have died, and leaves out the numbers of its own process.

This page is made from the code:
`python -c "from avtomatika.observability.metrics import reference; print(reference(), end='')"`.

| Metric | Type | Labels | Meaning |
|---|---|---|---|"""
