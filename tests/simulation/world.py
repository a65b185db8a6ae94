"""The world of one run: time, chance, faults, and what must never happen."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass

from avtomatika.clock import SystemClock

from .faults import IN_WINDOWS, Faults
from .loop import VirtualLoop

_START = 1_700_000_000.0


class SkewedClock(SystemClock):
    """A machine's clock: the loop's time, and a skew that can jump."""

    def __init__(self, loop: VirtualLoop, skew: float = 0.0) -> None:
        self._loop = loop
        self.skew = skew

    def now(self) -> float:
        """Returns the moment, in Unix seconds."""
        return _START + self._loop.time() + self.skew


@dataclass(frozen=True)
class Run:
    """One time that a worker did the work of a task.

    Args:
        task_id: the task.
        attempt: which attempt the worker was given.
        worker_id: the worker that sends the result.
    """

    task_id: str
    attempt: int
    worker_id: str


@dataclass(frozen=True)
class Call:
    """One call to an engine, from outside.

    Args:
        kind: what for.
        start: when, seconds from the beginning.
        end: likewise.
        error: what went wrong, or empty.
    """

    kind: str
    start: float
    end: float
    error: str


class World:
    """What all parts of one run share.

    Args:
        seed: decides everything.
        loop: the virtual time.
        kinds: the faults to draw from.
    """

    def __init__(self, seed: int, loop: VirtualLoop, kinds: Sequence[str] = tuple(IN_WINDOWS)) -> None:
        self.seed = seed
        self.loop = loop
        self.draw = random.Random(seed)
        self.clock = SkewedClock(loop)
        self.engines = self.draw.choice((1, 2, 2))
        # Some storages answer at once, the others let calls overtake each other.
        self.latency = self.draw.choice((0.0, 0.004, 0.1, 0.8))
        # In every other run, whatever is larger than a few words leaves its job; nothing of it stays in memory.
        self.threshold = 60 if seed % 2 else 0
        # In every third run, workers take several tasks in an answer, and send results together.
        self.batch = 4 if seed % 3 == 0 else 1
        # In every fifth run, workers tell of their tasks on the way.
        self.tells = seed % 5 == 0
        self.told: dict[str, str] = {}
        """Ids of the events that an engine said are in the history, with their jobs."""
        self.faults = Faults(self.draw, loop.time, self.engines, self.note, kinds)
        self.trace: list[tuple[float, str, tuple[object, ...]]] = []
        self.violations: list[str] = []
        self.over = asyncio.Event()
        self.calls: list[Call] = []
        self.runs: dict[str, Run] = {}
        self.told_cancelled: set[str] = set()

    def note(self, text: str, *facts: object) -> None:
        """Adds a line to the trace; it is put together only if somebody reads it."""
        self.trace.append((self.loop.time(), text, facts))

    def violated(self, text: str) -> None:
        """Takes down that a promise was broken, and ends the run."""
        self.note("VIOLATION: %s", text)
        self.violations.append(text)
        self.over.set()

    def begin_run(self, task_id: str, attempt: int, worker_id: str) -> str:
        """Returns a word that no other run of any task has, for its result."""
        nonce = f"run-{len(self.runs) + 1}"
        self.runs[nonce] = Run(task_id, attempt, worker_id)
        return nonce

    async def pause(self, longest: float) -> None:
        """Waits for a random time."""
        await asyncio.sleep(self.draw.uniform(0.0, longest))

    def story(self) -> str:
        """Returns the trace as text."""
        return "\n".join(f"{at:9.3f}  {text % facts}" for at, text, facts in self.trace)
