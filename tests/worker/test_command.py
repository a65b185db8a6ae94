"""``python -m avtomatika.worker``."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from avtomatika.worker.__main__ import main

from .conftest import PATIENCE, FakeEngine

MODULE = """
from avtomatika.worker import Worker

worker = Worker("from-module")

@worker.task
async def echo(params):
    return params
"""
SKILLS = """
from _shared import SIGN
from avtomatika.worker import task

@task
async def shout(text: str) -> str:
    return text.upper() + SIGN

@task("add", process=True)
def add_up(a: int, b: int) -> int:
    return a + b
"""
LOOPS = """
import asyncio
from avtomatika.worker import Worker

worker = Worker("from-module")

@worker.task
async def which() -> str:
    return type(asyncio.get_running_loop()).__module__
"""
Start = Callable[..., Any]


@pytest.fixture
async def start(tmp_path: Path, engine: FakeEngine) -> AsyncIterator[Start]:
    """Starts the command in a folder with a module ``my_worker``."""
    (tmp_path / "my_worker.py").write_text(MODULE)
    processes: list[asyncio.subprocess.Process] = []

    async def run(*arguments: str, stdin: int = asyncio.subprocess.DEVNULL) -> asyncio.subprocess.Process:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("WORKER_")}
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "avtomatika.worker",
            *arguments,
            cwd=tmp_path,
            env={**environment, "ORCHESTRATOR_URL": engine.url},
            stdin=stdin,
            stderr=asyncio.subprocess.PIPE,
        )
        processes.append(process)
        return process

    yield run
    for process in processes:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_command_without_a_module_has_the_tasks_of_its_folder(
    engine: FakeEngine, start: Start, tmp_path: Path
) -> None:
    """That is enough for a worker; functions that want a process of their own are found there as well."""
    (tmp_path / "skills").mkdir()
    (tmp_path / "skills" / "_shared.py").write_text("SIGN = '!'\n")
    (tmp_path / "skills" / "shouting.py").write_text(SKILLS)

    process = await start()
    engine.put("shout", "t-1", text="hey")
    engine.put("add", "t-2", a=1, b=2)
    results = [await engine.result("t-1"), await engine.result("t-2")]
    process.send_signal(signal.SIGTERM)

    assert [result["data"] for result in results] == ["HEY!", 3]
    assert await process.wait() == 0


async def test_command_works_until_sigterm(engine: FakeEngine, start: Start) -> None:
    """A worker from a module of the current folder does a task, and a signal ends it in good order."""
    process = await start("my_worker:worker", "--id", "from-command")
    engine.put("echo", n=1)
    body = await engine.result()

    process.send_signal(signal.SIGTERM)
    code = await asyncio.wait_for(process.wait(), PATIENCE)

    assert (body["data"], body["worker_id"]) == ({"n": 1}, "from-command")
    assert code == 0
    assert engine.of("heartbeat")[-1].body["status"] == "offline"


async def test_command_ends_with_its_parent(engine: FakeEngine, start: Start) -> None:
    """When the pipe of standard input closes, the worker is gone."""
    process = await start("my_worker", "--stop-with-parent", stdin=asyncio.subprocess.PIPE)
    await engine.wait_for("register")

    process.stdin.close()

    assert await asyncio.wait_for(process.wait(), PATIENCE) == 0


async def test_command_with_a_refused_token_fails(engine: FakeEngine, start: Start) -> None:
    """The exit code and one sentence say that the token is wrong."""
    engine.script["register"] = [(403, {"error": "wrong token"})]
    process = await start("my_worker:worker")

    _, errors = await asyncio.wait_for(process.communicate(), PATIENCE)

    assert process.returncode == 1
    assert b"error: " in errors
    assert b"Check WORKER_TOKEN" in errors


def test_command_with_a_wrong_target_returns_2(capsys: pytest.CaptureFixture[str]) -> None:
    """Mistakes of the command line are told apart from a refused token."""
    assert main(["no_such_module:worker"]) == 2
    assert "error: there is no module 'no_such_module'" in capsys.readouterr().err


async def test_command_imports_no_notebook_packages(start: Start, tmp_path: Path) -> None:
    """A worker starts fast: what only notebooks and servers need stays unimported."""
    (tmp_path / "nosy.py").write_text(
        "import sys\nfrom avtomatika.worker import Worker\n"
        "heavy = {'pandas', 'IPython', 'ipywidgets', 'matplotlib', 'redis'} & set(sys.modules)\n"
        "raise SystemExit(f'heavy: {sorted(heavy)}')\n"
    )
    process = await start("nosy")

    _, errors = await asyncio.wait_for(process.communicate(), PATIENCE)

    assert b"heavy: []" in errors


async def test_command_starts_again_when_a_file_changes(engine: FakeEngine, start: Start, tmp_path: Path) -> None:
    """In development, the worker is always the one that stands in the file; the old one says goodbye."""
    process = await start("my_worker:worker", "--reload")
    await engine.wait_for("register")

    (tmp_path / "my_worker.py").write_text(MODULE.replace("from-module", "from-changed-module"))
    await engine.wait_for("register", lambda heard: heard.body["worker_id"] == "from-changed-module")
    process.send_signal(signal.SIGTERM)
    code = await asyncio.wait_for(process.wait(), PATIENCE)

    assert code == 0
    assert [heard.body["worker_id"] for heard in engine.of("heartbeat") if heard.body["status"] == "offline"] == [
        "from-module",
        "from-changed-module",
    ]


async def test_worker_runs_on_uvloop_where_it_is_installed(engine: FakeEngine, start: Start, tmp_path: Path) -> None:
    """As the engine does."""
    pytest.importorskip("uvloop", reason="the extra 'speed' is not installed")
    (tmp_path / "my_worker.py").write_text(LOOPS)

    await start("my_worker:worker")
    engine.put("which")

    assert (await engine.result())["data"] == "uvloop"
