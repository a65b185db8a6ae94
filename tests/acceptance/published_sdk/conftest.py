"""Workers of the published SDK as processes, and the smallest server that they can work for."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, Protocol

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

HERE = Path(__file__).parent
# The oldest release that users still run, and the newest (of 2026-11).
RELEASES = ("1.0b5", "1.0b20")


@dataclass
class SdkWorker:
    """A running worker process.

    Args:
        worker_id: its identity.
        process: the process.
        log_path: where its output goes.
    """

    worker_id: str
    process: subprocess.Popen[bytes]
    log_path: Path

    @property
    def log(self) -> str:
        """What it has written so far."""
        return self.log_path.read_text(encoding="utf-8", errors="replace")

    def stop(self) -> None:
        """Ends the process: politely, and after five seconds not."""
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """Ends the process at once, as a crash would."""
        self.process.kill()
        self.process.wait()


class StartWorker(Protocol):
    """Starts a worker of a release; it ends with the test."""

    def __call__(self, release: str, url: str, token: str, worker_id: str = "sdk-worker", **env: str) -> SdkWorker:
        """Returns the started worker; ``env`` are further settings of the SDK."""
        ...


@pytest.fixture(params=RELEASES)
def release(request: pytest.FixtureRequest) -> str:
    """Each release that is tested."""
    return str(request.param)


@pytest.fixture
def sdk_worker(tmp_path: Path, missing_server: Callable[[str], NoReturn]) -> Iterator[StartWorker]:
    """Returns the function that starts workers; their logs are shown when the test fails."""
    started: list[SdkWorker] = []

    def start(release: str, url: str, token: str, worker_id: str = "sdk-worker", **env: str) -> SdkWorker:
        python = interpreter(release, missing_server)
        home = tmp_path / f"worker-{len(started)}"
        home.mkdir()
        log_path = home / "log.txt"
        with log_path.open("wb") as log:
            process = subprocess.Popen(
                [python, "-u", HERE / "sdk_program.py"],
                cwd=home,
                env={**worker_settings(url, token, worker_id, home), **env},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        started.append(SdkWorker(worker_id, process, log_path))
        return started[-1]

    yield start

    for worker in started:
        worker.kill()  # the newest release would finish its open poll first, for seconds
        sys.stdout.write(f"--- log of {worker.worker_id} ---\n{worker.log}\n")


def interpreter(release: str, missing_server: Callable[[str], NoReturn]) -> str:
    """Returns the interpreter of the release's environment; without a network it cannot be made the first time."""
    made = subprocess.run(
        [sys.executable, HERE / "environments.py", release], check=False, capture_output=True, text=True
    )
    if made.returncode:
        missing_server(f"no environment with avtomatika-worker {release}: {made.stderr.strip()[-500:]}.")
    return made.stdout.strip()


def worker_settings(url: str, token: str, worker_id: str, home: Path) -> dict[str, str]:
    """Returns the environment of a worker: nothing of the test run's own, which may hold settings of the SDK."""
    return {
        "PATH": os.environ.get("PATH", ""),
        "HOME": str(home),
        "TMPDIR": str(home),
        "ORCHESTRATOR_URL": url,
        "WORKER_TOKEN": token,
        "WORKER_ID": worker_id,
        "HEARTBEAT_INTERVAL": "1",
        "TASK_POLL_TIMEOUT": "5",
        "RESULT_RETRY_INITIAL_DELAY": "0.2",
        "REGISTRATION_RETRY_INITIAL_DELAY": "0.2",
        "REGISTRATION_RETRY_MAX_DELAY": "0.5",
        "POLL_BACKOFF_INITIAL": "0.2",
        "POLL_BACKOFF_MAX": "0.5",
        "TASK_FILES_DIR": str(home / "files"),
        "WORKER_BLOB_CACHE_DIR": str(home / "cache"),
    }


@dataclass
class TinyServer:
    """Speaks just enough of the worker protocol to try the harness itself.

    Args:
        url: its address.
        registered: bodies of registrations.
        heartbeats: bodies of heartbeats.
        results: bodies of results.
        tokens: every token that was sent.
    """

    url: str = ""
    registered: asyncio.Queue[dict[str, Any]] = field(default_factory=asyncio.Queue)
    heartbeats: asyncio.Queue[dict[str, Any]] = field(default_factory=asyncio.Queue)
    results: asyncio.Queue[dict[str, Any]] = field(default_factory=asyncio.Queue)
    tokens: set[str] = field(default_factory=set)
    _tasks: asyncio.Queue[dict[str, Any]] = field(default_factory=asyncio.Queue)

    def give(self, task_type: str, params: dict[str, Any]) -> None:
        """Hands a task to the next poll."""
        task_id = f"t-{task_type}"
        task = {"job_id": "j", "task_id": task_id, "type": task_type, "params": params, "tracing_context": {}}
        self._tasks.put_nowait(task)

    def app(self) -> web.Application:
        """Returns the application with its four routes."""
        app = web.Application()
        app.router.add_post("/_worker/workers/register", self._record(self.registered, {"status": "registered"}))
        app.router.add_patch("/_worker/workers/{worker_id}", self._record(self.heartbeats, {"status": "ok"}))
        app.router.add_get("/_worker/workers/{worker_id}/tasks/next", self._next_task)
        app.router.add_post("/_worker/tasks/result", self._record(self.results, {"status": "accepted"}))
        return app

    def _record(self, queue: asyncio.Queue[dict[str, Any]], answer: dict[str, Any]) -> Callable[[web.Request], Any]:
        async def handle(request: web.Request) -> web.Response:
            self.tokens.add(request.headers.get("X-Worker-Token", ""))
            queue.put_nowait(await request.json())
            return web.json_response(answer)

        return handle

    async def _next_task(self, request: web.Request) -> web.Response:
        self.tokens.add(request.headers.get("X-Worker-Token", ""))
        try:
            return web.json_response(await asyncio.wait_for(self._tasks.get(), 3))
        except TimeoutError:
            return web.Response(status=204)


@pytest.fixture
async def tiny_server() -> AsyncIterator[TinyServer]:
    """A server that records what workers send and gives them what the test says."""
    tiny = TinyServer()
    async with TestServer(tiny.app()) as server:
        tiny.url = str(server.make_url("")).rstrip("/")
        yield tiny
