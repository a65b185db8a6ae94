"""Badges: the icon and colour of each status, the same wherever a job is shown."""

from __future__ import annotations

from typing import NamedTuple


class Badge(NamedTuple):
    """How a status looks: shape and word besides colour, as it must be told apart without seeing colours."""

    icon: str
    colour: str


_BADGES = {
    "finished": Badge("✔", "#1a7f37"),
    "failed": Badge("✖", "#cf222e"),
    "error": Badge("✖", "#cf222e"),
    "quarantined": Badge("⚠", "#bc4c00"),
    "cancelled": Badge("⊘", "#6e7781"),
    "pending": Badge("○", "#6e7781"),
    "waiting_for_human": Badge("?", "#8250df"),
}
_LIVE = Badge("●", "#0969da")
BROKEN = frozenset({"failed", "error", "quarantined", "cancelled"})
"""Ended without being done: a progress bar would say nothing."""


def badge(status: str) -> Badge:
    """Returns the badge of a job's status; a word that is new looks like a running job."""
    return _BADGES.get(status, _LIVE)
