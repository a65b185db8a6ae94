"""Retries: which failures are worth another attempt, and how long to wait before it."""

from __future__ import annotations

import sys
import zlib
from enum import StrEnum

from avtomatika.blueprints.retries import RetryPolicy

__all__ = ["DEFAULT_RETRIES", "MAX_RETRY_AFTER", "RetryPolicy", "Verdict", "classify", "judge", "retry_delay", "spread"]


class Verdict(StrEnum):
    """What a failure means for its task."""

    RETRY = "retry"
    """Another attempt may succeed."""
    QUARANTINE = "quarantine"
    """The task must not run again unseen."""
    FAIL = "fail"
    """The job cannot succeed with what it was given."""


# The contract's table of error codes (section 3). Any other word, and none at all, is transient.
_VERDICTS = {
    "PERMANENT_ERROR": Verdict.QUARANTINE,
    "SECURITY_ERROR": Verdict.QUARANTINE,
    "DEPENDENCY_ERROR": Verdict.QUARANTINE,
    "INVALID_INPUT_ERROR": Verdict.FAIL,
    "INTEGRITY_MISMATCH_ERROR": Verdict.FAIL,
    "CONTRACT_VIOLATION_ERROR": Verdict.FAIL,
}


def classify(code: str) -> Verdict:
    """Returns what a worker's ``error.code`` means."""
    return _VERDICTS.get(code, Verdict.RETRY)


DEFAULT_RETRIES = RetryPolicy(attempts=4, delay=1.0, factor=2.0, max_delay=60.0, never=())
"""What holds where neither task nor blueprint nor engine says anything."""
MAX_RETRY_AFTER = 24 * 3600.0
"""A worker that asks for a longer pause gets this one, seconds: a slip must not put a job to sleep for years."""


def judge(policy: RetryPolicy, code: str) -> Verdict:
    """Returns what a failure means where this policy holds: some codes are not worth another attempt there."""
    verdict = classify(code)
    if verdict is Verdict.RETRY and code in (policy.never or ()):
        return Verdict.QUARANTINE
    return verdict


def retry_delay(policy: RetryPolicy, attempt: int, draw: float, retry_after: float = 0.0) -> float | None:
    """Returns how long to wait before the next attempt: exponential backoff with full jitter.

    Args:
        policy: delays and number of attempts; what it leaves open is as in ``DEFAULT_RETRIES``.
        attempt: attempts made so far, at least 1.
        draw: a number in [0, 1) from the caller; it spreads the delays.
        retry_after: seconds that the worker wants to be left alone; the delay comes on top, so that not all come back
            at the same moment.

    Returns:
        Seconds to wait, or None when no attempt is left.

    Raises:
        ValueError: attempt is below 1.
    """
    if attempt < 1:
        raise ValueError(f"attempt must be at least 1; got {attempt}")
    whole = policy.over(DEFAULT_RETRIES)
    if attempt >= (whole.attempts or 1):
        return None
    delay, factor, max_delay = whole.delay or 0.0, whole.factor or 1.0, whole.max_delay or 0.0
    try:
        growth = factor ** (attempt - 1)
    except OverflowError:  # after so many doublings the cap has decided long ago
        growth = sys.float_info.max
    return min(retry_after, MAX_RETRY_AFTER) + min(max_delay, delay * growth) * draw


def spread(key: str) -> float:
    """Returns a number in [0, 1) that depends on ``key`` alone: jitter that a replay repeats exactly."""
    return zlib.crc32(key.encode()) / 2**32
