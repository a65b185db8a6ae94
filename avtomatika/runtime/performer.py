"""The performer: asks ``decide`` and writes what it answers, in one commit."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol
from weakref import WeakValueDictionary

from msgspec.structs import replace

from avtomatika.blueprints.graph import Graph
from avtomatika.core.decide import IllegalTransitionError, decide
from avtomatika.core.document import DocumentAwayError
from avtomatika.core.effects import (
    CancelOpenTasks,
    ClearTimer,
    Decision,
    DispatchTask,
    FinishJob,
    RecordHistory,
    RunHandler,
    SaveTask,
    SendMessage,
    SetTimer,
)
from avtomatika.core.events import Event, HandlerFailed, HandlerReturned, HandlerStarted, JobSubmitted
from avtomatika.core.job import Job, Task, job_fields
from avtomatika.core.states import JobStatus
from avtomatika.core.steps import Limits
from avtomatika.errors import DataSizeError, JobNotFoundError, StorageError
from avtomatika.observability.base import SILENT, UNTRACED, Meter, Tracer
from avtomatika.runtime.depot import Depot
from avtomatika.runtime.recent import Recent
from avtomatika.runtime.registry import Registry
from avtomatika.runtime.reputations import Reputations
from avtomatika.storage.base import (
    Batch,
    Committed,
    Dedupe,
    Hold,
    JobClaim,
    Message,
    Outcome,
    Ready,
    RecordWrite,
    Storage,
    TaskClaim,
    Timer,
)

log = logging.getLogger(__name__)

# Each lost race means that another commit on the same job succeeded; more than this in a row is no race any more.
_MAX_RACES = 100
_SUBMITTED, _STARTED = JobSubmitted(), HandlerStarted()

FindEvent = Callable[[Job, Task | None], Awaitable[tuple[Event, Task | None]]]
"""Says what happens to a job, given as stored with the task that was asked for, and whose claim must still hold."""


def batch_of(
    old: Job,
    decision: Decision,
    at: float,
    *,
    claim: str = "",
    go_on: bool = False,
    task_claim: TaskClaim | None = None,
    dedupe: Dedupe | None = None,
    records: Sequence[RecordWrite] = (),
) -> Batch:
    """Returns what a decision writes.

    Args:
        old: the job that was decided on.
        decision: what came of it.
        at: the moment of the decision.
        claim: token of the job claim that the step consumes, or empty.
        go_on: the caller runs the next handler itself if it is due at once: then the claim holds the new wake-up.
        task_claim: the claim that a result came from, if one did.
        dedupe: for a creation that must happen once.
        records: what is written beside the job.
    """
    job, events, queue, save = decision.job, [], [], []
    set_timers, clear_timers = [], []
    messages: list[Message] = []
    ready: Ready | None = None
    cancel_open = finish = False
    for effect in decision.effects:
        match effect:
            case RecordHistory():
                events.append(effect)
            case RunHandler(_, due):
                ready = Ready(due)
            case DispatchTask(task):
                queue.append(task)
            case SaveTask(task):
                save.append(task)
            case SetTimer(kind, due, task_id):
                set_timers.append(Timer(job.id, kind, due, task_id))
            case ClearTimer(kind, task_id):
                clear_timers.append(Timer(job.id, kind, 0.0, task_id))
            case CancelOpenTasks():
                cancel_open = True
            case SendMessage(topic, body, key, due):
                # The id is derived: a commit that is repeated makes the same message.
                message_id = f"{job.id}:{job.version}:{len(messages)}"
                messages.append(Message(message_id, topic, job.id, key, body, at, at if due is None else due))
            case FinishJob():
                finish = True
    created = old.version == 0
    return Batch(
        job=job,
        changed=frozenset(job_fields()) if created else decision.changed,
        at=at,
        claim=claim,
        # A handler that has just begun keeps the claim as well: the step that consumes it is its return.
        keep_claim=(go_on and ready is not None and ready.at <= at) or (claim != "" and not decision.effects),
        task_claim=task_claim,
        ready=ready,
        queue_tasks=queue,
        save_tasks=save,
        cancel_open_tasks=cancel_open,
        set_timers=set_timers,
        clear_timers=clear_timers,
        finish=finish,
        events=events,
        dedupe=dedupe,
        messages=messages,
        records=records,
    )


class Handlers(Protocol):
    """Who calls the handlers of jobs in this engine, and may go on at once with a job that a step wakes."""

    def hold(self, job_id: str) -> Hold | None:
        """Keeps room for a job and returns the claim to hold it by; None if it shall queue up behind others."""
        ...

    def begin(self, claim: JobClaim) -> None:
        """Goes on with a job that is held now."""
        ...

    def drop(self, hold: Hold, *, is_unclear: bool) -> None:
        """Gives the room back: the step was not written, or nobody knows whether it was."""
        ...


class Performer:
    """Turns events into commits.

    Args:
        storage: where jobs live.
        registry: the loaded blueprints.
        limits: the numbers to decide by.
        meter: counts what was written.
        tracer: follows it.
        reputations: learn from it what workers are worth; None for nobody.
        depot: takes large documents, and gives them back; None to leave them with their jobs.

    Attributes:
        handlers: goes on with jobs whose handlers are due at once; None where all of them queue up.
        recent: what is with workers, and its jobs; kept up to date with what is written here.
    """

    handlers: Handlers | None = None

    def __init__(
        self,
        storage: Storage,
        registry: Registry,
        limits: Limits,
        meter: Meter = SILENT,
        tracer: Tracer = UNTRACED,
        reputations: Reputations | None = None,
        depot: Depot | None = None,
    ) -> None:
        self.recent = Recent()
        self._depot = depot or Depot(storage)
        self._reputations = reputations
        self._meter = meter
        self._tracer = tracer
        self._storage = storage
        self._registry = registry
        self._limits = limits
        # The results of a fan-out come all at once; without turns all but one would lose the race and begin again, and
        # again. The state is protected by its version, not by these. A turn lives as long as somebody has it or waits.
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def submit(
        self,
        job: Job,
        dedupe: Dedupe | None = None,
        records: Sequence[RecordWrite] = (),
        event: JobSubmitted = _SUBMITTED,
    ) -> Outcome:
        """Creates a job that stands at version 0, and writes records with it.

        Args:
            job: of an id that is not in use.
            dedupe: makes the creation happen once.
            records: what is written beside the job; Stale if one of them was written meanwhile.
            event: where it begins and with what; the start, with nothing, if left out.
        """
        if len(job.initial_data) > self._limits.max_data:
            raise DataSizeError("initial_data", len(job.initial_data), self._limits.max_data)
        now = await self._storage.now()
        decision = self._decide(job, event, now)
        outcome = await self._commit(batch_of(job, decision, now, dedupe=dedupe, records=records))
        if isinstance(outcome, Committed):
            self._written(job, decision)
        return outcome

    async def _commit(self, batch: Batch) -> Outcome:
        """Writes a step of a job that nobody claimed for it; if its handler is due at once, this engine calls it.

        So a job does not go through the ready queue while this engine has room for it.
        """
        job, batch = batch.job, await self._depot.put(batch)
        handlers, ready = self.handlers, batch.ready
        hold = None
        if handlers is not None and ready is not None and ready.at <= batch.at and not batch.finish:
            hold = handlers.hold(batch.job.id)
        if handlers is None or hold is None:
            return await self._storage.commit(batch)
        try:
            outcome = await self._storage.commit(replace(batch, hold=hold))
        except BaseException:
            handlers.drop(hold, is_unclear=True)
            raise
        if isinstance(outcome, Committed):
            handlers.begin(JobClaim(job, hold.token, 1))
        else:
            handlers.drop(hold, is_unclear=False)
        return outcome

    async def step(self, job: Job, event: Event, claim: str, *, go_on: bool) -> tuple[Job, bool] | None:
        """Commits one step of a job that the caller holds a claim on.

        What a handler did whose start nobody wrote down is one step with its start.

        Args:
            job: as last committed.
            event: what its handler did.
            claim: token of the claim.
            go_on: the caller is ready to run a handler that is due at once.

        Returns:
            The new job, and whether the caller keeps the claim to run the next handler; None if somebody else was
            faster: then nothing was written and the work is void.
        """
        now = await self._storage.now()
        job, decision = await self._decide_whole(job, event, now)
        if decision.ignored:
            return None
        batch = batch_of(job, decision, now, claim=claim, go_on=go_on)
        outcome = await self._storage.commit(await self._depot.put(batch))
        if not isinstance(outcome, Committed):
            self._meter.conflict()
            return None
        self._written(job, decision)
        return decision.job, batch.keep_claim

    async def happen(
        self,
        job_id: str,
        find_event: FindEvent,
        task_id: str = "",
        *,
        remembers: bool = False,
        records: Sequence[RecordWrite] = (),
    ) -> Decision:
        """Lets an event happen to a job, whatever else happens to it at the same time.

        Args:
            job_id: the job.
            find_event: called with the job and the task as stored, again after each lost race; returns the event, and
                the task whose claim must still be the stored one when the event is a result.
            task_id: the task that the event concerns, read together with the job; empty for none.
            remembers: whether to begin with what this engine remembers of both. It may be older than what is stored, so
                no event is ignored because of it; what it says of the task's lease must not matter.
            records: what is written beside the job; ``find_event`` is called again if one was written meanwhile.

        Returns:
            The decision that was committed, or one whose ``ignored`` says why nothing was.

        Raises:
            JobNotFoundError: no such job.
            StorageError: the storage does not answer.
        """
        turn = self._turns.get(job_id)
        if turn is None:
            self._turns[job_id] = turn = asyncio.Lock()
        async with turn:
            # Inside the turn: what happened before it is remembered as well.
            known = self.recent.take(job_id, task_id) if remembers else None
            return await self._happen(job_id, find_event, task_id, known, records)

    async def _happen(
        self,
        job_id: str,
        find_event: FindEvent,
        task_id: str,
        known: tuple[Job, Task] | None,
        records: Sequence[RecordWrite],
    ) -> Decision:
        if known is not None:
            # The job is remembered as it is now, the task as it was handed out: if it was given up since then, the two
            # contradict each other.
            decision = None
            with contextlib.suppress(IllegalTransitionError):
                decision = await self._try(*known, find_event, records)
            if decision is not None and not decision.ignored:
                return decision
        for _ in range(_MAX_RACES):
            stored: Task | None = None
            if task_id:
                job, stored = await self._storage.find_job_and_task(job_id, task_id)
            else:
                job = await self._storage.find_job(job_id)
            if job is None:
                raise JobNotFoundError(job_id)
            decision = await self._try(job, stored, find_event, records)
            if decision is not None:
                return decision
            self._meter.conflict()
            log.debug("lost a race", extra={"action": "commit_conflict", "job_id": job_id})
        raise StorageError(f"job {job_id} changed {_MAX_RACES} times while one event was to be written; try again.")

    async def _try(
        self, job: Job, stored: Task | None, find_event: FindEvent, records: Sequence[RecordWrite]
    ) -> Decision | None:
        """Decides on a job as it was read, and writes that; None if it is another one by now."""
        event, task = await find_event(job, stored)
        now = await self._storage.now()
        job, decision = await self._decide_whole(job, event, now)
        if decision.ignored:
            return decision
        claim = TaskClaim(task.id, task.attempt, task.worker_id) if task else None
        outcome = await self._commit(batch_of(job, decision, now, task_claim=claim, records=records))
        if not isinstance(outcome, Committed):
            return None
        self._written(job, decision)
        if self._reputations is not None:
            await self._reputations.learn(decision)
        return decision

    def _written(self, old: Job, decision: Decision) -> None:
        self.recent.note(decision.job)
        self._meter.committed(old, decision)
        self._tracer.committed(old, decision)

    def _decide_from_start(self, job: Job, event: Event, now: float) -> Decision:
        if job.status is JobStatus.RUNNING or not isinstance(event, HandlerReturned | HandlerFailed):
            return self._decide(job, event, now)
        start = self._decide(job, _STARTED, now)
        if start.ignored:
            return start
        # Two decisions, but one commit and one version: what they create is named after the version that is written.
        decision = self._decide(replace(start.job, version=job.version), event, now)
        return decision if decision.ignored else replace(decision, changed=decision.changed | start.changed)

    async def _decide_whole(self, job: Job, event: Event, now: float) -> tuple[Job, Decision]:
        """Decides; fetches the job's documents only if the decision takes one: most do not."""
        try:
            return job, self._decide_from_start(job, event, now)
        except DocumentAwayError:
            job = await self._depot.fetch_job(job)
            return job, self._decide_from_start(job, event, now)

    def graph_of(self, job: Job) -> Graph:
        """Returns the graph that is decided by: of the job's version, or of the latest one that is loaded."""
        return self._registry.graph_of(job.blueprint, job.blueprint_version)

    def _decide(self, job: Job, event: Event, now: float) -> Decision:
        graph = self.graph_of(job)
        return decide(job, event, graph, now, self._limits)
