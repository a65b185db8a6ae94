"""Copies of stored files that are kept on this machine, for whoever wants the same file again.

A copy is named after the address, the ETag and the size of what was copied: one of a file that has changed since is
never taken. Several processes may share a folder.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast
from weakref import WeakValueDictionary

from avtomatika.errors import PayloadNotFoundError
from avtomatika.payloads.base import PayloadStore
from avtomatika.protocol.files import FileFacts

log = logging.getLogger(__name__)


def cached(store: PayloadStore, folder: Path, limit: int) -> PayloadStore:
    """Returns a store that copies each file from the given one once.

    Args:
        store: which has the files; everything but ``read_file`` is its own.
        folder: for copies; made when the first one comes.
        limit: bytes that they may have together; then those that were not used for longest go.
    """
    return cast("PayloadStore", _Cached(store, folder, limit))


class _Cached:
    def __init__(self, store: PayloadStore, folder: Path, limit: int) -> None:
        self._store = store
        self._folder = folder
        self._limit = limit
        # Of tasks that want the same file at the same time, one fetches it.
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def read_file(self, key: str, path: Path) -> FileFacts:
        """As of the store; a copy that is here already saves the way."""
        facts = await self._store.facts(key)
        if facts is None:
            raise PayloadNotFoundError(self._store.uri_of(key))
        if not facts.etag or facts.size > self._limit:
            return await self._store.read_file(key, path)
        name = _name(facts)
        turn = self._turns.get(name)
        if turn is None:
            self._turns[name] = turn = asyncio.Lock()
        async with turn:
            if await asyncio.to_thread(self._take, name, facts.size, path):
                return facts
            found = await self._store.read_file(key, path)
            if found == facts:  # else it changed in between
                await asyncio.to_thread(self._keep, name, path)
            return found

    def _take(self, name: str, size: int, path: Path) -> bool:
        """Copies a copy to its place; returns whether there was one."""
        kept = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with _beside(path) as place:
            try:
                shutil.copyfile(kept, place)
                os.utime(kept)  # used now
            except OSError:  # mostly: there is none
                return False
            if place.stat().st_size != size:
                return False
            place.replace(path)
        return True

    def _keep(self, name: str, path: Path) -> None:
        """Keeps a copy of a file, and lets others go if there are too many. What fails here fails nobody's task."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with _beside(self._folder / name) as place:
                shutil.copyfile(path, place)
                place.replace(self._folder / name)
            self._trim()
        except OSError as error:
            log.warning(
                "a copy of a file cannot be kept in %s: %s", self._folder, error, extra={"action": "cache_failed"}
            )

    def _trim(self) -> None:
        kept = []
        for entry in os.scandir(self._folder):
            with contextlib.suppress(FileNotFoundError):  # another process trims as well
                kept.append((entry.stat().st_mtime, entry.stat().st_size, entry.path))
        total = sum(size for _, size, _ in kept)
        for _, size, path in sorted(kept):
            if total <= self._limit:
                break
            Path(path).unlink(missing_ok=True)
            total -= size


@contextlib.contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """Yields a new place in the same folder, from which a file that is whole can be moved; removed if it was not."""
    handle, name = tempfile.mkstemp(prefix=".", dir=path.parent)
    os.close(handle)
    place = Path(name)
    try:
        yield place
    finally:
        place.unlink(missing_ok=True)


def _name(facts: FileFacts) -> str:
    return hashlib.sha256(f"{facts.uri}\n{facts.etag}\n{facts.size}".encode()).hexdigest()
