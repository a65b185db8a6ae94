"""Shelves: where the values of shared data stores lie, as records of the storage."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

from avtomatika.blueprints import CompiledBlueprint
from avtomatika.blueprints.stores import SharedStore
from avtomatika.core.document import Document
from avtomatika.storage.base import RecordWrite, Storage

_PAGE = 500


class RecordShelf:
    """The values of one store.

    Args:
        storage: where they are kept.
        name: of the store.
    """

    def __init__(self, storage: Storage, name: str) -> None:
        self._storage = storage
        self._name = name
        self._space = f"store:{name}"

    async def find(self, key: str) -> tuple[Any, int] | None:
        """Returns the value and its version, or None."""
        record = await self._storage.find_record(self._space, key)
        return None if record is None else (record.value.value(), record.version)

    async def put(self, key: str, value: Any, expected: int | None, ttl: float | None) -> bool:
        """Writes a value if its stored version is the expected one; says whether it did."""
        document = Document.of(value, f"data store '{self._name}', key '{key}'")
        return await self._storage.put_record(RecordWrite(self._space, key, document, expected, ttl))

    async def remove(self, key: str) -> bool:
        """Forgets a value; says whether there was one."""
        record = await self._storage.find_record(self._space, key)
        await self._storage.put_record(RecordWrite(self._space, key, None))
        return record is not None

    async def keys(self) -> list[str]:
        """Returns the keys, in order."""
        found: list[str] = []
        while True:
            records = await self._storage.list_records(self._space, found[-1] if found else "", _PAGE)
            found += [record.key for record in records]
            if len(records) < _PAGE:
                return found


def with_shelves(blueprint: CompiledBlueprint, storage: Storage) -> CompiledBlueprint:
    """Returns the blueprint with its shared stores in a storage; the other stores stay what they are."""
    stores = {
        name: store.bound_to(RecordShelf(storage, store.name or f"{blueprint.name}.{name}"))
        if isinstance(store, SharedStore)
        else store
        for name, store in vars(blueprint.data_stores).items()
    }
    return dataclasses.replace(blueprint, data_stores=SimpleNamespace(**stores))
