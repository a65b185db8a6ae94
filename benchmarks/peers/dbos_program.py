"""The comparison's jobs with DBOS: a library in the client's own process, so nothing goes over HTTP or to a worker.

Each step is a row in the database before the next one begins.
"""

from __future__ import annotations

import asyncio
from typing import Any

import timing
from dbos import DBOS, DBOSClient

_PAUSE_SECONDS = 0.005


@DBOS.step()
async def step(count: int) -> int:
    """Counts one up."""
    return count + 1


@DBOS.step()
async def double_step(n: int) -> int:
    """Doubles a number."""
    return 2 * n


@DBOS.workflow()
async def chain_of_steps() -> int:
    """Ten steps, one after the other."""
    count = 0
    for _ in range(timing.STEPS):
        count = await step(count)
    return count


@DBOS.workflow()
async def double(n: int) -> int:
    """One step."""
    return await double_step(n)


@DBOS.workflow()
async def fan(width: int) -> int:
    """Starts workflows of one step each, and adds up what they return."""
    started = [await DBOS.start_workflow_async(double, n) for n in range(width)]
    return sum([await one.get_result(polling_interval_sec=_PAUSE_SECONDS) for one in started])


class DbosPeer:
    """DBOS in this process.

    Args:
        uri: of its database, SQLite or PostgreSQL.
    """

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._client: Any = None

    async def start(self) -> None:
        """Launches it."""
        DBOS(
            config={"name": "bench", "system_database_url": self._uri, "log_level": "ERROR", "run_admin_server": False}
        )
        DBOS.launch()
        self._client = DBOSClient(system_database_url=self._uri)

    async def chain(self, number: int) -> None:
        """Workflows of ten steps."""
        started = await asyncio.gather(*(DBOS.start_workflow_async(chain_of_steps) for _ in range(number)))
        for one in started:
            await one.get_result(polling_interval_sec=_PAUSE_SECONDS)

    async def task(self, number: int) -> None:
        """Workflows of one step."""
        for one in await asyncio.gather(*(DBOS.start_workflow_async(double, n) for n in range(number))):
            await one.get_result(polling_interval_sec=_PAUSE_SECONDS)

    async def fan_out(self, number: int) -> None:
        """Workflows that start workflows."""
        for one in await asyncio.gather(*(DBOS.start_workflow_async(fan, timing.WIDTH) for _ in range(number))):
            await one.get_result(polling_interval_sec=_PAUSE_SECONDS)

    async def create(self, number: int) -> None:
        """Workflows in a queue that nobody listens to."""
        left = iter(range(number))

        async def go_on() -> None:
            for n in left:
                await self._client.enqueue_async({"queue_name": "nobody", "workflow_name": "double"}, n)

        await asyncio.gather(*(go_on() for _ in range(timing.AT_A_TIME)))

    async def stop(self) -> None:
        """Ends it."""
        self._client.destroy()
        DBOS.destroy()


if __name__ == "__main__":
    chosen = timing.options()
    timing.run(DbosPeer(chosen.uri), chosen)
