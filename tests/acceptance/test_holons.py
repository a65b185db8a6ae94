"""Three levels of engines, the lower two as processes; the middle one is killed while the lowest works."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from avtomatika import ActionFactory, Config, OrchestratorEngine, StateMachineBlueprint
from avtomatika.app_keys import STORAGE_KEY
from avtomatika.storage import MemoryStorage
from tests.engine_jobs import ended

pytestmark = pytest.mark.acceptance

TOKEN = "a-worker-secret"
# What happened is told by files, which a killed process leaves as well.
MODULE = """
import asyncio
from pathlib import Path
from avtomatika import OrchestratorEngine, StateMachineBlueprint

middle, bottom = OrchestratorEngine(), OrchestratorEngine()
assemble, weld = StateMachineBlueprint("assemble"), StateMachineBlueprint("weld")

@assemble.handler_for("start", is_start=True)
async def start(initial_data, actions):
    actions.dispatch_task("weld", initial_data, {"success": "assembled"})

@assemble.handler_for("assembled", is_end=True)
async def assembled(welded):
    return {"assembled": welded}

@weld.handler_for("only", is_start=True, is_end=True)
async def only(part):
    with Path("welding").open("a") as marks:
        marks.write(f"{part}\\n")
    while not Path("door").exists():
        await asyncio.sleep(0.02)
    return {"welded": part}

middle.register_blueprint(assemble)
bottom.register_blueprint(weld)
"""


def free_port() -> int:
    """Returns a port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def start_holon(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Returns what starts ``avtomatika holon``; its log is shown when the test fails."""
    (tmp_path / "plant.py").write_text(MODULE)
    started: list[tuple[subprocess.Popen[bytes], Path]] = []

    def start(name: str, parent: str, port: int) -> subprocess.Popen[bytes]:
        inherited = {key: value for key, value in os.environ.items() if not re.match("WORKER_|API_|.*_TOKEN$", key)}
        env = {
            **inherited,
            "GLOBAL_WORKER_TOKEN": TOKEN,
            "PARENT_TOKEN": TOKEN,
            "API_HOST": "127.0.0.1",
            "STORAGE_URI": f"sqlite:///{tmp_path / name}.db",
            "ENABLE_CLIENT_API": "false",
            "TASK_LEASE_SECONDS": "6",
            "HEARTBEAT_INTERVAL": "0.5",
            "REGISTRATION_RETRY_MAX_DELAY": "0.5",
            "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path]),
        }
        command = ["holon", f"plant:{name}", "--parent", parent, "--id", name, "--port", str(port)]
        log_path = tmp_path / f"{name}-{len(started)}.log"
        with log_path.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "avtomatika", *command], cwd=tmp_path, env=env, stdout=log, stderr=log
            )
        started.append((process, log_path))
        return process

    yield start

    for process, log_path in started:
        process.kill()
        process.wait()
        sys.stdout.write(f"--- {log_path.name} ---\n{log_path.read_text()}\n")


def car() -> StateMachineBlueprint:
    """Returns what the highest engine runs."""
    blueprint = StateMachineBlueprint("car")

    @blueprint.handler_for("start", is_start=True)
    async def start(initial_data: dict[str, Any], actions: ActionFactory) -> None:
        actions.dispatch_task("assemble", initial_data, {"success": "built"})

    @blueprint.handler_for("built", is_end=True)
    async def built(assembled: str) -> dict[str, Any]:
        return {"built": assembled}

    return blueprint


async def exists(path: Path) -> None:
    """Returns when another process has written the file."""
    async with asyncio.timeout(60):
        while not await asyncio.to_thread(path.exists):  # noqa: ASYNC110 - another process announces nothing
            await asyncio.sleep(0.02)


async def test_job_survives_the_death_of_the_engine_in_the_middle(
    start_holon: Callable[..., subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    """Killed while the lowest engine works, it comes back, gets its task again, and finds the job that it had."""
    config = Config(API_HOST="127.0.0.1", API_PORT=0, GLOBAL_WORKER_TOKEN=TOKEN, TASK_LEASE_SECONDS=6.0)
    engine = OrchestratorEngine(MemoryStorage(), config)
    engine.register_blueprint(car())
    async with engine:
        port = free_port()
        middle = start_holon("middle", engine.url, port)
        start_holon("bottom", f"http://127.0.0.1:{port}", 0)
        job_id = await engine.create_background_job("car", {"part": "door"})
        await exists(tmp_path / "welding")

        middle.send_signal(signal.SIGKILL)
        await asyncio.to_thread(middle.wait)
        start_holon("middle", engine.url, port)
        (tmp_path / "door").touch()
        job = await ended(engine, job_id)
        workers = [worker.worker_id for worker in await engine.app[STORAGE_KEY].list_workers()]

    assert (job.status, job.result.value()) == ("finished", {"built": "door"})
    assert (tmp_path / "welding").read_text() == "door\n"
    assert workers == ["middle"]


async def test_holon_without_a_parent_says_what_is_missing(tmp_path: Path) -> None:
    """One sentence and exit code 2."""
    (tmp_path / "plant.py").write_text(MODULE)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}

    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "avtomatika", "holon", "plant:middle", env=env, stderr=asyncio.subprocess.PIPE
    )
    _, said = await process.communicate()

    assert process.returncode == 2
    assert b"--parent" in said
