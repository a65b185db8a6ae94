"""A blueprint without workers: a loan is approved, refused, or priced first."""

from __future__ import annotations

import asyncio
from typing import Any

from avtomatika import ActionFactory, Config, OrchestratorEngine, StateMachineBlueprint
from avtomatika.client import AsyncClient

bp = StateMachineBlueprint("loan", api_endpoint="/loans", api_version="v1")


@bp.handler_for("check", is_start=True).when("context.initial_data.amount > 10000")
async def refuse_large(actions: ActionFactory) -> None:
    """Refuses what is too much for this bank."""
    actions.transition_to("rejected")


@bp.handler_for("check")
async def price(amount: float, years: int, state_history: dict[str, Any], actions: ActionFactory) -> None:
    """Computes the interest and leaves it for the states after this one."""
    state_history["interest"] = round(amount * 0.05 * years, 2)
    actions.transition_to("approved")


@bp.handler_for("approved", is_end=True)
async def approved(amount: float, interest: float) -> dict[str, float]:
    """Returns the result of the job."""
    return {"pay_back": amount + interest}


@bp.handler_for("rejected", is_end=True)
async def rejected(amount: float) -> dict[str, str]:
    """Ends the job as failed, because of the state's name."""
    return {"reason": f"{amount:g} is above 10000"}


async def main() -> None:
    """Runs two jobs through an engine of this process and prints what came of them."""
    engine = OrchestratorEngine(config=Config(API_HOST="127.0.0.1", API_PORT=0))
    engine.register_blueprint(bp)
    async with engine, AsyncClient(engine.url, engine.config.CLIENT_TOKEN) as client:
        for amount in (2000, 50000):
            job_id = await client.submit("/loans", {"amount": amount, "years": 3})
            job = await client.wait(job_id, timeout=10)
            print(f"{job['status']}: {job['result']}")


if __name__ == "__main__":
    asyncio.run(main())
