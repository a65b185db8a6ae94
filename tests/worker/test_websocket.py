"""The worker's WebSocket."""

from __future__ import annotations

import asyncio

import pytest

from avtomatika import ActionFactory, Config, OrchestratorEngine, StateMachineBlueprint
from avtomatika.client import AsyncClient
from avtomatika.protocol.answers import cancel_command
from avtomatika.protocol.worker_events import parse_event, progress_of
from avtomatika.worker import Context, Worker

from .conftest import PATIENCE, FakeEngine


@pytest.fixture
def connected(worker: Worker) -> Worker:
    """A worker that keeps a socket, with a task that waits."""
    worker.configure(websockets=True, heartbeat_interval=3600)

    @worker.task
    async def wait(context: Context) -> None:
        context.progress(0.5, "half")
        await asyncio.Event().wait()

    return worker


async def opened(engine: FakeEngine, count: int = 1) -> None:
    """Returns when so many sockets were opened."""
    async with asyncio.timeout(PATIENCE), engine.news:
        await engine.news.wait_for(lambda: len(engine.sockets) >= count)


async def test_cancellation_comes_over_the_socket(engine: FakeEngine, connected: Worker) -> None:
    """At once, without a heartbeat; what else comes over it does no harm. Progress goes out the same way."""
    async with connected:
        await opened(engine)
        engine.put("wait")
        frame = await engine.wait_for("frame")
        for text in ("no JSON", "[]", '{"command": "dance"}'):
            await engine.sockets[0].send_str(text)
        await engine.sockets[0].send_json(cancel_command("t-1", "j"))
        result = await engine.result()

    told = parse_event(frame.body)
    assert (told.task_id, progress_of(told)) == ("t-1", (0.5, "half"))
    assert (result["status"], engine.of("event")) == ("cancelled", [])
    assert engine.of("register")[0].body["capabilities"]["extra"] == {"websockets": True}
    assert engine.of("socket")[0].headers["X-Worker-Token"] == "token"


async def test_socket_comes_back_by_itself(engine: FakeEngine, connected: Worker) -> None:
    """After a refusal and after a loss."""
    engine.script["socket"] = [(503, {"error": "later"}), None]

    async with connected:
        await opened(engine)
        await engine.sockets[0].close()
        await opened(engine, 2)


async def test_progress_is_posted_while_the_socket_is_away(engine: FakeEngine, connected: Worker) -> None:
    """An engine without sockets hears it as well."""
    connected.configure(retry_initial=3600, retry_max=3600)
    engine.script["socket"] = [(404, {"error": "no sockets here"})]

    async with connected:
        await engine.wait_for("socket")
        engine.put("wait")
        event = await engine.wait_for("event")
        connected.request_stop(drain=False)

    assert progress_of(parse_event(event.body)) == (0.5, "half")


async def test_worker_opens_no_socket_unless_it_is_told_to(engine: FakeEngine, worker: Worker) -> None:
    """Heartbeats and polls are enough."""
    worker.add_task(lambda: None, "nothing")

    async with worker:
        await engine.wait_for("heartbeat", count=2)

    assert engine.of("socket") == []


async def test_engine_of_our_own_cancels_over_the_socket(worker: Worker) -> None:
    """A cancelled job ends its task long before the next heartbeat."""
    blueprint = StateMachineBlueprint("waiting", api_endpoint="/wait")
    began, ended = asyncio.Event(), asyncio.Event()

    @blueprint.handler_for("start", is_start=True)
    async def start(actions: ActionFactory) -> None:
        actions.dispatch_task("wait", {}, {"success": "end"})

    @blueprint.handler_for("end", is_end=True)
    async def end() -> None: ...

    @worker.task
    async def wait() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    engine = OrchestratorEngine(config=Config(API_PORT=0, API_HOST="127.0.0.1"))
    engine.register_blueprint(blueprint)
    async with engine:
        worker.configure(
            url=engine.url, token=engine.config.GLOBAL_WORKER_TOKEN, websockets=True, heartbeat_interval=3600
        )
        async with worker, AsyncClient(engine.url, engine.config.CLIENT_TOKEN) as client:
            job_id = await client.submit("/wait", {})
            async with asyncio.timeout(PATIENCE):
                await began.wait()
                answer = await client.cancel(job_id)
                await ended.wait()

    assert answer == "cancellation_request_sent"
