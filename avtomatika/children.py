"""A child process that serves an engine or a worker: started, told to stop, and never left behind by its parent."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Mapping, Sequence

# An engine needs up to about 10 s to hand everything back.
_STOP_SECONDS = 20.0


class Child:
    """One process after another in the same place.

    Args:
        arguments: of the command.
        environment: of the process.
        files: numbers of the open files that it shares with its parent.
        command: what runs there: a module and its own first arguments.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str] | None = None,
        files: Sequence[int] = (),
        command: Sequence[str] = ("avtomatika", "run"),
    ) -> None:
        self._command = command
        self._arguments = arguments
        self._environment = environment
        self._files = files
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Starts the process."""
        # Its standard input is a pipe that closes with this process, however that ends; then the child stops as well.
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", *self._command, *self._arguments, "--stop-with-parent"),
            stdin=asyncio.subprocess.PIPE,
            env=self._environment,
            pass_fds=self._files,
        )

    @property
    def pid(self) -> int:
        """The number of the process; 0 before the first start."""
        return self._process.pid if self._process is not None else 0

    async def wait(self) -> int:
        """Returns the exit code of the process when it has ended; negative for a signal."""
        return await self._process.wait() if self._process is not None else 0

    async def stop(self) -> None:
        """Asks the process to stop, and ends it if it has not stopped after 20 s."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), _STOP_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()


def on_stop_signals(told: asyncio.Event) -> None:
    """Sets the event at SIGINT and SIGTERM."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told.set)


def environment(**changes: str) -> dict[str, str]:
    """Returns the environment of this process with some changes."""
    return {**os.environ, **changes}
