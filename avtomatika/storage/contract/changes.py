"""The log of changes: what each commit made of a job, for whoever follows it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from avtomatika.core.states import JobStatus


class Change(Struct, frozen=True):
    """What one commit made of a job, for whoever follows it.

    Args:
        position: its place in the log of changes.
        job_id: the job.
        client: name of the client whose job it is.
        blueprint: name of its blueprint.
        status: as committed.
        state: as committed.
        version: as committed; it rises by one from change to change of a job.
        at: the moment of the commit.
        ended: how many of its parallel tasks have ended.
        total: how many parallel tasks there are; 0 while it waits for none.
    """

    position: int
    job_id: str
    client: str
    blueprint: str
    status: JobStatus
    state: str
    version: int
    at: float
    ended: int = 0
    total: int = 0


class Changes(Struct, frozen=True):
    """A stretch of the log of changes.

    Args:
        entries: in order.
        floor: a reader whose last position is below this may have missed changes that are forgotten.
        end: the position of the newest change, or one above all that there were if none is left.
    """

    entries: Sequence[Change]
    floor: int
    end: int


class ChangeStorage(Protocol):
    """What a storage tells of what has changed."""

    async def read_changes(self, after: int | None, limit: int) -> Changes:
        """Returns up to ``limit`` changes behind position ``after``, oldest first; of None, only where the log ends.

        Each commit that is applied appends one. Positions rise strictly over all engines, and a change can be read
        before any later one can.
        """
        ...

    async def trim_changes(self, age: float, keep: int) -> None:
        """Forgets changes that are older than ``age`` seconds, and all but the newest ``keep`` (at least 1)."""
        ...
