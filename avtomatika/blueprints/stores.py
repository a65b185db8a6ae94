"""Data stores: what the handlers of a blueprint share, and reach as ``data_stores.<name>``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class DataStore:
    """A dictionary behind the asynchronous methods of a key-value server.

    Handlers written against it keep working when a client of such a server takes its place. It lives in the memory of
    one engine: other engines do not see it, and it is empty after a restart.

    Args:
        initial: keys and values to start with; copied.
    """

    def __init__(self, initial: Mapping[str, Any] | None = None) -> None:
        self._values = dict(initial or {})

    async def get(self, key: str, default: Any = None) -> Any:
        """Returns the value of ``key``, or ``default`` if there is none."""
        return self._values.get(key, default)

    async def set(self, key: str, value: Any) -> None:
        """Puts ``value`` under ``key`` in place of what was there."""
        self._values[key] = value

    async def delete(self, key: str) -> bool:
        """Removes ``key``; returns whether it was there."""
        return self._values.pop(key, _ABSENT) is not _ABSENT

    async def keys(self) -> list[str]:
        """Returns the keys, in the order in which they were first set."""
        return list(self._values)

    def __repr__(self) -> str:
        return f"DataStore({len(self._values)} keys)"


_ABSENT = object()


def as_store(value: Any) -> Any:
    """Returns a ``DataStore`` for a dict (or None, an empty one); any other object as it is, such as a Redis client."""
    return DataStore(value) if value is None or isinstance(value, dict) else value
