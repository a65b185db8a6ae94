"""The plans of jobs: what they are given, and what may therefore come of them."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from .blueprints import MAX_TRANSITIONS

SUCCESS = "success"
RETRIED = "TRANSIENT_ERROR"
QUARANTINED = "PERMANENT_ERROR"
FAILED = "INVALID_INPUT_ERROR"
ATTEMPTS = 4
"""How many attempts a handler or task has."""


@dataclass(frozen=True)
class Plan:
    """One job to create.

    Args:
        number: its place among the jobs of the run.
        blueprint: what it runs.
        data: its initial data; says how each handler and each attempt of each task goes.
        key: makes its creation happen once, or empty.
        at: when to create it, seconds from the beginning.
        result_timeout: seconds that the job may take, or None.
        cancel_after: when to cancel it, seconds after its creation, or None.
    """

    number: int
    blueprint: str
    data: dict[str, Any]
    key: str
    at: float
    result_timeout: float | None = None
    cancel_after: float | None = None

    @property
    def child(self) -> Plan | None:
        """The plan of the job that this one starts, if it starts one."""
        data = self.data.get("child")
        return Plan(data["number"], "send", data, "", self.at) if data else None

    @property
    def scripts(self) -> list[list[str]]:
        """What each attempt of each of its tasks comes to; the last word counts for all that follow."""
        scripts: list[list[str]] = self.data["scripts"]
        return scripts

    def script_ends(self, index: int) -> str:
        """Returns what comes of a task if nothing but its script interferes: a status or an error's code."""
        script = self.scripts[index]
        for attempt in range(1, ATTEMPTS + 1):
            word = script[min(attempt, len(script)) - 1]
            if word != RETRIED:
                return word
        return RETRIED

    @property
    def stumbles_for_good(self) -> bool:
        """Whether some handler raises at each of its attempts."""
        return any(count >= ATTEMPTS for count in self.data["stumbles"].values())

    @property
    def has_way_round(self) -> bool:
        """Whether its tasks have a transition for their failure."""
        return self.blueprint != "tour" and bool(self.data.get("route", False))

    @property
    def is_endless(self) -> bool:
        """Whether the loop has more turns than a job may make."""
        return bool(self.data.get("turns", 0) > MAX_TRANSITIONS)


@dataclass
class Fate:
    """What a client saw of its job.

    Args:
        job_ids: every id that it was ever told, without repetitions.
        cancelled: the engine said that the job is cancelled.
        ended_as: the terminal status that it read, or empty.
        version: the newest version that it read.
        decided: decisions that the engine said it has taken.
    """

    job_ids: list[str] = field(default_factory=list)
    cancelled: bool = False
    ended_as: str = ""
    version: int = 0
    decided: list[str] = field(default_factory=list)


_STATES = {
    "chain": ("s0", "s1", "s2", "s3", "s4"),
    "loop": ("turn", "done"),
    "send": ("ask", "repair", "done"),
    "tour": ("ask", "collect", "done"),
    "fan": ("split", "join", "repair", "done"),
    "nap": ("doze", "wake", "done"),
    "question": ("ask", "agreed", "refused", "late", "done"),
    "nest": ("begin", "repair", "done"),
}
_DRAWN = ("chain", "loop", "send", "tour", "fan") * 2 + ("nap", "question", "nest")


def draw_plans(draw: random.Random) -> list[Plan]:
    """Returns the plans of one run."""
    return [_draw_plan(draw, number) for number in range(draw.randint(5, 8))]


def _draw_plan(draw: random.Random, number: int) -> Plan:
    blueprint = draw.choice(_DRAWN)
    data = _draw_data(draw, number, blueprint)
    return Plan(
        number,
        blueprint,
        data,
        key=f"key-{number}" if draw.random() < 0.7 else "",
        at=draw.uniform(0.0, 45.0),
        result_timeout=draw.uniform(1.0, 40.0) if draw.random() < 0.08 else None,
        cancel_after=draw.choice((0.0, draw.uniform(0.0, 20.0))) if draw.random() < 0.12 else None,
    )


def _draw_data(draw: random.Random, number: int, blueprint: str) -> dict[str, Any]:
    """Returns the initial data of a job."""
    states = _STATES[blueprint]
    data: dict[str, Any] = {"number": number, "pauses": {}, "stumbles": {}, "scripts": [], "options": {}}
    if draw.random() < 0.5:
        # What is repeated for ever must not be long.
        data["pauses"] = {
            draw.choice(states): draw.choice((0.0, 0.3) if blueprint == "loop" else (0.0, 0.3, 3.0, 18.0))
        }
    if draw.random() < 0.4:
        data["stumbles"] = {draw.choice(states): draw.choice((1, 1, 2, 3, ATTEMPTS))}
    if blueprint == "loop":
        data["turns"] = draw.choice((1, 3, 6, 6, 1000))
    if blueprint in {"send", "tour", "fan"}:
        data["route"] = draw.random() < 0.6
        data["scripts"] = [_draw_script(draw) for _ in range(1 if blueprint == "send" else draw.randint(1, 4))]
        data["options"] = _draw_options(draw)
    if blueprint == "nap":
        data["seconds"] = draw.choice((0.0, draw.uniform(0.1, 5.0), draw.uniform(5.0, 90.0)))
    if blueprint == "question":
        data["patience"] = draw.uniform(5.0, 60.0)
        # Some people answer at once, some too late or never, and some twice and differently.
        data["answers"] = [
            [draw.choice(("yes", "no")), draw.uniform(0.0, 70.0)] for _ in range(draw.choice((0, 1, 1, 1, 2)))
        ]
    if blueprint == "nest":
        data["child"] = _draw_data(draw, -1 - number, "send")
    return data


def _draw_script(draw: random.Random) -> list[str]:
    chance = draw.random()
    if chance < 0.65:
        return [SUCCESS]
    if chance < 0.85:
        return [RETRIED] * draw.randint(1, ATTEMPTS) + [SUCCESS]
    return [RETRIED] * draw.randint(0, 1) + [draw.choice((QUARANTINED, QUARANTINED, FAILED))]


def _draw_options(draw: random.Random) -> dict[str, Any]:
    """Returns options of the job's tasks; a fifth of the jobs has tight deadlines."""
    options: dict[str, Any] = {"priority": draw.choice((0.0, 0.0, 1.0))}
    chance = draw.random()
    if chance < 0.1:
        options["dispatch_timeout"] = draw.uniform(0.05, 20.0)
    elif chance < 0.2:
        options["result_timeout"] = draw.uniform(1.0, 30.0)
    elif chance < 0.3:
        options["timeout_seconds"] = draw.uniform(1.0, 20.0)
    return options
