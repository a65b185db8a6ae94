"""A Redis that goes away for a while: who waits, who is told, and what is not done twice."""

from __future__ import annotations

import asyncio
from typing import Any, NoReturn

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from avtomatika.core.effects import RecordHistory
from avtomatika.errors import StorageError
from avtomatika.storage import RedisStorage, redis_line, redis_link
from avtomatika.storage.base import Committed, Dedupe, Ready, Stale

from .builders import START, a_batch, a_job, create
from .ear import Ear
from .redis_look import MakeServer, opened, plain_client


async def test_killed_server_comes_back_with_everything_that_was_acknowledged(
    start_redis: MakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    """With appendfsync always a power cut takes nothing, and the storage finds its server again by itself."""
    server = start_redis(appendfsync="always")
    async with opened(server) as storage, opened(server) as other:
        ear = Ear(other)
        for round_ in range(3):
            ids = [f"r{round_}-{number}" for number in range(30)]
            await asyncio.gather(*(create(storage, a_job(job_id)) for job_id in ids))
            ear.signals.clear()
            server.kill()
            await asyncio.to_thread(server.start)

            assert {(await storage.find_job(job_id)).version for job_id in ids} == {1}
            claims = await storage.claim_jobs("e", 100, 60)
            assert {claim.job.id for claim in claims} == set(ids)
            # The other engine hears again, and was told to look at what it may have missed.
            await ear.wait_for("missed")
            ear.signals.clear()
            await create(storage, a_job(f"r{round_}-news"))
            assert (await ear.wait_for("job")).key == f"r{round_}-news"
            assert len(await storage.claim_jobs("e", 100, 60)) == 1
        assert await storage.audit() == []
    assert "was restarted, or another server took over" in caplog.text
    assert "has lost" not in caplog.text


async def test_call_waits_for_a_server_that_is_away_for_a_moment(start_redis: MakeServer) -> None:
    """A restart is a delay, not an error, for what may be asked twice."""
    server = start_redis()
    async with opened(server) as storage:
        await create(storage)
        server.kill()

        answer = asyncio.create_task(storage.find_job("j1"))
        creation = asyncio.create_task(storage.commit(a_batch(a_job("j2"), ready=Ready(START))))
        await asyncio.sleep(0)
        await asyncio.to_thread(server.start)

        assert await creation == Committed(1)
        assert await answer in (a_job(), None)  # everysec: the file may be a second old


async def test_server_that_stays_away_is_named(start_redis: MakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while the caller learns which server does not answer."""
    monkeypatch.setattr(redis_link, "_PATIENCE", 0.2)
    server = start_redis()
    async with opened(server) as storage:
        server.kill()

        with pytest.raises(StorageError, match=f"Redis at 127.0.0.1:{server.port} does not answer"):
            await storage.find_job("j1")


async def test_server_that_is_frozen_is_not_waited_for_without_end(
    start_redis: MakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that stands says nothing of an answer; what may not be asked twice fails, and says so."""
    monkeypatch.setattr(redis_link, "_LIMIT_STEP", 0.0)
    server = start_redis()
    storage = RedisStorage(server.client(socket_timeout=0.2, socket_connect_timeout=0.2))
    await storage.open()
    try:
        await create(storage)
        with plain_client(server) as client:
            client.execute_command("CLIENT", "PAUSE", 1000)

        async with asyncio.timeout(20):
            with pytest.raises(StorageError, match=r"does not answer in time.*may have happened"):
                await storage.claim_jobs("e", 1, 60)
            assert await storage.find_job("j1") == a_job()
    finally:
        await storage.close()


async def lose_answers(storage: RedisStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the connection break after the next commands were done and before their answer is read."""
    connection = storage._link._connection
    read = connection.read_response

    async def read_and_lose(*args: Any, **options: Any) -> NoReturn:
        await read(*args, **options)
        raise RedisConnectionError("cut by the test")

    monkeypatch.setattr(connection, "read_response", read_and_lose)


async def test_commit_whose_answer_is_lost_is_applied_once(
    pair: tuple[RedisStorage, RedisStorage], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who does not hear what became of a commit asks again, and learns that it was applied."""
    storage = pair[0]
    key = Dedupe("k", "print", 60)
    await lose_answers(storage, monkeypatch)
    batch = a_batch(a_job(), ready=Ready(START), dedupe=key, events=[RecordHistory("job_created", "start")])

    assert await storage.commit(batch) == Committed(1)

    assert len(await storage.read_events(10)) == 1
    await lose_answers(storage, monkeypatch)
    assert await storage.commit(a_batch(a_job(version=2))) == Committed(2)
    # The caller's own repetition is another call, as the contract says.
    assert await storage.commit(a_batch(a_job(version=2))) == Stale(2)


async def test_commit_that_was_overtaken_while_its_answer_was_lost_is_stale(
    pair: tuple[RedisStorage, RedisStorage], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is asked again after somebody else went on is not taken for applied twice."""
    one, other = pair
    await create(one)
    connect = one._link.connect

    async def overtake() -> Any:
        assert await other.commit(a_batch(a_job(version=3))) == Committed(3)
        return await connect()

    await lose_answers(one, monkeypatch)
    monkeypatch.setattr(one._link, "connect", overtake)

    assert await one.commit(a_batch(a_job(version=2))) == Stale(3)


async def test_claim_whose_answer_is_lost_is_not_asked_for_again(
    pair: tuple[RedisStorage, RedisStorage], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A claim that nobody heard of is given up to its lease: asking twice would take two."""
    storage = pair[0]
    await create(storage, a_job("j1"))
    await create(storage, a_job("j2"))
    await lose_answers(storage, monkeypatch)

    with pytest.raises(StorageError, match="The step may have happened"):
        await storage.claim_jobs("e", 1, 60)

    assert len(await storage.claim_jobs("e", 10, 60)) == 1


async def test_line_that_nobody_speaks_to_says_that_signals_were_missed(
    pair: tuple[RedisStorage, RedisStorage], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine that has fallen off the list of listeners though its line stands is put back, and told."""
    monkeypatch.setattr(redis_line, "_QUIET", 0.05)
    storage, ear = pair[0], Ear(pair[0])
    engines = storage._keyspace.key("engines")

    await storage._link.ask("SREM", engines, storage._name)

    await ear.wait_for("missed")
    assert await storage._link.ask("SISMEMBER", engines, storage._name)


async def test_silent_line_is_tried_and_given_up(
    start_redis: MakeServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Who hears nothing asks whether somebody is there; a server that is frozen is a lost one, until it is back."""
    monkeypatch.setattr(redis_line, "_QUIET", 0.05)
    monkeypatch.setattr(redis_line, "_ANSWER", 0.2)
    server = start_redis()
    async with opened(server) as storage:
        ear = Ear(storage)
        looks = asyncio.Event()
        check = storage._server.check

        async def count() -> None:
            await check()
            looks.set()

        monkeypatch.setattr(storage._server, "check", count)
        async with asyncio.timeout(20):
            await looks.wait()
        with plain_client(server) as client:
            client.execute_command("CLIENT", "PAUSE", 600)

        await ear.wait_for("missed")

    assert "lost the signals of other engines" in caplog.text


def test_connection_that_was_reset_is_replaced_under_uvloop(start_redis: MakeServer) -> None:
    """Where writing to it raises, what is asked before its end is noticed goes to the next connection."""
    uvloop = pytest.importorskip("uvloop")
    server = start_redis()

    async def ask_on_a_reset_connection() -> None:
        async with opened(server) as storage:
            await create(storage)
            storage._link._connection._writer.transport.abort()
            assert await storage.find_job("j1") == a_job()

    uvloop.run(ask_on_a_reset_connection())
