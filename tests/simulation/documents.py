"""The way of one engine to the store of files, where large documents are."""

from __future__ import annotations

from avtomatika.errors import PayloadNotFoundError, PayloadStoreError
from avtomatika.protocol.files import FileFacts

from .files import Files
from .storage import FaultyStorage
from .world import World


class FaultyFiles:
    """One engine's way to the store: it does not answer, or its answer is lost.

    Args:
        files: the store.
        world: of this run.
        number: which engine this is.
        storage: of the same engine; what is slow or dead there is so here.
    """

    def __init__(self, files: Files, world: World, number: int, storage: FaultyStorage) -> None:
        self._files = files
        self._world = world
        self._number = number
        self._storage = storage

    async def write_bytes(self, key: str, data: bytes) -> FileFacts:
        """Stores a file."""
        await self._storage.travel()
        self._may_fail("store_away", key)
        self._files.by_key[key] = data
        await self._storage.travel()
        self._may_fail("store_answer_lost", key)
        return FileFacts(self.uri_of(key), len(data))

    async def read_bytes(self, key: str, limit: int | None = None) -> bytes:
        """Returns a file."""
        del limit
        await self._storage.travel()
        self._may_fail("store_away", key)
        if key not in self._files.by_key:
            raise PayloadNotFoundError(self.uri_of(key))
        return self._files.by_key[key]

    def uri_of(self, key: str) -> str:
        """Returns where a file is."""
        return f"simulated://{key}"

    def _may_fail(self, kind: str, key: str) -> None:
        if self._world.faults.strikes(kind, self._number):
            raise PayloadStoreError(self.uri_of(key), f"simulated: {kind}")
