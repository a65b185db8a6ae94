"""What every storage promises about the workers that it remembers."""

from __future__ import annotations

from msgspec.structs import replace

from avtomatika.protocol.messages import Skill, WorkerProfile
from avtomatika.storage.base import Storage
from avtomatika.testing import FakeClock

from .builders import claimed_task


async def test_worker_is_remembered_for_its_time(storage: Storage, clock: FakeClock) -> None:
    """A worker that says nothing any more is forgotten; the last word of one that does counts."""
    worker = WorkerProfile("w1", skills=(Skill("render", extra={"x": [1]}),), hot=frozenset("a"), costs={"render": 0.5})
    await storage.put_worker(worker, 30)
    assert await storage.find_worker("w1") == worker
    await clock.advance(20)

    await storage.put_worker(replace(worker, status="busy"), 30)

    await clock.advance(29.9)
    assert await storage.find_worker("w1") == replace(worker, status="busy")
    await clock.advance(0.1)
    assert await storage.find_worker("w1") is None
    assert await storage.list_workers() == []


async def test_workers_are_listed_by_id(storage: Storage) -> None:
    """The order is that of the ids."""
    for name in ("w2", "w10", "a"):
        await storage.put_worker(WorkerProfile(name), 30)

    assert [worker.worker_id for worker in await storage.list_workers()] == ["a", "w10", "w2"]


async def test_worker_removed_leaves_its_tasks_until_their_leases_end(storage: Storage, clock: FakeClock) -> None:
    """A worker that says goodbye is forgotten; its work comes back by lease."""
    await storage.put_worker(WorkerProfile("w1"), 30)
    task = await claimed_task(storage, lease=10)

    await storage.remove_worker("w1")
    await storage.remove_worker("nobody")

    assert await storage.find_worker("w1") is None
    assert await storage.find_task("t1") == task
    await clock.advance(10)
    assert await storage.expired_tasks(10) == [task]
