"""The engine, to be started twice on one Redis: a job is its storage's, not an engine's."""

from __future__ import annotations

import os
from typing import Any

from avtomatika import ActionFactory, OrchestratorEngine, StateMachineBlueprint

bp = StateMachineBlueprint("parcel", api_endpoint="/parcels")
NAME = os.environ.get("INSTANCE_ID", "?")


@bp.handler_for("receive", is_start=True)
async def receive(kg: float, state_history: dict[str, Any], actions: ActionFactory) -> None:
    """Notes which engine took the order, and asks a worker to pack."""
    state_history["received_at"] = NAME
    actions.dispatch_task("pack", {"kg": kg}, transitions={"success": "packed"})


@bp.handler_for("packed", is_end=True)
async def packed(received_at: str, box: str) -> dict[str, str]:
    """Notes which engine went on."""
    return {"box": box, "received_at": received_at, "packed_at": NAME}


engine = OrchestratorEngine()
engine.register_blueprint(bp)
