"""The depot: large documents leave their job for the store of files, by their hash, and come back when they are needed.

What goes into the storage is a reference of some bytes. The document is written before the commit that refers to it, so
a commit never refers to what is not there; an engine that ends in between leaves a file that nobody refers to, and the
sweeper removes it with the rest of its job.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from msgspec.structs import replace

from avtomatika.clock import Clock, SystemClock
from avtomatika.core.document import Document, LostDocument
from avtomatika.core.history import HistoryEvent
from avtomatika.core.job import Job, Task
from avtomatika.errors import PayloadError, PayloadNotFoundError, StorageError
from avtomatika.payloads.base import PayloadStore
from avtomatika.payloads.keys import payload_key
from avtomatika.storage.base import Batch, RecordWrite, Storage

log = logging.getLogger(__name__)

SPACE = "depot"
"""The space of the records that name the jobs which have documents in the store; written before the first of them."""
CACHE_BYTES = 64 * 1024**2
"""How much of what was used last is kept in memory."""
# So long it is taken for certain that a document is where it was put; nobody removes those of a job that lives.
_CERTAIN_SECONDS = 600.0
_REMEMBERED = 10_000
_AT_ONCE = 16
# Larger ones are hashed beside the event loop: 1 MiB takes it a millisecond or two.
_LARGE = 1024**2
_JOB_DOCUMENTS = ("initial_data", "state_history", "result")
_TASK_DOCUMENTS = ("params", "data")

R = TypeVar("R", Job, Task)


class Depot:
    """Puts large documents into the store of files and fetches them.

    Args:
        storage: keeps a record of the jobs concerned.
        store: where the documents go; None for nowhere: then they stay with their jobs.
        threshold: documents above so many bytes leave; 0 for none, while those that left before are still fetched.
        clock: for how long what is known is certain.
        cache: how many bytes of what was used last are kept in memory.
    """

    def __init__(
        self,
        storage: Storage,
        store: PayloadStore | None = None,
        threshold: int = 0,
        clock: Clock | None = None,
        cache: int = CACHE_BYTES,
    ) -> None:
        self._storage = storage
        self._store = store
        self._threshold = threshold if store is not None else 0
        self._clock = clock or SystemClock()
        self._cache = _Cache(cache)
        self._put = _Certain(self._clock)
        self._marked = _Certain(self._clock)
        self._room = asyncio.Semaphore(_AT_ONCE)

    # --- away ---

    async def put(self, batch: Batch) -> Batch:
        """Returns what a step writes with references in place of its large documents, which are in the store by then.

        Raises:
            StorageError: the store does not answer; nothing of the step may be written.
        """
        if not self._threshold:
            return batch
        large = {document.raw: document for document in self._documents(batch) if self._is_large(document)}
        if not large:
            return batch
        references = await self._put_all(batch.job.id, list(large))
        return self._with_references(batch, references)

    def _documents(self, batch: Batch) -> Iterator[Document]:
        for name in _JOB_DOCUMENTS:
            if name in batch.changed:
                yield getattr(batch.job, name)
        for task in (*batch.queue_tasks, *batch.save_tasks):
            yield task.params
            yield task.data
        for event in batch.events:
            if event.state_history is not None:
                yield event.state_history

    def _is_large(self, document: Document) -> bool:
        return len(document.raw) > self._threshold

    async def _put_all(self, job_id: str, raws: Sequence[bytes]) -> dict[bytes, Document]:
        if job_id not in self._marked:
            # First of all: whatever is in the store, the sweeper knows whose it is.
            now = Document.of(await self._storage.now())
            await self._storage.put_record(RecordWrite(SPACE, job_id, now))
            self._marked.add(job_id)
        digests = await asyncio.gather(*(self._put_one(job_id, raw) for raw in raws))
        return {raw: Document.away(digest, len(raw)) for raw, digest in zip(raws, digests, strict=True)}

    async def _put_one(self, job_id: str, raw: bytes) -> str:
        digest = await _digest_of(raw)
        key = payload_key(job_id, digest)
        if key not in self._put:
            assert self._store is not None  # noqa: S101 - without a store there is no threshold
            try:
                async with self._room:
                    await self._store.write_bytes(key, raw)
            except PayloadError as error:
                raise StorageError(f"a document of job {job_id} could not be put into the store: {error}") from error
            self._put.add(key)
        self._cache.add(digest, raw)
        return digest

    def _with_references(self, batch: Batch, references: dict[bytes, Document]) -> Batch:
        def away(document: Document) -> Document:
            return references.get(document.raw, document)

        def light(task: Task) -> Task:
            return _replaced(task, params=away(task.params), data=away(task.data))

        return replace(
            batch,
            job=_replaced(batch.job, **{name: away(getattr(batch.job, name)) for name in _JOB_DOCUMENTS}),
            queue_tasks=[light(task) for task in batch.queue_tasks],
            save_tasks=[light(task) for task in batch.save_tasks],
            events=[
                event if event.state_history is None else replace(event, state_history=away(event.state_history))
                for event in batch.events
            ],
        )

    # --- back ---

    async def fetch_job(self, job: Job) -> Job:
        """Returns a job with all its documents; one that cannot be had any more is a LostDocument.

        Raises:
            StorageError: the store does not answer.
        """
        return await self._fetched(job.id, job, _JOB_DOCUMENTS)

    async def fetch_jobs(self, jobs: Iterable[Job]) -> list[Job]:
        """As ``fetch_job``, for several."""
        return list(await asyncio.gather(*map(self.fetch_job, jobs)))

    async def fetch_task(self, task: Task) -> Task:
        """As ``fetch_job``, for a task."""
        return await self._fetched(task.job_id, task, _TASK_DOCUMENTS)

    async def fetch_tasks(self, tasks: Iterable[Task]) -> list[Task]:
        """As ``fetch_task``, for several."""
        tasks = list(tasks)
        if not any(task.params.is_away or task.data.is_away for task in tasks):
            # As most are; a thousand branches need no thousand tasks of the loop.
            return tasks
        return list(await asyncio.gather(*map(self.fetch_task, tasks)))

    async def fetch_events(self, events: Sequence[HistoryEvent]) -> list[HistoryEvent]:
        """Returns rows of history with their documents; in place of a lost one, a row says so.

        Raises:
            StorageError: the store does not answer.
        """
        return list(await asyncio.gather(*map(self._fetch_event, events)))

    async def _fetch_event(self, event: HistoryEvent) -> HistoryEvent:
        document = event.state_history
        if document is None or not document.is_away:
            return event
        document = await self._fetch(event.job_id, document)
        if isinstance(document, LostDocument):
            document = Document.of({"payload_lost": document.reason})
        return replace(event, state_history=document)

    async def _fetched(self, job_id: str, record: R, names: Sequence[str]) -> R:
        away = [name for name in names if getattr(record, name).is_away]
        if not away:
            return record
        fetched = await asyncio.gather(*(self._fetch(job_id, getattr(record, name)) for name in away))
        return replace(record, **dict(zip(away, fetched, strict=True)))

    async def _fetch(self, job_id: str, document: Document) -> Document:
        digest = document.digest
        raw = self._cache.get(digest)
        if raw is not None:
            return Document(raw)
        key = payload_key(job_id, digest)
        if self._store is None:
            raise StorageError(
                f"a document of job {job_id} is in a store of files, and this engine has none. Give it the settings "
                "S3_... or TASK_FILES_DIR of the engine that put it there."
            )
        try:
            async with self._room:
                raw = await self._store.read_bytes(key)
        except PayloadNotFoundError:
            return _lost(document, f"{self._store.uri_of(key)} is not there any more", job_id)
        except PayloadError as error:
            raise StorageError(f"a document of job {job_id} could not be fetched: {error}") from error
        if await _digest_of(raw) != digest:
            return _lost(document, f"{self._store.uri_of(key)} has been changed", job_id)
        self._cache.add(digest, raw)
        return Document(raw)


class _Cache:
    """What was used last, by its hash.

    Args:
        limit: bytes, altogether.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._kept: OrderedDict[str, bytes] = OrderedDict()

    def get(self, digest: str) -> bytes | None:
        raw = self._kept.get(digest)
        if raw is not None:
            self._kept.move_to_end(digest)
        return raw

    def add(self, digest: str, raw: bytes) -> None:
        if digest not in self._kept:
            self._kept[digest] = raw
            self._size += len(raw)
        self._kept.move_to_end(digest)
        while self._size > self._limit:
            self._size -= len(self._kept.popitem(last=False)[1])


