"""The cookbook, who does a task: strategies, priority, cost ceiling, resources."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from avtomatika import ActionFactory, StateMachineBlueprint
from avtomatika.worker import SecurityError

from .conftest import Kitchen, Serve

pytestmark = pytest.mark.acceptance


def ride() -> StateMachineBlueprint:
    """Returns a blueprint whose jobs say how the worker of their only task is chosen."""
    bp = StateMachineBlueprint("ride", api_endpoint="/ride")

    @bp.handler_for("call", is_start=True)
    async def call(initial_data: dict[str, Any], actions: ActionFactory) -> None:
        actions.dispatch_task(
            initial_data.get("task", "drive"),
            transitions={"success": "arrived"},
            dispatch_strategy=initial_data.get("strategy", "default"),
            resource_requirements=initial_data.get("needs"),
            max_cost=initial_data.get("max_cost"),
            priority=initial_data.get("priority", 0.0),
        )

    @bp.handler_for("arrived", is_end=True)
    async def arrived(by: str) -> dict[str, Any]:
        return {"by": by}

    return bp


async def hire(kitchen: Kitchen, worker_id: str, *, cost: float | None = None, **options: Any) -> None:
    """Starts a worker that drives and says who it is."""
    await kitchen.hire(worker_id, cost=cost, tasks={"drive": lambda: {"by": worker_id}}, **options)


async def driver(kitchen: Kitchen, workers: int, **initial_data: Any) -> str:
    """Returns who does the task of a new job when so many workers are free."""
    await kitchen.until_free(workers)
    job = await kitchen.run("/ride", initial_data)
    return str(job["result"]["by"])


async def test_strategy_default_prefers_the_hot_then_the_cheapest(serve: Serve) -> None:
    """A worker that has the skill loaded is taken although it is dearer; without one, the cheapest."""
    kitchen = await serve(ride())
    await hire(kitchen, "dear", cost=9)
    await hire(kitchen, "cheap", cost=1)
    cold = await driver(kitchen, 2)
    hot = kitchen.plain_worker("hot")
    await hot.register("drive", capabilities={"cost_per_skill": {"drive": 5.0}})
    await hot.beat(hot_skills=["drive"])
    async with asyncio.TaskGroup() as group:
        taking = group.create_task(hot.take())
        await kitchen.until_free(3)
        job_id = await kitchen.client.submit("/ride", {})
    await hot.give(taking.result(), status="success", data={"by": "hot"})
    warm = await kitchen.client.wait(job_id, timeout=60)

    assert (cold, warm["result"]["by"]) == ("cheap", "hot")


async def test_strategy_round_robin_takes_turns(serve: Serve) -> None:
    """One after the other, whatever they cost."""
    kitchen = await serve(ride())
    for cost, worker_id in enumerate(("a", "b", "c")):
        await hire(kitchen, worker_id, cost=cost)

    order = [await driver(kitchen, 3, strategy="round_robin") for _ in range(6)]

    assert order == ["a", "b", "c", "a", "b", "c"]


async def test_strategy_least_connections_prefers_the_idle(serve: Serve) -> None:
    """A worker that holds a task is passed over for one that holds none, although it has room and is cheaper."""
    kitchen = await serve(ride())
    started, door = asyncio.Event(), asyncio.Event()

    async def hold() -> dict[str, str]:
        started.set()
        await door.wait()
        return {"by": "busy"}

    await kitchen.hire("busy", cost=1, tasks={"hold": hold, "drive": lambda: {"by": "busy"}}, concurrency=2)
    held = await kitchen.client.submit("/ride", {"task": "hold"})
    await started.wait()
    await hire(kitchen, "idle", cost=2)

    chosen = [await driver(kitchen, 2, strategy=strategy) for strategy in ("least_connections", "cheapest")]
    door.set()
    await kitchen.client.wait(held, timeout=60)

    assert chosen == ["idle", "busy"]


async def test_strategy_cheapest_and_best_value_differ_by_reputation(serve: Serve) -> None:
    """The cheapest worker gets the task, or the one whose cost divided by its reputation is lowest."""
    kitchen = await serve(ride())

    async def leak() -> None:
        raise SecurityError("the seal is broken")

    await kitchen.hire("flaky", cost=2.9, tasks={"leak": leak, "drive": lambda: {"by": "flaky"}})
    await hire(kitchen, "solid", cost=3)
    before = await driver(kitchen, 2, strategy="best_value")
    broken = await kitchen.run("/ride", {"task": "leak"})

    after = [await driver(kitchen, 2, strategy=strategy) for strategy in ("best_value", "cheapest")]

    assert broken["status"] == "quarantined"
    assert (before, after) == ("flaky", ["solid", "flaky"])


async def test_priority_goes_before_age(serve: Serve) -> None:
    """Tasks wait without a worker; the first that comes does the most urgent first, and the older of equals."""
    bp = StateMachineBlueprint("mail", api_endpoint="/mail")

    @bp.handler_for("send", is_start=True)
    async def send(name: str, urgency: float, actions: ActionFactory) -> None:
        actions.dispatch_task("send", {"name": name}, {"success": "sent"}, priority=urgency)

    @bp.handler_for("sent", is_end=True)
    async def sent() -> None: ...

    kitchen = await serve(bp)
    letters: list[tuple[str, float]] = [("low", 0), ("first", 1), ("second", 1), ("high", 9.5), ("never", -3)]
    jobs = []
    for name, urgency in letters:
        jobs.append(await kitchen.client.submit("/mail", {"name": name, "urgency": urgency}))
        await kitchen.until(jobs[-1], "waiting_for_worker")
    order: list[str] = []

    async def carry(name: str) -> None:
        order.append(name)

    await kitchen.hire(tasks={"send": carry}, concurrency=1)
    for job_id in jobs:
        await kitchen.client.wait(job_id, timeout=60)

    assert order == ["high", "first", "second", "low", "never"]


async def test_cost_ceiling_lets_a_task_wait_for_a_worker_that_keeps_it(serve: Serve) -> None:
    """A free worker above ``max_cost`` does not get the task; one that comes later and costs less does."""
    kitchen = await serve(ride())
    await hire(kitchen, "dear", cost=5)
    await kitchen.until_free(1)
    job_id = await kitchen.client.submit("/ride", {"max_cost": 1.5})
    await kitchen.until(job_id, "waiting_for_worker")
    passed_over = await driver(kitchen, 1)
    waiting = await kitchen.client.job(job_id)

    await hire(kitchen, "cheap", cost=1.5)
    job = await kitchen.client.wait(job_id, timeout=60)

    assert (passed_over, waiting["status"]) == ("dear", "waiting_for_worker")
    assert job["result"] == {"by": "cheap"}


GPU = {"type": "gpu", "model": "RTX 4090", "properties": {"memory_gb": 24}}


@pytest.mark.parametrize(
    ("needs", "chosen"),
    [
        ({"gpu_info": {"model": "RTX 4090", "vram_gb": 16}}, "gpu"),
        ({"devices": [{"type": "gpu", "properties": {"memory_gb": 24}}]}, "gpu"),
        ({"cpu_cores": 32}, "many-cores"),
        ({"installed_models": ["llama"]}, "models"),
        ({"installed_models": [{"name": "llama", "version": "3"}], "installed_software": {"cuda": "12"}}, "models"),
    ],
)
async def test_task_goes_to_the_worker_with_the_resources(serve: Serve, needs: dict[str, Any], chosen: str) -> None:
    """Of four free workers only the one that has what the task needs gets it, though it is the dearest."""
    kitchen = await serve(ride())
    await hire(kitchen, "plain", cost=1, resources={"cpu_cores": 2, "devices": []})
    special: dict[str, dict[str, Any]] = {
        "gpu": {"resources": {"cpu_cores": 4, "devices": [GPU]}},
        "many-cores": {"resources": {"cpu_cores": 64, "devices": []}},
        "models": {
            "resources": {"cpu_cores": 4, "devices": []},
            "artifacts": {"llama": "3"},
            "software": {"cuda": "12"},
        },
    }
    for worker_id, options in special.items():
        await hire(kitchen, worker_id, cost=5 if worker_id != chosen else 9, **options)

    assert await driver(kitchen, 4, needs=needs) == chosen


async def test_task_whose_resources_nobody_has_waits(serve: Serve) -> None:
    """It does not fail, and is done when a worker with enough comes."""
    kitchen = await serve(ride())
    await hire(kitchen, "small", resources={"devices": [GPU]})
    job_id = await kitchen.client.submit("/ride", {"needs": {"gpu_info": {"vram_gb": 80}}})
    await kitchen.until(job_id, "waiting_for_worker")
    passed_over = await driver(kitchen, 1)

    await hire(kitchen, "large", resources={"devices": [{**GPU, "properties": {"memory_gb": 80}}]})
    job = await kitchen.client.wait(job_id, timeout=60)

    assert (passed_over, job["result"]) == ("small", {"by": "large"})
