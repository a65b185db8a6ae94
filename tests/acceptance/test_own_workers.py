"""Real worker processes of our own SDK: killed, late, left alone by a restart, and drained. No job is lost."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from avtomatika import ActionFactory, Config, OrchestratorEngine, StateMachineBlueprint
from avtomatika.app_keys import STORAGE_KEY
from avtomatika.core.job import Task
from avtomatika.storage import MemoryStorage
from tests.engine_jobs import reached

pytestmark = pytest.mark.acceptance

TOKEN = "worker-token"
# Marks of what happened are files, so that a killed process has left them, too.
MODULE = """
import asyncio
from pathlib import Path
from avtomatika.worker import Worker

worker = Worker()

@worker.task
async def work(name):
    Path(f"{worker.settings.worker_id}.begun").touch()
    if name == "hang" and not Path("hung").exists():
        Path("hung").touch()
        while not Path("door").exists():
            await asyncio.sleep(0.02)
    return {"by": worker.settings.worker_id}
"""


class Process:
    """A worker process.

    Args:
        folder: where it runs and leaves its marks.
        worker_id: its identity.
        url: of the engine.
    """

    def __init__(self, folder: Path, worker_id: str, url: str) -> None:
        self.folder = folder
        self.worker_id = worker_id
        self.log = folder / f"{worker_id}.log"
        env = {name: value for name, value in os.environ.items() if not re.match("WORKER_|MAX_CONC", name)}
        settings = {"HEARTBEAT_INTERVAL": "0.3", "WORKER_TOKEN": TOKEN, "REGISTRATION_RETRY_MAX_DELAY": "0.5"}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "avtomatika.worker", "crew:worker", "--id", worker_id, "--url", url],
                cwd=folder,
                env={**env, **settings, "REGISTRATION_RETRY_INITIAL_DELAY": "0.1"},
                stderr=log,
            )

    async def until_begun(self) -> None:
        """Returns when the worker has begun a task."""
        mark = self.folder / f"{self.worker_id}.begun"

        async def has_begun() -> bool:
            return await asyncio.to_thread(mark.exists)

        await true(has_begun)

    async def end(self, number: signal.Signals) -> int:
        """Sends a signal and returns the exit code."""
        self.process.send_signal(number)
        return await asyncio.to_thread(self.process.wait, 30)


async def true(is_so: Callable[[], Awaitable[bool]]) -> None:
    """Returns when something that another process brings about has come true."""
    async with asyncio.timeout(30):
        while not await is_so():  # noqa: ASYNC110 - another process has no event for us
            await asyncio.sleep(0.02)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Returns what starts a worker process; all of them end with the test, and their logs are shown."""
    (tmp_path / "crew.py").write_text(MODULE)
    started: list[Process] = []

    def start(worker_id: str, engine: OrchestratorEngine) -> Process:
        started.append(Process(tmp_path, worker_id, engine.url))
        return started[-1]

    yield start

    for worker in started:
        worker.process.kill()
        worker.process.wait()
        sys.stdout.write(f"--- {worker.worker_id} ---\n{worker.log.read_text()}\n")


def an_engine(storage: MemoryStorage, port: int = 0) -> OrchestratorEngine:
    """Returns an engine that gives a silent worker up after two seconds."""
    config = Config(
        API_HOST="127.0.0.1",
        API_PORT=port,
        CLIENT_TOKEN="client",
        GLOBAL_WORKER_TOKEN=TOKEN,
        TASK_LEASE_SECONDS=2,
        WORKER_POLL_TIMEOUT_SECONDS=5,
        RETRY_DELAY_SECONDS=0.1,
    )
    engine = OrchestratorEngine(storage, config)
    flow = StateMachineBlueprint("flow")

    @flow.handler_for("send", is_start=True)
    async def send(initial_data: dict[str, Any], actions: ActionFactory) -> None:
        actions.dispatch_task("work", {"name": initial_data.get("name", "")}, {"success": "done"})

    @flow.handler_for("done", is_end=True)
    async def done() -> None: ...

    engine.register_blueprint(flow)
    return engine


@pytest.fixture
async def engine() -> AsyncIterator[OrchestratorEngine]:
    """A running engine; its storage is sound when the test ends."""
    storage = MemoryStorage()
    async with an_engine(storage) as engine:
        yield engine
    assert await storage.audit() == []


async def the_task(engine: OrchestratorEngine, job_id: str) -> Task:
    """Returns the job's only task."""
    (task,) = await engine.app[STORAGE_KEY].list_tasks(job_id)
    return task


@pytest.mark.parametrize("confirmed", [False, True])
async def test_task_of_a_killed_worker_is_done_by_another(
    engine: OrchestratorEngine, start: Any, confirmed: bool
) -> None:
    """A worker that dies in the middle of a task costs time, whether or not a heartbeat had named the task."""
    first = start("first", engine)
    job_id = await engine.create_background_job("flow", {"name": "hang"})
    await first.until_begun()

    async def is_confirmed() -> bool:
        return (await the_task(engine, job_id)).confirmed or not confirmed

    await true(is_confirmed)
    start("second", engine)

    await first.end(signal.SIGKILL)

    job = await reached(engine, job_id, "finished")
    assert job.result.value() == {"by": "second"}
    assert (await the_task(engine, job_id)).worker_id == "second"


async def test_worker_that_starts_late_finds_its_tasks(engine: OrchestratorEngine, start: Any) -> None:
    """Jobs wait for a worker; when one comes, it does them all."""
    jobs = [await engine.create_background_job("flow", {}) for _ in range(5)]
    for job_id in jobs:
        await reached(engine, job_id, "waiting_for_worker")

    start("late", engine)

    assert [(await reached(engine, job_id, "finished")).result.value() for job_id in jobs] == [{"by": "late"}] * 5


async def test_worker_survives_a_restart_of_the_engine(start: Any, tmp_path: Path) -> None:
    """The task goes on while no engine is there, its result arrives at the next one, and the worker serves on."""
    storage = MemoryStorage()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    async with an_engine(storage, port) as first:
        worker = start("faithful", first)
        job_id = await first.create_background_job("flow", {"name": "hang"})
        await worker.until_begun()

    async with an_engine(storage, port) as second:
        (tmp_path / "door").touch()
        job = await reached(second, job_id, "finished")
        next_job = await reached(second, await second.create_background_job("flow", {}), "finished")

    assert job.result.value() == next_job.result.value() == {"by": "faithful"}
    assert worker.process.poll() is None
    assert await storage.audit() == []


async def test_sigterm_drains_a_worker(engine: OrchestratorEngine, start: Any, tmp_path: Path) -> None:
    """The running task is finished and delivered, nothing new is taken, and the process ends well."""
    worker = start("leaving", engine)
    job_id = await engine.create_background_job("flow", {"name": "hang"})
    await worker.until_begun()

    ending = asyncio.create_task(worker.end(signal.SIGTERM))

    async def has_said_goodbye() -> bool:
        return [known.status for known in await engine.app[STORAGE_KEY].list_workers()] == ["offline"]

    await true(has_said_goodbye)
    waiting = await engine.create_background_job("flow", {})
    (tmp_path / "door").touch()

    assert await ending == 0
    assert (await reached(engine, job_id, "finished")).result.value() == {"by": "leaving"}
    assert (await reached(engine, waiting, "waiting_for_worker")).status == "waiting_for_worker"
