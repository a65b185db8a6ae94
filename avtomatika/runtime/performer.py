"""The performer: asks ``decide`` and writes what it answers, in one commit."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from typing import Protocol

from msgspec.structs import replace

from avtomatika.blueprints.graph import Graph
from avtomatika.core.decide import IllegalTransitionError, decide
from avtomatika.core.document import DocumentAwayError
from avtomatika.core.effects import Decision
from avtomatika.core.events import Event, HandlerFailed, HandlerReturned, HandlerStarted, JobSubmitted
from avtomatika.core.job import Job, Task
from avtomatika.core.states import JobStatus
from avtomatika.core.steps import Limits
from avtomatika.errors import AvtomatikaError, DataSizeError, JobNotFoundError, StorageError
from avtomatika.observability.base import SILENT, UNTRACED, Meter, Tracer
from avtomatika.runtime.batches import batch_of, can_join, joined
from avtomatika.runtime.depot import Depot
from avtomatika.runtime.recent import Recent
from avtomatika.runtime.registry import Registry
from avtomatika.runtime.reputations import Reputations
from avtomatika.runtime.turns import FindEvent, Report, Turns
from avtomatika.storage.base import (
    Batch,
    Committed,
    Dedupe,
    Hold,
    JobClaim,
    Outcome,
    RecordWrite,
    Storage,
    TaskClaim,
)

log = logging.getLogger(__name__)

# Each lost race means that another commit on the same job succeeded; more than this in a row is no race any more.
_MAX_RACES = 100
_SUBMITTED, _STARTED = JobSubmitted(), HandlerStarted()


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
        self._turns = Turns()

    async def submit(
        self,
        job: Job,
        dedupe: Dedupe | None = None,
        records: Sequence[RecordWrite] = (),
        event: JobSubmitted = _SUBMITTED,
    ) -> Outcome:
        """Creates a job that stands at version 0, and writes records with it.

        Args:
            job: of an id that is not in use; it is created now.
            dedupe: makes the creation happen once.
            records: what is written beside the job; Stale if one of them was written meanwhile.
            event: where it begins and with what; the start, with nothing, if left out.
        """
        if len(job.initial_data) > self._limits.max_data:
            raise DataSizeError("initial_data", len(job.initial_data), self._limits.max_data)
        now = job.created_at
        decision = decide(job, event, self.graph_of(job), now, self._limits)
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
        self, job_id: str, find_event: FindEvent, task_id: str = "", *, records: Sequence[RecordWrite] = ()
    ) -> Decision:
        """Lets an event happen to a job, whatever else happens to it at the same time.

        Args:
            job_id: the job.
            find_event: called with the job and the task as stored, again after each lost race; returns the event, and
                the task whose claim must still be the stored one when the event is a result.
            task_id: the task that the event concerns, read together with the job; empty for none.
            records: what is written beside the job; ``find_event`` is called again if one was written meanwhile.

        Returns:
            The decision that was committed, or one whose ``ignored`` says why nothing was.

        Raises:
            JobNotFoundError: no such job.
            StorageError: the storage does not answer.
        """
        async with self._turns.of(job_id).lock:
            return await self._happen(job_id, find_event, task_id, records)

    async def report(self, job_id: str, find_event: FindEvent, task_id: str) -> Decision:
        """Does what ``happen`` does, for the result of a task; results that come together share a commit if they can.

        It begins with what this engine remembers of job and task. That may be older than what is stored, so no event is
        ignored because of it; what it says of the task's lease must not matter.

        Args:
            job_id: the job.
            find_event: as for ``happen``; returns the result, and the task whose claim must still be the stored one.
            task_id: the task.

        Returns:
            The decision that was committed, or one whose ``ignored`` says why nothing was.

        Raises:
            JobNotFoundError: no such job.
            StorageError: the storage does not answer.
        """
        turn, mine = self._turns.of(job_id), Report(task_id, find_event)
        turn.waiting[mine] = None
        async with turn.lock:
            if mine in turn.waiting:
                # A moment later all those are there that came in the same request.
                await asyncio.sleep(0)
                await self._report_together(job_id, turn.take())
            if mine.decision is None:
                # It came late, twice or from the wrong place, or with one that could not be taken.
                mine.decision = await self._happen(job_id, find_event, task_id, ())
            return mine.decision

    async def _report_together(self, job_id: str, reports: Sequence[Report]) -> None:
        """Writes as many of the results as go into one commit.

        Whose turn it is does this for all that wait. What is left undecided is tried alone when whoever brought it has
        the turn.
        """
        try:
            await self._report(job_id, list({report.task_id: report for report in reversed(reports)}.values())[::-1])
        except AvtomatikaError:
            # Any of them may be to blame.
            if len(reports) == 1:
                raise

    async def _report(self, job_id: str, reports: Sequence[Report]) -> None:
        """Decides on results one after the other, on the job as it becomes, and writes that if it still can be."""
        job, tasks = await self._look_up(job_id, reports)
        if job is None:
            return
        now = await self._storage.now()
        steps: list[tuple[Report, Job, Decision, TaskClaim]] = []
        for report, stored in zip(reports, tasks, strict=True):
            step = await self._decide_report(report, job, stored, now)
            if step is None:
                continue
            if not can_join([decision for _, _, decision, _ in steps], step[1]):
                break
            steps.append((report, *step))
            after = step[1].job
            if after.status is not job.status:
                # It waits for no other any more: those are late, as they will find when they look alone.
                break
            # What is decided next becomes part of the same version.
            job = replace(after, version=job.version)
        if not steps:
            return
        whole = joined([decision for _, _, decision, _ in steps])
        batch = batch_of(steps[0][1], whole, now, task_claims=[claim for *_, claim in steps])
        if not isinstance(await self._commit(batch), Committed):
            self._meter.conflict()
            return
        self.recent.note(whole.job)
        for report, old, decision, _ in steps:
            report.decision = decision
            self._tell(old, decision)
        for _, _, decision, _ in steps:
            await self._learn(decision)

    async def _decide_report(
        self, report: Report, job: Job, stored: Task | None, now: float
    ) -> tuple[Job, Decision, TaskClaim] | None:
        """Decides on one result of several; None if it has to be looked at alone.

        The job is remembered as it is now, the task as it was handed out: if it was given up since then, the two
        contradict each other.
        """
        event, task = await report.find_event(job, stored)
        if task is None:
            return None
        with contextlib.suppress(IllegalTransitionError):
            old, decision = await self._decide_whole(job, event, now)
            if not decision.ignored:
                return old, decision, _claim_of(task)
        return None

    async def _look_up(self, job_id: str, reports: Sequence[Report]) -> tuple[Job | None, list[Task | None]]:
        """Returns a job and tasks of it: what is remembered, and of the others what is stored."""
        job, tasks, missing = None, dict[str, Task | None](), []
        for report in reports:
            known = self.recent.take(job_id, report.task_id)
            if known is None:
                missing.append(report.task_id)
            else:
                job, tasks[report.task_id] = known
        if not missing:
            return job, [tasks[report.task_id] for report in reports]
        found = await asyncio.gather(*(self._storage.find_job_and_task(job_id, task_id) for task_id in missing))
        for task_id, (stored, task) in zip(missing, found, strict=True):
            tasks[task_id] = task
            # They were read one after the other; what is older than the job that is decided on, the commit finds out.
            if stored is not None and (job is None or stored.version > job.version):
                job = stored
        return job, [tasks[report.task_id] for report in reports]

    async def _happen(
        self, job_id: str, find_event: FindEvent, task_id: str, records: Sequence[RecordWrite]
    ) -> Decision:
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
        claims = [_claim_of(task)] if task else []
        outcome = await self._commit(batch_of(job, decision, now, task_claims=claims, records=records))
        if not isinstance(outcome, Committed):
            return None
        self._written(job, decision)
        await self._learn(decision)
        return decision

    def _written(self, old: Job, decision: Decision) -> None:
        self.recent.note(decision.job)
        self._tell(old, decision)

    def _tell(self, old: Job, decision: Decision) -> None:
        self._meter.committed(old, decision)
        self._tracer.committed(old, decision)

    async def _learn(self, decision: Decision) -> None:
        if self._reputations is not None:
            await self._reputations.learn(decision)

    def _decide_from_start(self, job: Job, event: Event, now: float) -> Decision:
        graph, limits = self.graph_of(job), self._limits
        if job.status is JobStatus.RUNNING or not isinstance(event, HandlerReturned | HandlerFailed):
            return decide(job, event, graph, now, limits)
        start = decide(job, _STARTED, graph, now, limits)
        if start.ignored:
            return start
        # Two decisions, but one commit and one version: what they create is named after the version that is written.
        decision = decide(replace(start.job, version=job.version), event, graph, now, limits)
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


def _claim_of(task: Task) -> TaskClaim:
    return TaskClaim(task.id, task.attempt, task.worker_id)
