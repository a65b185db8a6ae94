"""Where the releases are tried: one engine, and for each release two workers, of which one holds a WebSocket."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from avtomatika import ActionFactory, Config, OrchestratorEngine, StateMachineBlueprint
from avtomatika.client import AsyncClient
from avtomatika.protocol.messages import Heartbeat, Result
from avtomatika.server.keys import SIGNATURES_KEY, WORKERS_KEY
from avtomatika.storage import MemoryStorage

from .releases import Release

HERE = Path(__file__).parent
WORKER_TOKEN = "a-worker-secret"
CLIENT_TOKEN = "a-client-secret"
TASK_KEY = "the-key-of-tasks"
RETRIES = 2
PATIENCE = 60.0
"""Seconds until a test gives up; nothing is measured by it."""
_PAUSE = 0.02  # what another process does is announced by nobody


def blueprint() -> StateMachineBlueprint:
    """Returns a blueprint that sends the task it is told to send."""
    work = StateMachineBlueprint("work", api_endpoint="/work")

    @work.handler_for("start", is_start=True)
    async def start(initial_data: dict[str, Any], actions: ActionFactory) -> None:
        transitions = {"success": "done", "needs_review": "review"}
        if initial_data.get("guarded"):
            transitions["failure"] = "amends"
        actions.dispatch_task(initial_data["task"], initial_data["params"], transitions)

    @work.handler_for("done", is_end=True)
    async def done(state_history: dict[str, Any]) -> dict[str, Any]:
        return {"answer": state_history}

    @work.handler_for("review", is_end=True)
    async def review() -> dict[str, Any]:
        return {"answer": "a person must look"}

    @work.handler_for("amends", is_end=True, outcome="finished")
    async def amends(last_error: dict[str, Any]) -> dict[str, Any]:
        return {"code": last_error["code"], "attempt": last_error["attempt"]}

    return work


@dataclass
class SdkWorker:
    """A worker process.

    Args:
        worker_id: its identity; the names of its skills end in it.
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

    @property
    def is_gone(self) -> bool:
        """Whether the process has ended."""
        return self.process.poll() is not None

    def terminate(self) -> None:
        """Asks it to stop, as a supervisor does."""
        self.process.terminate()

    def kill(self) -> None:
        """Ends it at once."""
        self.process.kill()
        self.process.wait()


@dataclass
class Seat:
    """The workers of one release.

    Args:
        release: which.
        python: the interpreter of its environment.
        wired: the worker that holds a WebSocket.
        plain: the one that does not.
    """

    release: Release
    python: Path
    wired: SdkWorker
    plain: SdkWorker

    @property
    def name(self) -> str:
        """What the names of skills end in that both workers have."""
        return f"b{self.release.number}"


@dataclass
class Records:
    """What was seen at the engine's side of the workers' calls.

    Args:
        results: worker, job, status word, and the engine's answer, in order.
        goodbyes: workers that said that they go.
        refused: calls with another token than the right one: token and path, counted.
        odd: answers that workers take badly: their status and path.
        signatures: workers, with the kinds of their messages whose signatures were right, or refused.
        cut: jobs whose next result is taken and not answered; the connection is cut instead.
    """

    results: list[tuple[str, str, str, dict[str, Any]]] = field(default_factory=list)
    goodbyes: set[str] = field(default_factory=set)
    refused: Counter[tuple[str, str]] = field(default_factory=Counter)
    odd: list[tuple[int, str]] = field(default_factory=list)
    signatures: dict[str, set[tuple[str, str]]] = field(default_factory=lambda: defaultdict(set))
    cut: set[str] = field(default_factory=set)


