"""The worker: who it is says its certificate."""

from __future__ import annotations

from avtomatika.worker import Worker

worker = Worker()


@worker.task
def press(metal: str) -> dict[str, str]:
    """Presses a coin."""
    return {"coin": f"one of {metal}"}
