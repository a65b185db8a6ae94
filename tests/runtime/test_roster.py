"""What an engine remembers of the workers that it hears, and when it must not trust that."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from msgspec.structs import replace

from avtomatika.errors import StorageError
from avtomatika.protocol.messages import Heartbeat, WorkerProfile
from avtomatika.protocol.polls import Poll
from avtomatika.storage.base import Sighting
from avtomatika.storage.memory import MemoryStorage
from avtomatika.testing import FakeClock

from .conftest import MakeSystem, System, a_worker


class CountedStorage(MemoryStorage):
    """Counts what is asked about workers."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.calls: Counter[str] = Counter()
        self.is_away = False

    async def put_worker(self, worker: WorkerProfile, ttl: float) -> None:
        """Counts."""
        self.calls["put"] += 1
        await super().put_worker(worker, ttl)

    async def find_worker(self, worker_id: str) -> WorkerProfile | None:
        """Counts."""
        self.calls["find"] += 1
        return await super().find_worker(worker_id)

    async def refresh_workers(self, sightings: Any, ttl: float) -> list[str]:
        """Counts the calls, and fails while the storage is away."""
        self.calls["refresh"] += 1
        if self.is_away:
            raise StorageError("away")
        return await super().refresh_workers(sightings, ttl)

    def taken(self) -> dict[str, int]:
        """Returns the calls since the last time."""
        calls, self.calls = self.calls, Counter()
        return dict(calls)


@pytest.fixture
def storage(clock: FakeClock) -> CountedStorage:
    """The storage that both engines share."""
    return CountedStorage(clock)


@pytest.fixture
async def system(make_system: MakeSystem, storage: CountedStorage) -> System:
    """A system that runs."""
    system = make_system(storage)
    await system.start()
    return system


@pytest.fixture
async def other(make_system: MakeSystem, storage: CountedStorage) -> System:
    """Another engine on the same storage."""
    other = make_system(storage, owner="e2")
    await other.start()
    return other


async def settled(system: System, *worker_ids: str, skills_hash: str = "") -> None:
    """Makes workers known that have said all that they have to say."""
    now = system.clock.now()
    for worker_id in worker_ids:
        await system.register(worker_id, "work", registered_at=now, seen_at=now, skills_hash=skills_hash)
    await system.clock.advance(1)
    for worker_id in worker_ids:
        await system.beat(worker_id)
    await system.clock.advance(10)


async def stored(storage: CountedStorage, worker_id: str = "w1") -> WorkerProfile:
    """Returns what every engine would read."""
    worker = await MemoryStorage.find_worker(storage, worker_id)
    assert worker is not None
    return worker


# --- what is saved ---


async def test_heartbeats_that_change_nothing_are_written_together(system: System, storage: CountedStorage) -> None:
    """However many workers are idle, their heartbeats cost one call every few seconds."""
    names = [f"w{number}" for number in range(50)]
    await settled(system, *names)
    storage.taken()

    answers = [await system.beat(name) for name in names]
    seen_at = system.clock.now()
    await system.clock.advance(5)

    assert answers == [{"status": "ok"}] * 50
    assert storage.taken() == {"refresh": 1}
    assert {worker.seen_at for worker in await storage.list_workers()} == {seen_at}


async def test_nothing_is_written_of_workers_that_say_nothing(system: System, storage: CountedStorage) -> None:
    """Silence costs nothing."""
    await settled(system, "w1")
    storage.taken()

    await system.clock.advance(60)

    assert storage.taken() == {}


async def test_poll_of_a_worker_that_beats_here_asks_nobody(system: System, storage: CountedStorage) -> None:
    """A worker that is heard every 15 seconds is known all the time."""
    await settled(system, "w1")
    storage.taken()

    for _ in range(10):
        await system.beat("w1")
        await system.clock.advance(15)
        assert await system.workers.poller("w1", Poll(), 0.0) is not None

    assert storage.taken() == {"refresh": 10}


async def test_worker_that_idles_for_long_stays_remembered(system: System, storage: CountedStorage) -> None:
    """Its time in the storage never runs out because its moments are written later than they come."""
    await settled(system, "w1")

    for _ in range(40):
        await system.clock.advance(15)
        await system.beat("w1")

    assert (await stored(storage)).seen_at >= system.clock.now() - 15
    await system.clock.advance(119)
    await stored(storage)


