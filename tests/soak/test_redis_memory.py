"""What a drained engine leaves in Redis: after the retention, nothing of the jobs that were."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from typing import Any

import pytest
import redis

from avtomatika import ActionFactory, Config, OrchestratorEngine, StateMachineBlueprint
from avtomatika.app_keys import HISTORIAN_KEY, JOBS_KEY, STORAGE_KEY
from avtomatika.blueprints import CompiledBlueprint
from avtomatika.clock import SystemClock
from avtomatika.core.job import Client
from avtomatika.storage import RedisStorage
from avtomatika.storage.base import Dedupe
from avtomatika.worker import Worker
from tests.redis_server import RedisServer

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(600)]

IN_CI = os.environ.get("CI", "").lower() in {"1", "true"}
JOBS = int(os.environ.get("SOAK_JOBS", "20000" if IN_CI else "2000"))
AT_A_TIME = 200
RETENTION = 7 * 24 * 3600.0


class ShiftedClock(SystemClock):
    """The machine's clock, which a test may put forward."""

    shift = 0.0

    def now(self) -> float:
        """Returns the machine's time, put forward."""
        return time.time() + self.shift


def orders() -> StateMachineBlueprint:
    """Returns a blueprint: of 20 jobs one has a task, one a fan-out, one waits for a retry."""
    bp = StateMachineBlueprint("orders")

    @bp.handler_for("begin", is_start=True)
    async def begin(n: int, attempt: int, state_history: dict[str, Any], actions: ActionFactory) -> None:
        state_history["notes"] = "x" * 200
        match n % 20:
            case 1:
                actions.dispatch_task("double", {"n": n}, {"success": "end"})
            case 2:
                actions.dispatch_parallel(
                    [{"type": "double", "params": {"n": n + index}} for index in range(3)], "join"
                )
            case 3 if attempt == 1:
                raise RuntimeError("on purpose")
            case _:
                actions.transition_to("end")

    @bp.aggregator_for("join")
    async def join(aggregation_results: dict[str, Any], actions: ActionFactory) -> None:
        actions.transition_to("end")

    @bp.handler_for("end", is_end=True)
    async def end() -> None: ...

    return bp


def families(client: redis.Redis) -> dict[str, int]:
    """Returns how many keys, or members of the one key, each family of keys has."""
    sizes: dict[str, int] = {}
    for key in client.scan_iter(count=1000):
        name = key.decode().partition("}:")[2]
        family = name.partition(":")[0] if name.startswith("job:") else name
        size = {b"hash": client.hlen, b"zset": client.zcard, b"set": client.scard}.get(client.type(key))
        sizes[family] = sizes.get(family, 0) + (1 if size is None or family == "job" else size(key))
    return sizes


def used_memory(client: redis.Redis) -> int:
    """Returns how many bytes the server has taken."""
    return int(client.info("memory")["used_memory"])


async def settled_memory(client: redis.Redis, wanted: float) -> int:
    """Returns how much is taken once that is as little as wanted, or after a minute: buffers go by and by."""
    for _ in range(600):
        if used_memory(client) <= wanted:
            break
        await asyncio.sleep(0.1)
    return used_memory(client)


async def drain(engine: OrchestratorEngine, blueprint: CompiledBlueprint, first: int, count: int) -> None:
    """Creates jobs, some hundred at a time, and returns when all of them have ended and their history is out."""
    jobs, gate = engine.app[JOBS_KEY], asyncio.Semaphore(AT_A_TIME)

    async def run(n: int) -> None:
        async with gate:
            dedupe = Dedupe(f"key-{n}", "same", 3600.0)
            job_id, _ = await jobs.create(blueprint, {"n": n}, client=Client(f"c{n % 7}"), dedupe=dedupe)
            job = await jobs.get(job_id)
            while not job.is_terminal:
                job = await jobs.wait(job_id, job.version, 30)
            assert job.status == "finished"

    await asyncio.gather(*(run(n) for n in range(first, first + count)))
    await engine.app[HISTORIAN_KEY].flush()


async def forget(engine: OrchestratorEngine, clock: ShiftedClock, client: redis.Redis) -> None:
    """Lets the retention pass, and returns when the engine has forgotten all jobs, workers, and who waits at it."""
    clock.shift += RETENTION + 60
    kept = ("job", "facts", "dedupe", "workers", "records")
    while any(families(client).get(family) for family in kept):  # noqa: ASYNC110 - as it comes
        await asyncio.sleep(0.1)
    assert await engine.app[STORAGE_KEY].audit() == []


def a_worker(url: str, token: str) -> Worker:
    """Returns a worker that does what the jobs ask for."""
    worker = Worker(url=url, token=token, concurrency=AT_A_TIME)

    @worker.task
    async def double(n: int) -> dict[str, int]:
        return {"twice": 2 * n}

    return worker


async def test_drained_engine_leaves_redis_as_small_as_before(
    start_redis: Callable[..., RedisServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After thousands of jobs and their retention the memory is back within 5 %, and no family of keys has grown."""
    # The server's log of slow calls takes as much as it finds calls slow, up to a limit: on a busy machine, many.
    monkeypatch.setattr("avtomatika.runtime.elsewhere._PAUSE_ALONE", 0.2)
    server = start_redis(**{"slowlog-log-slower-than": "-1"})
    blueprint = orders()
    clock = ShiftedClock()
    config = Config(
        API_HOST="127.0.0.1", API_PORT=0, JOB_RETENTION_SECONDS=RETENTION, WATCHER_INTERVAL_SECONDS=0.5,
        RETRY_DELAY_SECONDS=0.01, RETRY_MAX_DELAY_SECONDS=0.05, EXECUTOR_MAX_CONCURRENT_JOBS=AT_A_TIME,
    )  # fmt: skip
    engine = OrchestratorEngine(RedisStorage(server.client(), clock=clock), config)
    engine.register_blueprint(blueprint)
    compiled = blueprint.compile()

    with redis.Redis(port=server.port) as client:
        async with engine:
            async with a_worker(engine.url, config.GLOBAL_WORKER_TOKEN):
                await drain(engine, compiled, 0, 500)
            await forget(engine, clock, client)
            before, memory = families(client), used_memory(client)

            async with a_worker(engine.url, config.GLOBAL_WORKER_TOKEN):
                await drain(engine, compiled, 500, JOBS)
                full, most = families(client), used_memory(client)
            await forget(engine, clock, client)
            after = families(client)
            left = await settled_memory(client, memory * 1.05)

    print(f"{JOBS} jobs: {memory:,} bytes before, {most:,} with all jobs, {left:,} after")
    assert full["job"] >= JOBS
    assert most > memory + 500 * JOBS
    assert left <= memory * 1.05
    assert {family: size for family, size in after.items() if size > before.get(family, 0)} == {}
