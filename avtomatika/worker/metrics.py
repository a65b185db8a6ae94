"""The numbers of a worker for Prometheus, on a registry of its own, so that several workers fit into one process."""

from __future__ import annotations

import functools
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, GCCollector, Histogram, PlatformCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.process_collector import ProcessCollector

from avtomatika.worker.meter import Meter

# A task may take a blink or a day.
_TASK_SECONDS = (0.005, 0.025, 0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 24 * 3600)
_CALL_SECONDS = (0.001, 0.005, 0.025, 0.1, 0.5, 1, 5, 15, 30, 60)


class PrometheusMeter(Meter):
    """Counts into ``prometheus_client``.

    Attributes:
        registry: where the numbers are; a program may add its own to it.
    """

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        self._tasks = Counter("worker_tasks", "Tasks that ended.", ("task_type", "status"), registry=registry)
        self._failures = Counter("worker_task_failures", "Tasks that failed.", ("task_type", "code"), registry=registry)
        self._seconds = Histogram(
            "worker_task_duration_seconds",
            "From the start of a task to its result.",
            ("task_type",),
            registry=registry,
            buckets=_TASK_SECONDS,
        )
        self._running = Gauge("worker_tasks_running", "Tasks that run now.", ("task_type",), registry=registry)
        self._results = Counter(
            "worker_results",
            "Results that an engine has `accepted`, `ignored` or `refused`, or that were given up (`lost`).",
            ("outcome",),
            registry=registry,
        )
        self._calls = Histogram(
            "worker_call_duration_seconds",
            "Calls of engines, by what they were for and the status of the answer (0: none came).",
            ("call", "status"),
            registry=registry,
            buckets=_CALL_SECONDS,
        )
        self._slots = Gauge("worker_slots", "How many tasks can run at once.", registry=registry)
        self._unsent = Gauge("worker_results_waiting", "Tasks whose result no engine has yet.", registry=registry)
        self._registered = Gauge(
            "worker_registered", "1 while the engine knows the worker.", ("url",), registry=registry
        )

    def started(self, task_type: str) -> None:
        """A task began."""
        self._running.labels(task_type).inc()

    def ended(self, task_type: str, status: str, code: str, seconds: float) -> None:
        """A task ended."""
        self._running.labels(task_type).dec()
        self._tasks.labels(task_type, status).inc()
        self._seconds.labels(task_type).observe(seconds)
        if code:
            self._failures.labels(task_type, code).inc()

    def called(self, call: str, status: int, seconds: float) -> None:
        """An engine was called."""
        self._calls.labels(call, str(status)).observe(seconds)

    def delivered(self, outcome: str) -> None:
        """A result has left the worker, or never will."""
        self._results.labels(outcome).inc()

    def watch(self, slots: int, unsent: Callable[[], int], registered: dict[str, Callable[[], bool]]) -> None:
        """Says where to look when somebody asks.

        Args:
            slots: how many tasks can run at once.
            unsent: counts tasks whose result no engine has.
            registered: by the address of each engine, whether it knows the worker.
        """
        self._slots.set(slots)
        self._unsent.set_function(lambda: float(unsent()))
        for url, is_registered in registered.items():
            self._registered.labels(url).set_function(functools.partial(_as_number, is_registered))

    def write(self, accept: str) -> tuple[bytes, str]:
        """Returns all numbers as text, and what kind of text it is.

        Args:
            accept: the header of whoever asks.
        """
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type


def _as_number(is_so: Callable[[], bool]) -> float:
    return float(is_so())
