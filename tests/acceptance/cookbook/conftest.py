"""A kitchen for the situations of the cookbook: an engine behind HTTP, its client, and workers of both kinds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import pytest

from avtomatika import Config, OrchestratorEngine, StateMachineBlueprint
from avtomatika.app_keys import DISPATCHER_KEY, STORAGE_KEY
from avtomatika.client import AsyncClient
from avtomatika.storage import MemoryStorage
from avtomatika.storage.base import Storage
from avtomatika.worker import Worker

CLIENT, WORKER = "the-token-of-the-client", "the-token-of-the-workers"


class PlainWorker:
    """A worker that speaks the protocol by hand, for what only some workers do.

    Args:
        http: sends the requests.
        url: of the engine.
        worker_id: its identity.
    """

    def __init__(self, http: aiohttp.ClientSession, url: str, worker_id: str) -> None:
        self.worker_id = worker_id
        self._http = http
        self._url = f"{url}/_worker"
        self._headers = {"X-Worker-Token": WORKER}

    async def register(self, skill: str, **members: Any) -> None:
        """Tells the engine of itself."""
        skills = [{"name": skill, "type": skill}]
        body = {"worker_id": self.worker_id, "supported_skills": skills, **members}
        assert (await self._send("POST", "/workers/register", body))[0] == 200

    async def beat(self, **members: Any) -> None:
        """Sends a heartbeat."""
        body = {"worker_id": self.worker_id, "status": "idle", "timestamp": 1_700_000_000, **members}
        assert (await self._send("PATCH", f"/workers/{self.worker_id}", body))[0] == 200

    async def take(self) -> dict[str, Any]:
        """Returns the task that it is given."""
        status, task = await self._send("GET", f"/workers/{self.worker_id}/tasks/next")
        assert status == 200
        return dict(task)

    async def give(self, task: Mapping[str, Any], **members: Any) -> int:
        """Sends the result of a task; returns the status of the answer."""
        body = {"job_id": task["job_id"], "task_id": task["task_id"], "worker_id": self.worker_id, **members}
        return (await self._send("POST", "/tasks/result", body))[0]

    async def listen(self) -> aiohttp.ClientWebSocketResponse:
        """Opens its WebSocket."""
        return await self._http.ws_connect(f"{self._url}/ws/{self.worker_id}", headers=self._headers)

    async def _send(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        async with self._http.request(method, f"{self._url}{path}", json=body, headers=self._headers) as response:
            return response.status, await response.json()


class Kitchen:
    """A running engine and everything that talks to it.

    Args:
        engine: it runs.
        http: for what no client does.
        stack: closes what is opened here.
        token: of the client.
    """

    def __init__(
        self, engine: OrchestratorEngine, http: aiohttp.ClientSession, stack: AsyncExitStack, token: str
    ) -> None:
        self.engine = engine
        self.http = http
        self.client = AsyncClient(engine.url, token)
        self._stack = stack

    async def run(self, endpoint: str, initial_data: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Creates a job and returns it when it has ended."""
        return await self.client.wait(await self.client.submit(endpoint, initial_data), timeout=60)

    async def until(self, job_id: str, status: str) -> dict[str, Any]:
        """Returns the job when it has that status."""
        job = await self.client.job(job_id)
        while job["status"] != status:
            assert job["status"] not in {"finished", "failed", "quarantined", "cancelled", "error"}, job
            job = await self.client.job(job_id, wait=20, version=job["version"])
        return job

    async def hire(
        self,
        worker_id: str = "w1",
        *,
        cost: float | None = None,
        tasks: Mapping[str, Callable[..., Any]],
        **options: Any,
    ) -> Worker:
        """Starts a worker of our SDK; it ends with the test."""
        settings = {"heartbeat_interval": 0.05, "shutdown_timeout": 5.0, **options}
        worker = Worker(worker_id, url=self.engine.url, token=WORKER, **settings)
        for name, function in tasks.items():
            worker.add_task(function, name, cost=cost)
        await self._stack.enter_async_context(worker)
        await worker.wait_until_registered()
        return worker

    def plain_worker(self, worker_id: str) -> PlainWorker:
        """Returns a worker that does nothing by itself."""
        return PlainWorker(self.http, self.engine.url, worker_id)

    async def until_free(self, count: int) -> None:
        """Returns when so many workers wait for a task."""

        async def are_free() -> bool:
            return self.engine.app[DISPATCHER_KEY].parked == count

        await until(are_free)


async def until(is_so: Callable[[], Awaitable[bool]]) -> None:
    """Returns when something that the other end of a connection brings about has come true."""
    async with asyncio.timeout(60):
        while not await is_so():  # noqa: ASYNC110 - the other end has no event for us
            await asyncio.sleep(0.002)


Serve = Callable[..., Awaitable[Kitchen]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Returns what starts an engine with blueprints and settings; its storage is sound when the test ends."""
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(aiohttp.ClientSession())

        async def start(
            *blueprints: StateMachineBlueprint, storage: Storage | None = None, token: str = CLIENT, **settings: Any
        ) -> Kitchen:
            chosen = {"CLIENT_TOKEN": CLIENT, "GLOBAL_WORKER_TOKEN": WORKER, "RATE_LIMITING_ENABLED": False, **settings}
            config = Config(API_HOST="127.0.0.1", API_PORT=0, **chosen)
            engine = OrchestratorEngine(storage or MemoryStorage(), config)
            for blueprint in blueprints:
                engine.register_blueprint(blueprint)
            await stack.enter_async_context(engine)
            stack.push_async_callback(_audit, engine)
            kitchen = Kitchen(engine, http, stack, token)
            await stack.enter_async_context(kitchen.client)
            return kitchen

        yield start


async def _audit(engine: OrchestratorEngine) -> None:
    assert await engine.app[STORAGE_KEY].audit() == []
