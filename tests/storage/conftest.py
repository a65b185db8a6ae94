"""The backends that the storage suite runs over."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from avtomatika.storage import MemoryStorage, SQLiteStorage
from avtomatika.storage.base import Storage
from avtomatika.testing import FakeClock

# Each makes a storage that has nothing in it; the path is an empty directory of the test.
BACKENDS: dict[str, Callable[[FakeClock, Path], Storage]] = {
    "memory": lambda clock, _: MemoryStorage(clock),
    "sqlite": lambda clock, path: SQLiteStorage(path / "jobs.db", clock),
}


@pytest.fixture(params=BACKENDS)
async def bare_storage(request: pytest.FixtureRequest, clock: FakeClock, tmp_path: Path) -> AsyncIterator[Storage]:
    """Returns an empty, open storage on the test's clock."""
    storage = BACKENDS[request.param](clock, tmp_path)
    await storage.open()
    yield storage
    await storage.close()


@pytest.fixture
async def storage(bare_storage: Storage) -> AsyncIterator[Storage]:
    """Returns an empty, open storage whose invariants are checked when the test ends."""
    yield bare_storage
    assert await bare_storage.audit() == []
