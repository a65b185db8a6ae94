"""Engines and their storage: two engines on one Redis, and an engine whose disk is full."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from avtomatika import ActionFactory, Config, OrchestratorEngine, StateMachineBlueprint
from avtomatika.app_keys import JOBS_KEY, RUNNER_KEY, STORAGE_KEY
from avtomatika.runtime import runner
from avtomatika.storage import RedisStorage, SQLiteStorage
from avtomatika.storage.base import Storage
from avtomatika.worker import Worker
from tests.redis_server import RedisServer

pytestmark = pytest.mark.acceptance

CLIENT = {"X-Client-Token": "client"}


def flow(door: asyncio.Event) -> StateMachineBlueprint:
    """Returns a blueprint whose jobs wait at a door, write much, go to a worker and end."""
    bp = StateMachineBlueprint("flow", api_endpoint="/flow")

    @bp.handler_for("begin", is_start=True)
    async def begin(state_history: dict[str, Any], actions: ActionFactory) -> None:
        await door.wait()
        state_history["much"] = "x" * 100_000
        actions.dispatch_task("work", transitions={"success": "end"})

    @bp.handler_for("end", is_end=True)
    async def end(did: str) -> dict[str, str]:
        return {"did": did}

    return bp


@asynccontextmanager
async def serving(
    storage: Storage, door: asyncio.Event, name: str, **settings: Any
) -> AsyncIterator[OrchestratorEngine]:
    """Gives an engine that runs on the storage."""
    config = Config(
        API_HOST="127.0.0.1",
        API_PORT=0,
        INSTANCE_ID=name,
        CLIENT_TOKEN="client",
        GLOBAL_WORKER_TOKEN="worker",
        **settings,
    )
    engine = OrchestratorEngine(storage, config)
    engine.register_blueprint(flow(door))
    async with engine:
        yield engine
        assert await engine.app[STORAGE_KEY].audit() == []


def a_worker(engine: OrchestratorEngine) -> Worker:
    """Returns a worker of an engine; it says who did the work."""
    worker = Worker("w1", url=engine.url, token="worker")
    worker.add_task(lambda: {"did": "w1"}, "work")
    return worker


async def test_any_engine_answers_for_any_other(redis_server: RedisServer, tmp_path: Path) -> None:
    """A job is created at one engine, its handlers run in the other, and who waits is woken at the first.

    Its data are large: one engine puts them away, the other shows them.
    """
    settings = {"TASK_FILES_DIR": str(tmp_path), "PAYLOAD_OFFLOAD_BYTES": 1024}
    prefix, door = redis_server.new_prefix(), asyncio.Event()
    storages = [RedisStorage(redis_server.client(), prefix=prefix) for _ in range(2)]
    async with (
        serving(storages[0], door, "a", **settings) as desk,
        serving(storages[1], door, "b", **settings) as mill,
        aiohttp.ClientSession(headers=CLIENT) as http,
    ):
        await desk.app[RUNNER_KEY].stop(0)
        async with http.post(f"{desk.url}/api/v1/flow", json={}) as response:
            job_id = (await response.json())["job_id"]
        async with http.get(f"{mill.url}/api/v1/jobs/{job_id}") as response:
            version = (await response.json())["version"]

        async def wait() -> dict[str, Any]:
            """Waits at the desk for the job's next version, without a look of its own."""
            nonlocal version
            asking = http.get(f"{desk.url}/api/v1/jobs/{job_id}?wait=60&version={version}")
            async with asking as response:
                job = dict(await response.json())
            version = job["version"]
            return job

        async with a_worker(mill):
            door.set()
            seen = [await wait()]
            while seen[-1]["status"] != "finished":
                seen.append(await wait())

        stored = await storages[0].find_job(job_id)

    assert stored is not None
    assert stored.state_history.is_away
    assert seen[-1]["state_history"] == {"much": "x" * 100_000, "did": "w1"}
    assert seen[-1]["result"] == {"did": "w1"}
    assert [job["version"] for job in seen] == sorted({job["version"] for job in seen})


async def test_cancel_at_one_engine_ends_the_handler_of_the_other(redis_server: RedisServer) -> None:
    """The engine that runs the handler hears of the end through Redis and stops it."""
    prefix, door = redis_server.new_prefix(), asyncio.Event()
    storages = [RedisStorage(redis_server.client(), prefix=prefix) for _ in range(2)]
    async with serving(storages[0], door, "a") as desk, serving(storages[1], door, "b") as mill:
        await desk.app[RUNNER_KEY].stop(0)
        job_id = await desk.create_background_job("flow", {})
        while not mill.app[RUNNER_KEY].active:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)

        await desk.app[JOBS_KEY].cancel(job_id)

        while mill.app[RUNNER_KEY].active:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)
        assert (await mill.app[JOBS_KEY].get(job_id)).status == "cancelled"


async def limit_pages(storage: SQLiteStorage, pages: int) -> None:
    """Lets the file grow to so many pages and no further, as a full disk does."""
    await storage._writer.submit(lambda step: step._connection.execute(f"PRAGMA max_page_count = {pages}").fetchall())


async def test_full_disk_stops_the_engine_and_room_lets_it_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """New jobs are refused with the moment to try again, running ones stand still, and nothing need be restarted."""
    monkeypatch.setattr(runner, "_STORAGE_PAUSE", 0.05)
    storage, door = SQLiteStorage(tmp_path / "jobs.db"), asyncio.Event()
    async with serving(storage, door, "a") as engine, aiohttp.ClientSession(headers=CLIENT) as http:
        job_id = await engine.create_background_job("flow", {}, client="default")
        await limit_pages(storage, 1)
        before = (await engine.app[JOBS_KEY].get(job_id)).version
        door.set()
        while "a step could not be written" not in caplog.text:  # noqa: ASYNC110 - the log tells
            await asyncio.sleep(0.01)

        async with http.post(f"{engine.url}/api/v1/flow", json={"much": "x" * 100_000}) as response:
            refused, body = response, await response.json()
        version = (await engine.app[JOBS_KEY].get(job_id)).version
        await limit_pages(storage, 1_000_000)
        async with a_worker(engine):
            job = await engine.app[JOBS_KEY].get(job_id)
            while not job.is_terminal:
                job = await engine.app[JOBS_KEY].wait(job_id, job.version, 60)

    assert (refused.status, body["code"]) == (503, "storage_unavailable")
    assert int(refused.headers["Retry-After"]) > 0
    assert "the disk is full. Free some space" in body["error"]
    assert (version, job.status) == (before, "finished")
