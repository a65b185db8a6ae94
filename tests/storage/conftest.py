"""The backends that the storage tests run over: they try each sentence of the storage's contract with all of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from avtomatika.storage import MemoryStorage, RedisStorage, SQLiteStorage
from avtomatika.storage.base import Storage
from avtomatika.testing import FakeClock
from tests.redis_server import RedisServer

from .redis_look import opened

MakeStorage = Callable[[FakeClock, Path], Storage]


@pytest.fixture(params=["memory", "sqlite", "redis"])
def make_storage(request: pytest.FixtureRequest) -> MakeStorage:
    """Returns what makes a storage that has nothing in it; the path is an empty directory."""
    if request.param == "redis":
        server = request.getfixturevalue("redis_server")
        return lambda clock, _: RedisStorage(server.client(), prefix=server.new_prefix(), clock=clock)
    backends: dict[str, MakeStorage] = {
        "memory": lambda clock, _: MemoryStorage(clock),
        "sqlite": lambda clock, path: SQLiteStorage(path / "jobs.db", clock),
    }
    return backends[request.param]


@pytest.fixture
async def bare_storage(make_storage: MakeStorage, clock: FakeClock, tmp_path: Path) -> AsyncIterator[Storage]:
    """Returns an empty, open storage on the test's clock."""
    storage = make_storage(clock, tmp_path)
    await storage.open()
    yield storage
    await storage.close()


@pytest.fixture
async def storage(bare_storage: Storage) -> AsyncIterator[Storage]:
    """Returns an empty, open storage whose invariants are checked when the test ends."""
    yield bare_storage
    assert await bare_storage.audit() == []


@pytest.fixture
async def pair(redis_server: RedisServer) -> AsyncIterator[tuple[RedisStorage, RedisStorage]]:
    """Returns two storages of one set of jobs, as two engines have them."""
    prefix = redis_server.new_prefix()
    async with opened(redis_server, prefix) as one, opened(redis_server, prefix) as other:
        yield one, other
        assert await one.audit() == []
