"""Turns: what happens to one job at the same time in an engine happens one after the other, and results go together.

The results of a fan-out come all at once; without turns all but one would lose the race and begin again, and again. The
state is protected by its version, not by these.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from itertools import islice
from weakref import WeakValueDictionary

from avtomatika.core.effects import Decision
from avtomatika.core.events import Event
from avtomatika.core.job import Job, Task

FindEvent = Callable[[Job, Task | None], Awaitable[tuple[Event, Task | None]]]
"""Says what happens to a job, given as stored with the task that was asked for, and whose claim must still hold."""

# So many results are written in one commit at most: while it is made, nothing else happens in the engine.
_MOST = 64


class Report:
    """The result of a task that waits to be written.

    Args:
        task_id: the task.
        find_event: says what it means.

    Attributes:
        decision: what was written, once it is.
    """

    __slots__ = ("decision", "find_event", "task_id")

    def __init__(self, task_id: str, find_event: FindEvent) -> None:
        self.task_id = task_id
        self.find_event = find_event
        self.decision: Decision | None = None


class Turn:
    """Who may write to one job now, and the results of its tasks that wait for that.

    Attributes:
        lock: held by whose turn it is; in the order in which they came.
        waiting: the results that nobody has taken along yet, the oldest first.
    """

    __slots__ = ("__weakref__", "lock", "waiting")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.waiting: dict[Report, None] = {}

    def take(self) -> Sequence[Report]:
        """Returns results that wait, the oldest first; whose turn it is takes them along."""
        taken = list(islice(self.waiting, _MOST))
        for report in taken:
            del self.waiting[report]
        return taken


class Turns:
    """The turns of all jobs; one lives as long as somebody has it or waits."""

    def __init__(self) -> None:
        self._turns: WeakValueDictionary[str, Turn] = WeakValueDictionary()

    def of(self, job_id: str) -> Turn:
        """Returns the turn of a job."""
        turn = self._turns.get(job_id)
        if turn is None:
            self._turns[job_id] = turn = Turn()
        return turn
