"""What a worker counts, for whoever wants to count it; this one forgets it."""

from __future__ import annotations


class Meter:
    """Hears of what a worker does; the base counts nothing."""

    def started(self, task_type: str) -> None:
        """A task began."""

    def ended(self, task_type: str, status: str, code: str, seconds: float) -> None:
        """A task ended.

        Args:
            task_type: its skill.
            status: the status word of its result.
            code: of a failure, or empty.
            seconds: that it took.
        """

    def called(self, call: str, status: int, seconds: float) -> None:
        """An engine was called.

        Args:
            call: what for, such as ``poll``.
            status: of the answer; 0 if none came.
            seconds: until then.
        """

    def delivered(self, outcome: str) -> None:
        """A result has left the worker, or never will.

        Args:
            outcome: ``accepted``, ``ignored``, ``refused`` or ``lost``.
        """


SILENT = Meter()
"""Counts nothing."""
