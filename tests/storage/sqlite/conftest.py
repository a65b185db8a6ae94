"""What tests of the SQLite storage share: storages on one file, and a way to hold its writer."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from avtomatika.storage import SQLiteStorage
from avtomatika.storage.base import Batch, Ready
from avtomatika.storage.sqlite_step import Step
from avtomatika.testing import FakeClock
from tests.storage.builders import START, a_batch, a_job


def a_step(job_id: str = "j1", version: int = 1, **facts: object) -> Batch:
    """Returns a batch that writes a job, with a wake-up that is due."""
    return a_batch(a_job(job_id, version), **{"ready": Ready(START), **facts})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Returns where the storage is to be."""
    return tmp_path / "jobs.db"


@pytest.fixture
async def open_storage(path: Path, clock: FakeClock) -> AsyncIterator[Callable[[], object]]:
    """Returns what opens a storage on the file; each call another one, as another process would."""
    opened: list[SQLiteStorage] = []

    async def open_one() -> SQLiteStorage:
        storage = SQLiteStorage(path, clock)
        await storage.open()
        opened.append(storage)
        return storage

    yield open_one
    for storage in opened:
        await storage.close()


@pytest.fixture
async def storage(open_storage: Callable) -> SQLiteStorage:
    """Returns an open storage."""
    return await open_storage()


class Gate:
    """Holds the writer's thread in a step of its own, so that what is asked meanwhile waits for the same group."""

    def __init__(self, storage: SQLiteStorage) -> None:
        self._open = threading.Event()
        self._begun = threading.Event()
        self._step = storage._writer.submit(self._hold)

    def _hold(self, _step: Step) -> None:
        self._begun.set()
        assert self._open.wait(30)

    async def __aenter__(self) -> Gate:
        await asyncio.to_thread(self._begun.wait)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._open.set()
        await asyncio.wait([self._step])


def put(path: Path, content: bytes) -> None:
    """Makes a file."""
    path.write_bytes(content)


def content_of(path: Path) -> bytes:
    """Returns the bytes of a file."""
    return path.read_bytes()


async def turn() -> None:
    """Lets the tasks that were just made begin."""
    await asyncio.sleep(0)
    await asyncio.sleep(0)
