"""Files of jobs in a directory of this machine, or in one that several machines share."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import shutil
import stat
import tempfile
import time
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from avtomatika.errors import (
    PayloadMismatchError,
    PayloadNameError,
    PayloadNotFoundError,
    PayloadStoreError,
)
from avtomatika.payloads.base import BLOCK_BYTES, FileFacts
from avtomatika.payloads.keys import check_key, check_prefix
from avtomatika.payloads.streams import beside, file_blocks, save, whole

log = logging.getLogger(__name__)

_INCOMING = ".incoming"
# A file aside that has not grown for so long is of a process that was killed.
_ABANDONED_SECONDS = 3600.0
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


class LocalPayloads:
    """Keeps files in a directory, which is made when the first file is written.

    Links are not followed: a key that leads over a symbolic link is refused. The ETag tells size and moment of the
    last change, as web servers do; it is not a digest of the content.

    Args:
        directory: where the files are.
        notice: what to say in the log when the first file comes, or empty.
    """

    def __init__(self, directory: Path | str, notice: str = "") -> None:
        self._notice = notice
        self.directory = Path(os.path.abspath(directory))  # noqa: PTH100 - resolve() would follow links
        self._swept = False

    def __str__(self) -> str:
        return f"directory {self.directory}"

    async def write_file(self, key: str, path: Path) -> FileFacts:
        """Stores a file of this machine."""
        return await self.write_stream(key, file_blocks(path))

    async def write_bytes(self, key: str, data: bytes) -> FileFacts:
        """Stores a file that is in memory."""
        return await self.write_stream(key, _once(data))

    async def write_stream(self, key: str, chunks: AsyncIterable[bytes]) -> FileFacts:
        """Stores what comes, as it comes."""
        place = self._place(key)
        counted = _Counted(chunks)
        with self._answering(key):
            aside = await asyncio.to_thread(self._prepare, place)
        # What the source of the chunks raises is not the store's fault, so it passes as it is.
        try:
            found = await save(counted, place, aside)
        except OSError as error:
            if counted.failed:
                raise
            raise self._refusal(key, error) from error
        if found.st_size != counted.size:
            raise PayloadMismatchError(self.uri_of(key), "size", counted.size, found.st_size)
        return self._facts(key, found)

    async def read_stream(self, key: str) -> AsyncGenerator[bytes, None]:
        """Returns the file in blocks."""
        descriptor, before = await asyncio.to_thread(self._open, key)
        moved = 0
        try:
            while block := await asyncio.to_thread(os.read, descriptor, BLOCK_BYTES):
                moved += len(block)
                yield block
            after = os.fstat(descriptor)
        finally:
            os.close(descriptor)
        if moved != before.st_size:
            raise PayloadMismatchError(self.uri_of(key), "size", moved, before.st_size)
        # A file is replaced, never written in place; whoever did so has damaged what was read.
        if _etag(after) != _etag(before):
            raise PayloadMismatchError(self.uri_of(key), "etag", _etag(before), _etag(after))

    async def read_bytes(self, key: str, limit: int | None = None) -> bytes:
        """Returns the whole file."""
        return await whole(self.read_stream(key), self.uri_of(key), limit)

    async def read_file(self, key: str, path: Path) -> FileFacts:
        """Copies the file to a place on this machine."""
        facts = await self.facts(key)
        if facts is None:
            raise PayloadNotFoundError(self.uri_of(key))
        await asyncio.to_thread(path.parent.mkdir, parents=True, exist_ok=True)
        written = await save(self.read_stream(key), path, beside(path))
        return FileFacts(facts.uri, written.st_size, facts.etag)

    async def facts(self, key: str) -> FileFacts | None:
        """Returns what is known of the file, or None if there is none."""
        return await asyncio.to_thread(self._find, key)

    async def list(self, prefix: str) -> AsyncIterator[FileFacts]:
        """Returns all files below a folder, ordered by key."""
        check_prefix(prefix)
        folder = self._place(prefix.removesuffix("/"))
        found = await asyncio.to_thread(lambda: sorted(self._keys(folder, prefix)))
        for key in found:
            facts = await self.facts(key)
            if facts is not None:  # else somebody removed it meanwhile
                yield facts

    async def remove(self, key: str) -> None:
        """Removes a file. There may be none."""
        place = self._place(key)
        with self._answering(key):
            await asyncio.to_thread(self._remove, place)

    async def remove_all(self, prefix: str) -> None:
        """Removes all files below a folder. There may be none."""
        check_prefix(prefix)
        key = prefix.removesuffix("/")
        with self._answering(prefix):
            await asyncio.to_thread(self._remove_tree, self._place(key))

    async def upload_url(self, key: str, expires: float) -> None:  # noqa: ARG002 - the contract's
        """Returns None: a directory has no addresses."""
        self._place(key)

    async def download_url(self, key: str, expires: float) -> None:  # noqa: ARG002 - the contract's
        """Returns None: a directory has no addresses."""
        self._place(key)

    async def local_path(self, key: str) -> Path | None:
        """Returns the file's place, only for reading; None if there is none."""
        return self._place(key) if await self.facts(key) is not None else None

    def uri_of(self, key: str) -> str:
        """Returns where the file of a key is."""
        check_key(key)
        return f"{self._base}{quote(key)}"

    def key_of(self, uri: str) -> str:
        """Returns the key of a file of this store."""
        if not uri.startswith(self._base):
            raise PayloadNameError(uri, f"does not begin with '{self._base}', where the files of this engine are")
        key = unquote(urlsplit(uri).path)[len(unquote(urlsplit(self._base).path)) :]
        self._place(key)
        return key

    async def close(self) -> None:
        """Does nothing: no file stays open."""

    # --- inside ---

    @property
    def _base(self) -> str:
        return f"{self.directory.as_uri().removesuffix('/')}/"

    def _place(self, key: str) -> Path:
        """Returns where the file of a key is, if no link leads there."""
        check_key(key)
        if key.split("/", 1)[0] == _INCOMING:
            raise PayloadNameError(key, f"begins with '{_INCOMING}', where files are written aside")
        place = self.directory
        for part in key.split("/"):
            place /= part
            if place.is_symlink():
                raise PayloadNameError(key, "leads over a symbolic link, and links are not followed")
        # For file systems where more than '/' separates, such as a drive's letter.
        if not place.is_relative_to(self.directory):
            raise PayloadNameError(key, "leads out of the directory of files")
        return place

    def _prepare(self, place: Path) -> Path:
        """Makes the folders; returns where to write the file before it takes its place."""
        incoming = self.directory / _INCOMING
        try:
            self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            incoming.mkdir(exist_ok=True, mode=0o700)
        except OSError as error:
            raise PayloadStoreError(self.directory.as_uri(), f"{error.strerror}; look at TASK_FILES_DIR") from error
        if not self._swept:
            self._swept = True
            _sweep(incoming)
            if self._notice:
                log.warning("%s", self._notice, extra={"action": "files_of_this_machine"})
        place.parent.mkdir(parents=True, exist_ok=True)
        return incoming / secrets.token_hex(16)

    def _open(self, key: str) -> tuple[int, os.stat_result]:
        """Opens a file for reading.

        Raises:
            PayloadNotFoundError: there is no such file.
        """
        place = self._place(key)
        with self._answering(key):
            try:
                descriptor = os.open(place, os.O_RDONLY | _NO_FOLLOW)
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                raise PayloadNotFoundError(self.uri_of(key)) from None
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                os.close(descriptor)
                raise PayloadNotFoundError(self.uri_of(key))
        return descriptor, found

    def _find(self, key: str) -> FileFacts | None:
        place = self._place(key)
        with self._answering(key):
            try:
                found = place.lstat()
            except (FileNotFoundError, NotADirectoryError):
                return None
        return self._facts(key, found) if stat.S_ISREG(found.st_mode) else None

    def _facts(self, key: str, found: os.stat_result) -> FileFacts:
        return FileFacts(self.uri_of(key), found.st_size, _etag(found))

    def _keys(self, folder: Path, prefix: str) -> Iterator[str]:
        """Yields the keys of all files below a folder; links and what nobody could have stored are left out."""
        for path, _, names in os.walk(folder):
            for name in names:
                key = prefix + (Path(path) / name).relative_to(folder).as_posix()
                with contextlib.suppress(PayloadNameError):
                    self._place(key)
                    yield key

    def _remove(self, place: Path) -> None:
        if place.is_dir():  # a folder is no file; some systems complain in odd ways
            return
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            place.unlink()
        self._remove_empty(place.parent)

    def _remove_tree(self, folder: Path) -> None:
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(folder)
        self._remove_empty(folder.parent)

    def _remove_empty(self, folder: Path) -> None:
        """Removes folders that hold nothing any more: a store knows files only."""
        while folder != self.directory:
            try:
                folder.rmdir()
            except OSError:
                return
            folder = folder.parent

    @contextlib.contextmanager
    def _answering(self, key: str) -> Iterator[None]:
        """Turns the system's errors into the store's."""
        try:
            yield
        except OSError as error:
            raise self._refusal(key, error) from error

    def _refusal(self, key: str, error: OSError) -> PayloadNameError | PayloadStoreError:
        if isinstance(error, FileExistsError | NotADirectoryError | IsADirectoryError):
            return PayloadNameError(key, "names a file and a folder at once, which a directory cannot keep")
        return PayloadStoreError(
            self.uri_of(key.removesuffix("/")), f"{error.strerror or error}; look at TASK_FILES_DIR"
        )


