"""A server of the tests' own, in a process that is there as soon as it says so."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
from collections.abc import Sequence


def free_port() -> int:
    """Returns a port of 127.0.0.1 that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


class ServerProcess:
    """A process that is started and killed, any number of times.

    Args:
        name: of the server, for messages.
        ready: what is in the line that it writes when it answers.
    """

    def __init__(self, name: str, ready: str) -> None:
        self._name = name
        self._ready = ready
        self._process: subprocess.Popen[str] | None = None
        self._reader = threading.Thread()

    def start(self, command: Sequence[str]) -> None:
        """Starts the server and returns when it answers."""
        if shutil.which("setpriv"):
            command = ["setpriv", "--pdeathsig", "KILL", "--", *command]  # a test run that is killed leaves no server
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert self._process.stdout is not None
        lines = []
        for line in self._process.stdout:
            lines.append(line)
            if self._ready in line:
                self._reader = threading.Thread(target=self._process.stdout.read, daemon=True)
                self._reader.start()  # a full pipe would stop the server
                return
        raise AssertionError(f"{self._name} did not start:\n" + "".join(lines))

    def kill(self) -> None:
        """Ends the server as a power cut would end it. Idempotent."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait(30)
        if self._reader.ident is not None:
            self._reader.join(30)
        assert process.stdout is not None
        process.stdout.close()
