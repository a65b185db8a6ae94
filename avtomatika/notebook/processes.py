"""Worker processes of a notebook: children that end with their parent, however that ends."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from avtomatika.errors import AvtomatikaError

_STOP_SECONDS = 5.0
_LOG_TAIL = 2000


class WorkerProcess:
    """A worker in a process of its own.

    It ends when its standard input closes, which the operating system does when the notebook's process ends, be it
    killed.

    Args:
        target: ``module:worker``.
        folder: where the module is found, and where the process works.
        worker_id: its identity, whatever the module says.
        environment: variables on top of this process's own.
        log_file: where its output goes.

    Attributes:
        worker_id: its identity.
    """

    def __init__(
        self, target: str, folder: Path, worker_id: str, environment: Mapping[str, str], log_file: Path
    ) -> None:
        self.worker_id = worker_id
        self._target = target
        self._log_file = log_file
        with log_file.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own module, with arguments of the notebook's user
                [sys.executable, "-m", "avtomatika.worker", target, "--id", worker_id, "--stop-with-parent"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env={**os.environ, **environment},
                # Jupyter interrupts a cell by a signal to the kernel's whole process group; the worker goes on.
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether it runs."""
        return self._process.poll() is None

    def log(self) -> str:
        """Returns the end of its output; empty once the workbench has stopped."""
        try:
            with self._log_file.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - _LOG_TAIL))
                return file.read().decode(errors="replace")
        except FileNotFoundError:
            return ""

    def check(self) -> None:
        """Raises if the process has ended.

        Raises:
            AvtomatikaError: with the end of its output.
        """
        code = self._process.poll()
        if code is not None:
            raise AvtomatikaError(
                f"worker process '{self.worker_id}' ({self._target}) ended with exit code {code}:\n{self.log()}"
            )

    def kill(self) -> None:
        """Ends it at once, in the middle of whatever it does: for trying out what then happens."""
        self._process.kill()
        self.stop()

    def request_stop(self) -> None:
        """Asks it to stop, without waiting. Idempotent."""
        if self._process.stdin is not None:
            self._process.stdin.close()

    def stop(self) -> None:
        """Ends it: it gives its tasks back and says goodbye, or is killed after some seconds. Idempotent."""
        self.request_stop()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __repr__(self) -> str:
        state = f"pid {self.pid}" if self.is_alive else f"exit code {self._process.returncode}"
        return f"WorkerProcess({self.worker_id!r}, {state})"


def stop_all(processes: Iterable[WorkerProcess]) -> None:
    """Ends processes together, which takes as long as the slowest of them."""
    stopping = list(processes)
    for process in stopping:
        process.request_stop()
    for process in stopping:
        process.stop()
