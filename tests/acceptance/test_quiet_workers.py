"""Our worker at our engines with nothing to do: it polls and says no more, and is known all the same."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from avtomatika import Config, OrchestratorEngine
from avtomatika.app_keys import STORAGE_KEY
from avtomatika.server.keys import WORKERS_KEY
from avtomatika.storage import RedisStorage
from avtomatika.worker import Worker
from tests.redis_server import RedisServer

pytestmark = pytest.mark.acceptance


class Heard:
    """What engines hear, counted.

    Args:
        engines: that are listened to.
    """

    def __init__(self, *engines: OrchestratorEngine) -> None:
        self.counts: Counter[str] = Counter()
        self._news = asyncio.Condition()
        for engine in engines:
            for kind in ("register", "heartbeat", "poller"):
                self._listen(engine, kind)

    def _listen(self, engine: OrchestratorEngine, kind: str) -> None:
        workers = engine.app[WORKERS_KEY]
        take = getattr(workers, kind)

        async def heard(*said: Any) -> Any:
            answer = await take(*said)
            async with self._news:
                self.counts[kind] += 1
                self._news.notify_all()
            return answer

        setattr(workers, kind, heard)

    async def until(self, kind: str, number: int) -> None:
        """Returns when so many messages of a kind have come."""
        async with asyncio.timeout(60), self._news:
            await self._news.wait_for(lambda: self.counts[kind] >= number)


@pytest.fixture
async def engines(shared: list[RedisStorage]) -> AsyncIterator[list[OrchestratorEngine]]:
    """Two engines on one Redis."""
    async with AsyncExitStack() as stack:
        made = []
        for name, storage in zip("ab", shared, strict=True):
            config = Config(
                API_HOST="127.0.0.1", API_PORT=0, INSTANCE_ID=name, CLIENT_TOKEN="client", GLOBAL_WORKER_TOKEN="worker"
            )
            made.append(await stack.enter_async_context(OrchestratorEngine(storage, config)))
        yield made


@pytest.fixture
def shared(redis_server: RedisServer) -> list[RedisStorage]:
    """The storages of two engines, which are one."""
    prefix = redis_server.new_prefix()
    return [RedisStorage(redis_server.client(), prefix=prefix) for _ in range(2)]


async def test_idle_worker_of_two_engines_polls_and_says_no_more(engines: list[OrchestratorEngine]) -> None:
    """No heartbeat, though one is due twenty times a second; if it is forgotten, it comes back."""
    heard = Heard(*engines)
    worker = Worker(
        "w1",
        engines=[engine.url for engine in engines],
        mode="ROUND_ROBIN",
        token="worker",
        heartbeat_interval=0.05,
        poll_timeout=0.1,
        load_deadband=1000,
    )
    worker.add_task(lambda: None, "work")
    storage = engines[0].app[STORAGE_KEY]

    async with worker:
        await heard.until("heartbeat", 2)
        await heard.until("poller", 8)  # both engines have been asked
        first = heard.counts["heartbeat"]
        await heard.until("poller", 20)
        beats = heard.counts["heartbeat"] - first
        for engine in engines:
            await engine.app[WORKERS_KEY]._roster.flush()
        known = await storage.find_worker("w1")
        await storage.remove_worker("w1")
        for engine in engines:
            await engine.app[WORKERS_KEY]._roster.flush()
        await heard.until("register", 3)
        back = await storage.find_worker("w1")

    assert beats == 0
    assert known is not None
    assert known.seen_at > known.registered_at
    assert back is not None
