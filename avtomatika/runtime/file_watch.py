"""Watching files of settings: whoever changes one need not restart the engine."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from avtomatika.clock import Clock
from avtomatika.errors import AvtomatikaError

log = logging.getLogger(__name__)

_INTERVAL = 2.0
_Signature = tuple[int, int, int]


@dataclass
class _Watched:
    """Files that belong together, as they were when they were last read."""

    paths: Sequence[Path]
    reload: Callable[[], object]
    seen: list[_Signature | None] = field(default_factory=list)


class FileWatch:
    """Looks at files now and then, and has them read again when one has changed.

    Args:
        clock: for waiting.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._watched: list[_Watched] = []
        self._loop: asyncio.Task[None] | None = None

    def add(self, paths: Sequence[str | Path], reload: Callable[[], object]) -> None:
        """Watches files; call it before they are read for the first time, or a change in between is missed.

        Args:
            paths: what to look at; empty ones are left out.
            reload: reads them all again; an error of ours is logged, and means that nothing was changed.
        """
        files = [Path(path) for path in paths if str(path) not in {"", "."}]
        if files:
            self._watched.append(_Watched(files, reload, [_signature(path) for path in files]))

    def start(self) -> None:
        """Begins to look."""
        if self._watched:
            self._loop = asyncio.create_task(self._look_forever(), name="avtomatika-files")

    async def stop(self) -> None:
        """Looks no more."""
        if self._loop is not None:
            self._loop.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._loop

    def look(self) -> None:
        """Looks once at every file."""
        for watched in self._watched:
            now = [_signature(path) for path in watched.paths]
            # A file that is gone is about to be replaced, or was removed by mistake: what was read last still counts.
            if now == watched.seen or None in now:
                continue
            # Before it is read: a change while reading is one for the next look.
            watched.seen = now
            names = ", ".join(str(path) for path in watched.paths)
            try:
                watched.reload()
            except AvtomatikaError as error:
                log.error(  # noqa: TRY400 - the sentence says it all
                    "%s changed, but cannot be used, so nothing is changed: %s",
                    names,
                    error,
                    extra={"action": "reload_failed"},
                )
            except Exception:
                log.exception("%s changed, but could not be read again", names, extra={"action": "reload_failed"})
            else:
                log.info("read %s again", names, extra={"action": "reloaded"})

    async def _look_forever(self) -> None:
        while True:
            await self._clock.sleep(_INTERVAL)
            self.look()


def _signature(path: Path) -> _Signature | None:
    """Returns what tells one content of a file from another; None if there is no file."""
    try:
        found = os.stat(path)  # noqa: PTH116 - one call
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
