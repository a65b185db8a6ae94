"""A job that waits for a person: an article is published when somebody says so."""

from __future__ import annotations

from typing import Any

from avtomatika import ActionFactory, OrchestratorEngine, StateMachineBlueprint

bp = StateMachineBlueprint("article", api_endpoint="/articles")


@bp.handler_for("draft", is_start=True)
async def draft(title: str, actions: ActionFactory) -> None:
    """Asks, and waits for a week at most; no engine is busy meanwhile, and a restart changes nothing."""
    actions.await_human_approval(
        message=f"Publish '{title}'?",
        transitions={"approved": "published", "rejected": "dropped", "expired": "dropped"},
        timeout_seconds=7 * 24 * 3600,
    )


@bp.handler_for("published", is_end=True)
@bp.handler_for("dropped", is_end=True, outcome="failed")
async def end(title: str, current_state: str, approval: dict[str, Any] | None = None) -> dict[str, Any]:
    """Returns what became of the article, and who decided."""
    return {"title": title, "became": current_state, "by": approval["by"] if approval else None}


engine = OrchestratorEngine()
engine.register_blueprint(bp)
