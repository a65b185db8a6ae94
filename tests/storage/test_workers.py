"""What every storage promises about the workers that it remembers."""

from __future__ import annotations

from msgspec.structs import replace

from avtomatika.protocol.messages import Skill, WorkerProfile
from avtomatika.storage.base import Sighting, Storage
from avtomatika.storage.redis_records import read_worker, worker_arguments
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


async def test_workers_refreshed_are_remembered_as_they_are(storage: Storage, clock: FakeClock) -> None:
    """Many signs of life are one call: it moves when workers were seen and how long they are remembered, no more."""
    workers = [WorkerProfile(f"w{number}", status="busy", seen_at=100.1 + number) for number in range(3)]
    for worker in workers:
        await storage.put_worker(worker, 30)
    await clock.advance(20)

    others = await storage.refresh_workers([Sighting("w0", 100.1, 120.3), Sighting("w2", 102.1, 120.7)], 30)

    assert others == []
    await clock.advance(29.9)
    seen = [replace(workers[0], seen_at=120.3), replace(workers[2], seen_at=120.7)]
    assert await storage.list_workers() == seen
    assert await storage.find_worker("w2") == seen[1]
    await clock.advance(0.1)
    assert await storage.list_workers() == []


async def test_refresh_names_workers_that_are_not_as_the_caller_knows_them(storage: Storage, clock: FakeClock) -> None:
    """Neither what somebody else wrote since is lost, nor does a forgotten worker come back without its skills."""
    await storage.put_worker(WorkerProfile("silent", seen_at=100.0), 10)
    await storage.put_worker(WorkerProfile("changed", status="busy", seen_at=101.0), 30)
    await storage.put_worker(WorkerProfile("known", seen_at=100.0), 30)
    await clock.advance(10)

    names = ("changed", "known", "nobody", "silent")
    others = await storage.refresh_workers([Sighting(name, 100.0, 110.0) for name in names], 60)

    assert others == ["changed", "nobody", "silent"]
    assert await storage.list_workers() == [
        WorkerProfile("changed", status="busy", seen_at=101.0),
        WorkerProfile("known", seen_at=110.0),
    ]
    await clock.advance(20)
    assert [worker.worker_id for worker in await storage.list_workers()] == ["known"]


async def test_refresh_repeated_changes_nothing(storage: Storage) -> None:
    """A call whose answer was lost is made again, and nobody is taken for changed; after a new profile it is late."""
    await storage.put_worker(WorkerProfile("w1", seen_at=100.0), 30)
    sighting = Sighting("w1", 100.0, 115.0)

    assert [await storage.refresh_workers([sighting], 30) for _ in range(2)] == [[], []]
    await storage.put_worker(WorkerProfile("w1", status="offline", seen_at=116.0), 30)

    assert await storage.refresh_workers([sighting], 30) == ["w1"]
    assert await storage.find_worker("w1") == WorkerProfile("w1", status="offline", seen_at=116.0)


async def test_refresh_of_more_workers_than_one_step_takes_reaches_all(storage: Storage) -> None:
    """The number of workers is not limited by what one script may do."""
    names = [f"w{number:04}" for number in range(2100)]
    for name in names[::2]:
        await storage.put_worker(WorkerProfile(name, seen_at=1.0), 30)

    others = await storage.refresh_workers([Sighting(name, 1.0, 2.0) for name in names], 30)

    assert others == names[1::2]
    assert {worker.seen_at for worker in await storage.list_workers()} == {2.0}


async def test_refresh_of_nobody_asks_for_nothing(storage: Storage) -> None:
    """An empty call is no error."""
    assert await storage.refresh_workers([], 30) == []


async def test_refresh_brings_none_back_of_many_whose_time_has_run_out(storage: Storage, clock: FakeClock) -> None:
    """Also where more are to be forgotten than one step forgets."""
    names = [f"w{number}" for number in range(250)]
    for name in names:
        await storage.put_worker(WorkerProfile(name, seen_at=1.0), 10)
    await clock.advance(10)

    assert await storage.refresh_workers([Sighting(name, 1.0, 2.0) for name in names], 30) == names
    assert await storage.list_workers() == []


def test_worker_written_by_a_version_without_moments_keeps_its_own() -> None:
    """Engines of two versions share a storage: the later moment counts, wherever it stands."""
    (raw, seen) = (
        worker_arguments(WorkerProfile("w1", seen_at=at))[name] for name, at in (("raw", 5.0), ("seen", 3.0))
    )

    assert read_worker(raw, False) == read_worker(raw, seen) == WorkerProfile("w1", seen_at=5.0)
