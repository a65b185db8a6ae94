"""The parent: builds cars, and leaves the painting to another engine."""

from __future__ import annotations

from avtomatika import ActionFactory, OrchestratorEngine, StateMachineBlueprint

bp = StateMachineBlueprint("car", api_endpoint="/cars")


@bp.handler_for("weld", is_start=True)
async def weld(colour: str, actions: ActionFactory) -> None:
    """Sends a task like any other: that a whole engine does it, nobody needs to know."""
    actions.dispatch_task("paint", {"colour": colour}, transitions={"success": "built", "failure": "bare_failed"})


@bp.handler_for("built", is_end=True)
async def built(coats: list[str]) -> dict[str, list[str]]:
    """Returns what the paint shop's job has returned."""
    return {"coats": coats}


@bp.handler_for("bare_failed", is_end=True)
async def bare(last_error: dict[str, str]) -> dict[str, str]:
    """Returns why there is no paint."""
    return {"reason": last_error["message"]}


engine = OrchestratorEngine()
engine.register_blueprint(bp)
