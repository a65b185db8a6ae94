"""Fan-out and fan-in: all carriers are asked for a price at once, and the cheapest that can carry it is chosen."""

from __future__ import annotations

import asyncio
from typing import Any

from avtomatika import ActionFactory, Config, OrchestratorEngine, RetryPolicy, StateMachineBlueprint
from avtomatika.client import AsyncClient
from avtomatika.worker import PermanentError, TransientError, Worker

CARRIERS = {"bicycle": (0.5, 20), "van": (1.5, 200), "train": (1.2, 5000)}
"""Price of a kilogram, and the most kilograms."""

bp = StateMachineBlueprint("quotes", api_endpoint="/quotes")
worker = Worker("exchange")


@bp.handler_for("ask", is_start=True)
async def ask(kg: float, actions: ActionFactory) -> None:
    """Sends one task for each carrier; each is retried by itself."""
    actions.dispatch_parallel(
        tasks=[
            {"task_type": "quote", "params": {"carrier": carrier, "kg": kg}, "retry": RetryPolicy(delay=0.1)}
            for carrier in CARRIERS
        ],
        aggregate_into="compare",
        policy="collect",  # also see who refused; "fail_fast" and at_least=2 are others
    )


@bp.aggregator_for("compare")
async def compare(
    aggregation_results: dict[str, dict[str, Any]], state_history: dict[str, Any], actions: ActionFactory
) -> None:
    """Runs once, when all carriers have answered or refused."""
    answers = list(aggregation_results.values())
    state_history["offers"] = {
        answer["params"]["carrier"]: answer["data"] for answer in answers if answer["status"] == "success"
    }
    state_history["refused"] = [answer["error"]["message"] for answer in answers if answer["status"] == "failure"]
    actions.transition_to("chosen" if state_history["offers"] else "all_rejected")


@bp.handler_for("chosen", is_end=True)
async def chosen(offers: dict[str, float], refused: list[str]) -> dict[str, Any]:
    """Returns the cheapest offer."""
    carrier = min(offers, key=lambda name: offers[name])
    return {"carrier": carrier, "price": offers[carrier], "refused": refused}


@bp.handler_for("all_rejected", is_end=True)
async def all_rejected(refused: list[str]) -> dict[str, Any]:
    """Ends the job as failed, because of the state's name."""
    return {"refused": refused}


@worker.task
async def quote(carrier: str, kg: float, context: Any) -> float:
    """Returns a price; the train's office picks up at the second ring."""
    price, most = CARRIERS[carrier]
    if carrier == "train" and context.attempt == 1:
        raise TransientError("nobody picks up")
    if kg > most:
        raise PermanentError(f"{carrier}: at most {most} kg")
    return price * kg


async def main() -> None:
    """Asks for prices of two parcels, through an engine and a worker of this process."""
    engine = OrchestratorEngine(config=Config(API_HOST="127.0.0.1", API_PORT=0))
    engine.register_blueprint(bp)
    async with engine:
        worker.configure(url=engine.url, token=engine.config.GLOBAL_WORKER_TOKEN)
        async with worker, AsyncClient(engine.url, engine.config.CLIENT_TOKEN) as client:
            for kg in (100, 9000):
                job = await client.wait(await client.submit("/quotes", {"kg": kg}), timeout=30)
                print(f"{job['status']}: {job['result']}")


if __name__ == "__main__":
    asyncio.run(main())
