"""Data stores that engines share, in every storage."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from avtomatika.blueprints import SharedStore, StateMachineBlueprint
from avtomatika.errors import BlueprintError, DocumentError
from avtomatika.runtime.shelves import RecordShelf, with_shelves
from avtomatika.storage import MemoryStorage, RedisStorage, SQLiteStorage
from avtomatika.storage.base import Storage
from avtomatika.testing import BlueprintTester, FakeClock

OpenStorage = Callable[[], Any]


@pytest.fixture(params=["memory", "sqlite", "redis"])
async def storages(
    request: pytest.FixtureRequest, clock: FakeClock, tmp_path: Path
) -> AsyncIterator[tuple[Storage, Storage]]:
    """Returns a storage as two engines have it: over connections of their own where it is outside the process."""
    if request.param == "memory":
        one = two = MemoryStorage(clock)
    elif request.param == "sqlite":
        one, two = (SQLiteStorage(tmp_path / "jobs.db", clock) for _ in range(2))
    else:
        server = request.getfixturevalue("redis_server")
        prefix = server.new_prefix()
        one, two = (RedisStorage(server.client(), prefix=prefix, clock=clock) for _ in range(2))
    await one.open()
    await two.open()
    yield one, two
    await one.close()
    await two.close()


def store_in(storage: Storage, name: str = "parcels", initial: dict[str, Any] | None = None) -> SharedStore:
    """Returns a store as a handler of an engine has it."""
    return SharedStore(initial).bound_to(RecordShelf(storage, name))


async def test_value_set_by_one_engine_is_seen_by_the_other(storages: tuple[Storage, Storage]) -> None:
    """Values, absence, keys and forgetting; the values of another store are others."""
    one, two = (store_in(storage, initial={"a": 1}) for storage in storages)

    assert [await two.get("a"), await two.get("b"), await two.get("b", 5)] == [1, None, 5]
    await one.set("b", {"kg": [1, 2]})
    await one.set("a", None)

    assert [await two.get("a", 9), await two.get("b")] == [None, {"kg": [1, 2]}]
    assert await two.keys() == ["a", "b"]
    assert await store_in(storages[1], "orders").keys() == []
    assert [await two.delete("b"), await one.delete("b"), await one.delete("a")] == [True, False, True]
    assert [await one.get("a"), await one.get("b")] == [1, None]


async def test_sums_of_two_engines_lose_nothing(storages: tuple[Storage, Storage]) -> None:
    """However many handlers add at the same moment."""
    stores = [store_in(storage, initial={"n": 100}) for storage in storages]

    sums = await asyncio.gather(*(stores[number % 2].add("n") for number in range(20)))

    assert sorted(sums) == list(range(101, 121))
    assert await stores[0].update("names", lambda names: [*names, "Ada"], []) == ["Ada"]


async def test_value_with_a_time_is_forgotten(storages: tuple[Storage, Storage], clock: FakeClock) -> None:
    """After that time the key has its initial value again."""
    one, two = (store_in(storage, initial={"a": "old"}) for storage in storages)
    await one.set("a", "new", ttl=60)
    assert await two.get("a") == "new"

    await clock.advance(61)

    assert await two.get("a") == "old"


async def test_value_that_is_no_data_is_refused() -> None:
    """With the store and the key."""
    with pytest.raises(DocumentError, match="data store 'parcels', key 'a'"):
        await store_in(MemoryStorage()).set("a", object())


async def test_update_does_not_change_the_initial_value() -> None:
    """What a function does to the value that it gets stays its own."""
    initial: dict[str, Any] = {"names": []}
    store = store_in(MemoryStorage(), initial=initial)

    await store.update("names", lambda names: names.append("Ada") or names)

    assert initial == {"names": []}
    assert await store.get("names") == ["Ada"]


async def test_shared_store_outside_an_engine_says_so() -> None:
    """The blueprint alone has no storage; and what is no dict cannot be shared."""
    bp = StateMachineBlueprint("flow")
    bp.add_data_store("seen", shared=True)

    with pytest.raises(BlueprintError, match=r"engine\.register_blueprint"):
        await bp.data_stores.seen.get("a")
    with pytest.raises(BlueprintError, match="only the values of a dict"):
        bp.add_data_store("client", object(), shared=True)


async def test_counter_of_a_blueprint_outlives_its_engine() -> None:
    """Jobs of two engines count together; a plain store counts for each engine alone."""
    bp = StateMachineBlueprint("flow", data_stores={"own": {"n": 0}, "given": "as it is"})
    bp.add_data_store("seen", {"n": 10}, shared=True)

    @bp.handler_for("count", is_start=True, is_end=True)
    async def count(data_stores: Any) -> dict[str, Any]:
        assert data_stores.given == "as it is"
        return {"n": await data_stores.seen.add("n")}

    async with BlueprintTester(bp) as t:
        assert [(await t.submit()).result["n"] for _ in range(3)] == [11, 12, 13]

        again = with_shelves(bp.compile(), t.storage)
        assert await again.data_stores.seen.get("n") == 13
        named = SharedStore(name="flow.seen").bound_to(RecordShelf(t.storage, "flow.seen"))
        assert await named.get("n") == 13
