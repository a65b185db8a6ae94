"""The engine: coins are pressed for clients that it knows, by workers that it knows."""

from __future__ import annotations

from typing import Any

from avtomatika import ActionFactory, OrchestratorEngine, StateMachineBlueprint

bp = StateMachineBlueprint("mint", api_endpoint="/coins")


@bp.handler_for("order", is_start=True).when("context.client.plan == 'gold'")
async def order_gold(actions: ActionFactory) -> None:
    """Presses gold for clients with the plan gold: clients.toml says who has it."""
    actions.dispatch_task("press", {"metal": "gold"}, transitions={"success": "pressed"})


@bp.handler_for("order")
async def order(actions: ActionFactory) -> None:
    """Presses copper for everybody else."""
    actions.dispatch_task("press", {"metal": "copper"}, transitions={"success": "pressed"})


@bp.handler_for("pressed", is_end=True)
async def pressed(coin: str, client: Any) -> dict[str, str]:
    """Returns the coin, and whose it is."""
    return {"coin": coin, "for": client.name}


engine = OrchestratorEngine()
engine.register_blueprint(bp)
