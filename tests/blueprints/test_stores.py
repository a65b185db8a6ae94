"""Data stores."""

from __future__ import annotations

from avtomatika.blueprints.stores import DataStore, as_store


async def test_store_gives_back_what_was_set() -> None:
    """Get, set, delete and keys work as those of a key-value server, and the initial dict stays as it was."""
    initial = {"a": 1}
    store = DataStore(initial)

    await store.set("b", None)

    assert await store.get("a") == 1
    assert await store.get("b", 5) is None
    assert await store.get("c", 5) == 5
    assert await store.keys() == ["a", "b"]
    assert await store.delete("b")
    assert not await store.delete("b")
    assert initial == {"a": 1}
    assert repr(store) == "DataStore(1 keys)"


async def test_store_from_dict_is_made_and_other_objects_stay() -> None:
    """A dict becomes a store, a client of a server is handed through."""
    client = object()

    assert await as_store({"a": 1}).get("a") == 1
    assert isinstance(as_store(None), DataStore)
    assert as_store(client) is client
