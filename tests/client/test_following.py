"""Following a job: the arithmetic of waiting."""

from __future__ import annotations

import pytest

from avtomatika.client.following import Waiting


def test_next_wait_is_a_slice_and_never_beyond_the_timeout() -> None:
    """Long waits are cut into requests that proxies let live; the last one ends with the timeout."""
    waiting = Waiting("j-1", 50.0, now=100.0)

    assert [waiting.next_wait(now) for now in (100.0, 120.0, 140.0, 149.0, 160.0)] == [20.0, 20.0, 10.0, 1.0, 0.0]


def test_next_wait_without_timeout_is_always_a_slice() -> None:
    """Waiting for ever goes on in the same steps."""
    assert Waiting("j-1", None, now=0.0).next_wait(1e9) == 20.0


def test_is_over_with_terminal_job_after_the_timeout_is_true() -> None:
    """An end that was seen counts, however late."""
    assert Waiting("j-1", 1.0, now=0.0).is_over({"status": "failed"}, now=99.0)


def test_is_over_raises_only_when_the_time_has_passed() -> None:
    """A running job is waited for until the last moment."""
    waiting = Waiting("j-1", 1.0, now=0.0)

    assert not waiting.is_over({"status": "running"}, now=0.9)
    with pytest.raises(TimeoutError):
        waiting.is_over({"status": "running"}, now=1.0)