class _Certain:
    """Names of what was done a while ago and need not be done again yet.

    Args:
        clock: for how long.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ends_at: dict[str, float] = {}

    def __contains__(self, name: str) -> bool:
        return self._ends_at.get(name, 0.0) > self._clock.now()

    def add(self, name: str) -> None:
        self._ends_at.pop(name, None)
        self._ends_at[name] = self._clock.now() + _CERTAIN_SECONDS
        if len(self._ends_at) > _REMEMBERED:
            del self._ends_at[next(iter(self._ends_at))]


def _replaced(record: R, **documents: Document) -> R:
    """Returns the record with these documents; the very same one if they are its own."""
    changes = {name: document for name, document in documents.items() if document is not getattr(record, name)}
    return replace(record, **changes) if changes else record


def _lost(document: Document, why: str, job_id: str) -> LostDocument:
    what = f"a document of {len(document):,} bytes is lost: {why}"
    reason = f"{what}. Put the file back if there is a copy, and requeue the job."
    log.error("%s", reason, extra={"action": "payload_lost", "job_id": job_id})
    return LostDocument(document.raw, reason)


async def _digest_of(raw: bytes) -> str:
    digest = hashlib.sha256
    made = await asyncio.to_thread(digest, raw) if len(raw) > _LARGE else digest(raw)
    return made.hexdigest()
