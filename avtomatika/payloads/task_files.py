"""Files of one job, as its handlers see them: the argument ``task_files``."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import tempfile
import threading
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Coroutine, Iterator, Sequence
from pathlib import Path, PurePath
from typing import Any

from avtomatika.errors import PayloadNameError, PayloadNotFoundError
from avtomatika.payloads.base import FileFacts, PayloadStore
from avtomatika.payloads.keys import PAYLOADS, job_folder, job_key, job_prefix, name_of

READ, WRITTEN = "read", "written"
"""Which way a file moved, seen from the job."""
# What a handler may read into memory at once, unless it says otherwise.
_TEXT_LIMIT = 64 * 1024**2
# How many files of a folder move at a time.
_AT_ONCE = 8


class TaskFiles:
    """The files of one job, below ``jobs/{job_id}/`` in the store.

    A name is relative to the job, with ``/`` between folders, such as ``out/report.csv``; a ``/`` at its end means all
    files of a folder. Where a file is read, the address of one may stand for its name: of a file of this job, or one
    that a worker has brought to it. Transfers stream, and their size and ETag are verified.

    In a handler that is a plain ``def`` the methods block its thread, and are called without ``await``.

    Every method may raise ``PayloadError``: the name is not allowed, there is no such file, the store does not answer,
    or what it holds is not what was moved.

    Args:
        store: where the files are.
        job_id: whose files they are.
        known: address to what is known of a file; files that move are added.
        folder: where ``path`` and ``download`` put files; a temporary one of its own if left out.
    """

    def __init__(
        self,
        store: PayloadStore,
        job_id: str,
        known: dict[str, FileFacts] | None = None,
        folder: Path | None = None,
    ) -> None:
        self._store = store
        self._job_id = job_id
        self._known = known if known is not None else {}
        self._given = folder
        self._folder: Path | None = None
        self._making = threading.Lock()
        self.moved: dict[tuple[str, str], FileFacts] = {}
        """What has moved: (``read`` or ``written``, name) to the facts of the last time."""

    # --- whole files ---

    async def download(self, name: str, destination: str | Path | None = None) -> Path:
        """Copies a file, or all files of a folder, to this machine.

        Args:
            name: of the file, or of a folder with ``/`` at its end.
            destination: where to; ``path(name)`` if None, which is removed when the handler returns.

        Returns:
            Where the file or folder is.
        """
        place = Path(destination) if destination is not None else self.path(_last_of(name) if "://" in name else name)
        if name.endswith("/"):
            await self._download_folder(name, place)
        else:
            key = self._key(name)
            self._note(READ, key, await self._store.read_file(key, place))
        return place

    async def upload(self, source: str | Path, name: str | None = None) -> FileFacts | Sequence[FileFacts]:
        """Stores a file, or all files of a folder.

        Args:
            source: a file of this machine; a relative one is looked for where ``path`` points. A text that ends with
                ``/`` is a folder.
            name: its name in the job; if None, ``source`` itself where that is relative, else its last part.

        Returns:
            The facts of the file, or of all files of the folder.

        Raises:
            OSError: the file cannot be read.
            PayloadNameError: it is a folder, and no ``/`` says so.
        """
        given = os.fspath(source)
        is_folder, is_elsewhere = given.endswith("/"), PurePath(given).is_absolute()
        place = Path(given) if is_elsewhere else self.path(given)
        wanted = name if name is not None else (PurePath(given).name if is_elsewhere else given)
        if is_folder:
            return await self._upload_folder(place, wanted)
        if await asyncio.to_thread(place.is_dir):
            raise PayloadNameError(given, "is a folder; write '/' at its end to store all of its files")
        return await self._written(wanted, lambda key: self._store.write_file(key, place))

    def path(self, name: str) -> Path:
        """Returns a place on this machine for a file of that name; folders on the way are made.

        Whatever is there is removed when the handler returns.
        """
        job_folder(self._job_id, name) if name.endswith("/") else job_key(self._job_id, name)
        with self._making:
            if self._folder is None:
                self._folder = self._given or Path(tempfile.mkdtemp(prefix="avtomatika-job-"))
        place = self._folder / name
        (place if name.endswith("/") else place.parent).mkdir(parents=True, exist_ok=True)
        return place

    # --- small files ---

    async def read_text(self, name: str, encoding: str = "utf-8", limit: int = _TEXT_LIMIT) -> str:
        """Returns the text of the file ``name`` in an ``encoding``; one of more than ``limit`` bytes is refused."""
        return (await self.read_bytes(name, limit)).decode(encoding)

    async def read_json(self, name: str, limit: int = _TEXT_LIMIT) -> Any:
        """Returns what the JSON file ``name`` says; one of more than ``limit`` bytes is refused."""
        return json.loads(await self.read_bytes(name, limit))

    async def read_bytes(self, name: str, limit: int = _TEXT_LIMIT) -> bytes:
        """Returns the bytes of the file ``name``; more than ``limit`` are refused."""
        key = self._key(name)
        data = await self._store.read_bytes(key, limit)
        facts = await self._store.facts(key)
        if facts is not None:
            self._note(READ, key, facts)
        return data

    async def write_text(self, name: str, text: str, encoding: str = "utf-8") -> FileFacts:
        """Stores a ``text`` as the file ``name``, in an ``encoding``."""
        return await self.write_bytes(name, text.encode(encoding))

    async def write_json(self, name: str, value: Any) -> FileFacts:
        """Stores a ``value`` as the JSON file ``name``.

        Raises:
            TypeError: JSON has nothing for a part of it.
        """
        return await self.write_bytes(name, json.dumps(value, ensure_ascii=False, allow_nan=False).encode())

    async def write_bytes(self, name: str, data: bytes) -> FileFacts:
        """Stores ``data`` as the file ``name``."""
        return await self._written(name, lambda key: self._store.write_bytes(key, data))

    # --- streams ---

    async def stream(self, name: str) -> AsyncGenerator[bytes, None]:
        """Returns the file ``name`` in blocks; what was read counts once the last one has come."""
        key = self._key(name)
        async for block in self._store.read_stream(key):
            yield block

    async def write_stream(self, name: str, chunks: AsyncIterable[bytes]) -> FileFacts:
        """Stores the bytes of ``chunks`` as the file ``name``, as they come."""
        return await self._written(name, lambda key: self._store.write_stream(key, chunks))

    # --- what there is ---

    async def list(self, folder: str = "") -> Sequence[str]:
        """Returns the names of all files, or of those of a folder, in order."""
        return [name async for name, _ in self._files(folder)]

    async def facts(self, name: str) -> FileFacts | None:
        """Returns address, size and ETag of the file ``name``, or None if there is none."""
        facts = await self._store.facts(self._key(name))
        if facts is not None:
            self._known[facts.uri] = facts
        return facts

    async def exists(self, name: str) -> bool:
        """Returns whether there is a file ``name``."""
        return await self._store.facts(self._key(name)) is not None

    def uri(self, name: str) -> str:
        """Returns the address of the file ``name``, for workers and results; there need be none yet."""
        return self._store.uri_of(job_key(self._job_id, name))

    async def download_url(self, name: str, expires: float = 3600.0) -> str | None:
        """Returns where anybody may get the file ``name`` until ``expires`` seconds have passed; None without S3."""
        return await self._store.download_url(self._key(name), expires)

    async def upload_url(self, name: str, expires: float = 3600.0) -> str | None:
        """Returns where anybody may PUT the file ``name`` until ``expires`` seconds have passed; None without S3."""
        return await self._store.upload_url(job_key(self._job_id, name), expires)

    async def remove(self, name: str) -> None:
        """Removes the file ``name``, or all files of the folder ``name/``; there may be none."""
        if name.endswith("/"):
            await self._remove_all(name)
        else:
            await self._store.remove(job_key(self._job_id, name))

    async def cleanup(self) -> None:
        """Removes all files of the job, here and in the store."""
        await self._remove_all("")
        await self.close()

    async def close(self) -> None:
        """Removes what ``path`` and ``download`` have left on this machine. Idempotent."""
        folder, self._folder = self._folder, None
        if folder is not None:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    def blocking(self, loop: asyncio.AbstractEventLoop) -> BlockingTaskFiles:
        """Returns the same for a plain function in a thread of its own; transfers run in ``loop``."""
        return BlockingTaskFiles(self, loop)

    # --- inside ---

    def _key(self, name: str) -> str:
        """Returns the key of a file that is read, by its name or address.

        Files of other jobs are refused: an address may have come from a client.
        """
        if "://" not in name:
            return job_key(self._job_id, name)
        key = self._store.key_of(name)
        # Published workers store their results under the id of the job alone.
        is_own = key.startswith((job_prefix(self._job_id), f"{self._job_id}/"))
        if not is_own and name not in self._known:
            raise PayloadNameError(name, f"is no file of job '{self._job_id}'")
        return key

    async def _files(self, folder: str) -> AsyncGenerator[tuple[str, FileFacts], None]:
        """Yields the files of a folder by name; documents that the engine keeps there are none."""
        async for facts in self._store.list(job_folder(self._job_id, folder)):
            name = name_of(self._job_id, self._store.key_of(facts.uri))
            if not name.startswith(f"{PAYLOADS}/"):
                yield name, facts

    async def _remove_all(self, folder: str) -> None:
        async for name, _ in self._files(folder):
            await self._store.remove(job_key(self._job_id, name))

    async def _download_folder(self, name: str, place: Path) -> None:
        if "://" in name:
            raise PayloadNameError(name, "is a folder, which is named by its name in the job")
        prefix = job_folder(self._job_id, name)

        async def copy(key: str) -> None:
            self._note(READ, key, await self._store.read_file(key, place / key.removeprefix(prefix)))

        found = [job_key(self._job_id, one) async for one, _ in self._files(name)]
        if not found:
            raise PayloadNotFoundError(f"{self._store.uri_of(prefix.removesuffix('/'))}/")
        await _in_turn(copy(key) for key in found)

    async def _upload_folder(self, place: Path, name: str) -> Sequence[FileFacts]:
        prefix = job_folder(self._job_id, name)
        found = await asyncio.to_thread(lambda: sorted(_below(place)))
        written: dict[str, FileFacts] = {}

        async def store(path: Path) -> None:
            key = prefix + path.relative_to(place).as_posix()
            written[key] = await self._written(name_of(self._job_id, key), lambda k: self._store.write_file(k, path))

        await _in_turn(store(path) for path in found)
        return [written[key] for key in sorted(written)]

    async def _written(self, name: str, write: Callable[[str], Coroutine[Any, Any, FileFacts]]) -> FileFacts:
        key = job_key(self._job_id, name)
        facts = await write(key)
        self._note(WRITTEN, key, facts)
        return facts

    def _note(self, way: str, key: str, facts: FileFacts) -> None:
        self.moved[way, key.removeprefix(job_prefix(self._job_id))] = facts
        self._known[facts.uri] = facts


class BlockingTaskFiles:
    """The files of a job for a handler that is a plain function: the same methods, which return when they are done.

    Args:
        files: the same for coroutines.
        loop: where they run.
    """

    def __init__(self, files: TaskFiles, loop: asyncio.AbstractEventLoop) -> None:
        self._files = files
        self._loop = loop
        self._thread = threading.get_ident()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._files, name)
        if not asyncio.iscoroutinefunction(method):
            return method

        def call(*arguments: Any, **options: Any) -> Any:
            called = method(*arguments, **options)
            # A plain wrapper around an async function: it awaits, in the loop's own thread.
            if threading.get_ident() == self._thread:
                return called
            return asyncio.run_coroutine_threadsafe(called, self._loop).result()

        return call

    def stream(self, name: str) -> Iterator[bytes]:
        """Returns the file ``name`` in blocks; what was read counts once the last one has come."""
        blocks = self._files.stream(name)
        while block := asyncio.run_coroutine_threadsafe(_next(blocks), self._loop).result():
            yield block


async def _next(blocks: AsyncGenerator[bytes, None]) -> bytes:
    return await anext(blocks, b"")


async def _in_turn(transfers: Iterator[Coroutine[Any, Any, None]]) -> None:
    """Runs some at a time; the first error ends them all."""

    async def work() -> None:
        for transfer in transfers:
            await transfer

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(_AT_ONCE):
                group.create_task(work())
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from errors


def _below(folder: Path) -> Iterator[Path]:
    """Yields the files of a folder; links lead elsewhere and are left out.

    Raises:
        OSError: there is no such folder.
    """
    for path in folder.iterdir():
        if path.is_symlink():
            continue
        if path.is_dir():
            yield from _below(path)
        elif path.is_file():
            yield path


def _last_of(address: str) -> str:
    """Returns the last part of an address, as a name for a copy."""
    return address.rstrip("/").rsplit("/", 1)[-1] or "file"
