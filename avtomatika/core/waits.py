"""What a job may wait for besides its tasks, as records: a moment, a person, another job."""

from __future__ import annotations

from msgspec import Struct


class SleepWait(Struct, frozen=True):
    """A job that goes on at a moment.

    Args:
        until: Unix seconds.
        state: the state that follows.
    """

    until: float
    state: str


Wait = SleepWait
"""Any of them."""
