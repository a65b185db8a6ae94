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

from avtomatika.errors import ConfigError
from avtomatika.worker.__main__ import load_worker, main

from .conftest import PATIENCE, FakeEngine

MODULE = """
from avtomatika.worker import Worker

worker = Worker("from-module")

@worker.task
async def echo(params):
    return params
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


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("no_such_module:worker", "there is no module 'no_such_module' here"),
        ("good.py", "'good.py' is a file; name the module: good:worker"),
        ("needy:worker", "module 'needy' needs 'not_installed_anywhere', which is not installed"),
        ("broken:worker", "module 'broken' cannot be imported: ZeroDivisionError: division by zero"),
        ("good:wroker", "worker 'wroker' was expected in module 'good', which does not have it; its workers: worker."),
        ("good:other", "which has a int under that name"),
        ("two", "module 'two' has these workers: a, b. Name one: two:NAME"),
    ],
)
def test_target_that_is_no_worker_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str, message: str
) -> None:
    """Every mistake in the name of the worker has its own sentence."""
    (tmp_path / "needy.py").write_text("import not_installed_anywhere")
    (tmp_path / "broken.py").write_text("1 / 0")
    (tmp_path / "good.py").write_text("from avtomatika.worker import Worker\nworker = Worker('w')\nother = 3")
    (tmp_path / "two.py").write_text("from avtomatika.worker import Worker\na = Worker('a')\nb = Worker('b')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("needy", "broken", "good", "two"):
        monkeypatch.delitem(sys.modules, name, raising=False)

    with pytest.raises(ConfigError) as caught:
        load_worker(target)

    assert message in str(caught.value)


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
