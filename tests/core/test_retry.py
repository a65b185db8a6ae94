"""Retries: verdicts and delays."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avtomatika.blueprints.retries import RetryPolicy
from avtomatika.core.retry import MAX_RETRY_AFTER, Verdict, classify, judge, retry_delay, spread

POLICY = RetryPolicy(attempts=4, delay=1.0, factor=2.0, max_delay=3.0)
DRAW = st.floats(0, 1, exclude_max=True)
POLICIES = st.builds(
    RetryPolicy,
    attempts=st.integers(1, 2000),
    delay=st.floats(0, 1e6),
    factor=st.floats(1, 10),
    max_delay=st.floats(0, 1e6),
)


@pytest.mark.parametrize(
    ("code", "verdict"),
    [
        ("TRANSIENT_ERROR", Verdict.RETRY),
        ("RESOURCE_EXHAUSTED_ERROR", Verdict.RETRY),
        ("TIMEOUT_ERROR", Verdict.RETRY),
        ("INTERNAL_ERROR", Verdict.RETRY),
        ("", Verdict.RETRY),
        ("permanent_error", Verdict.RETRY),
        ("OUT_OF_PAPER", Verdict.RETRY),
        ("PERMANENT_ERROR", Verdict.QUARANTINE),
        ("SECURITY_ERROR", Verdict.QUARANTINE),
        ("DEPENDENCY_ERROR", Verdict.QUARANTINE),
        ("INVALID_INPUT_ERROR", Verdict.FAIL),
        ("INTEGRITY_MISMATCH_ERROR", Verdict.FAIL),
        ("CONTRACT_VIOLATION_ERROR", Verdict.FAIL),
    ],
)
def test_code_has_its_verdict(code: str, verdict: Verdict) -> None:
    """The table of the contract, section 3; what it does not know is worth another try."""
    assert classify(code) is verdict


@pytest.mark.parametrize(("attempt", "bound"), [(1, 1.0), (2, 2.0), (3, 3.0)])
def test_delay_grows_up_to_its_bound(attempt: int, bound: float) -> None:
    """The bound doubles with each attempt until its own bound; the draw chooses below it."""
    assert retry_delay(POLICY, attempt, 0.5) == bound / 2


def test_delay_after_the_last_retry_is_none() -> None:
    """Three retries are four attempts."""
    assert retry_delay(POLICY, 3, 0.0) == 0.0
    assert retry_delay(POLICY, 4, 0.0) is None


def test_delay_without_retries_is_none() -> None:
    """A policy may allow no retry."""
    assert retry_delay(RetryPolicy(attempts=1), 1, 0.0) is None


@pytest.mark.parametrize("attempt", [0, -1])
def test_delay_before_the_first_attempt_is_refused(attempt: int) -> None:
    """Attempts are counted from 1."""
    with pytest.raises(ValueError, match=f"at least 1; got {attempt}"):
        retry_delay(POLICY, attempt, 0.0)


def test_delay_by_a_policy_that_says_nothing_is_the_common_one() -> None:
    """What a policy leaves open is as everywhere: four attempts, one second that doubles."""
    assert retry_delay(RetryPolicy(), 3, 0.5) == 2.0
    assert retry_delay(RetryPolicy(), 4, 0.5) is None


def test_pause_that_the_worker_asks_for_comes_before_the_delay() -> None:
    """Nobody comes back before the pause is over, and not all at the moment in which it is."""
    assert retry_delay(POLICY, 1, 0.5, retry_after=30.0) == 30.5
    assert retry_delay(POLICY, 4, 0.5, retry_after=30.0) is None


def test_pause_that_the_worker_asks_for_has_a_bound() -> None:
    """A slip of a worker does not put a job to sleep for years."""
    assert retry_delay(POLICY, 1, 0.0, retry_after=1e12) == MAX_RETRY_AFTER


@pytest.mark.parametrize(
    ("code", "verdict"),
    [
        ("QUOTA_ERROR", Verdict.QUARANTINE),
        ("TRANSIENT_ERROR", Verdict.RETRY),
        ("INVALID_INPUT_ERROR", Verdict.FAIL),
    ],
)
def test_code_that_a_policy_never_retries_is_quarantined(code: str, verdict: Verdict) -> None:
    """A policy may forbid a retry; it cannot allow one that the contract forbids, nor soften what fails the job."""
    policy = RetryPolicy(never=("QUOTA_ERROR", "INVALID_INPUT_ERROR"))

    assert judge(policy, code) is verdict


@given(POLICIES, st.integers(1, 2000), DRAW)
def test_delay_is_never_negative_nor_too_long(policy: RetryPolicy, attempt: int, draw: float) -> None:
    """However often and with whatever numbers: a delay lies between 0 and the bound, or there is none."""
    delay = retry_delay(policy, attempt, draw)

    if attempt >= (policy.attempts or 0):
        assert delay is None
    else:
        assert delay is not None
        assert 0 <= delay <= (policy.max_delay or 0)


@given(POLICIES, st.integers(1, 1999))
def test_bound_never_shrinks(policy: RetryPolicy, attempt: int) -> None:
    """A later retry never waits for less, with the same draw."""
    first, second = retry_delay(policy, attempt, 0.9), retry_delay(policy, attempt + 1, 0.9)

    assert first is None or second is None or first <= second


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_spread_is_a_draw_that_repeats(key: str) -> None:
    """The same key always gives the same number in [0, 1)."""
    assert 0 <= spread(key) < 1
    assert spread(key) == spread(key)


def test_spread_of_near_keys_is_even() -> None:
    """Tasks that fail together do not come back together."""
    tenths = [0] * 10
    for number in range(10_000):
        tenths[int(spread(f"job-{number}-1-0-1") * 10)] += 1

    assert min(tenths) > 800
    assert max(tenths) < 1200
