"""Worker processes of a notebook: children that end with their parent, however that ends."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from avtomatika.errors import AvtomatikaError
from avtomatika.notebook.bench import CALL_SECONDS

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


class WorkerProcesses:
    """The worker processes of one workbench.

    Args:
        folder: for what they print, a file for each.
        list_registered: returns the ids of the workers that the engine knows.
    """

    def __init__(self, folder: Path, list_registered: Callable[[], set[str]]) -> None:
        self._folder = folder
        self._list_registered = list_registered
        self._processes: list[WorkerProcess] = []
        self._numbers = itertools.count(1)

    @property
    def alive(self) -> int:
        """How many of them run."""
        return sum(process.is_alive for process in self._processes)

    def start(self, target: str | Path, count: int, environment: Mapping[str, str]) -> list[WorkerProcess]:
        """Starts processes, and returns them when all are registered.

        Args:
            target: ``module:worker``, or a file that calls its worker ``worker``.
            count: how many.
            environment: variables on top of this process's own.

        Raises:
            AvtomatikaError: one of them ended at once (its output is in the message), or did not register in time.
        """
        path = Path(target)
        is_file = path.suffix == ".py"
        if is_file and not path.is_file():
            raise AvtomatikaError(f"there is no file {path.resolve()}; write it first, for example with %%writefile.")
        name = f"{path.stem}:worker" if is_file else str(target)
        folder = path.resolve().parent if is_file else Path.cwd()
        stem = name.partition(":")[0].replace(".", "-")
        started: list[WorkerProcess] = []
        try:
            for _ in range(count):
                worker_id = f"{stem}-{next(self._numbers)}"
                started.append(WorkerProcess(name, folder, worker_id, environment, self._folder / f"{worker_id}.log"))
            self._wait_until_registered(started)
        except BaseException:
            stop_all(started)
            raise
        self._processes.extend(started)
        return started

    def stop(self) -> None:
        """Ends all of them. Idempotent."""
        stop_all(self._processes)

    def _wait_until_registered(self, processes: Sequence[WorkerProcess]) -> None:
        ends_at = time.monotonic() + CALL_SECONDS
        missing = {process.worker_id for process in processes}
        while missing:
            for process in processes:
                process.check()
            missing -= self._list_registered()
            if missing and time.monotonic() > ends_at:
                raise AvtomatikaError(
                    f"workers {', '.join(sorted(missing))} did not register within {CALL_SECONDS:g} s; "
                    f"their output:\n{''.join(process.log() for process in processes)}"
                )
            if missing:
                time.sleep(0.05)


def stop_all(processes: Iterable[WorkerProcess]) -> None:
    """Ends processes together, which takes as long as the slowest of them."""
    stopping = list(processes)
    for process in stopping:
        process.request_stop()
    for process in stopping:
        process.stop()
