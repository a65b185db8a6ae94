"""The comparison's jobs with taskiq: a stream of Redis, whose messages are acknowledged, and results in Redis.

Without its extension for pipelines: each step sends the next one, and the last one tells the client through a list.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

import timing
from redis.asyncio import Redis
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

_URI = os.environ.get("BENCH_URI", "redis://127.0.0.1")
broker: Any = RedisStreamBroker(url=_URI).with_result_backend(RedisAsyncResultBackend(redis_url=_URI))
unread: Any = RedisStreamBroker(url=_URI, queue_name="nobody")
_PAUSE_SECONDS = 0.005
_redis: Redis = Redis.from_url(_URI)


@broker.task(task_name="step")
async def step(count: int) -> int:
    """Counts one up, and sends the next step."""
    if count + 1 < timing.STEPS:
        await step.kiq(count + 1)
    else:
        await _redis.rpush("chains-done", count + 1)
    return count + 1


@broker.task(task_name="double")
async def double(n: int) -> int:
    """Doubles a number."""
    return 2 * n


@unread.task(task_name="never")
async def never(n: int) -> int:
    """Nobody does this one."""
    return n


class TaskiqPeer:
    """Taskiq with one worker process."""

    def __init__(self) -> None:
        self._processes = timing.Processes()

    async def start(self) -> None:
        """Starts the worker, and waits until it has done a task."""
        self._processes.start(
            *("-m", "taskiq", "worker", "taskiq_program:broker", "--workers", "1"),
            *("--max-async-tasks", str(timing.AT_A_TIME), "--log-level", "ERROR"),
        )
        await broker.startup()
        await unread.startup()
        await self._results([await double.kiq(1)])

    async def _results(self, sent: list[Any]) -> list[int]:
        return [(await one.wait_result(check_interval=_PAUSE_SECONDS, timeout=60)).return_value for one in sent]

    async def chain(self, number: int) -> None:
        """Chains of tasks that send each other."""
        await asyncio.gather(*(step.kiq(0) for _ in range(number)))
        for _ in range(number):
            await _redis.blpop("chains-done", 60)

    async def task(self, number: int) -> None:
        """Tasks."""
        await self._results(await asyncio.gather(*(double.kiq(n) for n in range(number))))

    async def fan_out(self, number: int) -> None:
        """Tasks whose results the client adds up: nothing durable waits for them."""
        await asyncio.gather(*(self._fan() for _ in range(number)))

    async def _fan(self) -> None:
        sent = await asyncio.gather(*(double.kiq(n) for n in range(timing.WIDTH)))
        if sum(await self._results(sent)) != timing.WIDTH * (timing.WIDTH - 1):
            raise SystemExit("a fan-out has lost a task")

    async def create(self, number: int) -> None:
        """Messages in a stream that no worker reads."""
        await asyncio.gather(*(never.kiq(n) for n in range(number)))

    async def stop(self) -> None:
        """Ends the worker."""
        await broker.shutdown()
        await unread.shutdown()
        await _redis.aclose()
        self._processes.stop()


if __name__ == "__main__":
    timing.run(TaskiqPeer(), timing.options())
