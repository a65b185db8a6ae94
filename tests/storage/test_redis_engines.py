"""Engines that share a Redis: nothing is done by two of them, and they hear of each other and go by one clock."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from avtomatika.core.document import Document
from avtomatika.core.effects import RecordHistory
from avtomatika.core.events import TimerKind
from avtomatika.storage import RedisStorage
from avtomatika.storage.base import Batch, Committed, Ready, RecordWrite, Signal, Stale, Timer
from avtomatika.testing import FakeClock
from tests.redis_server import RedisServer

from .builders import ALL, START, a_batch, a_job, a_message, a_task, create
from .ear import Ear
from .redis_look import opened, plain_client


async def test_two_engines_never_share_a_job_or_a_task(pair: tuple[RedisStorage, RedisStorage]) -> None:
    """However two engines race, each wake-up and each task is one engine's."""
    one = pair[0]
    for number in range(40):
        await create(one, a_job(f"j{number}"), ready=Ready(START), queue_tasks=[a_task(f"t{number}", f"j{number}")])

    claims = await asyncio.gather(*(storage.claim_jobs("e", 3, 60) for _ in range(10) for storage in pair))
    tasks = await asyncio.gather(*(storage.claim_task("w", ["render"], 60) for _ in range(30) for storage in pair))

    taken = [claim.job.id for some in claims for claim in some]
    assert sorted(taken) == sorted(f"j{number}" for number in range(40))
    assert sorted(task.id for task in tasks if task) == sorted(f"t{number}" for number in range(40))
    assert tasks.count(None) == 20


async def test_two_engines_never_share_a_message(pair: tuple[RedisStorage, RedisStorage]) -> None:
    """However two engines race, each message is carried by one; the other hears of it, and when it is due again."""
    one, other = pair
    ear = Ear(other)
    await create(one, ready=Ready(START), messages=[a_message(number) for number in range(40)])

    taken = await asyncio.gather(*(storage.claim_messages(["webhook"], 3, 60) for _ in range(10) for storage in pair))

    assert sorted(m.id for some in taken for m in some) == sorted(f"j1:1:{number}" for number in range(40))
    assert await ear.wait_for("message", "webhook") == Signal("message", "webhook", START)
    assert await other.claim_messages(["webhook"], 3, 60) == []
    ear.signals.clear()
    await one.postpone_message("j1:1:7", START + 1.5, "no answer")
    assert await ear.wait_for("message", "webhook") == Signal("message", "webhook", START + 1.5)
    (again,) = await other.claim_messages(["webhook"], 3, 60)
    assert (again.id, again.attempts, again.error) == ("j1:1:7", 2, "no answer")


async def test_two_engines_write_one_record_and_count_together(pair: tuple[RedisStorage, RedisStorage]) -> None:
    """Of the writes of two engines on one version exactly one is applied, and a limit is one for both."""
    write = RecordWrite("x", "a", Document.of(1), expected=0)

    written = await asyncio.gather(*(storage.put_record(write) for _ in range(10) for storage in pair))
    counts = await asyncio.gather(*(storage.count("shop", 7, 60) for _ in range(10) for storage in pair))

    assert written.count(True) == 1
    assert sum(count.granted for count in counts) == 7
    assert sorted(count.total for count in counts if count.granted) == list(range(1, 8))


async def test_two_engines_commit_one_version_once(pair: tuple[RedisStorage, RedisStorage]) -> None:
    """Of the commits of two engines on one version exactly one is applied."""
    job = await create(pair[0])
    batch = a_batch(replace(job, version=2))

    outcomes = await asyncio.gather(*(storage.commit(batch) for _ in range(10) for storage in pair))

    assert outcomes.count(Committed(2)) == 1
    assert outcomes.count(Stale(2)) == 19


async def test_signals_reach_the_other_engine(pair: tuple[RedisStorage, RedisStorage]) -> None:
    """What one engine does, the other hears, in order and with everything that it tells."""
    one, other = pair
    own, ear = Ear(one), Ear(other)

    await create(
        one,
        ready=Ready(START + 3.5),
        queue_tasks=[a_task("t1", requirements={"gpu": 1}, max_cost=0.5, strategy="cheapest")],
        set_timers=[Timer("j1", TimerKind.JOB, START + 9.25)],
        events=[RecordHistory("job_created", "start")],
    )

    await ear.wait_for("event")
    assert ear.signals == own.signals
    assert [signal.kind for signal in ear.signals] == ["job", "ready", "task", "timer", "event"]
    task = next(signal for signal in ear.signals if signal.kind == "task")
    assert task.queue is not None
    assert (task.key, task.queue.requirements, task.queue.max_cost) == ("render", {"gpu": 1}, 0.5)
    assert task.strategy == "cheapest"


