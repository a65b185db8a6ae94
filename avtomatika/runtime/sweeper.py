"""The sweeper: removes the documents of jobs that are gone from the store of files."""

from __future__ import annotations

import asyncio
import logging

from avtomatika.clock import Clock
from avtomatika.payloads.base import PayloadStore
from avtomatika.payloads.keys import PAYLOADS, job_prefix
from avtomatika.runtime.depot import SPACE
from avtomatika.storage.base import Record, RecordWrite, Storage

log = logging.getLogger(__name__)

YOUNG_SECONDS = 3600.0
"""A job that is not there although it has documents may be about to be created, for so long."""
_PAUSE = 600.0
_PAGE = 200


class Sweeper:
    """Removes documents whose job was forgotten, or never came to be because its engine ended before.

    Args:
        storage: has the records of jobs with documents, and the jobs.
        store: where the documents are.
        clock: for waiting.
    """

    def __init__(self, storage: Storage, store: PayloadStore, clock: Clock) -> None:
        self._storage = storage
        self._store = store
        self._clock = clock
        self._loop: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to sweep, now and then."""
        self._loop = asyncio.create_task(self._sweep_forever(), name="avtomatika-sweeper")

    async def stop(self) -> None:
        """Sweeps no more; the next engine goes on."""
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)

    async def sweep(self) -> int:
        """Removes what is not needed any more; returns of how many jobs.

        Raises:
            StorageError: the storage does not answer.
            PayloadError: the store does not answer.
        """
        swept, after = 0, ""
        while records := await self._storage.list_records(SPACE, after, _PAGE):
            for record in records:
                swept += await self._sweep(record)
            after = records[-1].key
        return swept

    async def _sweep(self, record: Record) -> bool:
        is_young = await self._storage.now() - record.value.value() < YOUNG_SECONDS
        if is_young or await self._storage.find_job(record.key) is not None:
            return False
        await self._store.remove_all(f"{job_prefix(record.key)}{PAYLOADS}/")
        # Last, and only if nobody has begun to write again: what could not be removed is found the next time.
        return await self._storage.put_record(RecordWrite(SPACE, record.key, None, record.version))

    async def _sweep_forever(self) -> None:
        while True:
            await self._clock.sleep(_PAUSE)
            try:
                await self.sweep()
            except Exception:
                log.exception("documents of jobs that are gone stay for now", extra={"action": "sweep_failed"})
