"""The worker of the comparison, with the SDK of this package."""

from __future__ import annotations

from avtomatika.worker import Worker

worker = Worker(concurrency=32)


@worker.task
async def double(n: int) -> dict[str, int]:
    """Doubles a number."""
    return {"doubled": 2 * n}


if __name__ == "__main__":
    worker.run()
