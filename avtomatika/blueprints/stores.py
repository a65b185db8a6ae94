"""Data stores: what the handlers of a blueprint share, and reach as ``data_stores.<name>``."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from avtomatika.errors import BlueprintError


class DataStore:
    """A dictionary behind the asynchronous methods of a key-value server.

    Handlers written against it keep working when a client of such a server takes its place. It lives in the memory of
    one engine: other engines do not see it, and it is empty after a restart; ``SharedStore`` is for both.

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


class Shelf(Protocol):
    """Where a ``SharedStore`` keeps its values: each under a key, with the number of its writes."""

    async def find(self, key: str) -> tuple[Any, int] | None:
        """Returns the value and its version, or None."""
        ...

    async def put(self, key: str, value: Any, expected: int | None, ttl: float | None) -> bool:
        """Writes a value if its stored version is the expected one (0 for none, None for any); says whether it did."""
        ...

    async def remove(self, key: str) -> bool:
        """Forgets a value; says whether there was one."""
        ...

    async def keys(self) -> list[str]:
        """Returns the keys, in order."""
        ...


class SharedStore:
    """A dictionary in the storage of the engine: all engines on it share the values, and they outlive a restart.

    Values are data as in ``state_history``. A handler that is repeated repeats its writes: what must happen once
    belongs into ``state_history``, or under a key that says what was done.

    Args:
        initial: what a key has until it is first set.
        name: what the values belong to; blueprints that use one name share them. None for the blueprint's own.
        shelf: where the values are; the engine puts it in.
    """

    def __init__(
        self, initial: Mapping[str, Any] | None = None, *, name: str | None = None, shelf: Shelf | None = None
    ) -> None:
        self.name = name
        self._initial = dict(initial or {})
        self._shelf = shelf

    def bound_to(self, shelf: Shelf) -> SharedStore:
        """Returns the store with its values on a shelf; for engines."""
        return SharedStore(self._initial, name=self.name, shelf=shelf)

    async def get(self, key: str, default: Any = None) -> Any:
        """Returns the value of ``key``, or ``default`` if there is none."""
        found = await self._where().find(key)
        return self._initial.get(key, default) if found is None else found[0]

    async def set(self, key: str, value: Any, ttl: float | None = None) -> None:
        """Puts ``value`` under ``key`` in place of what was there.

        Args:
            key: a text, not empty.
            value: data.
            ttl: seconds after which it is forgotten; None for never.

        Raises:
            DocumentError: the value is no data.
        """
        await self._where().put(key, value, None, ttl)

    async def add(self, key: str, amount: float = 1, ttl: float | None = None) -> Any:
        """Adds to the number under ``key``, which is 0 if there is none, and returns the sum; nobody's sum is lost.

        Args:
            key: a text, not empty.
            amount: what to add; below 0 to subtract.
            ttl: seconds after which the key is forgotten; for ever if left out.

        Raises:
            TypeError: there is no number under the key.
        """
        return await self.update(key, lambda value: value + amount, 0, ttl)

    async def update(
        self, key: str, function: Callable[[Any], Any], default: Any = None, ttl: float | None = None
    ) -> Any:
        """Replaces the value of ``key`` by what ``function`` makes of it, and returns that.

        If somebody else writes meanwhile, the function is called again with the newer value.

        Args:
            key: a text, not empty.
            function: takes the value, and returns the new one; a plain function.
            default: the value where there is none.
            ttl: seconds after which it is forgotten; None for never.
        """
        shelf = self._where()
        while True:
            found = await shelf.find(key)
            value, version = (self._initial.get(key, default), 0) if found is None else found
            changed = function(copy.deepcopy(value))
            if await shelf.put(key, changed, version, ttl):
                return changed

    async def delete(self, key: str) -> bool:
        """Forgets what was put under ``key``; returns whether there was something."""
        return await self._where().remove(key)

    async def keys(self) -> list[str]:
        """Returns the keys, in order, also those of the initial values."""
        return sorted({*self._initial, *await self._where().keys()})

    def _where(self) -> Shelf:
        if self._shelf is None:
            raise BlueprintError(
                "a SharedStore keeps its values in the storage of an engine: use it in a handler, as "
                "data_stores.<name>, of a blueprint that is registered with engine.register_blueprint(bp)."
            )
        return self._shelf

    def __repr__(self) -> str:
        return f"SharedStore(name={self.name!r})"


_ABSENT = object()


def as_store(value: Any) -> Any:
    """Returns a ``DataStore`` for a dict (or None, an empty one); any other object as it is, such as a Redis client."""
    return DataStore(value) if value is None or isinstance(value, dict) else value
