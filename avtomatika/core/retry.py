"""Retries: which failures are worth another attempt, and how long to wait before it."""

from __future__ import annotations

import sys
import zlib
from enum import StrEnum

from msgspec import Struct


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


class RetryPolicy(Struct, frozen=True):
    """How often and after which delays to try again.

    Args:
        max_retries: retries after the first attempt; 0 for none.
        delay: upper bound of the first delay, seconds.
        factor: what the bound grows by with each retry.
        max_delay: the bound's own bound, seconds.
    """

    max_retries: int = 3
    delay: float = 1.0
    factor: float = 2.0
    max_delay: float = 60.0


def retry_delay(policy: RetryPolicy, attempt: int, draw: float) -> float | None:
    """Returns how long to wait before the next attempt: exponential backoff with full jitter.

    Args:
        policy: delays and number of retries.
        attempt: attempts made so far, at least 1.
        draw: a number in [0, 1) from the caller; it spreads the delays.

    Returns:
        Seconds to wait, or None when no retry is left.

    Raises:
        ValueError: attempt is below 1.
    """
    if attempt < 1:
        raise ValueError(f"attempt must be at least 1; got {attempt}")
    if attempt > policy.max_retries:
        return None
    try:
        growth = policy.factor ** (attempt - 1)
    except OverflowError:  # after so many doublings the cap has decided long ago
        growth = sys.float_info.max
    bound = min(policy.max_delay, policy.delay * growth)
    return bound * draw


def spread(key: str) -> float:
    """Returns a number in [0, 1) that depends on ``key`` alone: jitter that a replay repeats exactly."""
    return zlib.crc32(key.encode()) / 2**32
