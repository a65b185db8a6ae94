"""The room that jobs take in a Redis: nothing stays for ever, and a server that is full is no harm."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from avtomatika.core.document import EMPTY
from avtomatika.core.effects import RecordHistory
from avtomatika.core.events import TimerKind
from avtomatika.core.job import Client
from avtomatika.core.states import JobStatus, TaskStatus
from avtomatika.errors import StorageError
from avtomatika.protocol.messages import WorkerProfile
from avtomatika.storage import RedisStorage
from avtomatika.storage.base import Committed, Dedupe, Progress, Ready, RecordWrite, TaskClaim, Timer
from avtomatika.testing import FakeClock
from tests.redis_server import RedisServer

from .builders import START, a_batch, a_job, a_message, a_task, create
from .redis_look import MakeServer, keys_of, opened, plain_client


async def test_full_server_refuses_and_nothing_is_half_written(start_redis: MakeServer) -> None:
    """A step that does not fit is not written at all; with room again, work goes on."""
    server = start_redis()
    async with opened(server) as storage:
        job = await create(storage)
        before = keys_of(server, "p")
        with plain_client(server) as client:
            client.config_set("maxmemory", 1)

            with pytest.raises(StorageError, match=r"is full and wrote nothing\. Raise its maxmemory"):
                await storage.commit(a_batch(replace(job, version=2), queue_tasks=[a_task("t1")], finish=True))

            assert keys_of(server, "p") == before
            client.config_set("maxmemory", 0)
        assert await storage.find_job("j1") == job
        assert await storage.audit() == []
        assert await storage.commit(a_batch(replace(job, version=2))) == Committed(2)


async def run_a_life(storage: RedisStorage, clock: FakeClock, number: int) -> None:
    """Lets a job use everything that there is, and end."""
    job_id = f"j{number}"
    job = a_job(job_id, client=Client(f"c{number % 3}"))
    timers = [Timer(job_id, kind, clock.now() + 50) for kind in (TimerKind.JOB, TimerKind.RETRY)]
    tasks = [a_task(f"{job_id}-{n}", job_id, priority=float(n)) for n in range(3)]
    event = RecordHistory("state_started", "start")
    await storage.commit(
        a_batch(
            job,
            ready=Ready(clock.now()),
            queue_tasks=tasks,
            set_timers=timers,
            events=[event],
            dedupe=Dedupe(job_id, "p", 9),
        )
    )
    (claim,) = await storage.claim_jobs("e", 1, 30)
    held = await storage.claim_task("w", ["render"], 30)
    assert held is not None
    await storage.put_progress(job_id, Progress(0.5))
    await storage.put_worker(WorkerProfile(f"w{number}"), 9)
    ended = replace(job, version=2, status=JobStatus.FINISHED, updated_at=clock.now())
    done = replace(held, status=TaskStatus.SUCCEEDED, ended_at=clock.now())
    outcome = await storage.commit(
        a_batch(
            ended,
            claim=claim.token,
            task_claims=[TaskClaim(held.id, 1, "w")],
            cancel_open_tasks=True,
            save_tasks=[done],
            finish=True,
            events=[event],
            messages=[a_message(n, job_id) for n in range(3)],
            records=[RecordWrite("x", f"{job_id}-{n}", EMPTY, ttl=n) for n in range(3)],
        )
    )
    await storage.count(job_id, 5, 9)
    assert outcome == Committed(2)
    await storage.bury_message(f"{job_id}:1:0", "no hope")
    await storage.bury_message(f"{job_id}:1:1", "no hope")
    await storage.replay_messages([f"{job_id}:1:1"])
    await storage.claim_messages(["webhook"], 5, 30)
    await storage.ack_messages([f"{job_id}:1:1", f"{job_id}:1:2"])


async def test_nothing_is_left_of_jobs_that_were_purged(redis_server: RedisServer, clock: FakeClock) -> None:
    """After retention the server holds as little as before: nothing grows with the jobs that ever were."""
    prefix = redis_server.new_prefix()
    async with opened(redis_server, prefix, clock=clock) as storage:
        at_first = keys_of(redis_server, prefix)
        for number in range(30):
            await run_a_life(storage, clock, number)
        assert len(keys_of(redis_server, prefix)) > 30
        assert await storage.audit() == []

        await clock.advance(10)
        await storage.ack_events([step.id for step in await storage.read_events(1000)])
        assert len(await storage.purge_jobs(clock.now(), 20)) == 20
        assert len(await storage.purge_jobs(clock.now(), 20)) == 10

        await storage.trim_changes(0, 1)
        assert keys_of(redis_server, prefix) == at_first | {"seq", "changes_floor", "purged"}
        assert await storage.audit() == []


async def test_what_is_kept_for_a_time_goes_when_other_things_come(redis_server: RedisServer, clock: FakeClock) -> None:
    """Without any round of forgetting, what has run out makes room for what comes."""
    prefix = redis_server.new_prefix()
    async with opened(redis_server, prefix, clock=clock) as storage:
        for number in range(20):
            await create(storage, a_job(f"j{number}"), ready=Ready(START), dedupe=Dedupe(f"k{number}", "p", 5))
            await storage.put_worker(WorkerProfile(f"w{number}"), 5)
            await storage.put_record(RecordWrite("x", f"r{number}", EMPTY, ttl=5))
            await storage.count(f"c{number}", 5, 5)
            await clock.advance(2)

    with plain_client(redis_server) as client:
        assert client.hlen(f"{{{prefix}}}:dedupe") == client.zcard(f"{{{prefix}}}:dedupe_ends") == 3
        for kind in ("records", "counters"):
            assert client.hlen(f"{{{prefix}}}:{kind}") == client.zcard(f"{{{prefix}}}:{kind[:-1]}_ends") == 3
        assert client.zcard(f"{{{prefix}}}:record_names") == 3
        assert client.hlen(f"{{{prefix}}}:workers") == client.zcard(f"{{{prefix}}}:worker_ends") == 3
        assert client.hlen(f"{{{prefix}}}:worker_seen") == 3
