"""Blueprints that tests of several parts run."""

from __future__ import annotations

from typing import Any

from avtomatika import ActionFactory, StateMachineBlueprint


def patient() -> StateMachineBlueprint:
    """Returns a blueprint whose jobs wait for a worker that can do ``shout``."""
    bp = StateMachineBlueprint("patient")

    @bp.handler_for("ask", is_start=True)
    async def ask(initial_data: dict[str, Any], actions: ActionFactory) -> None:
        actions.dispatch_task("shout", initial_data, transitions={"success": "done"})

    @bp.handler_for("done", is_end=True)
    async def done(said: str) -> dict[str, str]:
        return {"said": said}

    return bp


def waits() -> StateMachineBlueprint:
    """Returns a blueprint whose jobs wait for a worker that never comes."""
    bp = StateMachineBlueprint("waits", api_endpoint="/waits")

    @bp.handler_for("start", is_start=True)
    async def start(actions: ActionFactory) -> None:
        actions.dispatch_task("never", {}, {"success": "end"})

    @bp.handler_for("end", is_end=True)
    async def end() -> None: ...

    return bp
