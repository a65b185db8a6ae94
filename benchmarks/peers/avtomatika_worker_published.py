"""The worker of the comparison, with the published SDK."""

from __future__ import annotations

from typing import Any

from avtomatika_worker import Worker

worker = Worker(worker_type="bench")


@worker.skill("double")
async def double(params: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Doubles a number."""
    return {"status": "success", "data": {"doubled": 2 * params["n"]}}


if __name__ == "__main__":
    worker.run()
