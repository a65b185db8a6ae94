"""No history: rows are dropped, for engines that must keep nothing of their jobs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from avtomatika.core.history import HistoryEvent, WorkerEvent


class NoopHistory:
    """A history that forgets everything at once."""

    async def open(self) -> None:
        """Does nothing."""

    async def close(self) -> None:
        """Does nothing."""

    async def write(self, events: Sequence[HistoryEvent]) -> None:
        """Drops the rows."""

    async def write_workers(self, events: Sequence[WorkerEvent]) -> None:
        """Drops the rows."""

    async def job_events(self, job_id: str) -> list[dict[str, Any]]:  # noqa: ARG002 - the Protocol's signature
        """Returns no rows."""
        return []

    async def trim(self, keep: int) -> int:
        """Returns 0: there is nothing to forget.

        Raises:
            ValueError: ``keep`` is negative.
        """
        if keep < 0:
            raise ValueError(f"keep must be 0 or more rows; got {keep}.")
        return 0
