"""The cookbook, a counter in a data store: two engines on one Redis count together."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from avtomatika import ActionFactory, StateMachineBlueprint
from avtomatika.app_keys import RUNNER_KEY
from avtomatika.storage import RedisStorage
from tests.redis_server import RedisServer

from .conftest import Kitchen, Serve

pytestmark = pytest.mark.acceptance


def counting(engine: str, redis_client: Any) -> StateMachineBlueprint:
    """Returns the blueprint as one engine has it: a counter of the engines' own, and one in the user's Redis."""
    bp = StateMachineBlueprint("counting", api_endpoint="/counting", data_stores={"cache": redis_client})
    bp.add_data_store("counter", {"total": 100}, shared=True)

    @bp.handler_for("count", is_start=True)
    async def count(data_stores: Any, state_history: dict[str, Any], actions: ActionFactory) -> None:
        state_history["total"] = await data_stores.counter.add("total")
        state_history["visits"] = await data_stores.cache.incr("cookbook:visits")
        actions.transition_to("counted")

    @bp.handler_for("counted", is_end=True)
    async def counted(total: int, visits: int) -> dict[str, Any]:
        return {"by": engine, "total": total, "visits": visits}

    return bp


async def test_two_engines_share_a_counter(serve: Serve, redis_server: RedisServer) -> None:
    """Handlers of both engines add to one number, in the engines' storage and in a Redis of the user's."""
    prefix = redis_server.new_prefix()
    async with redis_server.client(decode_responses=True) as cache:
        await cache.delete("cookbook:visits")

        async def start(name: str) -> Kitchen:
            storage = RedisStorage(redis_server.client(), prefix=prefix)
            return await serve(counting(name, cache), storage=storage, INSTANCE_ID=name)

        first = await start("a")
        alone = await first.run("/counting")
        second = await start("b")
        both = await asyncio.gather(*(kitchen.run("/counting") for kitchen in (first, second) * 5))
        await first.engine.app[RUNNER_KEY].stop()
        other = await first.run("/counting")

    results = [job["result"] for job in (alone, *both, other)]
    assert alone["result"] == {"by": "a", "total": 101, "visits": 1}
    assert other["result"] == {"by": "b", "total": 112, "visits": 12}
    assert sorted(result["total"] for result in results) == list(range(101, 113))
    assert sorted(result["visits"] for result in results) == list(range(1, 13))