class Field:
    """An engine that can be stopped and started again at the same address, and the workers that serve it.

    Args:
        home: directory for logs and files.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self.port = _free_port()
        self.records = Records()
        self.storage = MemoryStorage()
        self.workers: list[SdkWorker] = []
        self._engine: OrchestratorEngine | None = None
        self._client: AsyncClient | None = None

    @property
    def url(self) -> str:
        """The engine's address, whether it runs or not."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def client(self) -> AsyncClient:
        """A client of the engine that runs now."""
        assert self._client is not None, "the engine does not run"
        return self._client

    # --- the engine ---

    async def start(self) -> None:
        """Starts an engine on what is stored."""
        self._engine = OrchestratorEngine(self.storage, self._config())
        self._engine.register_blueprint(blueprint())
        self._engine.app.middlewares.insert(0, self._watch)
        self._spy(self._engine.app[WORKERS_KEY])
        self._spy_on_signatures(self._engine.app[SIGNATURES_KEY])
        await self._engine.start()
        self._client = await AsyncClient(self.url, CLIENT_TOKEN).__aenter__()

    def _config(self) -> Config:
        return Config(
            API_HOST="127.0.0.1",
            API_PORT=self.port,
            CLIENT_TOKEN=CLIENT_TOKEN,
            GLOBAL_WORKER_TOKEN=WORKER_TOKEN,
            JOB_MAX_RETRIES=RETRIES,
            RETRY_DELAY_SECONDS=0.01,
            RETRY_MAX_DELAY_SECONDS=0.05,
            TASK_LEASE_SECONDS=10.0,  # heartbeats come each second, but late from a busy machine
            WORKER_SIGNATURES="require",
            TASK_SIGNING_KEY=TASK_KEY,
            # These workers hang up after ten seconds and do not say so.
            WORKER_POLL_TIMEOUT_SECONDS=5.0,
        )

    async def stop(self) -> None:
        """Stops the engine; the storage stays."""
        if self._client is not None:
            await self._client.close()
        if self._engine is not None:
            await self._engine.stop()

    def forget(self) -> None:
        """Lets the next engine find nothing."""
        self.storage = MemoryStorage()

    async def aclose(self) -> None:
        """Ends everything."""
        for worker in self.workers:
            worker.kill()
        await self.stop()

    @web.middleware
    async def _watch(self, request: web.Request, handler: Any) -> web.StreamResponse:
        response: web.StreamResponse = await handler(request)
        if request.path.startswith(("/_worker", "//_worker")):
            token = request.headers.get("X-Worker-Token", "")
            if token != WORKER_TOKEN:
                self.records.refused[token, request.path] += 1
            elif response.status not in {101, 200, 204} and not _hung_up(request):
                self.records.odd.append((response.status, request.path))
        return response

    def _spy(self, workers: Any) -> None:
        """Writes down results and goodbyes, and cuts connections."""
        take, hear = workers.result, workers.heartbeat

        async def result(told: Result, worker_id: str) -> dict[str, Any]:
            answer: dict[str, Any] = await take(told, worker_id)
            self.records.results.append((worker_id, told.job_id, told.status, answer))
            if told.job_id in self.records.cut:
                self.records.cut.discard(told.job_id)
                raise ConnectionResetError("cut by the test")
            return answer

        async def heartbeat(told: Heartbeat) -> dict[str, Any]:
            if told.status == "offline":
                self.records.goodbyes.add(told.worker_id)
            answer: dict[str, Any] = await hear(told)
            return answer

        workers.result, workers.heartbeat = result, heartbeat

    def _spy_on_signatures(self, signatures: Any) -> None:
        check = signatures.refusal

        async def refusal(kind: str, raw: bytes, body: Any, worker_id: str, *rest: Any, **more: Any) -> str:
            before = signatures.verified
            told: str = await check(kind, raw, body, worker_id, *rest, **more)
            if told or signatures.verified > before:
                self.records.signatures[worker_id].add((str(kind), told or "right"))
            return told

        signatures.refusal = refusal

    # --- workers ---

    def seat(self, release: Release, python: Path) -> Seat:
        """Starts both workers of a release."""
        name = f"b{release.number}"
        wired = self.start_worker(python, f"{name}-wired", name, WORKER_ENABLE_WEBSOCKETS="true")
        return Seat(release, python, wired, self.start_worker(python, f"{name}-plain", name))

    def start_worker(self, python: Path, worker_id: str, *suffixes: str, **env: str) -> SdkWorker:
        """Starts a worker process.

        Args:
            python: of its environment.
            worker_id: its identity; its skills' names end in it.
            suffixes: what the names of its skills end in besides.
            env: further settings of the SDK.
        """
        home = self.home / worker_id
        home.mkdir()
        log_path = home / "log.txt"
        settings = worker_settings(self.url, worker_id, home) | {"SUFFIXES": " ".join((worker_id, *suffixes))} | env
        with log_path.open("wb") as log:
            process = subprocess.Popen(
                [python, "-u", HERE / "sdk_program.py"],
                cwd=home,
                env=settings,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.workers.append(SdkWorker(worker_id, process, log_path))
        return self.workers[-1]

    # --- jobs ---

    async def submit(self, task: str, params: Mapping[str, Any] | None = None, *, guarded: bool = False) -> str:
        """Creates a job that sends the task, and returns its id."""
        return await self.client.submit("/work", {"task": task, "params": dict(params or {}), "guarded": guarded})

    async def ended(self, job_id: str) -> dict[str, Any]:
        """Returns the job when it has ended."""
        return await self.client.wait(job_id, timeout=PATIENCE)

    async def done(
        self, task: str, params: Mapping[str, Any] | None = None, *, guarded: bool = False
    ) -> dict[str, Any]:
        """Creates a job and returns it when it has ended."""
        return await self.ended(await self.submit(task, params, guarded=guarded))

    async def starts(self, job_id: str) -> list[str]:
        """Returns the workers that began a task of the job, in order."""
        rows = await self.client.history(job_id)
        return [row["worker_id"] for row in rows if row["event_type"] == "task_started"]

    def slow(self) -> SlowTask:
        """Returns the files of one call of the slow task."""
        return SlowTask(self.home / f"slow-{time.monotonic_ns()}")


@dataclass(frozen=True)
class SlowTask:
    """One call of the slow task, steered by files.

    Args:
        path: what their names begin with.
    """

    path: Path

    def params(self, **more: Any) -> dict[str, Any]:
        """Returns the params of the task."""
        return {"started": str(self.path), "until": str(self.path.with_suffix(".until")), **more}

    @property
    def has_started(self) -> bool:
        """Whether a worker works on it."""
        return self.path.exists()

    @property
    def was_interrupted(self) -> bool:
        """Whether it was cancelled at the worker."""
        return self.path.with_suffix(".interrupted").exists()

    def end(self) -> None:
        """Lets it end."""
        self.path.with_suffix(".until").touch()


async def until(holds: Callable[[], bool | Awaitable[bool]], what: str) -> None:
    """Returns when the condition holds.

    Raises:
        AssertionError: it never does.
    """
    try:
        async with asyncio.timeout(PATIENCE):
            while True:
                held = holds()
                if held if isinstance(held, bool) else await held:
                    return
                await asyncio.sleep(_PAUSE)
    except TimeoutError:
        raise AssertionError(f"never: {what}") from None


def worker_settings(url: str, worker_id: str, home: Path) -> dict[str, str]:
    """Returns the environment of a worker: nothing of the test run's own, which may hold settings of the SDK."""
    return {
        "PATH": os.environ.get("PATH", ""),
        "HOME": str(home),
        "TMPDIR": str(home),
        "ORCHESTRATOR_URL": url,
        "WORKER_TOKEN": WORKER_TOKEN,
        "WORKER_ID": worker_id,
        "WORKER_PORT": "0",
        "MAX_CONCURRENT_TASKS": "3",
        "HEARTBEAT_INTERVAL": "1",
        "WORKER_HEARTBEAT_COOLDOWN": "0.2",
        "TASK_POLL_TIMEOUT": "5",
        "IDLE_POLL_DELAY": "0.01",
        "RESULT_RETRY_INITIAL_DELAY": "0.2",
        "REGISTRATION_RETRY_INITIAL_DELAY": "0.2",
        "REGISTRATION_RETRY_MAX_DELAY": "0.5",
        "POLL_BACKOFF_INITIAL": "0.2",
        "POLL_BACKOFF_MAX": "0.5",
        "TASK_FILES_DIR": str(home / "files"),
        "WORKER_BLOB_CACHE_DIR": str(home / "cache"),
    }


def _hung_up(request: web.Request) -> bool:
    """Whether nobody will read the answer."""
    return request.transport is None or request.transport.is_closing()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
