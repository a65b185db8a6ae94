"""The engine: tells the address that came with a job how the job has ended."""

from __future__ import annotations

from avtomatika import ActionFactory, OrchestratorEngine, StateMachineBlueprint

bp = StateMachineBlueprint("order", api_endpoint="/orders")


@bp.handler_for("check", is_start=True)
async def check(items: list[str], actions: ActionFactory) -> None:
    """Refuses an empty order."""
    actions.transition_to("accepted" if items else "empty_rejected")


@bp.handler_for("accepted", is_end=True)
async def accepted(items: list[str]) -> dict[str, int]:
    """Returns the result that the webhook will carry."""
    return {"items": len(items)}


@bp.handler_for("empty_rejected", is_end=True)
async def rejected() -> None:
    """Ends the job as failed, because of the state's name."""


engine = OrchestratorEngine()
engine.register_blueprint(bp)
