"""A history that every engine of a run shares, and that is down at times."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from avtomatika.core.history import HistoryEvent, WorkerEvent
from avtomatika.errors import StorageError

from .blueprints import Stumble
from .world import World

POISON = "was begun"
"""Stands in the message of a job that was quarantined because its engines kept vanishing."""


class SimulatedHistory:
    """Rows in a dict, as a database with a unique ``event_id`` would have them."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.rows: dict[str, dict[int, HistoryEvent]] = {}

    async def open(self) -> None:
        """Does nothing."""

    async def close(self) -> None:
        """Does nothing."""

    async def write(self, events: Sequence[HistoryEvent]) -> None:
        """Keeps the rows; a row that is known must be the same one."""
        self._may_fail("history_down")
        for event in events:
            known = self.rows.setdefault(event.job_id, {}).setdefault(event.sequence, event)
            if known != event:
                self._world.violated(f"history row {event.event_id} was written as {known} and again as {event}")
        self._may_fail("history_answer_lost")

    async def write_workers(self, events: Sequence[WorkerEvent]) -> None:
        """Drops the rows: presence of workers is not proved here."""
        self._may_fail("history_down")

    async def job_events(self, job_id: str) -> list[dict[str, Any]]:
        """Returns nothing: the checks read the rows themselves."""
        return []

    async def trim(self, keep: int) -> int:
        """Forgets nothing."""
        return 0

    def fired(self) -> Counter[str]:
        """Returns how often the faults struck that stand in the jobs' own plans, as the rows tell."""
        fired: Counter[str] = Counter()
        for row in self._all():
            code, message = str(row.details.get("code")), str(row.details.get("message"))
            fired["handler_raises"] += row.type == "state_failed" and Stumble.__name__ in message
            if row.type in {"task_failed", "job_failed"}:
                fired["result_timeout"] += code == "RESULT_TIMEOUT"
                fired["dispatch_timeout"] += code == "DISPATCH_TIMEOUT"
        return fired

    def poisoned(self) -> int:
        """Returns how many jobs were quarantined because they were begun too often."""
        return sum(row.type == "state_failed" and POISON in str(row.details.get("message")) for row in self._all())

    def _all(self) -> Iterator[HistoryEvent]:
        return (row for rows in self.rows.values() for row in rows.values())

    def _may_fail(self, kind: str) -> None:
        if self._world.faults.strikes(kind):
            raise StorageError(f"simulated: {kind}")
