"""Noticing that the parent process is gone, by the end of the pipe that it holds."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable

_STDIN = 0


def watch_parent(on_end: Callable[[], None]) -> None:
    """Calls ``on_end`` once in the running event loop when standard input ends.

    A parent that starts a worker with a pipe as its standard input need do nothing to end it: when the parent dies, by
    whatever means, the system closes the pipe.
    """
    loop = asyncio.get_running_loop()

    def read() -> None:
        # Reading the descriptor itself: a thread inside sys.stdin's buffer would hold its lock when Python shuts down.
        with contextlib.suppress(OSError):
            while os.read(_STDIN, 4096):
                pass
        with contextlib.suppress(RuntimeError):  # the worker has ended by itself
            loop.call_soon_threadsafe(on_end)

    threading.Thread(target=read, name="watch-parent", daemon=True).start()
