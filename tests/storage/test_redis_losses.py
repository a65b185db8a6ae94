"""A Redis that comes back with older data or none: it is noticed, said and fenced."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from avtomatika.core.states import JobStatus
from avtomatika.errors import StorageError
from avtomatika.storage.base import Committed, Ready, Stale

from .builders import START, a_batch, a_job, create
from .ear import Ear
from .redis_look import MakeServer, opened


async def test_server_that_lost_its_data_is_reported(start_redis: MakeServer, caplog: pytest.LogCaptureFixture) -> None:
    """An empty server in place of a full one is no secret, and new jobs are taken."""
    server = start_redis()
    async with opened(server) as storage:
        await create(storage)
        ear = Ear(storage)
        server.kill()
        server.forget()
        await asyncio.to_thread(server.start)
        await ear.wait_for("missed")

        assert "has lost its data, or is another server: jobs that were there are gone" in caplog.text
        assert await storage.find_job("j1") is None
        await create(storage)


async def test_older_data_is_noticed_said_and_fenced(start_redis: MakeServer, caplog: pytest.LogCaptureFixture) -> None:
    """Who held a claim that the older data does not know has lost it, although the next one comes in the same order."""
    server = start_redis()
    async with opened(server) as one, opened(server) as other:
        job = await create(one)
        copy = server.keep()
        (claim,) = await one.claim_jobs("e", 1, 60)
        step = a_batch(replace(job, version=2), claim=claim.token, keep_claim=True, ready=Ready(START))
        assert await one.commit(step) == Committed(2)
        ears = Ear(one), Ear(other)
        server.kill()
        server.bring_back(copy)
        await asyncio.to_thread(server.start)
        for ear in ears:
            assert (await ear.wait_for("loss")).key == "rolled_back"

        (again,) = await one.claim_jobs("e", 1, 60)
        late = await other.commit(a_batch(replace(job, version=2), claim=claim.token))

        assert (again.job.version, late) == (1, Stale(1))
        assert await one.commit(replace(step, claim=again.token)) == Committed(2)
        assert await one.audit() == []
    assert "Job j1 was at version 2, and is at 1 now." in caplog.text
    assert caplog.text.count("has lost its last steps") == 2  # each engine says it once


async def test_step_decided_before_a_loss_is_not_written_after_it(
    start_redis: MakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another engine has brought the job to the same version in another way: the step that waits does not fit it."""
    server = start_redis()
    async with opened(server) as one, opened(server) as other:
        job = await create(one)
        copy = server.keep()
        assert await one.commit(a_batch(replace(job, version=2, state="left"))) == Committed(2)
        door, connect = asyncio.Event(), one._link.connect

        async def connect_later() -> Any:
            await door.wait()
            return await connect()

        monkeypatch.setattr(one._link, "connect", connect_later)
        server.kill()
        server.bring_back(copy)
        await asyncio.to_thread(server.start)
        waiting = asyncio.create_task(one.commit(a_batch(replace(job, version=3, state="left again"))))
        await asyncio.sleep(0)
        assert await other.commit(a_batch(replace(job, version=2, state="right"))) == Committed(2)
        door.set()

        with pytest.raises(StorageError, match="This step was decided before that; it is to be decided anew"):
            await waiting
        assert (await one.find_job("j1")).state == "right"


@pytest.mark.parametrize("appendfsync", ["always", "everysec"])
async def test_restart_without_a_loss_is_no_loss(
    start_redis: MakeServer, caplog: pytest.LogCaptureFixture, appendfsync: str
) -> None:
    """Steps that are there, jobs that went on elsewhere and jobs that were forgotten are not taken for lost."""
    server = start_redis(appendfsync=appendfsync)
    async with opened(server) as one, opened(server) as other:
        job = await create(one)
        await other.commit(a_batch(replace(job, version=2)))
        ended = replace(await create(one, a_job("j2")), version=2, status=JobStatus.FINISHED)
        await one.commit(a_batch(ended, finish=True))
        await other.purge_jobs(1e12, 10)
        ears = Ear(one), Ear(other)
        server.kill()
        await asyncio.to_thread(server.start)
        for ear in ears:
            await ear.wait_for("missed")

        assert await one.find_job("j2") is None
        assert not [signal for ear in ears for signal in ear.signals if signal.kind == "loss"]
    assert "has lost" not in caplog.text
