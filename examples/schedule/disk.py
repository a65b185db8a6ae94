"""Jobs made by the clock: how full is the disk?"""

from __future__ import annotations

import shutil
from typing import Any

from avtomatika import ActionFactory, OrchestratorEngine, StateMachineBlueprint

bp = StateMachineBlueprint("disk_check")


@bp.handler_for("measure", is_start=True)
def measure(folder: str, warn_percent: float, state_history: dict[str, Any], actions: ActionFactory) -> None:
    """Looks at the disk; a plain function runs in a thread, so it may take its time."""
    usage = shutil.disk_usage(folder)
    state_history["used_percent"] = round(100 * usage.used / usage.total, 1)
    actions.transition_to("full_failed" if state_history["used_percent"] > warn_percent else "enough_room")


@bp.handler_for("enough_room", is_end=True)
@bp.handler_for("full_failed", is_end=True)
async def end(folder: str, used_percent: float) -> dict[str, Any]:
    """Returns what was found; a full disk ends the job as failed, because of the state's name."""
    return {"folder": folder, "used_percent": used_percent}


engine = OrchestratorEngine()
engine.register_blueprint(bp)
