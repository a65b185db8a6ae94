"""The engine: the numbers of a client become a report."""

from __future__ import annotations

from typing import Any

from avtomatika import ActionFactory, OrchestratorEngine, RetryPolicy, StateMachineBlueprint

bp = StateMachineBlueprint("report", api_endpoint="/reports")


@bp.handler_for("analyse", is_start=True)
async def analyse(values: list[float], actions: ActionFactory) -> None:
    """Sends the numbers to whoever can run the notebook."""
    actions.dispatch_task(
        "report",
        {"values": values},
        transitions={"success": "written", "failure": "failed"},
        retry=RetryPolicy(attempts=1),  # the same numbers would fail again
    )


@bp.handler_for("written", is_end=True)
async def written(mean: float, spread: float, notebook: str) -> dict[str, Any]:
    """Returns what the notebook recorded, and where the executed one is."""
    return {"mean": mean, "spread": spread, "notebook": notebook}


@bp.handler_for("failed", is_end=True)
async def failed(last_error: dict[str, Any]) -> dict[str, Any]:
    """Returns which cell raised what."""
    return {"reason": last_error["message"]}


engine = OrchestratorEngine()
engine.register_blueprint(bp)
