"""Jobs from outside: create, cancel, look up, wait."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from avtomatika.blueprints import CompiledBlueprint
from avtomatika.clock import Clock
from avtomatika.core.document import Document
from avtomatika.core.effects import Decision
from avtomatika.core.events import CancelRequested, Event, FileExpected, FileMove, FileReceived, Requeued
from avtomatika.core.job import INTERNAL, Client, Job, Task
from avtomatika.core.states import REQUEUABLE, JobStatus
from avtomatika.errors import AvtomatikaError, JobNotFoundError, JobStateError
from avtomatika.observability.base import UNTRACED, Tracer
from avtomatika.protocol.files import FileFacts
from avtomatika.runtime.depot import Depot
from avtomatika.runtime.performer import Performer
from avtomatika.storage.base import Committed, Dedupe, Duplicate, RecordWrite, Signal, Storage

log = logging.getLogger(__name__)

# So many handlers of a job, each for so long, are waited for before a file is refused; they are quick.
_HANDLERS, _HANDLER_SECONDS = 5, 5.0
# How often it is looked whether a handler has returned, should the signal of that be lost.
_NOTE_SECONDS = 30.0


@dataclass(eq=False)
class _Waiter:
    """Somebody who waits for a job; is answered once told, and looks whether there is an answer at any news."""

    news: asyncio.Event = field(default_factory=asyncio.Event)
    is_told: bool = False

    def tell(self) -> None:
        """Says that the job has changed."""
        self.is_told = True
        self.news.set()


class Jobs:
    """What clients can do with jobs.

    Args:
        storage: where jobs live.
        performer: writes what happens to them.
        clock: for waiting.
        tracer: gives each job its trace context.
        depot: has the large documents of jobs; None where they stay with their jobs.
    """

    def __init__(
        self,
        storage: Storage,
        performer: Performer,
        clock: Clock,
        tracer: Tracer = UNTRACED,
        depot: Depot | None = None,
    ) -> None:
        self.depot = depot or Depot(storage)
        self._tracer = tracer
        self._storage = storage
        self._performer = performer
        self._clock = clock
        self._waiting: dict[str, set[_Waiter]] = defaultdict(set)
        self._unsubscribe = storage.subscribe(self._on_signal, "job", "progress", "missed")
        self._notes: set[asyncio.Task[None]] = set()

    def close(self) -> None:
        """Releases whoever waits."""
        self._unsubscribe()
        for note in self._notes:
            note.cancel()
        for waiters in self._waiting.values():
            for waiter in waiters:
                waiter.tell()

    async def create(
        self,
        blueprint: CompiledBlueprint,
        initial_data: Mapping[str, Any],
        *,
        client: Client = INTERNAL,
        source: str = "internal",
        dedupe: Dedupe | None = None,
        webhook_url: str = "",
        dispatch_timeout: float | None = None,
        result_timeout: float | None = None,
        tracing_context: Mapping[str, str] | None = None,
    ) -> tuple[str, Duplicate | None]:
        """Creates a job.

        Args:
            blueprint: what it runs.
            initial_data: a mapping.
            client: who creates it.
            source: how it came to be.
            dedupe: makes the creation happen once.
            webhook_url: where to send the outcome, or empty.
            dispatch_timeout: default for its tasks, seconds.
            result_timeout: seconds until the job must have ended.
            tracing_context: W3C trace context.

        Returns:
            The job's id, and the earlier creation if the dedupe key is known.

        Raises:
            DocumentError: the data hold something that cannot be stored.
            ContractError: they do not fit the blueprint's schema.
        """
        job = await self._new_job(
            str(uuid.uuid4()),
            blueprint,
            initial_data,
            client,
            source,
            webhook_url,
            dispatch_timeout,
            result_timeout,
            tracing_context or {},
        )
        outcome = await self._performer.submit(job, dedupe)
        if isinstance(outcome, Duplicate):
            return outcome.job_id, outcome
        return job.id, None

    async def create_once(
        self,
        job_id: str,
        blueprint: CompiledBlueprint,
        initial_data: Mapping[str, Any],
        *,
        records: Sequence[RecordWrite] = (),
        client: Client = INTERNAL,
        source: str = "internal",
        dispatch_timeout: float | None = None,
        result_timeout: float | None = None,
        tracing_context: Mapping[str, str] | None = None,
    ) -> bool:
        """Creates a job under an id that says what it is for, and writes records in the same commit.

        Args:
            job_id: its id.
            blueprint: what it runs.
            initial_data: a mapping.
            records: what is written with it.
            client: who creates it.
            source: how it came to be.
            dispatch_timeout: default for its tasks, seconds.
            result_timeout: seconds until the job must have ended.
            tracing_context: W3C trace context.

        Returns:
            Whether it was created; False if there is such a job already, or a record was written meanwhile.

        Raises:
            DocumentError: the data hold something that cannot be stored.
        """
        job = await self._new_job(
            job_id, blueprint, initial_data, client, source, "", dispatch_timeout, result_timeout, tracing_context or {}
        )
        return isinstance(await self._performer.submit(job, records=records), Committed)

    async def _new_job(
        self,
        job_id: str,
        blueprint: CompiledBlueprint,
        initial_data: Mapping[str, Any],
        client: Client,
        source: str,
        webhook_url: str,
        dispatch_timeout: float | None,
        result_timeout: float | None,
        tracing_context: Mapping[str, str],
    ) -> Job:
        now = await self._storage.now()
        start = blueprint.graph.start.name
        data = Document.of(dict(initial_data), "initial_data")
        if blueprint.input_schema is not None:
            blueprint.check_input(data.value())
        return Job(
            id=job_id,
            blueprint=blueprint.name,
            blueprint_version=blueprint.graph.version,
            status=JobStatus.PENDING,
            state=start,
            created_at=now,
            updated_at=now,
            initial_data=data,
            client=client,
            source=source,
            webhook_url=webhook_url,
            dispatch_timeout=dispatch_timeout,
            deadline_at=now + result_timeout if result_timeout is not None else None,
            tracing_context=dict(self._tracer.new_job(blueprint.name, tracing_context)),
        )

    async def get(self, job_id: str, client: str | None = None) -> Job:
        """Returns a job.

        Args:
            job_id: its id.
            client: name of the client that asks; None for the engine itself.

        Raises:
            JobNotFoundError: there is none, or it is another client's: the two must not be told apart.
        """
        job = await self._storage.find_job(job_id)
        if job is None or client not in {None, job.client.name}:
            raise JobNotFoundError(job_id)
        return job

    async def cancel(self, job_id: str, by: str = "") -> Job:
        """Ends a job; workers that run its tasks are told over their sockets, else at their next heartbeat.

        Raises:
            JobNotFoundError: no such job.
            JobStateError: it has ended already.
        """

        async def find_event(_job: Job, _task: Task | None) -> tuple[Event, Task | None]:
            return CancelRequested(by), None

        decision = await self._performer.happen(job_id, find_event)
        if decision.ignored:
            raise JobStateError(f"job '{job_id}' is {decision.job.status} and cannot be cancelled any more.")
        return decision.job

    async def requeue(self, job_id: str, by: str = "") -> Job:
        """Lets a job that failed or was quarantined go on in the state where it stopped.

        Raises:
            JobNotFoundError: no such job.
            JobStateError: it is neither.
        """

        async def find_event(_job: Job, _task: Task | None) -> tuple[Event, Task | None]:
            return Requeued(by), None

        decision = await self._performer.happen(job_id, find_event)
        if decision.ignored:
            known = ", ".join(sorted(REQUEUABLE))
            raise JobStateError(f"job '{job_id}' is {decision.job.status}; only these can be requeued: {known}.")
        return decision.job

    async def expect_file(self, job: Job, facts: FileFacts) -> None:
        """Makes sure that the job's end removes a file that somebody is about to send.

        Args:
            job: as stored.
            facts: of the file, as far as they are known.

        Raises:
            JobStateError: the job has ended, or its handler does not return.
        """
        for _ in range(_HANDLERS):
            if job.is_terminal:
                break
            graph = self._performer.graph_of(job)
            if graph.uses_files or job.file_facts:
                return  # its end looks for files in any case

            async def find_event(_job: Job, _task: Task | None) -> tuple[Event, Task | None]:
                return FileExpected(facts), None

            decision = await self._performer.happen(job.id, find_event)
            if not decision.ignored:
                return
            job = await self.wait(job.id, decision.job.version, _HANDLER_SECONDS)
        raise JobStateError(
            f"job '{job.id}' is {job.status} and takes no files"
            + (
                " any more."
                if job.is_terminal
                else " now, because its handler runs or is about to. Send the file again later."
            )
        )

    async def note_file(self, job: Job, name: str, facts: FileFacts, by: str = "") -> None:
        """Writes into the history that a client has sent a file.

        While a handler of the job runs, nothing can be written beside it; then this returns at once, and the row is
        written when the handler has returned. It is lost if the job ends with that, or this engine.

        Args:
            job: that has it now.
            name: of the file in the job.
            facts: what the store tells of it.
            by: name of the client.
        """
        received = FileReceived(FileMove("received", name, facts), by)
        decision = await self._receive(job.id, received)
        if decision.ignored and not decision.job.is_terminal:
            note = asyncio.create_task(self._note_later(decision.job, received), name=f"note-file-{job.id}")
            self._notes.add(note)
            note.add_done_callback(self._notes.discard)

    async def _receive(self, job_id: str, received: FileReceived) -> Decision:
        async def find_event(_job: Job, _task: Task | None) -> tuple[Event, Task | None]:
            return received, None

        return await self._performer.happen(job_id, find_event)

    async def _note_later(self, job: Job, received: FileReceived) -> None:
        try:
            while not job.is_terminal:
                job = await self.wait(job.id, job.version, _NOTE_SECONDS)
                decision = await self._receive(job.id, received)
                if not decision.ignored:
                    return
                job = decision.job
        except AvtomatikaError as error:
            log.warning(
                "a file of a client is not told in the history: %s",
                error,
                extra={"action": "file_not_noted", "job_id": job.id},
            )

    async def wait(self, job_id: str, version: int, seconds: float) -> Job:
        """Returns the job as soon as it is newer than ``version`` or has ended, or after ``seconds``.

        Raises:
            JobNotFoundError: no such job.
        """
        waiter = _Waiter()
        self._waiting[job_id].add(waiter)
        ends_at = self._clock.now() + seconds
        try:
            while True:
                # Looked up after joining: a change in between is either seen here or brings news.
                is_told = waiter.is_told
                waiter.news.clear()
                job = await self.get(job_id)
                left = ends_at - self._clock.now()
                if job.version > version or job.is_terminal or is_told or left <= 0:
                    return job
                try:
                    await self._clock.wait_for(waiter.news.wait(), left)
                except TimeoutError:
                    return await self.get(job_id)
        finally:
            self._waiting[job_id].discard(waiter)
            if not self._waiting[job_id]:
                del self._waiting[job_id]

    def _on_signal(self, signal: Signal) -> None:
        for waiter in self._waiting.get(signal.key, ()):
            waiter.tell()
        if signal.kind == "missed":
            # Any of these jobs may have changed: all look, and those whose jobs have not changed wait on.
            for waiters in self._waiting.values():
                for waiter in waiters:
                    waiter.news.set()