class TemporaryPayloads(LocalPayloads):
    """Keeps files in a directory of its own among the system's temporary ones, and removes them when it is closed."""

    def __init__(self) -> None:
        super().__init__(Path(tempfile.gettempdir()) / f"avtomatika-files-{secrets.token_hex(8)}")

    def __str__(self) -> str:
        return "a temporary directory, which ends with the engine"

    async def close(self) -> None:
        """Removes all files. Idempotent."""
        try:
            await asyncio.to_thread(shutil.rmtree, self.directory, ignore_errors=True)
        except RuntimeError:  # the program ends: there are no threads any more, and nobody who waits
            shutil.rmtree(self.directory, ignore_errors=True)
        self._swept = False


class _Counted:
    """A stream that knows how much of it has passed, and whether its source failed."""

    def __init__(self, chunks: AsyncIterable[bytes]) -> None:
        self._chunks = chunks
        self.size = 0
        self.failed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._chunks:
                self.size += len(chunk)
                yield chunk
        except Exception:
            self.failed = True
            raise


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


def _etag(found: os.stat_result) -> str:
    """Returns the ETag that aiohttp gives a file, so that both ways of asking answer the same."""
    return f"{found.st_mtime_ns:x}-{found.st_size:x}"


def _sweep(incoming: Path) -> None:
    """Removes what processes that were killed have left aside."""
    border = time.time() - _ABANDONED_SECONDS
    for path in incoming.iterdir():
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_mtime < border:
                path.unlink()