async def test_heartbeat_shortly_before_the_worker_is_forgotten_is_written_at_once(
    make_system: MakeSystem, storage: CountedStorage
) -> None:
    """What waits for its turn could come too late then."""
    system = make_system(storage)  # nobody writes moments
    await settled(system, "w1")
    storage.taken()
    for _ in range(7):
        await system.beat("w1")
        await system.clock.advance(14)
    assert storage.taken() == {}

    await system.clock.advance(2)
    await system.beat("w1")

    assert storage.taken() == {"find": 1, "put": 1}


async def test_moments_are_written_when_the_engine_stops(system: System, storage: CountedStorage) -> None:
    """The next engine knows as much as this one did."""
    await settled(system, "w1")
    await system.beat("w1")
    seen_at = system.clock.now()

    await system.stop()

    assert (await stored(storage)).seen_at == seen_at


async def test_moments_that_could_not_be_written_are_written_later(system: System, storage: CountedStorage) -> None:
    """An outage delays them; what came meanwhile counts."""
    await settled(system, "w1")
    storage.is_away = True
    await system.beat("w1")
    await system.clock.advance(6)
    await system.beat("w1")
    seen_at = system.clock.now()
    assert (await stored(storage)).seen_at < seen_at

    storage.is_away = False
    await system.clock.advance(6)

    assert (await stored(storage)).seen_at == seen_at
    storage.taken()
    await system.beat("w1")
    assert storage.taken() == {}


