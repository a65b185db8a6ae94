"""Programs that a test starts, reads and ends."""

from __future__ import annotations

import contextlib
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path


class Running:
    """A program and what it writes to standard error.

    Args:
        command: the program and its arguments.
        folder: where it runs.
        variables: what its environment has besides that of the tests.
    """

    def __init__(self, command: Sequence[str], folder: Path, variables: Mapping[str, str]) -> None:
        if shutil.which("setpriv"):
            command = ["setpriv", "--pdeathsig", "KILL", "--", *command]  # a test run that is killed leaves nothing
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, "LOG_FORMAT": "text", **variables},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @classmethod
    def avtomatika(cls, *arguments: str, folder: Path, **variables: str) -> Running:
        """Starts ``avtomatika`` on a port that the system chooses."""
        command = [sys.executable, "-m", "avtomatika", *arguments]
        return cls(command, folder, {"API_PORT": "0", **variables})

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._lines.put(line)
        self._lines.put("")

    def reads(self, pattern: str) -> re.Match[str]:
        """Returns the next line in which the pattern is found."""
        seen = []
        while line := self._lines.get(timeout=60):
            seen.append(line)
            if found := re.search(pattern, line):
                return found
        raise AssertionError(f"no {pattern!r} in: {''.join(seen)}")

    def ends(self) -> None:
        """Waits until nobody holds standard error open, which the children share."""
        while self._lines.get(timeout=60):
            pass

    def end(self) -> None:
        """Ends the program and what it left behind, which would hold its standard error open. Idempotent."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(60)
        self._reader.join(60)
        assert self.process.stderr is not None
        self.process.stderr.close()
