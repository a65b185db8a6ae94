"""Workers: what is known of them, for a while."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from avtomatika.protocol.messages import WorkerProfile


class Sighting(Struct, frozen=True):
    """A sign of life of a worker that changes nothing else of what is known of it.

    Args:
        worker_id: whose.
        last_at: the ``seen_at`` that the storage has, as far as the caller knows.
        seen_at: when it was seen.
    """

    worker_id: str
    last_at: float
    seen_at: float


class WorkerStorage(Protocol):
    """What a storage knows of workers."""

    async def put_worker(self, worker: WorkerProfile, ttl: float) -> None:
        """Remembers the worker for ``ttl`` seconds from now, in place of what was known of it."""
        ...

    async def refresh_workers(self, sightings: Sequence[Sighting], ttl: float) -> list[str]:
        """Remembers workers for ``ttl`` seconds from now as they are, but for their ``seen_at``.

        Only those that the storage has as seen at ``last_at``, or at ``seen_at`` already: so a call that is repeated
        does the same, and whoever has not heard what others wrote of a worker finds out.

        Args:
            sightings: one for each worker.
            ttl: seconds.

        Returns:
            The ids of the others, in the order given: forgotten, or written by somebody else since. Nothing was
            changed of what is known of these.
        """
        ...

    async def find_worker(self, worker_id: str) -> WorkerProfile | None:
        """Returns the worker if its time has not run out."""
        ...

    async def list_workers(self) -> list[WorkerProfile]:
        """Returns the workers whose time has not run out, by id."""
        ...

    async def remove_worker(self, worker_id: str) -> None:
        """Forgets the worker. Its tasks stay claimed until their leases end."""
        ...
