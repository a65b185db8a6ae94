"""``--reload``: one process of an engine or a worker, started again when a file of the program changes."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from avtomatika import loops
from avtomatika.children import Child, on_stop_signals

_LOOK_SECONDS = 0.5
_SUFFIXES = (".py", ".toml")
# Folders with much in them that nobody edits while a program runs.
_SKIPPED = frozenset({"__pycache__", "node_modules", "site-packages", "build", "dist"})


def run(arguments: Sequence[str], command: Sequence[str] = ("avtomatika", "run")) -> int:
    """Serves until SIGINT or SIGTERM; a program that cannot start is tried again at the next change.

    Args:
        arguments: of the command of the process.
        command: what runs there: a module and its own first arguments.

    Returns:
        The exit code.
    """
    return loops.run(_run(arguments, command, Path.cwd()))


async def _run(arguments: Sequence[str], command: Sequence[str], folder: Path) -> int:
    told = asyncio.Event()
    on_stop_signals(told)
    child = Child(arguments, command=command)
    known = look(folder)
    await child.start()
    try:
        while not await _comes(told, _LOOK_SECONDS):
            now = await asyncio.to_thread(look, folder)
            if now == known:
                continue
            changed = min(path for path, _ in known.items() ^ now.items())
            known = now
            print(f"{changed} has changed: starting again", file=sys.stderr, flush=True)
            await child.stop()
            await child.start()
    finally:
        await child.stop()
    return 0


async def _comes(event: asyncio.Event, seconds: float) -> bool:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return False
    return True


def look(folder: Path) -> dict[str, tuple[int, int]]:
    """Returns when each file of a program was changed last (ns) and its size, by its path in the folder."""
    return dict(_look(folder))


def _look(folder: Path) -> Iterator[tuple[str, tuple[int, int]]]:
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".") and name not in _SKIPPED]
        for name in names:
            if name.endswith(_SUFFIXES):
                path = Path(place, name)
                try:
                    facts = path.stat()
                except OSError:  # gone since the folder was read
                    continue
                yield str(path.relative_to(folder)), (facts.st_mtime_ns, facts.st_size)
