"""The processes: engines, workers and a Redis, each started again when it dies, by kill or by itself."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from .doom import ENGINE_POINTS, WORKER_POINTS

_ROOT = Path(__file__).parents[2]


def free_port() -> int:
    """Returns a port of this machine that nobody uses."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


class Guarded:
    """One process that is to run.

    Args:
        name: for people.
        command: what to run.
        environment: variables besides those of this process.
        log: the file that takes what it prints.
        points: named points at which it may kill itself.
    """

    def __init__(
        self, name: str, command: list[str], environment: Mapping[str, str], log: Path, points: tuple[str, ...] = ()
    ) -> None:
        self.name = name
        self.deaths: list[tuple[float, str]] = []
        # Where it can be had, the kernel ends the process with this one: a test run that is killed leaves nothing.
        ties = ["setpriv", "--pdeathsig", "KILL", "--"] if shutil.which("setpriv") else []
        self._command = [*ties, *command]
        self._environment = {**os.environ, **environment}
        self._log = log
        self._points = points
        self._point = ""
        self._killed = False
        self._starts_at = 0.0
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, draw: random.Random) -> None:
        """Starts the process; every third one dies at a named point, if it has any."""
        self._point = draw.choice(self._points) if self._points and draw.random() < 0.3 else ""
        self._killed = False
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=_ROOT,
                env={**self._environment, "CHAOS_POINT": self._point},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def look(self, draw: random.Random) -> None:
        """Takes down that the process has died, and starts it again a moment later."""
        if self._process is not None and self._process.poll() is not None:
            self.deaths.append((time.monotonic(), "kill" if self._killed else self._point or "by itself"))
            self._process = None
            self._starts_at = time.monotonic() + draw.uniform(0.1, 1.0)
        if self._process is None and time.monotonic() >= self._starts_at:
            self.start(draw)

    def kill(self) -> None:
        """Ends the process as a power cut would end it."""
        if self._process is not None and self._process.poll() is None:
            self._killed = True
            self._process.kill()

    def end(self) -> None:
        """Ends the process for good."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait(30)


class Processes:
    """All processes of one trial.

    Args:
        storage: ``sqlite`` or ``redis``.
        folder: where files go.
        draw: where chance comes from.
    """

    def __init__(self, storage: str, folder: Path, draw: random.Random) -> None:
        self._draw = draw
        self._folder = folder
        self.history = folder / "history.db"
        self.files = folder / "files"
        self._all: list[Guarded] = []
        if storage == "redis":
            port = free_port()
            self.uri = f"redis://127.0.0.1:{port}/0"
            self._add("redis", self._redis_command(port), {})
        else:
            self.uri = f"sqlite:///{folder / 'jobs.db'}"
        # Engines on one machine may share a file, engines on several machines a Redis: two in both cases.
        self.urls = [self._add_engine(number) for number in range(2)]
        for number in range(3):
            self._add_worker(number)

    def _add(self, name: str, command: list[str], environment: Mapping[str, str], *points: str) -> None:
        self._all.append(Guarded(name, command, environment, self._folder / f"{name}.log", points))

    def _redis_command(self, port: int) -> list[str]:
        program = os.environ.get("REDIS_SERVER") or shutil.which("redis-server") or shutil.which("valkey-server")
        if program is None:
            raise FileNotFoundError("Redis is not installed (Debian: apt-get install redis-server)")
        options = {"port": str(port), "bind": "127.0.0.1", "dir": str(self._folder), "save": ""}
        options |= {"appendonly": "yes", "appendfsync": "everysec"}
        return [program, *(word for name, value in options.items() for word in (f"--{name}", value))]

    def _add_engine(self, number: int) -> str:
        port = free_port()
        environment = {
            "API_HOST": "127.0.0.1",
            "API_PORT": str(port),
            "STORAGE_URI": self.uri,
            "HISTORY_DATABASE_URI": f"sqlite:///{self.history}",
            "TASK_FILES_DIR": str(self.files),
            "PAYLOAD_OFFLOAD_BYTES": "1024",
            "TASK_LEASE_SECONDS": "8",
            "WATCHER_INTERVAL_SECONDS": "5",
            "RATE_LIMITING_ENABLED": "false",
            "LOG_LEVEL": "WARNING",
        }
        command = [sys.executable, "-m", "avtomatika", "run", "tests.chaos.engine_program:engine"]
        self._add(f"engine{number}", command, environment, *ENGINE_POINTS)
        return f"http://127.0.0.1:{port}"

    def _add_worker(self, number: int) -> None:
        environment = {
            "ORCHESTRATOR_URL": self.urls[number % len(self.urls)],
            "WORKER_ID": f"worker{number}",
            "HEARTBEAT_INTERVAL": "2",
            "REGISTRATION_RETRY_INITIAL_DELAY": "0.2",
            "REGISTRATION_RETRY_MAX_DELAY": "1",
        }
        command = [
            sys.executable,
            "-m",
            "avtomatika.worker",
            "tests.chaos.worker_program:worker",
            "--log-level",
            "WARNING",
        ]
        self._add(f"worker{number}", command, environment, *WORKER_POINTS)

    # --- their life ---

    def start(self) -> None:
        """Starts all of them."""
        for process in self._all:
            process.start(self._draw)

    async def guard(self) -> None:
        """Starts again what dies, until it is cancelled."""
        while True:
            for process in self._all:
                process.look(self._draw)
            await asyncio.sleep(0.1)

    def kill_some(self) -> None:
        """Kills any of them, or all engines at once."""
        engines = [process for process in self._all if process.name.startswith("engine")]
        for process in engines if self._draw.random() < 0.15 else [self._draw.choice(self._all)]:
            process.kill()

    def end(self, *, but: str = "") -> None:
        """Ends all of them for good, but the one of this name."""
        for process in self._all:
            if process.name != but:
                process.end()

    @property
    def deaths(self) -> list[tuple[float, str, str]]:
        """When which process died of what, in order."""
        return sorted((at, process.name, cause) for process in self._all for at, cause in process.deaths)

    def logs(self) -> str:
        """Returns the last lines that each process has printed."""
        parts = []
        for path in sorted(self._folder.glob("*.log")):
            text = path.read_text(encoding="utf-8", errors="replace")
            parts.append(f"--- {path.name}\n{text[-2000:]}")
        return "\n".join(parts)
