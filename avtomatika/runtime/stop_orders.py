"""When a worker is told in the answer to its heartbeat that it shall stop a task: once, and not while it is obeying.

Published workers interrupt whatever they do for a task when they hear its id, also the sending of its last result; that
result is then lost, and with some releases a slot until their restart.
"""

from __future__ import annotations

from avtomatika.core.job import Task
from avtomatika.core.states import TaskStatus
from avtomatika.storage.base import TaskClaim

OVERDUE = frozenset({"TIMEOUT_ERROR", "RESULT_TIMEOUT", "DISPATCH_TIMEOUT"})
"""Codes of what the engine itself ended by its clock; a late result of it is told apart from a repeated one."""
_GIVEN_UP = OVERDUE | {"WORKER_LOST"}
_OBEYING_SECONDS = 10.0
_REMEMBERED = 10_000


class StopOrders:
    """What was said to whom lately, by one engine."""

    def __init__(self) -> None:
        # In the order in which they were said.
        self._said: dict[TaskClaim, float] = {}

    def is_due(self, task: Task, claim: TaskClaim, now: float, *, has_socket: bool) -> bool:
        """Whether to tell a worker now that it shall stop a task whose claim it has lost; then it counts as told.

        Args:
            task: as stored.
            claim: that the worker believes to have.
            now: the moment.
            has_socket: the worker hears of the end of a job over a socket as well.
        """
        if _has_reported(task, claim):
            return False
        if has_socket and task.status is TaskStatus.CANCELLED and now < (task.ended_at or 0.0) + _OBEYING_SECONDS:
            return False
        if now < self._said.get(claim, float("-inf")) + _OBEYING_SECONDS:
            return False
        self._said.pop(claim, None)
        self._said[claim] = now
        if len(self._said) > _REMEMBERED:
            del self._said[next(iter(self._said))]
        return True


def _has_reported(task: Task, claim: TaskClaim) -> bool:
    """Whether the claim was lost because the worker's own result was taken, not because the engine gave it up."""
    if task.failure is not None and task.failure.code in _GIVEN_UP:
        return False
    if task.attempt == claim.attempt:
        return task.worker_id == claim.worker_id and task.result_status != ""
    # A failure that is tried again forgets when it was claimed, unless the engine gave the worker up.
    failure = task.failure
    is_next = task.attempt == claim.attempt + 1 and task.claimed_at is None
    return is_next and failure is not None and failure.worker_id == claim.worker_id
