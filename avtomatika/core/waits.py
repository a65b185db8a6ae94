"""What a job may wait for besides its tasks, as records: a moment, a person, another job."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from avtomatika.blueprints.requests import EXPIRED

__all__ = ["EXPIRED", "ApprovalWait", "ChildWait", "SleepWait", "Wait"]


class SleepWait(Struct, frozen=True):
    """A job that goes on at a moment.

    Args:
        until: Unix seconds.
        state: the state that follows.
    """

    until: float
    state: str


class ApprovalWait(Struct, frozen=True):
    """A job that goes on by what a person decides.

    Args:
        number: the version of the job whose commit began the wait: no two waits of a job have the same.
        message: the question.
        transitions: each decision, and ``expired``, to the next state.
        asked_at: Unix seconds.
        expires_at: when it is too late, or None.
        integration: which outside system puts the question to people.
    """

    number: int
    message: str
    transitions: Mapping[str, str]
    asked_at: float
    expires_at: float | None = None
    integration: str = "webhook"

    @property
    def decisions(self) -> tuple[str, ...]:
        """The decisions offered."""
        return tuple(word for word in self.transitions if word != EXPIRED)


class ChildWait(Struct, frozen=True):
    """A job that goes on when a job that it started has ended.

    Args:
        child_id: the other job.
        blueprint: what that runs.
        transitions: how it ends to the next state.
        started_at: Unix seconds.
    """

    child_id: str
    blueprint: str
    transitions: Mapping[str, str]
    started_at: float


Wait = SleepWait | ApprovalWait | ChildWait
"""Any of them."""
