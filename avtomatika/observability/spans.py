"""Spans of OpenTelemetry, spoken to in carriers: the W3C trace context as a dict of strings, as it lies in jobs."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import Any

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Tracer, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from avtomatika.threads import ThreadCall
from avtomatika.version import __version__

Carrier = Mapping[str, str]

_KINDS = {kind.name.lower(): kind for kind in trace.SpanKind}
_TRACEPARENT = re.compile(r"^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$")
_CLOSE_SECONDS = 3.0
_PROPAGATOR = TraceContextTextMapPropagator()
_next_span_id: ContextVar[int | None] = ContextVar("avtomatika_next_span_id", default=None)


class _Ids(IdGenerator):
    """Ids of spans: the one that was asked for, else random ones."""

    def __init__(self, inner: IdGenerator) -> None:
        self._inner = inner

    def generate_span_id(self) -> int:
        asked = _next_span_id.get()
        return self._inner.generate_span_id() if asked is None else asked

    def generate_trace_id(self) -> int:
        return self._inner.generate_trace_id()

    def is_trace_id_random(self) -> bool:
        return self._inner.is_trace_id_random()


class Spans:
    """Opens spans, and writes spans of what lies in the past.

    Args:
        provider: where they go.
        exporter: if the provider is to be closed with this, what its spans leave through.
    """

    # A job goes on for days, in several processes: no span object could live as long. So the span of a job, a state or
    # a task is written when it ends, and its id is derived from a key that everybody knows beforehand. What happens
    # inside names that id as its parent, and a step that is repeated after a crash writes the same span again.

    def __init__(self, provider: trace.TracerProvider, exporter: SpanExporter | None = None) -> None:
        self._provider = provider
        self._exporter = exporter
        self._tracer = provider.get_tracer("avtomatika", __version__)
        self._derives = isinstance(self._tracer, Tracer)
        if isinstance(self._tracer, Tracer) and not isinstance(self._tracer.id_generator, _Ids):
            self._tracer.id_generator = _Ids(self._tracer.id_generator)

    @contextlib.contextmanager
    def open(
        self,
        name: str,
        kind: str = "internal",
        parent: Carrier | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> Iterator[trace.Span]:
        """Opens a span that is the current one inside the ``with`` block; an exception that leaves it is recorded.

        Args:
            name: of the span.
            kind: ``internal``, ``server``, ``client``, ``producer`` or ``consumer``.
            parent: its parent; None for the current span, if there is one.
            attributes: facts.
        """
        context = None if parent is None else _PROPAGATOR.extract(parent)
        with self._tracer.start_as_current_span(name, context, _KINDS[kind], attributes) as span:
            yield span

    def write(
        self,
        name: str,
        *,
        key: str,
        parent: Carrier,
        began_at: float,
        ended_at: float,
        kind: str = "internal",
        attributes: Mapping[str, Any] | None = None,
        error: str = "",
    ) -> None:
        """Writes a span that has ended.

        Args:
            name: of the span.
            key: what its id is derived from.
            parent: its parent.
            began_at: Unix seconds.
            ended_at: Unix seconds.
            kind: as in ``open``.
            attributes: facts.
            error: why it failed, or empty.
        """
        mark = _next_span_id.set(_span_id(key))
        try:
            span = self._tracer.start_span(
                name, _PROPAGATOR.extract(parent), _KINDS[kind], attributes, start_time=_nanoseconds(began_at)
            )
        finally:
            _next_span_id.reset(mark)
        if error:
            span.set_status(trace.StatusCode.ERROR, error)
        span.end(_nanoseconds(ended_at))

    def derived(self, carrier: Carrier, key: str) -> Carrier:
        """Returns the context of the span that ``write`` will write under this key, in the same trace."""
        parts = _TRACEPARENT.match(carrier.get("traceparent", ""))
        if parts is None or not self._derives:
            return carrier
        return {**carrier, "traceparent": f"00-{parts[1]}-{_span_id(key):016x}-{parts[3]}"}

    def current(self) -> dict[str, str]:
        """Returns the context of the current span; empty if there is none."""
        carrier: dict[str, str] = {}
        _PROPAGATOR.inject(carrier)
        return carrier

    def fail(self, span: trace.Span, why: str) -> None:
        """Marks a span as failed."""
        span.set_status(trace.StatusCode.ERROR, why)

    async def close(self) -> None:
        """Sends what is left, for a few seconds at most."""
        if self._exporter is None or not isinstance(self._provider, TracerProvider):
            return
        call = ThreadCall(self._provider.shutdown, "avtomatika-spans")
        # A collector that is away must not keep the engine from stopping.
        _, pending = await asyncio.wait([call.result], timeout=_CLOSE_SECONDS)
        if pending:
            self._exporter.shutdown()  # else its thread would try again for a minute
            await asyncio.wait(pending, timeout=_CLOSE_SECONDS)


def otlp_spans(endpoint: str, service: str, instance: str) -> Spans:
    """Returns spans that go to a collector over HTTP; the further ``OTEL_`` variables count, too.

    Args:
        endpoint: base address of the collector, such as ``http://localhost:4318``.
        service: name of the service.
        instance: name of this process.
    """
    resource = Resource.create({"service.name": service, "service.instance.id": instance})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces")
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return Spans(provider, exporter)


def _span_id(key: str) -> int:
    # Never 0, which means that there is no span.
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") or 1


def _nanoseconds(moment: float) -> int:
    return int(moment * 1_000_000_000)
