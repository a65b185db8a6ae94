"""What workers tell of jobs that a parent engine asked for: it waits here from the commit that takes it until told."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable

from msgspec.structs import replace

from avtomatika.core.document import Document
from avtomatika.protocol.identity import is_identifier
from avtomatika.protocol.messages import WorkerEventMessage
from avtomatika.protocol.worker_events import decode_event, encode_event
from avtomatika.storage.base import Record, RecordWrite, Storage

_SPACE = "event-upward"
# As long as whose task a job does is remembered: an event is told before the job's outcome, or never.
_REMEMBERED_SECONDS = 30 * 24 * 3600.0
_STRETCH = 100


class Upward:
    """Events that wait to go up, each under the job that the parent asked for, in the order in which they came.

    Args:
        storage: where they wait.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._count = itertools.count()
        self.listener: Callable[[str], None] = lambda _job_id: None
        """Hears the id of each such job of which something waits."""

    def write(self, job_id: str, event: WorkerEventMessage, worker_id: str, now: float) -> RecordWrite:
        """Returns what keeps an event, to be written with the step that takes it.

        Args:
            job_id: the job that the parent asked for: the event's own, or one that waits for it.
            event: as the worker sent it.
            worker_id: who is known to have sent it.
            now: the moment.
        """
        # Each goes up under an id, so that it counts once however often it is sent.
        event_id = event.event_id if is_identifier(event.event_id) else str(uuid.uuid4())
        passed = replace(event, event_id=event_id, origin=event.origin or worker_id)
        # A worker sends one after the other, so the moments are in order; the number is for a clock that stands still.
        key = f"{job_id}/{now:017.6f}/{next(self._count):09}"
        return RecordWrite(_SPACE, key, Document.of(encode_event(passed, now)), None, _REMEMBERED_SECONDS)

    def tell(self, job_id: str) -> None:
        """Lets the listener know that an event waits."""
        self.listener(job_id)

    async def job_ids(self) -> list[str]:
        """Returns the ids of all jobs of which something waits.

        Raises:
            StorageError: the storage does not answer.
        """
        found: dict[str, None] = {}
        after = ""
        while records := await self._storage.list_records(_SPACE, after, _STRETCH):
            found.update((record.key.partition("/")[0], None) for record in records)
            after = records[-1].key
        return list(found)

    async def first(self, job_id: str) -> tuple[Record, WorkerEventMessage] | None:
        """Returns the event of a job that has waited longest, with the record to ``forget``; None if none waits.

        Raises:
            StorageError: the storage does not answer.
        """
        records = await self._storage.list_records(_SPACE, f"{job_id}/", 1)
        if not records or not records[0].key.startswith(f"{job_id}/"):
            return None
        return records[0], decode_event(records[0].value.value())

    async def forget(self, record: Record) -> None:
        """Keeps an event no longer: it was told, or nobody wants to hear it.

        Raises:
            StorageError: the storage does not answer.
        """
        await self._storage.put_record(RecordWrite(_SPACE, record.key, None))
