"""The contract of stores of files: what goes in comes out, whole or not at all, in constant memory."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from pathlib import Path
from typing import Protocol

from avtomatika.protocol.files import FileFacts

__all__ = ["BLOCK_BYTES", "FileFacts", "PayloadStore"]

BLOCK_BYTES = 1024 * 1024
"""How much of a file is held at a time where nothing asks for more."""


class PayloadStore(Protocol):
    """Keeps files under keys, such as ``jobs/j1/out/a.csv``.

    A file appears under its key when all of it is there, in the place of the one before; a write that fails or is
    cancelled leaves what was there. Who reads gets one version of the file, not a mixture. Every transfer holds only
    some blocks in memory, and compares what was moved with the size and the ETag that the store tells.

    Every method that takes a key raises PayloadNameError for one that ``keys.check_key`` refuses, every method that
    takes a prefix for one that does not end with ``/``. Every method but ``uri_of`` and ``key_of`` raises
    PayloadStoreError when the store does not answer or refuses.
    """

    async def write_file(self, key: str, path: Path) -> FileFacts:
        """Stores a file of this machine.

        Raises:
            OSError: it cannot be read.
            PayloadMismatchError: the store holds something else than was sent.
        """
        ...

    async def write_stream(self, key: str, chunks: AsyncIterable[bytes]) -> FileFacts:
        """Stores what comes, as it comes. An error of the chunks' source passes through, and nothing is stored.

        Raises:
            PayloadMismatchError: the store holds something else than was sent.
        """
        ...

    async def write_bytes(self, key: str, data: bytes) -> FileFacts:
        """Stores a file that is in memory.

        Raises:
            PayloadMismatchError: the store holds something else than was sent.
        """
        ...

    def read_stream(self, key: str) -> AsyncGenerator[bytes, None]:
        """Returns the file in blocks. What was read counts only once the last block has come without an error.

        Who stops before the end closes the generator (``contextlib.aclosing``).

        Raises:
            PayloadNotFoundError: there is no such file.
            PayloadMismatchError: at the end, if what came is not what the store promised.
        """
        ...

    async def read_bytes(self, key: str, limit: int | None = None) -> bytes:
        """Returns the whole file.

        Args:
            key: of the file.
            limit: the most bytes it may have.

        Raises:
            PayloadNotFoundError: there is no such file.
            PayloadSizeError: it has more bytes than ``limit``.
            PayloadMismatchError: what came is not what the store promised.
        """
        ...

    async def read_file(self, key: str, path: Path) -> FileFacts:
        """Copies the file to a place on this machine, where it appears when all of it is there.

        Folders on the way are made.

        Raises:
            OSError: it cannot be written.
            PayloadNotFoundError: there is no such file.
            PayloadMismatchError: what came is not what the store promised.
        """
        ...

    async def facts(self, key: str) -> FileFacts | None:
        """Returns what is known of the file, or None if there is none."""
        ...

    def list(self, prefix: str) -> AsyncIterator[FileFacts]:
        """Returns all files below a folder, ordered by key."""
        ...

    async def remove(self, key: str) -> None:
        """Removes a file. There may be none."""
        ...

    async def remove_all(self, prefix: str) -> None:
        """Removes all files below a folder. There may be none."""
        ...

    async def upload_url(self, key: str, expires: float) -> str | None:
        """Returns an address to which anybody may PUT the file for ``expires`` seconds, without a token.

        None where the store has no such addresses. What is put there is not limited in size.
        """
        ...

    async def download_url(self, key: str, expires: float) -> str | None:
        """Returns an address from which anybody may GET the file for ``expires`` seconds, without a token.

        None where the store has no such addresses. The file need not exist.
        """
        ...

    async def local_path(self, key: str) -> Path | None:
        """Returns the file's place on this machine, only for reading; None where the store or the file has none."""
        ...

    def uri_of(self, key: str) -> str:
        """Returns where the file of a key is, for people and for other programs."""
        ...

    def key_of(self, uri: str) -> str:
        """Returns the key of a file of this store.

        Raises:
            PayloadNameError: the file is not of this store.
        """
        ...

    async def close(self) -> None:
        """Gives up what the store holds open. Idempotent."""
        ...
