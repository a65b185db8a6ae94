"""Lengths of time, as people read them."""

from __future__ import annotations

import pytest

from avtomatika.lengths import length


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-3, "0 ms"),
        (0.0042, "4.2 ms"),
        (0.9999, "1000 ms"),
        (1, "1 s"),
        (15.04, "15 s"),
        (119.96, "120 s"),
        (120, "2 min"),
        (7_199, "120 min"),
        (9_000, "2.5 h"),
        (172_800, "2 d"),
        (86_400 * 12_345, "12345 d"),
    ],
)
def test_length_is_told_in_the_unit_that_suits_it(seconds: float, words: str) -> None:
    """Nobody counts the seconds of a week, or reads powers of ten."""
    assert length(seconds) == words
