"""The engine of the comparison: the same text for the published avtomatika and for this one.

``BENCH_URI`` names the storage.
"""

from __future__ import annotations

import asyncio
import logging
import os
from typing import Any

from timing import STEPS, WIDTH

from avtomatika import Blueprint, OrchestratorEngine
from avtomatika.config import Config
from avtomatika.context import ActionFactory

chain = Blueprint("chain", api_endpoint="/chains", api_version="v1")
task = Blueprint("task", api_endpoint="/tasks", api_version="v1")
fan = Blueprint("fan", api_endpoint="/fans", api_version="v1")
waiting = Blueprint("waiting", api_endpoint="/waiting", api_version="v1")


# One state that leads to itself: the published engine reads from the source where a handler leads, so states with
# computed names would count as out of reach.
@chain.handler("step", is_start=True)
async def step(state_history: dict[str, Any], actions: ActionFactory) -> None:
    """Counts one up, as often as the chain has steps."""
    state_history["count"] = state_history.get("count", 0) + 1
    if state_history["count"] < STEPS:
        actions.go_to("step")
    else:
        actions.go_to("finished")


@chain.handler("finished", is_end=True)
async def chain_end():  # without an annotation, which would be a schema of the result
    """Ends a chain."""


@task.handler("start", is_start=True)
async def task_start(initial_data: dict[str, Any], actions: ActionFactory) -> None:
    """Sends one task."""
    actions.dispatch_task(task_type="double", params={"n": initial_data["n"]}, transitions={"success": "finished"})


@task.handler("finished", is_end=True)
async def task_end():  # without an annotation, which would be a schema of the result
    """Ends a job of one task."""


@fan.handler("start", is_start=True)
async def fan_start(actions: ActionFactory) -> None:
    """Sends 100 tasks."""
    tasks = [{"type": "double", "params": {"n": n}} for n in range(WIDTH)]
    actions.dispatch_parallel(tasks=tasks, aggregate_into="join")


@fan.aggregator("join")
async def join(
    aggregation_results: dict[str, dict[str, Any]], state_history: dict[str, Any], actions: ActionFactory
) -> None:
    """Adds them up."""
    state_history["sum"] = sum(result["data"]["doubled"] for result in aggregation_results.values())
    actions.go_to("finished")


@fan.handler("finished", is_end=True)
async def fan_end():  # without an annotation, which would be a schema of the result
    """Ends a fan-out."""


@waiting.handler("start", is_start=True)
async def waiting_start(actions: ActionFactory) -> None:
    """Waits for somebody who never comes."""
    actions.await_human_approval(integration="webhook", message="go on?", transitions={"approved": "finished"})


@waiting.handler("finished", is_end=True)
async def waiting_end():  # without an annotation, which would be a schema of the result
    """Would end it."""


def make_storage(uri: str) -> Any:
    """Returns the storage: Redis as both know it, or a file as this one does."""
    if uri.startswith("sqlite:"):
        from avtomatika.storage import SQLiteStorage  # noqa: PLC0415 - the published one has none

        return SQLiteStorage(uri)
    from redis.asyncio import Redis  # noqa: PLC0415 - as above

    from avtomatika.storage.redis import RedisStorage  # noqa: PLC0415 - as above

    return RedisStorage(Redis.from_url(uri))


async def serve() -> None:
    """Serves until it is ended."""
    engine = OrchestratorEngine(make_storage(os.environ["BENCH_URI"]), Config())
    for blueprint in (chain, task, fan, waiting):
        engine.register_blueprint(blueprint)
    await engine.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    try:
        import uvloop
    except ModuleNotFoundError:
        asyncio.run(serve())
    else:
        uvloop.run(serve())
