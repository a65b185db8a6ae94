"""Events of workers: progress becomes the job's, and what a task tells by a word of its own joins the history."""

from __future__ import annotations

import logging
import uuid
from fnmatch import fnmatchcase

from avtomatika.core.document import Document, check_depth
from avtomatika.core.events import Event, EventTold
from avtomatika.core.history import WorkerEvent
from avtomatika.core.job import HOLON, Job, Task, parse_wire_id
from avtomatika.errors import JobNotFoundError, ProtocolError
from avtomatika.protocol.identity import is_identifier
from avtomatika.protocol.messages import WorkerEventMessage
from avtomatika.protocol.worker_events import MAX_PAYLOAD_BYTES, progress_of
from avtomatika.runtime.ancestry import Ancestry
from avtomatika.runtime.historian import Historian
from avtomatika.runtime.performer import Performer
from avtomatika.runtime.upward import Upward
from avtomatika.storage.base import Progress, RecordWrite, Storage

log = logging.getLogger(__name__)

_SPACE = "worker-event"
# A worker that gets no answer repeats its event within a minute or so, under the same id.
_REMEMBERED_SECONDS = 3600.0


class _RepeatedError(Exception):
    """The event is in the history already: its answer was lost."""


class WorkerEvents:
    """Takes what workers tell on their way.

    Args:
        storage: where tasks are.
        performer: writes into the history of jobs.
        historian: keeps the workers' history.
    """

    def __init__(self, storage: Storage, performer: Performer, historian: Historian) -> None:
        self._storage = storage
        self._performer = performer
        self._historian = historian
        self._ancestry = Ancestry(storage, performer.recent)
        self.upward = Upward(storage)
        """Where events wait that a parent engine is to hear."""

    async def holder(self, event: WorkerEventMessage, worker: str) -> Task | None:
        """Returns the task that an event is about, if the sender holds it.

        Args:
            event: as parsed.
            worker: who is known to have sent it, or a pattern of the ids that the sender may have.
        """
        task_id, attempt = parse_wire_id(event.task_id)
        task = await self._storage.find_task(task_id) if attempt else None
        if task is None or not task.status.is_open or task.attempt != attempt or not task.worker_id:
            return None
        return task if fnmatchcase(task.worker_id, worker) else None

    async def take(self, event: WorkerEventMessage, worker: str) -> str:
        """Takes an event; progress of a task that the worker holds becomes the job's, others join the history.

        Progress is also that of the jobs which wait for that job, and events go up to the engine that asked for it.

        Args:
            event: as parsed.
            worker: as above.

        Returns:
            The id of the worker that holds the task concerned; empty if the sender does not hold it (any more), and
            so nothing was written to its job.

        Raises:
            ProtocolError: its payload is too large.
            DocumentError: its payload cannot be stored.
        """
        task = await self.holder(event, worker)
        progress = progress_of(event)
        if progress is None:
            is_told = await self._tell(event, task, task.worker_id if task is not None else worker)
            return task.worker_id if task is not None and is_told else ""
        if task is not None:
            await self._put_progress(task, *progress)
        return task.worker_id if task is not None else ""

    async def _put_progress(self, task: Task, value: float, message: str) -> None:
        now = await self._storage.now()
        line = await self._ancestry.of(task.job_id)
        # Each names what it is the progress of: of a job that is run by another, this one is at work on that.
        at_work = (task.wire_id, *line.job_ids)
        for job_id, of in zip(line.job_ids, at_work, strict=False):
            await self._storage.put_progress(job_id, Progress(value, message, of, now))

    async def _tell(self, event: WorkerEventMessage, task: Task | None, worker: str) -> bool:
        """Writes the event down; returns whether the history of a job has it."""
        check_depth(event.payload, "payload")
        size = len(Document.of(dict(event.payload), "payload"))
        if size > MAX_PAYLOAD_BYTES:
            raise ProtocolError(
                f"the payload of event '{event.event_type[:80]}' has {size:,} bytes; at most {MAX_PAYLOAD_BYTES:,} are "
                "kept. Put what is larger into a file of the job, and send its name."
            )
        is_told = task is not None and await self._tell_job(event, task)
        await self._tell_worker(event, worker)
        return is_told

    async def _tell_job(self, event: WorkerEventMessage, task: Task) -> bool:
        """Keeps the event with the job, once; returns whether it has it, now or already."""
        record = RecordWrite(_SPACE, event.event_id, Document.of({}), 0, _REMEMBERED_SECONDS)
        records = [record] if is_identifier(event.event_id) else []
        line = await self._ancestry.of(task.job_id)
        goes_up = line.source == HOLON

        async def find_event(_job: Job, stored: Task | None) -> tuple[Event, Task | None]:
            if is_identifier(event.event_id) and await self._storage.find_record(_SPACE, event.event_id) is not None:
                raise _RepeatedError
            told = EventTold(
                stored,
                task.attempt,
                task.worker_id,
                event.event_type,
                event.payload,
                event.event_id,
                event.origin,
                event.via,
            )
            return told, None

        if goes_up:
            records.append(self.upward.write(line.root, event, task.worker_id, await self._storage.now()))
        try:
            decision = await self._performer.happen(task.job_id, find_event, task.id, records=records)
        except _RepeatedError:
            return True
        except JobNotFoundError:
            return False
        if decision.ignored:  # the task has ended meanwhile; the worker's own history has the event
            log.debug("an event came too late for its job: %s", decision.ignored, extra={"job_id": task.job_id})
        elif goes_up:
            self.upward.tell(line.root)
        return not decision.ignored

    async def _tell_worker(self, event: WorkerEventMessage, worker: str) -> None:
        info = {
            "event_type": event.event_type,
            "payload": dict(event.payload),
            "job_id": event.job_id,
            "task_id": event.task_id,
        }
        now = await self._storage.now()
        # The worker's own id makes the row of a repeated event the same; anything but an id would be no good as a key.
        event_id = event.event_id if is_identifier(event.event_id) else str(uuid.uuid4())
        self._historian.note(WorkerEvent(event_id, worker, now, "worker_event", info))
