"""The auditor: looks in the running engine for jobs that nothing will wake (invariant W)."""

from __future__ import annotations

import asyncio
import logging

from avtomatika.clock import Clock
from avtomatika.core.job import Job
from avtomatika.core.states import TERMINAL, JobStatus
from avtomatika.core.waits import ChildWait
from avtomatika.runtime.explain import is_stuck
from avtomatika.storage.base import JobQuery, Storage

log = logging.getLogger(__name__)

_PAGE = 200


class Auditor:
    """Walks through the live jobs, a page at a time, so that it never weighs on the engine.

    Args:
        storage: where the jobs are.
        clock: for waiting.
        interval: seconds between two walks.

    Attributes:
        stuck: ids of the jobs without a wake-up that the last walk found; must be empty.
    """

    def __init__(self, storage: Storage, clock: Clock, interval: float) -> None:
        self.stuck: tuple[str, ...] = ()
        self._storage = storage
        self._clock = clock
        self._interval = interval
        self._loop: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to walk."""
        self._loop = asyncio.create_task(self._walk_forever(), name="avtomatika-auditor")

    async def stop(self) -> None:
        """Stops walking."""
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)

    async def walk(self) -> tuple[str, ...]:
        """Looks at every live job once; returns the ids of those that nothing will wake."""
        found: list[str] = []
        for status in sorted(set(JobStatus) - TERMINAL):
            before: tuple[float, str] | None = None
            while True:
                page = await self._storage.list_jobs(JobQuery(status=status, limit=_PAGE, before=before))
                found += [job.id for job in page if await self._is_stuck(job)]
                if len(page) < _PAGE:
                    break
                before = (page[-1].created_at, page[-1].id)
        self.stuck = tuple(found)
        for job_id in found:
            log.error("nothing will wake job %s", job_id, extra={"action": "job_without_wakeup", "job_id": job_id})
        return self.stuck

    async def _is_stuck(self, job: Job) -> bool:
        child = await self._storage.find_job(job.wait.child_id) if isinstance(job.wait, ChildWait) else None
        if not is_stuck(job, await self._storage.find_wake_up(job.id), child, await self._storage.now()):
            return False
        # The two were not read at one moment: only a job that has not moved in between is really stuck.
        again = await self._storage.find_job(job.id)
        return again is not None and again.version == job.version

    async def _walk_forever(self) -> None:
        while True:
            await self._clock.sleep(self._interval)
            try:
                await self.walk()
            except Exception:
                log.exception("the audit failed; trying again", extra={"action": "audit_failed"})
