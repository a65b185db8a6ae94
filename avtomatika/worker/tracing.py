"""The worker's part of a trace: what a function does is a span below the task that the engine sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from avtomatika.observability.provider import open_spans
from avtomatika.protocol.messages import Result, TaskMessage

if TYPE_CHECKING:
    from avtomatika.observability.spans import Spans


class Tracing:
    """Follows tasks, if somebody wants spans.

    Args:
        worker_id: who does the tasks.
        environment: ``OTEL_EXPORTER_OTLP_ENDPOINT`` names a collector, ``OTEL_SERVICE_NAME`` this service.
        provider: a tracer provider of OpenTelemetry; None for the program's own, or the collector.

    Raises:
        ConfigError: a collector is named, but the packages are not installed.
    """

    def __init__(self, worker_id: str, environment: Mapping[str, str], provider: Any = None) -> None:
        self._worker_id = worker_id
        self._spans: Spans | None = open_spans(
            environment.get("OTEL_EXPORTER_OTLP_ENDPOINT", ""),
            environment.get("OTEL_SERVICE_NAME") or "avtomatika-worker",
            worker_id,
            provider,
        )

    @contextmanager
    def task(self, task: TaskMessage) -> Iterator[Callable[[Result], None]]:
        """Lasts as long as a task is worked on; yields what takes its result."""
        if self._spans is None:
            yield _nothing
            return
        attributes = {
            "avtomatika.job_id": task.job_id,
            "avtomatika.task_id": task.task_id,
            "avtomatika.worker_id": self._worker_id,
        }
        with self._spans.open(f"work {task.type}", "consumer", task.tracing_context, attributes) as span:

            def ended(result: Result) -> None:
                span.set_attribute("avtomatika.result_status", result.status)
                if self._spans is not None and result.status == "failure":
                    self._spans.fail(span, f"{result.error_code}: {result.error_message}")

            yield ended

    def headers(self) -> Mapping[str, str]:
        """Returns the trace context for a request that is sent now; empty if there is none."""
        return {} if self._spans is None else self._spans.current()

    async def close(self) -> None:
        """Sends what is left."""
        if self._spans is not None:
            await self._spans.close()


def _nothing(_result: Result) -> None: ...
