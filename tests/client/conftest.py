"""A scripted API server, and both clients behind one face."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import stamina
from aiohttp import web
from aiohttp.test_utils import TestServer

from avtomatika.client import AsyncClient, Client, Event
from avtomatika.client.repeating import ATTEMPTS

TOKEN = "a-client-secret"


@dataclass(frozen=True)
class Seen:
    """One request as the server saw it."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


@dataclass
class ScriptedApi:
    """Answers each call with what the test wrote down for it; the last answer is repeated.

    Args:
        url: its address.
    """

    url: str = ""
    seen: list[Seen] = field(default_factory=list)
    _script: dict[str, deque[Callable[[web.Request], Awaitable[web.StreamResponse]]]] = field(
        default_factory=lambda: defaultdict(deque)
    )

    def answers(self, call: str, body: Any, status: int = 200, **headers: str) -> None:
        """Writes down a JSON answer for a call such as ``GET /api/v1/jobs``."""

        async def respond(request: web.Request) -> web.StreamResponse:
            return web.json_response(body, status=status, headers=headers)

        self._script[call].append(respond)

    def responds(self, call: str, respond: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> None:
        """Writes down an answer of any kind."""
        self._script[call].append(respond)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Records the request and answers it."""
        body = await request.json() if request.can_read_body else None
        self.seen.append(
            Seen(request.method, request.raw_path.partition("?")[0], dict(request.query), dict(request.headers), body)
        )
        script = self._script[f"{request.method} {request.path}"]
        if not script:
            return web.json_response({"error": "not in the script", "code": "unscripted"}, status=500)
        return await (script.popleft() if len(script) > 1 else script[0])(request)


class BothClients:
    """Calls a method of one of the two clients by name; the plain one in a thread, as a program would."""

    def __init__(self, client: AsyncClient | Client) -> None:
        self.client = client

    async def __call__(self, method: str, *args: Any, **options: Any) -> Any:
        """Returns what the method returns."""
        function = getattr(self.client, method)
        if isinstance(self.client, Client):
            return await asyncio.to_thread(function, *args, **options)
        return await function(*args, **options)

    async def events(self, job_id: str) -> list[dict[str, Any]]:
        """Returns all that ``events`` yields."""
        if isinstance(self.client, Client):
            client = self.client
            return await asyncio.to_thread(lambda: list(client.events(job_id)))
        return [job async for job in self.client.events(job_id)]

    async def changes(self, count: int, *args: Any, **options: Any) -> list[Event]:
        """Returns the first ``count`` events that ``changes`` yields."""
        if isinstance(self.client, Client):
            client = self.client

            def take() -> list[Event]:
                with contextlib.closing(client.changes(*args, **options)) as events:
                    return list(itertools.islice(events, count))

            return await asyncio.to_thread(take)
        taken: list[Event] = []
        async with contextlib.aclosing(self.client.changes(*args, **options)) as events:
            async for event in events:
                taken.append(event)
                if len(taken) == count:
                    break
        return taken


@pytest.fixture(autouse=True)
def _no_pauses() -> Iterator[None]:
    """Lets calls be made again at once."""
    with stamina.set_testing(True, attempts=ATTEMPTS, cap=True):
        yield


@pytest.fixture
async def api() -> AsyncIterator[ScriptedApi]:
    """A server that answers as the test says."""
    api = ScriptedApi()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", api.handle)
    async with TestServer(app) as server:
        api.url = str(server.make_url("")).rstrip("/")
        yield api


@pytest.fixture
def address(api: ScriptedApi) -> tuple[str, str]:
    """The server that ``call`` is connected to, and a token for it; a module may name another one."""
    return api.url, TOKEN


@pytest.fixture(params=[AsyncClient, Client])
async def call(request: pytest.FixtureRequest, address: tuple[str, str]) -> AsyncIterator[BothClients]:
    """Each of the two clients, connected to the server."""
    client = request.param(*address)
    yield BothClients(client)
    if isinstance(client, AsyncClient):
        await client.close()


@pytest.fixture
def both_clients() -> type[BothClients]:
    """The class, for tests with a server of their own."""
    return BothClients
