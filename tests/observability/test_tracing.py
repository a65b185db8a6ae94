"""Traces: one tree for each job, from the request that made it to the workers and back."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from avtomatika import ActionFactory, Config, OrchestratorEngine, StateMachineBlueprint
from avtomatika.client import AsyncClient
from avtomatika.errors import ConfigError
from avtomatika.observability.spans import Spans
from avtomatika.worker import TaskError, Worker

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Collected:
    """A tracer provider and the spans that were sent to it."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))

    @property
    def spans(self) -> Sequence[ReadableSpan]:
        """All that have ended."""
        return self._exporter.get_finished_spans()

    def named(self, name: str) -> ReadableSpan:
        """Returns the one span of this name."""
        (found,) = [span for span in self.spans if span.name == name]
        return found

    def paths(self) -> set[str]:
        """Returns each span as its name below those of its parents; one that is not here is ``?``."""
        by_id = {span.get_span_context().span_id: span for span in self.spans}

        def path(span: ReadableSpan) -> str:
            if span.parent is None:
                return span.name
            above = by_id.get(span.parent.span_id)
            return f"{'?' if above is None else path(above)} > {span.name}"

        return {path(span) for span in self.spans}


@pytest.fixture
def collected() -> Iterator[Collected]:
    """Spans of this test."""
    made = Collected()
    yield made
    made.provider.shutdown()


def parcels() -> StateMachineBlueprint:
    """Returns a blueprint with a task, a failure state and an end."""
    bp = StateMachineBlueprint("parcels", api_endpoint="/parcels")

    @bp.handler_for("pack", is_start=True)
    async def pack(initial_data: dict[str, Any], actions: ActionFactory) -> None:
        actions.dispatch_task("box", initial_data, {"success": "sent", "failure": "lost"})

    @bp.handler_for("sent", is_end=True)
    def sent() -> None: ...

    @bp.handler_for("lost", is_end=True, outcome="failed")
    async def lost() -> None: ...

    return bp


@asynccontextmanager
async def running(collected: Collected, *blueprints: StateMachineBlueprint) -> AsyncIterator[OrchestratorEngine]:
    """An engine whose spans are collected."""
    engine = OrchestratorEngine(
        config=Config(API_PORT=0, API_HOST="127.0.0.1", JOB_MAX_RETRIES=0), tracer_provider=collected.provider
    )
    for blueprint in blueprints:
        engine.register_blueprint(blueprint)
    async with engine:
        yield engine


Run = Callable[..., Awaitable[dict[str, Any]]]


@pytest.fixture
async def run(collected: Collected) -> Run:
    """Returns what runs one job with a worker of our SDK, to its end."""

    async def run_one(function: Callable[..., Any]) -> dict[str, Any]:
        async with running(collected, parcels()) as engine:
            worker = Worker(
                "w1", url=engine.url, token=engine.config.GLOBAL_WORKER_TOKEN, tracer_provider=collected.provider
            )
            worker.add_task(function, "box")
            async with worker, AsyncClient(engine.url, engine.config.CLIENT_TOKEN) as client:
                return await client.wait(await client.submit("/parcels", {"kg": 3}), timeout=30)

    return run_one


async def test_trace_leads_from_the_request_through_states_to_the_worker_and_back(
    run: Run, collected: Collected
) -> None:
    """Each state, handler and task is a span, and what the worker does is below its task."""
    await run(lambda kg: {"box": kg})

    created = "POST /api/{path}"
    assert collected.paths() >= {
        created,
        f"{created} > job parcels",
        f"{created} > job parcels > state pack",
        f"{created} > job parcels > state pack > handler pack",
        f"{created} > job parcels > state pack > task box",
        f"{created} > job parcels > state pack > task box > work box",
        f"{created} > job parcels > state pack > task box > work box > POST /_worker/tasks/result",
        f"{created} > job parcels > state sent",
        f"{created} > job parcels > state sent > handler sent",
    }
    assert not any(path.startswith("? ") for path in collected.paths())
    assert all(span.status.is_ok or span.status.is_unset for span in collected.spans)


