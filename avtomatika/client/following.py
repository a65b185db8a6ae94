"""Following a job over HTTP: when to ask again, and when the waiting is over; without I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

TERMINAL_STATUSES = frozenset({"finished", "failed", "quarantined", "cancelled", "error"})
"""Statuses of a job that has ended."""

CHANGE_WAIT = 5.0
"""Seconds to wait for one change. Progress between two requests is seen when the second ends, so it is short."""

_SLICE = 20.0  # Seconds for one request while only the end matters; proxies cut idle connections after 30 to 60.
# What of a job makes a change worth telling; the rest of an answer, such as the link of an approval, may differ anyway.
_TOLD = (
    "status",
    "current_state",
    "progress",
    "progress_message",
    "error_message",
    "current_task_id",
    "task_worker_id",
    "updated_at",
)


def is_terminal(job: Mapping[str, Any]) -> bool:
    """Returns whether the job has ended."""
    return job.get("status") in TERMINAL_STATUSES


def has_changed(before: Mapping[str, Any] | None, job: Mapping[str, Any]) -> bool:
    """Returns whether something happened to the job since the answer ``before``."""
    return before is None or any(before.get(name) != job.get(name) for name in _TOLD)


class Waiting:
    """Waiting for the end of a job, in several requests.

    Args:
        job_id: the job.
        timeout: seconds, or None for ever.
        now: the moment at the start, on any clock that does not jump.
    """

    def __init__(self, job_id: str, timeout: float | None, now: float) -> None:
        self._job_id = job_id
        self._timeout = timeout
        self._started_at = now

    def next_wait(self, now: float) -> float:
        """Returns for how many seconds the next request may be held."""
        return min(_SLICE, max(0.0, self._left(now)))

    def is_over(self, job: Mapping[str, Any], now: float) -> bool:
        """Returns whether the job has ended.

        Raises:
            TimeoutError: it has not, and the time is over.
        """
        if is_terminal(job):
            return True
        if self._left(now) <= 0:
            raise TimeoutError(
                f"job '{self._job_id}' is still {job.get('status')} in state '{job.get('current_state')}' after "
                f"{self._timeout:g} s. It goes on: wait longer, or end it with cancel('{self._job_id}')."
            )
        return False

    def _left(self, now: float) -> float:
        return float("inf") if self._timeout is None else self._timeout - (now - self._started_at)
