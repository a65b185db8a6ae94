"""The worker: knows one of the two engines, and gets the tasks of both."""

from __future__ import annotations

from avtomatika.worker import Worker

worker = Worker()


@worker.task
def pack(kg: float) -> dict[str, str]:
    """Chooses a box."""
    return {"box": "large" if kg > 10 else "small"}
