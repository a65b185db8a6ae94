"""Functions that run in processes of their own."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from avtomatika.worker import Context, PermanentError, Worker

worker = Worker("w")


@dataclass
class Pair:
    """Two numbers."""

    a: int
    b: int


@worker.task(process=True, events={"adding": Pair})
def add(pair: Pair, context: Context) -> dict[str, int]:
    """Adds in another process."""
    context.progress(0.5, "half")
    context.event("adding", pair)
    return {"sum": pair.a + pair.b, "pid": os.getpid()}


@worker.task(process=True)
def fail(kind: str) -> None:
    """Fails in one of several ways."""
    if kind == "task":
        raise PermanentError("never", details={"x": 1})
    if kind == "local":

        class OddError(Exception):
            """Cannot be unpickled elsewhere."""

        raise OddError("odd")
    os.kill(os.getpid(), signal.SIGKILL)


@worker.task(process=True)
def spin(marker: str, context: Context) -> None:
    """Keeps a processor busy until it is cancelled, and says that it was."""
    try:
        context.progress(0.1)
        while True:
            time.monotonic()
    finally:
        Path(marker).write_text("cleaned up")


def write(text: str, context: Context) -> dict[str, Path]:
    """Writes a file in the folder of the task."""
    place = context.folder / "out.txt"
    place.write_text(text)
    return {"path": place}
