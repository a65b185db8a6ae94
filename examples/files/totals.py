"""The engine: a client sends a table, and fetches the totals of its columns."""

from __future__ import annotations

import csv
from typing import Any

from avtomatika import ActionFactory, OrchestratorEngine, StateMachineBlueprint

bp = StateMachineBlueprint("totals", api_endpoint="/totals")


@bp.handler_for("ask", is_start=True)
async def ask(actions: ActionFactory) -> None:
    """Waits for the table, an hour at most."""
    actions.await_human_approval(
        "Send the table as in/table.csv.",
        transitions={"sent": "add_up", "expired": "nothing_failed"},
        timeout_seconds=3600,
    )


@bp.handler_for("add_up")
def add_up(task_files: Any, actions: ActionFactory) -> None:
    """Adds up, row by row; a plain function runs in a thread and needs no await."""
    totals: dict[str, float] = {}
    with task_files.download("in/table.csv").open(newline="", encoding="utf-8") as table:
        for row in csv.DictReader(table):
            for column, value in row.items():
                totals[column] = totals.get(column, 0.0) + float(value)
    task_files.write_json("out/totals.json", totals)
    actions.transition_to("done")


@bp.handler_for("done", is_end=True)
async def done() -> dict[str, str]:
    """Names the file: what the result names is kept, the rest is removed."""
    return {"totals": "out/totals.json"}


@bp.handler_for("nothing_failed", is_end=True)
async def nothing() -> None:
    """Ends the job as failed, because of the state's name."""


engine = OrchestratorEngine()
engine.register_blueprint(bp)