async def test_results_that_go_together_stay_in_their_traces(collected: Collected) -> None:
    """Each has a span below what its worker did, although one request brings them all."""
    gate, started = asyncio.Event(), 0

    async def box(kg: int) -> None:
        nonlocal started
        started += 1
        if started == 4:
            gate.set()
        await gate.wait()

    async with running(collected, parcels()) as engine:
        worker = Worker(
            "w1", url=engine.url, token=engine.config.GLOBAL_WORKER_TOKEN, tracer_provider=collected.provider
        )
        worker.add_task(box)
        async with worker, AsyncClient(engine.url, engine.config.CLIENT_TOKEN) as client:
            jobs = [await client.submit("/parcels", {"kg": kg}) for kg in range(4)]
            for job_id in jobs:
                await client.wait(job_id, timeout=30)

    ids = {span.context.span_id for span in collected.spans if span.name == "work box" and span.context}
    below = [span.name for span in collected.spans if span.parent is not None and span.parent.span_id in ids]
    assert len(ids) == len(below) == 4
    assert set(below) <= {"POST /_worker/tasks/result", "POST /_worker/tasks/results"}
    assert below.count("POST /_worker/tasks/results") >= 2
    assert len({span.context.trace_id for span in collected.spans if span.name.startswith("POST /_w")}) == 4


async def test_spans_last_as_long_as_what_they_stand_for(run: Run, collected: Collected) -> None:
    """A state begins when the one before ends, and the job holds them all."""
    await run(lambda kg: None)

    job, pack, sent = (collected.named(name) for name in ("job parcels", "state pack", "state sent"))
    assert job.start_time == pack.start_time or (job.start_time or 0) <= (pack.start_time or 0)
    assert pack.end_time == sent.start_time
    assert sent.end_time == job.end_time
    assert pack.attributes is not None
    assert pack.attributes["avtomatika.blueprint"] == "parcels"


async def test_failure_marks_the_spans_that_failed(run: Run, collected: Collected) -> None:
    """The worker's span, the task and the job say why; the state that went on to another one has not failed."""

    def box(kg: int) -> None:
        raise TaskError("it leaks", code="PERMANENT_ERROR")

    await run(box)

    failed = {span.name: span.status.description for span in collected.spans if not span.status.is_ok}
    failed = {name: why for name, why in failed.items() if why}
    assert failed.keys() == {"work box", "task box", "job parcels", "state lost"}
    assert failed["task box"] == "PERMANENT_ERROR: it leaks"


async def test_handler_that_raises_leaves_its_exception_in_its_span(collected: Collected) -> None:
    """Who looks at the trace sees where the code broke."""
    bp = StateMachineBlueprint("broken")

    @bp.handler_for("only", is_start=True, is_end=True)
    async def only() -> None:
        raise RuntimeError("no such shelf")

    async with running(collected, bp) as engine, AsyncClient(engine.url, engine.config.CLIENT_TOKEN) as client:
        job_id = await engine.create_background_job("broken", {}, client="default")
        await client.wait(job_id, timeout=30)

    (event,) = collected.named("handler only").events
    assert event.attributes is not None
    assert event.attributes["exception.message"] == "no such shelf"
    assert "create broken > job broken > state only > handler only" in collected.paths()


async def test_trace_of_the_caller_goes_on(collected: Collected) -> None:
    """A request with a trace context belongs to that trace, and so does all that follows."""
    headers = {"traceparent": CALLER, "X-Client-Token": Config().CLIENT_TOKEN}
    async with running(collected, parcels()) as engine, ClientSession(headers=headers) as http:
        async with http.post(f"{engine.url}/api/v1/parcels", json={}) as answer:
            job_id = (await answer.json())["job_id"]
        async with http.post(f"{engine.url}/api/v1/jobs/{job_id}/cancel") as answer:
            assert answer.status == 200

    job = collected.named("job parcels")
    assert f"{job.get_span_context().trace_id:032x}" == CALLER.split("-")[1]
    assert collected.named("POST /api/{path}").parent is not None


