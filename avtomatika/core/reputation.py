"""Reputation: what its results say of a worker, as a number above 0 and up to 1.

A worker begins with 1. A failed attempt multiplies its reputation by a factor that depends on the code; a success
closes a part of the gap to 1; and time closes it too, so that a worker which gets no tasks because of its past can come
back.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from avtomatika.core.effects import Effect, RecordHistory

FACTORS = {
    "TRANSIENT_ERROR": 0.95,
    "RESOURCE_EXHAUSTED_ERROR": 0.9,
    "INTERNAL_ERROR": 0.9,
    "DEPENDENCY_ERROR": 0.9,
    "TIMEOUT_ERROR": 0.8,
    "WORKER_LOST": 0.7,
    "CONTRACT_VIOLATION_ERROR": 0.6,
    "SECURITY_ERROR": 0.5,
    "INTEGRITY_MISMATCH_ERROR": 0.5,
    # What follows from the task and not from the worker.
    "INVALID_INPUT_ERROR": 1.0,
    "PERMANENT_ERROR": 1.0,
    "DISPATCH_TIMEOUT": 1.0,
    "RESULT_TIMEOUT": 1.0,
}
"""Code of a failure to what the worker's reputation is multiplied by."""
_OTHER_FACTOR = 0.95
REWARD = 0.1
"""The part of the gap to 1 that a success closes."""
HALF_LIFE = 6 * 3600.0
"""Seconds in which half of the gap to 1 closes by itself."""
_FLOOR = 0.01
# Nearer to 1 than this, a reputation is not kept any more.
_FLAWLESS = 0.999


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


def after(reputation: Reputation, code: str, moment: float) -> Reputation:
    """Returns a worker's reputation after one more attempt.

    Args:
        reputation: before.
        code: of the attempt's failure; empty for a success.
        moment: Unix seconds.
    """
    score = reputation.now(moment)
    if code:
        score = max(_FLOOR, score * FACTORS.get(code, _OTHER_FACTOR))
    else:
        score += (1.0 - score) * REWARD
    return Reputation(score, moment)
