"""The worker's own address for probes."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest

from avtomatika.errors import ConfigError
from avtomatika.worker import Worker

from .conftest import FakeEngine


async def probe(worker: Worker) -> tuple[int, Any]:
    """Returns status and body of an answer."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{worker.health_port}/health") as answer,
    ):
        return answer.status, await answer.json()


async def test_probe_is_answered_well_while_an_engine_knows_the_worker(engine: FakeEngine, worker: Worker) -> None:
    """Before that, and when it leaves, a balancer or Kubernetes is told to wait."""
    gate = asyncio.Event()

    @worker.task
    async def wait() -> None:
        await gate.wait()

    worker.configure(health_port=0)
    engine.script["register"] = [(503, {"error": "later"})] * 2
    async with worker:
        early = await probe(worker)
        await worker.wait_until_registered()
        engine.put("wait")
        await engine.wait_for("heartbeat", lambda heard: heard.body["current_tasks"])
        well = await probe(worker)
        worker.request_stop()
        leaving = await probe(worker)
        gate.set()

    assert (early[0], early[1]["registered"]) == (503, {engine.url: False})
    assert well == (
        200,
        {"status": "ok", "worker_id": "w", "registered": {engine.url: True}, "tasks": 1, "is_leaving": False},
    )
    assert (leaving[0], leaving[1]["is_leaving"]) == (503, True)
    assert worker.health_port is None


async def test_port_that_is_taken_stops_the_start(engine: FakeEngine, worker: Worker) -> None:
    """And leaves nothing running."""
    worker.add_task(lambda: None, "nothing")
    worker.configure(health_port=engine.server.port)

    with pytest.raises(ConfigError, match="cannot answer probes on port"):
        await worker.start()

    worker.configure(concurrency=2)