def test_derived_context_is_that_of_the_span_written_later(collected: Collected) -> None:
    """What happens inside can name its parent before the parent is written, on any engine."""
    spans = Spans(collected.provider)
    told = spans.derived({"traceparent": CALLER, "tracestate": "a=b"}, "task:1")

    spans.write("task", key="task:1", parent={"traceparent": CALLER}, began_at=10.0, ended_at=12.5)

    (span,) = collected.spans
    context = span.get_span_context()
    assert told == {"traceparent": f"00-{context.trace_id:032x}-{context.span_id:016x}-01", "tracestate": "a=b"}
    assert (span.start_time, span.end_time) == (10_000_000_000, 12_500_000_000)


@pytest.mark.parametrize("carrier", [{}, {"traceparent": "nonsense"}, {"traceparent": CALLER[:-2] + "zz"}])
def test_derived_context_without_a_trace_stays_as_it_is(collected: Collected, carrier: dict[str, str]) -> None:
    """What is no trace context becomes none."""
    assert Spans(collected.provider).derived(carrier, "x") == carrier


def test_provider_of_the_program_is_used_by_default(monkeypatch: pytest.MonkeyPatch, collected: Collected) -> None:
    """Who has set up OpenTelemetry needs no further setting."""
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: collected.provider)

    engine = OrchestratorEngine(config=Config(API_PORT=0))

    with engine._tracer.request("GET /x", "/x", {}):
        pass
    assert [span.name for span in collected.spans] == ["GET /x"]


def test_without_provider_and_collector_opentelemetry_is_not_even_loaded() -> None:
    """Tracing is off unless somebody asks for it."""
    script = (
        "import sys; from avtomatika import OrchestratorEngine; OrchestratorEngine();"
        "print('opentelemetry' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)

    assert done.stdout.strip() == "False"


async def test_spans_are_sent_to_the_collector_before_the_engine_stops() -> None:
    """One setting is enough, and the last spans are not lost."""
    received: list[tuple[str, bytes]] = []

    async def take(request: web.Request) -> web.Response:
        received.append((request.content_type, await request.read()))
        return web.Response()

    app = web.Application()
    app.router.add_post("/v1/traces", take)
    async with TestServer(app) as collector:
        endpoint = str(collector.make_url("/"))
        config = Config(API_PORT=0, OTEL_EXPORTER_OTLP_ENDPOINT=endpoint, OTEL_SERVICE_NAME="parcels-engine")
        async with OrchestratorEngine(config=config) as engine:
            engine.register_blueprint(parcels())
            await engine.create_background_job("parcels", {})

    told = b"".join(body for _, body in received)
    assert {kind for kind, _ in received} == {"application/x-protobuf"}
    assert b"parcels-engine" in told
    assert b"create parcels" in told


async def test_collector_that_is_away_does_not_keep_the_engine_from_stopping(unused_tcp_port: int) -> None:
    """Spans are worth less than a stop in time, and nobody tries on to send them."""
    config = Config(API_PORT=0, OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{unused_tcp_port}")

    async with OrchestratorEngine(config=config) as engine:
        engine.register_blueprint(parcels())
        await engine.create_background_job("parcels", {})

    assert "avtomatika-spans" not in {thread.name for thread in threading.enumerate()}


def test_collector_without_the_packages_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says what to install."""
    monkeypatch.delitem(sys.modules, "avtomatika.observability.spans")
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)

    with pytest.raises(ConfigError, match=re.escape("pip install 'avtomatika[telemetry]'")):
        OrchestratorEngine(config=Config(OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:4318"))
