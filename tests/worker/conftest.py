"""A scripted engine for the worker's tests: it records what it hears and answers what it is told to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from avtomatika.protocol.messages import TaskMessage
from avtomatika.worker import Worker

PATIENCE = 20.0


class Silence:
    """Takes what a task says, and forgets it."""

    def report(self, task: TaskMessage, value: float, message: str) -> None:
        """Takes a progress."""

    def tell(self, task: TaskMessage, word: str, payload: Mapping[str, Any]) -> None:
        """Takes an event."""


SILENCE = Silence()


@dataclass(frozen=True)
class Heard:
    """A request: which kind, and what stood in it."""

    kind: str
    body: Any = None
    query: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes = b""


def a_task(number: int, name: str = "echo") -> dict[str, Any]:
    """A task as the engine sends it."""
    return {"job_id": "j", "task_id": f"t-{number}", "type": name, "params": {"n": number}, "tracing_context": {}}


class FakeEngine:
    """The endpoints of an engine.

    ``script[kind]`` is a list of answers, ``(status, body)`` or ``(status, body, headers)``, used up one by one;
    ``None`` cuts the connection. After that every request is answered kindly. Tasks are put with ``put``. Requests of a
    kind that has a gate are answered when it opens.
    """

    def __init__(self) -> None:
        self.heard: list[Heard] = []
        self.script: dict[str, list[Any]] = {}
        self.gates: dict[str, asyncio.Event] = {}
        self.tasks: asyncio.Queue[Any] = asyncio.Queue()
        self.news = asyncio.Condition()
        self.sockets: list[web.WebSocketResponse] = []
        self.server = TestServer(self._app())

    @property
    def url(self) -> str:
        """Address for workers."""
        return str(self.server.make_url("/")).rstrip("/")

    def put(self, name: str, task_id: str = "t-1", **params: Any) -> None:
        """Hands a task to the next poll."""
        self.tasks.put_nowait(
            {"job_id": "j", "task_id": task_id, "type": name, "params": params, "tracing_context": {}, "priority": 2}
        )

    def of(self, kind: str) -> list[Heard]:
        """Returns the requests of one kind so far."""
        return [heard for heard in self.heard if heard.kind == kind]

    async def wait_for(self, kind: str, matches: Callable[[Heard], Any] = lambda heard: True, count: int = 1) -> Heard:
        """Returns the ``count``-th request of a kind that matches, when it has come."""
        found: list[Heard] = []

        def is_there() -> bool:
            found[:] = [heard for heard in self.of(kind) if matches(heard)]
            return len(found) >= count

        async with asyncio.timeout(PATIENCE), self.news:
            await self.news.wait_for(is_there)
        return found[count - 1]

    async def result(self, task_id: str = "t-1") -> dict[str, Any]:
        """Returns the body of the result of a task, when it has come."""
        heard = await self.wait_for("result", lambda heard: heard.body["task_id"] == task_id)
        body: dict[str, Any] = heard.body
        return body

    def _app(self) -> web.Application:
        app = web.Application()
        app.router.add_post("/_worker/workers/register", self._handler("register", {"status": "registered"}))
        app.router.add_patch("/_worker/workers/{id}", self._handler("heartbeat", {"status": "ok"}))
        app.router.add_get("/_worker/workers/{id}/tasks/next", self._poll)
        app.router.add_post("/_worker/tasks/result", self._handler("result", {"status": "accepted"}))
        app.router.add_post("/_worker/tasks/results", self._results)
        app.router.add_post("/_worker/auth/token", self._handler("token", {"error": "none here"}, 404))
        app.router.add_post("/_worker/auth/token/refresh", self._handler("refresh", {"error": "none here"}, 404))
        app.router.add_get("/_worker/ws/{id}", self._socket)
        app.router.add_post("/_worker/events", self._handler("event", {"status": "event_accepted"}))
        return app

    def _handler(self, kind: str, answer: dict[str, Any], status: int = 200) -> Callable[[web.Request], Any]:
        async def handle(request: web.Request) -> web.StreamResponse:
            await self._note(kind, request)
            return self._scripted(kind, request) or web.json_response(answer, status=status)

        return handle

    async def _results(self, request: web.Request) -> web.StreamResponse:
        await self._note("results", request)
        number = len(self.of("results")[-1].body["results"])
        return self._scripted("results", request) or web.json_response({"answers": [{"status": "accepted"}] * number})

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        await self._note("socket", request)
        scripted = self._scripted("socket", request)
        if scripted is not None:
            return scripted
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.sockets.append(socket)
        async with self.news:
            self.news.notify_all()
        async for message in socket:
            async with self.news:
                self.heard.append(Heard("frame", json.loads(message.data)))
                self.news.notify_all()
        return socket

    async def _poll(self, request: web.Request) -> web.StreamResponse:
        await self._note("poll", request)
        scripted = self._scripted("poll", request)
        if scripted is not None:
            return scripted
        try:
            async with asyncio.timeout(float(request.query["timeout"])):
                return web.json_response(await self.tasks.get())
        except TimeoutError:
            return web.Response(status=204)

    async def _note(self, kind: str, request: web.Request) -> None:
        body = await request.json() if request.can_read_body else None
        async with self.news:
            self.heard.append(Heard(kind, body, dict(request.query), dict(request.headers), await request.read()))
            self.news.notify_all()
        if kind in self.gates:
            await self.gates[kind].wait()

    def _scripted(self, kind: str, request: web.Request) -> web.StreamResponse | None:
        answers = self.script.get(kind)
        if not answers:
            return None
        answer = answers.pop(0)
        if answer is None:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        status, body, *headers = answer
        return web.json_response(body, status=status, headers=headers[0] if headers else None)


@pytest.fixture
async def engine() -> AsyncIterator[FakeEngine]:
    """A scripted engine that listens."""
    fake = FakeEngine()
    await fake.server.start_server()
    yield fake
    await fake.server.close()


@pytest.fixture
def worker(engine: FakeEngine) -> Worker:
    """A worker without tasks that would talk to the scripted engine, and loses little time."""
    return Worker(
        "w",
        url=engine.url,
        token="token",
        concurrency=4,
        heartbeat_interval=0.05,
        poll_timeout=5,
        shutdown_timeout=10,
        retry_initial=0.01,
        retry_max=0.05,
        poll_retry_initial=0.01,
        poll_retry_max=0.05,
        result_retry_initial=0.01,
    )
