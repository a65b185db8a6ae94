"""Ancestry: which jobs wait for a job, up to the one that somebody outside asked for."""

from __future__ import annotations

from collections import OrderedDict

from msgspec import Struct

from avtomatika.runtime.recent import Recent
from avtomatika.storage.base import Storage

_REMEMBERED = 10_000


class Line(Struct, frozen=True):
    """A job and those that wait for it.

    Args:
        job_ids: the job itself, the one that runs it as its child, and so on.
        source: how the last of them came to be; empty if it is not known.
    """

    job_ids: tuple[str, ...]
    source: str = ""

    @property
    def root(self) -> str:
        """The id of the last of them."""
        return self.job_ids[-1]


class Ancestry:
    """Finds the lines of jobs, and remembers them: who runs a job, and how it came to be, never changes.

    Args:
        storage: where jobs live.
        recent: knows jobs whose tasks are with workers.
    """

    def __init__(self, storage: Storage, recent: Recent) -> None:
        self._storage = storage
        self._recent = recent
        self._lines: OrderedDict[str, Line] = OrderedDict()

    async def of(self, job_id: str) -> Line:
        """Returns the line of a job; of one that is unknown, nothing but itself.

        Raises:
            StorageError: the storage does not answer.
        """
        line = self._lines.get(job_id)
        if line is not None:
            return line
        job = self._recent.find(job_id) or await self._storage.find_job(job_id)
        if job is None:
            return Line((job_id,))
        line = Line((job_id,), job.source)
        if job.parent_job_id:
            above = await self.of(job.parent_job_id)
            line = Line((job_id, *above.job_ids), above.source)
        self._lines[job_id] = line
        if len(self._lines) > _REMEMBERED:
            self._lines.popitem(last=False)
        return line
