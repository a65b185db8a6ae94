"""The comparison's jobs with SAQ on Redis.

A task is tried again when its worker has lost it, as with the others. There are no chains: each step enqueues the next
one, and the last one tells the client through a list in Redis.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

import timing
from redis.asyncio import Redis
from saq import Queue

_URI = os.environ.get("BENCH_URI", "redis://127.0.0.1")
_TRIES = 3
queue = Queue.from_url(_URI)
_redis: Redis = Redis.from_url(_URI)


async def step(_: Any, *, count: int) -> int:
    """Counts one up, and enqueues the next step."""
    if count + 1 < timing.STEPS:
        await queue.enqueue("step", count=count + 1, retries=_TRIES)
    else:
        await _redis.rpush("chains-done", count + 1)
    return count + 1


async def double(_: Any, *, n: int) -> int:
    """Doubles a number."""
    return 2 * n


settings = {"queue": queue, "functions": [step, double], "concurrency": timing.AT_A_TIME}


class SaqPeer:
    """SAQ with one worker process."""

    def __init__(self, uri: str) -> None:
        self._processes = timing.Processes()
        self._queue = Queue.from_url(uri)
        self._unread = Queue.from_url(uri, name="nobody")
        self._redis: Redis = Redis.from_url(uri)

    async def start(self) -> None:
        """Starts the worker, and waits until it has done a task."""
        self._processes.start("-m", "saq", "saq_program.settings", "--quiet")
        await self._queue.connect()
        await self._unread.connect()
        await self._queue.apply("double", n=1, timeout=60, retries=_TRIES)

    async def chain(self, number: int) -> None:
        """Chains of tasks that enqueue each other."""
        await asyncio.gather(*(self._queue.enqueue("step", count=0, retries=_TRIES) for _ in range(number)))
        for _ in range(number):
            await self._redis.blpop("chains-done", 60)

    async def task(self, number: int) -> None:
        """Tasks."""
        await self._queue.map("double", [{"n": n} for n in range(number)], timeout=60, retries=_TRIES)

    async def fan_out(self, number: int) -> None:
        """Tasks whose results the client adds up: nothing durable waits for them."""
        numbers = [{"n": n} for n in range(timing.WIDTH)]
        fans = await asyncio.gather(
            *(self._queue.map("double", numbers, timeout=60, retries=_TRIES) for _ in range(number))
        )
        if {sum(results) for results in fans} != {timing.WIDTH * (timing.WIDTH - 1)}:
            raise SystemExit("a fan-out has lost a task")

    async def create(self, number: int) -> None:
        """Tasks in a queue that no worker reads."""
        await asyncio.gather(*(self._unread.enqueue("double", n=n, retries=_TRIES) for n in range(number)))

    async def stop(self) -> None:
        """Ends the worker."""
        await self._queue.disconnect()
        await self._unread.disconnect()
        await self._redis.aclose()
        self._processes.stop()


if __name__ == "__main__":
    chosen = timing.options()
    os.environ["BENCH_URI"] = chosen.uri
    timing.run(SaqPeer(chosen.uri), chosen)
