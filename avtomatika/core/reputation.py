"""Reputation: what its results say of a worker, as a number above 0 and up to 1.

A worker begins with 1. A task that it spoils takes something away, a success gives a little back; and time closes the
gap to 1 too, so that a worker which gets no tasks because of its past can come back.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from avtomatika.core.effects import Effect, RecordHistory

BROKEN = frozenset({"CONTRACT_VIOLATION_ERROR"})
"""Codes of failures that break what the worker has promised of its data."""
SPOILED = frozenset({"PERMANENT_ERROR", "SECURITY_ERROR", "DEPENDENCY_ERROR", "WORKER_LOST"})
"""Codes of failures that leave no hope for the task, and of a worker that vanished with it.

All other failures may pass, or are the task's fault, and cost nothing.
"""
HALF_LIFE = 6 * 3600.0
"""Seconds in which half of the gap to 1 closes by itself."""
_FLOOR = 0.01
# Nearer to 1 than this, a reputation is not kept any more.
_FLAWLESS = 0.9995


class Scale(Struct, frozen=True):
    """What attempts count.

    Args:
        violation: what a failure of ``BROKEN`` takes away.
        failure: what one of ``SPOILED`` takes away.
        success: what a success gives back.
    """

    violation: float = 0.2
    failure: float = 0.05
    success: float = 0.001

    def of(self, code: str) -> float:
        """Returns what an attempt adds to a reputation, below 0 if it takes away; no code is a success."""
        if not code:
            return self.success
        if code in BROKEN:
            return -self.violation
        return -self.failure if code in SPOILED else 0.0


class Reputation(Struct, frozen=True):
    """What is known of a worker at a moment.

    Args:
        score: above 0, up to 1.
        at: Unix seconds of its last change.
    """

    score: float = 1.0
    at: float = 0.0

    def now(self, moment: float) -> float:
        """Returns the score at a later moment."""
        gap: float = (1.0 - self.score) * 2.0 ** (-max(0.0, moment - self.at) / HALF_LIFE)
        return 1.0 - gap

    @property
    def is_flawless(self) -> bool:
        """Whether there is nothing to remember."""
        return self.score >= _FLAWLESS


class Mark(Struct, frozen=True):
    """What one attempt says of its worker.

    Args:
        worker_id: the worker.
        code: of its failure; empty for a success.
    """

    worker_id: str
    code: str = ""


def marks(effects: Iterable[Effect]) -> list[Mark]:
    """Returns what the effects of a decision say of workers."""
    found = []
    for effect in effects:
        if isinstance(effect, RecordHistory) and effect.worker_id:
            if effect.type == "task_failed":
                found.append(Mark(effect.worker_id, str(effect.details.get("code", ""))))
            elif effect.type == "task_finished" and effect.details.get("status") != "cancelled":
                found.append(Mark(effect.worker_id))
    return found


def after(reputation: Reputation, worth: float, moment: float) -> Reputation:
    """Returns a worker's reputation after one more attempt.

    Args:
        reputation: before.
        worth: what the attempt adds to it, see ``Scale``.
        moment: Unix seconds.
    """
    return Reputation(min(1.0, max(_FLOOR, reputation.now(moment) + worth)), moment)
