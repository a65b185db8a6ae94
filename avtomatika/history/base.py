"""The history's contract: where the rows of jobs and workers go, and how a job's rows come back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from avtomatika.core.history import HistoryEvent, WorkerEvent


class History(Protocol):
    """What an engine needs of a history database.

    Every method but ``open`` raises StorageError when the database does not answer. A write that raised may have
    happened; writing the same events again is harmless.
    """

    async def open(self) -> None:
        """Connects and creates the tables if they are missing. Idempotent.

        Raises:
            ConfigError: the place cannot be used: it does not exist, belongs to something else, or is of a newer
                version of this package.
        """
        ...

    async def close(self) -> None:
        """Gives up the connections. Idempotent. What was written stays, except in memory."""
        ...

    async def write(self, events: Sequence[HistoryEvent]) -> None:
        """Keeps the rows, all or none; a row whose ``event_id`` is known changes nothing."""
        ...

    async def write_workers(self, events: Sequence[WorkerEvent]) -> None:
        """Keeps the rows, all or none; a row whose ``event_id`` is known changes nothing."""
        ...

    async def job_events(self, job_id: str) -> list[dict[str, Any]]:
        """Returns the rows of a job by their sequence, as ``rows.job_event_from_columns`` makes them.

        An unknown job has no rows.
        """
        ...

    async def trim(self, keep: int) -> int:
        """Forgets all but the last ``keep`` rows to arrive in each table; returns how many rows were forgotten.

        Cheap when there is nothing to forget, so that it may be called after every write. A row that was forgotten and
        is written again is new.

        Raises:
            ValueError: ``keep`` is negative.
        """
        ...
