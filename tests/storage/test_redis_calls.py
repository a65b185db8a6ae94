"""How the calls of many callers travel to a Redis: together, by scripts, and none at the cost of another."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from msgspec.structs import replace

from avtomatika.core.effects import RecordHistory
from avtomatika.core.job import Client
from avtomatika.core.states import JobStatus
from avtomatika.errors import StorageError
from avtomatika.storage import RedisStorage
from avtomatika.storage.base import Committed, JobQuery, Ready
from avtomatika.storage.redis_scripts import load_scripts
from tests.redis_server import RedisServer

from .builders import START, a_batch, a_job, create
from .ear import Ear
from .redis_look import opened, plain_client


async def test_scripts_are_loaded_when_the_server_does_not_know_them(redis_server: RedisServer) -> None:
    """A server whose scripts were flushed gets them again, while many calls are on their way."""
    async with opened(redis_server, redis_server.new_prefix()) as storage:
        with plain_client(redis_server) as client:
            client.script_flush()

        await asyncio.gather(*(create(storage, a_job(f"j{number}")) for number in range(100)))

        assert await storage.count_jobs() == {JobStatus.PENDING: 100}


async def test_jobs_of_a_client_are_found_among_many_others(redis_server: RedisServer) -> None:
    """A list that looks through many jobs in several calls is the one that a single look would give."""
    async with opened(redis_server, redis_server.new_prefix()) as storage:
        batches = [
            a_batch(
                a_job(
                    f"j{n:03}",
                    created_at=START + n // 2,
                    client=Client("a" if n % 5 else "b"),
                    status=JobStatus.RUNNING if n % 2 else JobStatus.PENDING,
                ),
                ready=Ready(START),
            )
            for n in range(450)
        ]
        await asyncio.gather(*map(storage.commit, batches))
        newest = [f"j{n:03}" for n in reversed(range(450)) if n % 5 == 0 and n % 2]

        query = JobQuery(client="b", status=JobStatus.RUNNING, limit=5)
        pages = [await storage.list_jobs(replace(query, offset=offset)) for offset in range(0, 50, 5)]
        assert [job.id for page in pages for job in page] == newest
        last = pages[3][-1]
        behind = await storage.list_jobs(replace(query, before=(last.created_at, last.id)))
        assert behind == pages[4]


async def test_calls_that_wait_travel_together(
    pair: tuple[RedisStorage, RedisStorage], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many callers at once share the way to the server, 8 at a time."""
    storage = pair[0]
    post, sizes = storage._link._post, []

    def count(group: Any) -> None:
        sizes.append(len(group))
        post(group)

    monkeypatch.setattr(storage._link, "_post", count)

    await asyncio.gather(*(create(storage, a_job(f"j{number}")) for number in range(200)))

    assert max(sizes) == 8
    assert len(sizes) == 200 / 8


async def test_calls_are_sent_while_others_wait_for_their_answers(
    pair: tuple[RedisStorage, RedisStorage], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server works on one group while the engine makes the next."""
    storage, other = pair
    connection = storage._link._connection
    read, may_read = connection.read_response, asyncio.Event()

    async def read_later(*args: Any, **options: Any) -> Any:
        await may_read.wait()
        return await read(*args, **options)

    monkeypatch.setattr(connection, "read_response", read_later)
    ear = Ear(other)

    first = asyncio.create_task(create(storage, a_job("j1")))
    await ear.wait_for("job")
    ear.signals.clear()
    second = asyncio.create_task(create(storage, a_job("j2")))
    await ear.wait_for("job")

    assert not first.done()
    may_read.set()
    await asyncio.gather(first, second)


async def test_commit_that_fails_harms_none_that_travels_with_it(
    redis_server: RedisServer,
) -> None:
    """Commits share one run of a script; if one of them breaks it, the others are applied all the same, once."""
    prefix = redis_server.new_prefix()
    async with opened(redis_server, prefix) as storage:
        for number in range(9):
            await create(storage, a_job(f"j{number}"))
        with plain_client(redis_server) as client:
            client.hset(f"{{{prefix}}}:facts", "j4", b"\xc1 is no msgpack")

        batches = [
            a_batch(a_job(f"j{number}", version=2), ready=Ready(START), events=[RecordHistory("e", "s")])
            for number in range(9)
        ]
        outcomes = await asyncio.gather(*map(storage.commit, batches), return_exceptions=True)

        assert [type(outcome) for outcome in outcomes] == [Committed] * 4 + [StorageError] + [Committed] * 4
        assert "refused a command" in str(outcomes[4])
        assert len(await storage.read_events(100)) == 8


@pytest.mark.parametrize("name", sorted(load_scripts()))
def test_script_declares_every_key_that_it_names(name: str) -> None:
    """A server that spreads keys over several machines is told beforehand which ones a script touches."""
    script = load_scripts()[name]

    assert set(re.findall(r"\bK\.(\w+)", script.text)) <= set(script.keys)