async def test_worker_seen_while_its_moment_is_written_is_written_again(
    system: System, storage: CountedStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A heartbeat is not taken for written because the one before it is."""
    await settled(system, "w1")
    refresh = storage.refresh_workers
    seen: list[float] = []

    async def slow(sightings: list[Sighting], ttl: float) -> list[str]:
        monkeypatch.undo()
        others = await refresh(sightings, ttl)
        seen.append(system.clock.now())
        await system.beat("w1")
        return others

    await system.beat("w1")
    await system.clock.advance(1)
    monkeypatch.setattr(storage, "refresh_workers", slow)
    await system.clock.advance(4)
    assert (await stored(storage)).seen_at < seen[0]
    await system.clock.advance(5)

    assert (await stored(storage)).seen_at == seen[0]


# --- what must not be missed ---


CHANGES: dict[str, Callable[[System], Coroutine[Any, Any, object]]] = {
    "status": lambda system: system.beat("w1", status="busy"),
    "goodbye": lambda system: system.beat("w1", status="offline"),
    "tasks": lambda system: system.beat("w1", "a-task-1"),
    "hot": lambda system: system.workers.heartbeat(Heartbeat("w1", "idle", (), hot=frozenset({"x"}), dialect="G4")),
    "skills": lambda system: system.workers.heartbeat(
        Heartbeat("w1", "idle", (), skills=a_worker("w1", "rest").skills, dialect="G4")
    ),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
async def test_heartbeat_that_changes_something_is_written_at_once(
    system: System, storage: CountedStorage, change: Callable[[System], Coroutine[Any, Any, object]]
) -> None:
    """Whoever chooses among workers, at any engine, knows it from now on."""
    await settled(system, "w1")
    before = await stored(storage)
    storage.taken()

    await change(system)

    assert storage.taken() == {"find": 1, "put": 1}
    assert replace(await stored(storage), seen_at=before.seen_at) != before


async def test_leases_are_renewed_by_heartbeats_that_change_nothing(system: System) -> None:
    """Only the worker's own moment waits; a task that is named is kept at once."""
    await settled(system, "w1")
    renewed: list[str] = []
    renew = system.storage.renew_tasks

    async def noted(claims: Any, lease: float) -> Any:
        renewed.extend(claim.task_id for claim in claims)
        return await renew(claims, lease)

    system.storage.renew_tasks = noted  # type: ignore[method-assign]
    for _ in range(3):
        await system.beat("w1", "a-task-1")

    assert renewed == ["a-task"] * 3


async def test_change_told_to_another_engine_is_not_undone(
    system: System, other: System, storage: CountedStorage
) -> None:
    """A change is added to what is stored, not to what this engine remembers."""
    await settled(system, "w1")
    await other.register("w1", "work", "rest", registered_at=1.0, seen_at=other.clock.now())

    await system.beat("w1", status="busy")

    worker = await stored(storage)
    assert (worker.status, worker.skill_names) == ("busy", ("work", "rest"))


async def test_engine_finds_out_what_another_was_told(system: System, other: System, storage: CountedStorage) -> None:
    """What it remembers ends when it writes moments; the next heartbeat is read as that of a stranger."""
    await settled(system, "w1")
    await other.beat("w1", status="busy")
    await system.clock.advance(1)
    await system.beat("w1")
    assert (await stored(storage)).status == "busy"
    await system.clock.advance(5)
    storage.taken()

    await system.beat("w1")

    assert storage.taken() == {"find": 1, "put": 1}
    assert (await stored(storage)).status == "idle"


async def test_worker_that_the_storage_forgot_is_asked_for_everything(system: System, storage: CountedStorage) -> None:
    """Within the pause between two writes an engine notices that the storage was emptied."""
    await settled(system, "w1")
    await storage.remove_worker("w1")
    await system.beat("w1")
    await system.clock.advance(5)

    assert await system.beat("w1") == {"status": "ok", "require_full_sync": True}


async def test_worker_that_beats_elsewhere_is_looked_up_once_a_second(
    system: System, other: System, storage: CountedStorage
) -> None:
    """Where its heartbeats go to another engine, that one knows better: polls here trust a look for a moment only."""
    await settled(other, "w1")
    storage.taken()
    assert [await system.workers.poller("w1", Poll(), 0.0) for _ in range(3)] == [await stored(storage)] * 3
    assert storage.taken() == {"find": 1}

    await other.register("w1", "play")
    await system.clock.advance(1)

    worker = await system.workers.poller("w1", Poll(), 0.0)
    assert worker is not None
    assert worker.skill_names == ("play",)


async def test_worker_that_was_only_looked_up_is_written_at_its_heartbeat(
    system: System, other: System, storage: CountedStorage
) -> None:
    """How long it is still remembered is not known here, so its moment cannot wait."""
    await settled(other, "w1")
    await system.workers.poller("w1", Poll(), 0.0)
    storage.taken()

    await system.beat("w1")

    assert storage.taken() == {"find": 1, "put": 1}


async def test_silent_worker_is_looked_up_after_its_next_heartbeat_is_due(
    system: System, storage: CountedStorage
) -> None:
    """One that goes on at another engine is soon known as that one knows it."""
    await settled(system, "w1")
    await system.beat("w1")
    await storage.put_worker(a_worker("w1", "play"), 60.0)

    await system.clock.advance(20)

    worker = await system.workers.poller("w1", Poll(), 0.0)
    assert worker is not None
    assert worker.skill_names == ("play",)


async def test_polls_never_miss_what_a_worker_tells_this_engine(system: System) -> None:
    """A new registration counts from the next poll on."""
    await settled(system, "w1")

    await system.register("w1", "rest")

    worker = await system.workers.poller("w1", Poll(), 0.0)
    assert worker is not None
    assert worker.skill_names == ("rest",)


async def test_heartbeat_after_a_silence_is_read_as_that_of_a_stranger(
    make_system: MakeSystem, storage: CountedStorage
) -> None:
    """Who was not heard when its heartbeat was due may have talked to another engine."""
    system = make_system(storage)  # nobody clears what is old
    await settled(system, "w1")
    storage.taken()
    await system.clock.advance(10)

    await system.beat("w1")

    assert storage.taken() == {"find": 1, "put": 1}


# --- workers that leave heartbeats out while they poll ---

QUIET = Poll(timeout=30.0, available=frozenset({"work"}), quiet="5f0c")


async def hold(system: System, worker_id: str = "w1", poll: Poll = QUIET) -> WorkerProfile | None:
    """Begins a poll and lets its time pass."""
    profile = await system.workers.poller(worker_id, poll, 30.0)
    await system.clock.advance(30)
    return profile


async def test_registration_says_for_how_long_a_poll_stands_for_heartbeats(system: System) -> None:
    """A third of the time for which a silent worker is remembered."""
    answer = await system.workers.register(a_worker("w1"))

    assert answer["quiet"] == 40.0


async def test_poll_of_a_quiet_worker_counts_as_a_sign_of_life(system: System, storage: CountedStorage) -> None:
    """For hours, at the cost of one call for all of them every few seconds; and what was known stays."""
    names = [f"w{number}" for number in range(20)]
    await settled(system, *names, skills_hash="5f0c")
    before = [await stored(storage, name) for name in names]
    storage.taken()

    for _ in range(120):
        began = system.clock.now()
        for name in names:
            assert await system.workers.poller(name, QUIET, 30.0) is not None
        await system.clock.advance(30)
        assert not any([await system.workers.is_forgotten(name) for name in names])

    assert storage.taken() == {"refresh": 120}
    assert [await stored(storage, name) for name in names] == [replace(one, seen_at=began) for one in before]


async def test_poll_of_a_worker_that_says_nothing_of_it_counts_as_before(
    system: System, storage: CountedStorage
) -> None:
    """A published worker whose heartbeats stop is forgotten in its time."""
    await settled(system, "w1")

    for _ in range(4):
        await hold(system, poll=Poll(available=frozenset({"work"})))

    assert await MemoryStorage.find_worker(storage, "w1") is None


async def test_first_heartbeat_after_a_poll_is_still_the_first(system: System) -> None:
    """A crowd that polls before it beats comes apart as well."""
    names = [f"w{number}" for number in range(40)]
    for name in names:
        await system.register(name, registered_at=system.clock.now(), seen_at=system.clock.now(), skills_hash="5f0c")
    await system.clock.advance(0.5)
    for name in names:
        await system.workers.poller(name, QUIET, 30.0)
    await system.clock.advance(6)

    answers = [await system.beat(name) for name in names]

    assert sum("next_heartbeat_jitter_ms" in answer for answer in answers) == 20


async def test_quiet_worker_may_poll_two_engines_in_turn(
    system: System, other: System, storage: CountedStorage
) -> None:
    """Its moment in the storage is never older than a poll and the pause between two writings, and nothing is lost."""
    await settled(system, "w1", skills_hash="5f0c")
    before = await stored(storage)

    for engine in (system, other) * 20:
        began = system.clock.now()
        await hold(engine)
        worker = await stored(storage)
        assert worker == replace(before, seen_at=began)
        assert not await engine.workers.is_forgotten("w1")


async def test_quiet_worker_may_poll_one_engine_and_beat_at_another(
    system: System, other: System, storage: CountedStorage
) -> None:
    """As a worker of both does, or one behind a balancer: it never seems silent for long, wherever its news went."""
    await settled(other, "w1", skills_hash="5f0c")

    for count in range(40):
        began = system.clock.now()
        await system.workers.poller("w1", QUIET, 30.0)
        for second in range(3):
            await other.beat("w1", status="busy" if count % 3 else "idle")
            await system.clock.advance(10 + second)
            assert (await stored(storage)).seen_at >= began - 5
        assert not await system.workers.is_forgotten("w1")


async def test_poll_of_a_worker_that_registered_elsewhere_is_of_the_new_one(
    system: System, other: System, storage: CountedStorage
) -> None:
    """What its poll does not say, such as its machine, is looked up when its word has changed."""
    await settled(system, "w1", skills_hash="5f0c")
    await hold(system)
    now = other.clock.now()
    await other.register("w1", "play", registered_at=now, seen_at=now, skills_hash="0c11")

    worker = await system.workers.poller("w1", Poll(available=frozenset({"play"}), quiet="0c11"), 30.0)

    assert worker is not None
    assert worker.skill_names == ("play",)
    assert await stored(storage) == worker


async def test_poll_shortly_before_the_worker_is_forgotten_is_written_at_once(
    make_system: MakeSystem, storage: CountedStorage
) -> None:
    """What waits for its turn could come too late then, also of a worker that another engine heard of."""
    system, other = make_system(storage), make_system(storage, owner="e2")  # nobody writes moments
    await settled(system, "w1", skills_hash="5f0c")
    await system.clock.advance(99)
    await other.workers.poller("w1", QUIET, 30.0)
    assert (await stored(storage)).seen_at < system.clock.now() - 99

    await system.clock.advance(1)
    await other.workers.poller("w1", QUIET, 30.0)

    assert (await stored(storage)).seen_at == system.clock.now()


async def test_quiet_worker_that_the_storage_forgot_hears_it_when_its_poll_ends(
    system: System, storage: CountedStorage
) -> None:
    """The engine notices it when it writes the moment of the poll; while nobody can say so, it does not guess."""
    await settled(system, "w1", skills_hash="5f0c")
    await hold(system)
    await storage.remove_worker("w1")
    assert await hold(system) is not None

    assert await system.workers.is_forgotten("w1")
    storage.find_worker = away  # type: ignore[method-assign]
    assert not await system.workers.is_forgotten("w1")


async def away(worker_id: str) -> WorkerProfile | None:
    """Takes the place of a storage that does not answer."""
    raise StorageError("away")


async def test_poll_of_a_quiet_worker_that_nobody_knows_ends_soon(system: System) -> None:
    """No heartbeat of it may be on its way; a registration that is counts at once."""
    ended = asyncio.create_task(system.workers.poller("w1", QUIET, 30.0))
    going_on = asyncio.create_task(system.workers.poller("w2", QUIET, 30.0))
    await system.clock.advance(0.5)
    await system.register("w2")
    await system.clock.advance(0.5)

    assert await ended is None
    worker = await going_on
    assert worker is not None
    assert worker.worker_id == "w2"
