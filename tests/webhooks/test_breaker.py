"""The circuit breaker."""

from __future__ import annotations

from avtomatika.webhooks.breaker import Breaker


def failing(times: int) -> Breaker:
    """Returns a breaker that has seen an endpoint fail so often at moment 0."""
    breaker = Breaker()
    for _ in range(times):
        breaker.failed("e", 0.0)
    return breaker


def test_endpoint_that_fails_now_and_then_is_tried() -> None:
    """A few failures are no reason, and a success forgets them."""
    breaker = failing(4)
    assert breaker.pause("e", 0.0) == 0

    breaker.succeeded("e")
    for _ in range(4):
        breaker.failed("e", 0.0)
    assert breaker.pause("e", 0.0) == 0


def test_endpoint_that_fails_in_a_row_is_left_alone_and_others_are_not() -> None:
    """For half a minute at first."""
    breaker = failing(5)

    assert breaker.pause("e", 0.0) == 30
    assert breaker.pause("e", 29.0) == 1
    assert breaker.pause("other", 0.0) == 0


def test_after_the_pause_one_may_try_and_the_others_wait() -> None:
    """Whoever was first finds out for all."""
    breaker = failing(5)

    assert breaker.pause("e", 30.0) == 0
    assert breaker.pause("e", 30.0) == 30
    breaker.succeeded("e")
    assert breaker.pause("e", 30.0) == 0


def test_pauses_grow_to_a_quarter_of_an_hour() -> None:
    """The longer it fails, the more seldom it is tried."""
    assert [failing(n).pause("e", 0.0) for n in (5, 6, 7, 8, 30)] == [30, 60, 120, 240, 900]
