"""The jobs of a trial: which there are, and what must come of them."""

from __future__ import annotations

from typing import Any

BLUEPRINTS = ("chain", "chain", "send", "fan")
"""Their blueprints, in turns."""


def initial_data(number: int) -> dict[str, Any]:
    """Returns what a job is created with: some have so much that it leaves them."""
    much = {"much": f"{number} " * 1000} if number % 24 == 2 else {}
    return {"n": number, **much}


def expected(blueprint: str, n: int) -> dict[str, Any]:
    """Returns what the data of a job must be when it has ended."""
    match blueprint:
        case "chain":
            return {"path": ["a", "b", "c"]}
        case "send":
            return {"path": ["ask", "done"], "square": n * n}
        case _:
            return {"path": ["split", "join", "end"], "squares": [(n + index) ** 2 for index in range(3)]}
