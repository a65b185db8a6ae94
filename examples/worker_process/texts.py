"""The engine's side: each line of a text is counted by some worker, and the counts are joined."""

from __future__ import annotations

from typing import Any

from avtomatika import ActionFactory, OrchestratorEngine, StateMachineBlueprint

bp = StateMachineBlueprint("count_text", api_endpoint="/texts")


@bp.handler_for("split", is_start=True)
async def split(text: str, actions: ActionFactory) -> None:
    """Sends one task for each line."""
    actions.dispatch_parallel(
        tasks=[{"task_type": "count_words", "params": {"line": line}} for line in text.splitlines()],
        aggregate_into="join",
    )


@bp.aggregator_for("join")
async def join(
    aggregation_results: dict[str, dict[str, Any]], state_history: dict[str, Any], actions: ActionFactory
) -> None:
    """Runs once, when all lines are counted."""
    state_history["words"] = sum(result["data"] for result in aggregation_results.values())
    state_history["workers"] = sorted({result["worker_id"] for result in aggregation_results.values()})
    actions.transition_to("counted")


@bp.handler_for("counted", is_end=True)
async def counted(words: int, workers: list[str]) -> dict[str, Any]:
    """Returns the result of the job."""
    return {"words": words, "workers": workers}


engine = OrchestratorEngine()
engine.register_blueprint(bp)
