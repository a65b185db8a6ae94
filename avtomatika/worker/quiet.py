"""Which heartbeats a worker leaves out because its poll says as much. No I/O; moments come as arguments."""

from __future__ import annotations

from avtomatika.protocol.messages import Heartbeat

_LONGEST = 300.0
"""Seconds after which a heartbeat goes out all the same: what one side has lost, and the other missed, ends there."""


class Quiet:
    """What one engine has heard of this worker, and for how long its polls stand for saying it again.

    Args:
        word: stands for all that the registration says.
    """

    def __init__(self, word: str) -> None:
        self._word = word
        self._allowed = 0.0
        self._told: Heartbeat | None = None
        self._told_at = 0.0
        self._polled_at: float | None = None

    @property
    def word(self) -> str:
        """What polls say so that they are taken for signs of life; empty where they are not."""
        return self._word if self._allowed else ""

    def begin(self, allowed: float) -> None:
        """Takes note of a registration, after which the engine has heard nothing yet.

        Args:
            allowed: for how many seconds a poll stands for heartbeats there; 0 for never.
        """
        self._allowed, self._told = allowed, None

    def told(self, heartbeat: Heartbeat, now: float) -> None:
        """Takes note of a heartbeat that the engine has answered well.

        Args:
            heartbeat: without load and usage.
            now: when it was sent.
        """
        self._told, self._told_at = heartbeat, now

    def doubt(self) -> None:
        """A heartbeat failed: what the engine knows is not certain any more."""
        self._told = None

    def poll_begins(self, now: float) -> None:
        """Takes note of a poll."""
        self._polled_at = now

    def poll_failed(self) -> None:
        """The last poll was no sign of life."""
        self._polled_at = None

    def seconds_left(self, heartbeat: Heartbeat, now: float) -> float:
        """Returns for how long a heartbeat can be left out; 0 if it is due.

        Tasks need heartbeats whatever is new: these renew leases, and cancellations come in the answers.

        Args:
            heartbeat: what would be said, without load and usage.
            now: this moment.
        """
        if self._polled_at is None or heartbeat.current_tasks or heartbeat != self._told:
            return 0.0
        return max(0.0, min(self._polled_at + self._allowed, self._told_at + _LONGEST) - now)
