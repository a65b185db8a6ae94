"""The faults: which there are, when they strike, and how often they did."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

IN_WINDOWS = {
    # storage, seen from one engine
    "ambiguous_commit": "a commit is executed, then its answer is lost",
    "refused_commit": "a commit fails before it is executed",
    "lost_answer": "any other call is executed, then its answer is lost",
    "refused_call": "any other call fails before it is executed",
    "slow_storage": "calls and their answers take seconds, and overtake each other",
    "lost_signal": "a signal is lost",
    "late_signal": "a signal comes seconds later",
    # the store of files, seen from one engine
    "store_away": "the store of files does not answer",
    "store_answer_lost": "a file is written, then the answer is lost",
    # engines
    "engine_crash": "all tasks of an engine end where they stand; another one starts later",
    "crash_before_commit": "an engine ends just before a commit is executed",
    "crash_after_commit": "an engine ends just after a commit was executed",
    "engine_restart": "an engine drains and stops; another one starts later",
    "frozen_engine": "an engine stands still for longer than its leases",
    "blocked_loop": "everything stands still for longer than the leases",
    "clock_jump": "clocks jump forwards",
    # history
    "history_down": "the history does not answer for long",
    "history_answer_lost": "rows are written, then the answer is lost",
    # messages
    "receiver_away": "the receiver of messages does not answer for long",
    "slow_receiver": "a message takes longer than its carrier may",
    "lost_receipt": "a message arrives, and its receipt is lost",
    # workers
    "dies_before_start": "a worker ends after it got a task, before it starts it",
    "dies_in_task": "a worker ends in the middle of a task",
    "dies_after_effect": "a worker ends after a task's effect, before it tells the result",
    "deaf_worker": "a worker sends heartbeats that name a task, but never answers",
    "silent_worker": "a worker sends no heartbeats while it works",
    "lost_poll_answer": "a poll's answer with a task is lost",
    "duplicate_result": "a result is sent several times, to any engine",
    "lost_result_answer": "a result is taken, the answer is lost, and it is sent again",
    "late_result": "a result is sent long after the work was done",
    "reordered_result": "a result is held back until a later one was sent",
    "result_at_handover": "a silent worker answers in the moment in which its task is handed on",
    "foreign_result": "another worker sends a result for the task",
    "wrong_attempt": "a result names another attempt",
    "worker_leaves": "a worker goes offline and cancels what it runs",
    # clients
    "repeated_creation": "a creation is sent twice at the same time",
    "lost_creation_answer": "a creation's answer is lost, and it is sent again",
}
"""Faults that strike while a window of theirs is open, by name."""
PLANNED = {
    "handler_raises": "a handler raises",
    "cancel_request": "somebody cancels a job",
    "result_timeout": "a deadline of a job or task passes",
    "dispatch_timeout": "a task finds no worker in time",
}
"""Faults that stand in a job's own plan, by name."""
KINDS = IN_WINDOWS | PLANNED

_DISTURBS_CALLS = (
    "ambiguous_commit",
    "refused_commit",
    "lost_answer",
    "refused_call",
    "slow_storage",
    "engine_crash",
    "crash_before_commit",
    "crash_after_commit",
    "engine_restart",
    "frozen_engine",
    "store_away",
    "store_answer_lost",
    "blocked_loop",
)
"""While one of these lasts, a call to an engine may fail; at all other times it must succeed."""
_PER_ENGINE = (*_DISTURBS_CALLS[:-1], "lost_signal", "late_signal")
_LONG = {"history_down": (40.0, 100.0)} | dict.fromkeys(
    (
        "dies_before_start",
        "dies_in_task",
        "dies_after_effect",
        "deaf_worker",
        "silent_worker",
        "lost_poll_answer",
        "duplicate_result",
        "lost_result_answer",
        "late_result",
        "reordered_result",
        "result_at_handover",
        "foreign_result",
        "wrong_attempt",
        "worker_leaves",
        "repeated_creation",
        "lost_creation_answer",
        "receiver_away",
        "slow_receiver",
        "lost_receipt",
    ),
    (15.0, 60.0),
)
"""How long windows last, at least and at most, seconds, where it is not 4 to 30."""


@dataclass(frozen=True)
class Window:
    """A stretch of time in which a fault may strike.

    Args:
        kind: of the fault.
        start: seconds from the beginning.
        end: likewise.
        engine: the engine concerned, by number; None for all.
        chance: how often it strikes when it can, 0 to 1.
    """

    kind: str
    start: float
    end: float
    engine: int | None
    chance: float


class Faults:
    """The faults of one run.

    Args:
        draw: where chance comes from.
        now: the moment, seconds from the beginning.
        engines: how many engines there are.
        note: takes a line for the trace.
        kinds: the faults to draw from.
    """

    def __init__(
        self,
        draw: random.Random,
        now: Callable[[], float],
        engines: int,
        note: Callable[..., None],
        kinds: Sequence[str] = tuple(IN_WINDOWS),
    ) -> None:
        self._draw = draw
        self._now = now
        self._note = note
        self.fired: Counter[str] = Counter()
        self.windows = sorted((self._open(engines, kinds) for _ in range(draw.randint(3, 8))), key=lambda w: w.start)
        self._by_kind: dict[str, list[Window]] = {}
        for window in self.windows:
            self._by_kind.setdefault(window.kind, []).append(window)
        self.heal_at = max(window.end for window in self.windows) + 1.0

    def _open(self, engines: int, kinds: Sequence[str]) -> Window:
        draw = self._draw
        kind = draw.choice(kinds)
        start = draw.uniform(0.0, 50.0)
        length = draw.uniform(*_LONG.get(kind, (4.0, 30.0)))
        engine = draw.randrange(engines) if kind in _PER_ENGINE and draw.random() < 0.7 else None
        return Window(kind, start, start + length, engine, draw.choice((0.15, 0.4, 0.8)))

    def strikes(self, kind: str, engine: int | None = None) -> bool:
        """Returns whether the fault happens now, and counts it."""
        windows = self._by_kind.get(kind)
        if not windows:
            return False
        now = self._now()
        for window in windows:
            if window.start <= now < window.end and window.engine in {None, engine}:
                struck = self._draw.random() < window.chance
                if struck:
                    self.count(kind)
                return struck
        return False

    def count(self, kind: str) -> None:
        """Takes down that a fault has struck."""
        self.fired[kind] += 1
        self._note("fault: %s", kind)

    def disturbs(self, start: float, end: float) -> bool:
        """Returns whether a call made in this stretch of time may fail through no fault of the engine."""
        return any(
            window.kind in _DISTURBS_CALLS and window.start <= end and start <= window.end + 1.0
            for window in self.windows
        )