async def test_own_signals_are_heard_once(pair: tuple[RedisStorage, RedisStorage]) -> None:
    """An engine does not get back over the network what it was told at once."""
    one, other = pair
    own, ear = Ear(one), Ear(other)
    await create(one, a_job("j1"))
    await ear.wait_for("job")
    ear.signals.clear()

    # What the other does comes after whatever came back of the first.
    await create(other, a_job("j2"))
    await own.wait_for("job", "j2")

    assert [signal.key for signal in own.signals if signal.kind == "job"] == ["j1", "j2"]


async def test_signal_that_makes_no_sense_is_passed_over(
    redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """What a newer engine says in its own way does not make this one deaf."""
    prefix = redis_server.new_prefix()
    async with opened(redis_server, prefix) as one, opened(redis_server, prefix) as other:
        ear = Ear(other)
        with plain_client(redis_server) as client:
            for nonsense in (b"", b"\xc1", b"\x01", b"\x91\x91\x01"):
                client.publish(f"{{{prefix}}}:engines:{other._name}", nonsense)

        await create(one)

        await ear.wait_for("job", "j1")
    assert caplog.text.count("a signal of another engine makes no sense") == 4


async def test_engine_that_is_gone_is_told_nothing(redis_server: RedisServer) -> None:
    """An engine that ended without a word is struck off at the next signal."""
    prefix = redis_server.new_prefix()
    with plain_client(redis_server) as client:
        client.sadd(f"{{{prefix}}}:engines", "dead")
        async with opened(redis_server, prefix) as storage:
            await create(storage)

            assert client.smembers(f"{{{prefix}}}:engines") == {storage._name.encode()}

        assert client.smembers(f"{{{prefix}}}:engines") == set()


async def test_prefixes_are_worlds_apart(redis_server: RedisServer) -> None:
    """Two systems on one server see nothing of each other."""
    first, second = redis_server.new_prefix(), redis_server.new_prefix()
    async with opened(redis_server, first) as one, opened(redis_server, second) as other:
        await create(one)

        assert await other.find_job("j1") is None
        assert await other.claim_jobs("e", 10, 10) == []


async def test_client_that_decodes_answers_serves_too(redis_server: RedisServer) -> None:
    """However the caller reads its own answers, the storage reads bytes."""
    client = redis_server.client(decode_responses=True, protocol=3)
    storage = RedisStorage(client, prefix=redis_server.new_prefix())
    await storage.open()

    await create(storage, queue_tasks=[a_task("t1", requirements={"name": "ä"})])
    await storage.claim_task("w", ["render"], 10)

    assert await storage.find_job("j1") == a_job()
    assert await storage.audit() == []
    await storage.close()
    await client.aclose()


async def test_now_is_the_servers_and_never_ahead(pair: tuple[RedisStorage, RedisStorage]) -> None:
    """All engines measure by the server, and none believes it to be later than it is."""
    for _ in range(20):
        for storage in pair:
            now = await storage.now()
            seconds, microseconds = await storage._link.ask("TIME")
            server = int(seconds) + int(microseconds) / 1e6
            assert now <= server + 0.001
            assert server - now < 1


async def test_claims_of_now_can_be_had_at_once(pair: tuple[RedisStorage, RedisStorage]) -> None:
    """What one engine calls now is due for every engine."""
    one, other = pair
    for number in range(20):
        now = await one.now()
        await one.commit(Batch(a_job(f"j{number}", created_at=now, updated_at=now), ALL, now, ready=Ready(now)))

        assert [claim.job.id for claim in await other.claim_jobs("e", 10, 60)] == [f"j{number}"]


async def test_wake_up_at_the_moment_of_its_step_is_due(redis_server: RedisServer, clock: FakeClock) -> None:
    """A step whose clock is a little ahead does not put its own job to sleep; a later moment still waits."""
    ahead = clock.now() + 0.01
    async with opened(redis_server, redis_server.new_prefix(), clock=clock) as storage:
        await storage.commit(Batch(a_job("j1"), ALL, ahead, ready=Ready(ahead)))
        await storage.commit(Batch(a_job("j2"), ALL, ahead, ready=Ready(ahead + 1)))

        assert [claim.job.id for claim in await storage.claim_jobs("e", 10, 60)] == ["j1"]
        assert await storage.next_wake_at() == ahead + 1
