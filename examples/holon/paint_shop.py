"""The holon: an engine whose blueprints are skills of its parent."""

from __future__ import annotations

from typing import Any

from avtomatika import ActionFactory, OrchestratorEngine, StateMachineBlueprint

bp = StateMachineBlueprint("paint")


@bp.handler_for("prime", is_start=True).when("context.initial_data.colour not in ['red', 'blue']")
async def refuse(actions: ActionFactory) -> None:
    """Has two colours."""
    actions.transition_to("colour_rejected")


@bp.handler_for("prime")
async def prime(state_history: dict[str, Any], actions: ActionFactory) -> None:
    """The first coat."""
    state_history["coats"] = ["primer"]
    actions.transition_to("colour")


@bp.handler_for("colour")
async def colour(colour: str, state_history: dict[str, Any], actions: ActionFactory) -> None:
    """The second one."""
    state_history["coats"].append(colour)
    actions.transition_to("dry")


@bp.handler_for("dry", is_end=True)
async def dry(coats: list[str]) -> dict[str, list[str]]:
    """Ends the job here, and with it the parent's task."""
    return {"coats": coats}


@bp.handler_for("colour_rejected", is_end=True)
async def rejected() -> None:
    """Ends it as failed, because of the state's name; the parent takes its way for ``failure``."""


engine = OrchestratorEngine()
engine.register_blueprint(bp)
