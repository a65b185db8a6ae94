"""The backends that the storage suite runs over."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from avtomatika.storage.base import Storage
from avtomatika.storage.memory import MemoryStorage
from avtomatika.testing import FakeClock

BACKENDS = ("memory",)


@pytest.fixture(params=BACKENDS)
async def bare_storage(request: pytest.FixtureRequest, clock: FakeClock) -> AsyncIterator[Storage]:
    """Returns an empty, open storage on the test's clock."""
    storage = {"memory": MemoryStorage}[request.param](clock)
    await storage.open()
    yield storage
    await storage.close()


@pytest.fixture
async def storage(bare_storage: Storage) -> AsyncIterator[Storage]:
    """Returns an empty, open storage whose invariants are checked when the test ends."""
    yield bare_storage
    assert await bare_storage.audit() == []
