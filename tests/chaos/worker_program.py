"""The worker's program, for ``python -m avtomatika.worker``: one function."""

from __future__ import annotations

from avtomatika.worker import Worker

from .doom import doom

worker = Worker("worker")


@worker.task
async def square(n: int) -> dict[str, int]:
    """Returns the square of a number, if the process lives so long."""
    doom.pass_by("before work")
    answer = {"square": n * n}
    doom.pass_by("after work")
    return answer
