"""The runner: claims ready jobs, calls their handlers, commits what came of it."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import functools
import inspect
import itertools
import logging
import traceback
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from avtomatika.blueprints import ActionFactory, CompiledBlueprint, Handler, JobContext
from avtomatika.blueprints.requests import SubBlueprint
from avtomatika.clock import Clock
from avtomatika.core import fan_outs
from avtomatika.core.document import NULL, Document
from avtomatika.core.events import (
    Event,
    FileMove,
    HandlerFailed,
    HandlerReturned,
    HandlerStarted,
    Repinned,
    StateMissing,
    StepBroke,
)
from avtomatika.core.job import FanOut, Job, Task
from avtomatika.core.states import JobStatus
from avtomatika.errors import (
    BlueprintError,
    ContractError,
    DocumentError,
    HandlerError,
    PayloadLostError,
    StorageError,
)
from avtomatika.log_context import log_context
from avtomatika.observability.base import SILENT, UNTRACED, Meter, Tracer
from avtomatika.payloads.base import PayloadStore
from avtomatika.payloads.task_files import TaskFiles
from avtomatika.runtime.depot import Depot
from avtomatika.runtime.performer import Performer
from avtomatika.runtime.registry import Registry
from avtomatika.storage.base import Hold, JobClaim, Signal, Storage
from avtomatika.threads import ThreadCall

log = logging.getLogger(__name__)

# A job that was claimed so often without one commit kills its engine; docs/explanation/durability.md.
_POISON_DELIVERIES = 5
# A job whose step fails in the engine itself at this claim is given up: one before it would pass for poison.
_LAST_DELIVERY = _POISON_DELIVERIES - 1
# Seconds before a step is tried again that the storage did not take.
_STORAGE_PAUSE = 3.0
# After so many steps in one go a job queues up again behind the others.
_CHAIN_LIMIT = 100
# A handler that runs longer is written down as running, so that people see it; a commit that most steps do without.
_SHOWN_SECONDS = 0.05
# The longest time without a look at the queue, should a signal be lost.
_IDLE_SECONDS = 5.0


class Runner:
    """Runs handlers for as many jobs at a time as it may.

    Args:
        storage: where jobs live.
        performer: writes what the handlers did.
        registry: the loaded blueprints.
        clock: for waiting.
        owner: name of this engine, unique.
        max_jobs: handlers that run at the same time.
        lease: seconds that a claim lasts; it is extended while the handler runs.
        meter: counts handlers.
        tracer: follows them.
        payloads: where the files of jobs are; None gives handlers none.
        depot: has the large documents of jobs; None where they stay with their jobs.
    """

    def __init__(
        self,
        storage: Storage,
        performer: Performer,
        registry: Registry,
        clock: Clock,
        *,
        owner: str,
        max_jobs: int,
        lease: float = 10.0,
        meter: Meter = SILENT,
        tracer: Tracer = UNTRACED,
        payloads: PayloadStore | None = None,
        depot: Depot | None = None,
    ) -> None:
        self._payloads = payloads
        self._depot = depot or Depot(storage)
        self._meter = meter
        self._tracer = tracer
        self._storage = storage
        self._performer = performer
        self._registry = registry
        self._clock = clock
        self._owner = owner
        self._max_jobs = max_jobs
        self._lease = lease
        self._active: dict[str, tuple[JobClaim, asyncio.Task[None]]] = {}
        self._writing: set[str] = set()
        # Room that is kept for jobs whose steps are being written, and for what is being claimed.
        self._held = 0
        self._claiming = 0
        self._holds = itertools.count(1)
        # Whether more jobs may wait in the queue than there was room for: then nobody goes past them.
        self._is_short = False
        self._releases: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._drain = asyncio.Event()
        self._loops: list[asyncio.Task[None]] = []
        performer.handlers = self
        self._subscriptions = (
            storage.subscribe(self._on_ready, "ready", "missed"),
            # An end that was missed is seen when the claims are extended.
            storage.subscribe(self._on_job, "job"),
        )

    @property
    def active(self) -> int:
        """How many handlers run now."""
        return len(self._active)

    def wake(self) -> None:
        """Looks at the queue at once: something may have become due."""
        self._wake.set()

    def start(self) -> None:
        """Begins to claim jobs."""
        self._loops = [
            asyncio.create_task(self._claim_forever(), name="avtomatika-runner"),
            asyncio.create_task(self._extend_forever(), name="avtomatika-leases"),
        ]

    async def stop(self, grace: float = 5.0) -> None:
        """Takes nothing new, gives running handlers ``grace`` seconds, and hands the rest back."""
        self._drain.set()
        for unsubscribe in self._subscriptions:
            unsubscribe()
        self._wake.set()
        await self._loops[0]
        running = [task for _, task in self._active.values()]
        if running:
            # The machine's clock on purpose: a stop must end even if nobody moves a test's clock.
            await asyncio.wait(running, timeout=grace)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        self._loops[1].cancel()
        await asyncio.gather(self._loops[1], *self._releases, return_exceptions=True)

    def _on_ready(self, _signal: Signal) -> None:
        self._wake.set()

    def _on_job(self, signal: Signal) -> None:
        if signal.final and signal.key in self._active:
            claim, task = self._active[signal.key]
            if claim.token not in self._writing:
                # Ended from outside, by a cancel or a deadline: what the handler still does is void.
                log.info("stopping the handler of a job that has ended", extra={"job_id": claim.job.id})
                task.cancel()

    # --- going on at once ---

    @property
    def _free(self) -> int:
        return self._max_jobs - len(self._active) - self._held - self._claiming

    def hold(self, job_id: str) -> Hold | None:
        """Keeps room for a job that is about to be woken; None if there is none, or if others wait for it."""
        if not self._loops or self._drain.is_set() or self._is_short or self._free <= 0:
            return None
        self._held += 1
        return Hold(self._owner, f"{job_id}/{next(self._holds)}/{self._owner}", self._lease)

    def begin(self, claim: JobClaim) -> None:
        """Goes on with a job that is held now."""
        self._held -= 1
        if self._drain.is_set():
            self._release_soon(claim.token)
        else:
            self._begin(claim)

    def drop(self, hold: Hold, *, is_unclear: bool) -> None:
        """Gives the room back; what may be held without anybody's knowledge is released."""
        self._held -= 1
        if self._is_short:
            self._wake.set()
        if is_unclear:
            self._release_soon(hold.token)

    def _release_soon(self, token: str) -> None:
        task = asyncio.create_task(self._release(token), name="avtomatika-release")
        self._releases.add(task)
        task.add_done_callback(self._releases.discard)

    async def _release(self, token: str) -> None:
        # If this fails, the claim ends by itself.
        with contextlib.suppress(StorageError):
            await self._storage.release_claims([token])

    # --- claiming ---

    async def _claim_forever(self) -> None:
        while not self._drain.is_set():
            self._wake.clear()
            claims: list[JobClaim] = []
            # While nobody waits for room, half of it is left to the jobs that this engine goes on with at once.
            wanted = max(0, self._free) if self._is_short else max(0, self._free + 1) // 2
            self._is_short = not wanted
            if wanted:
                self._claiming = wanted
                try:
                    claims = await self._storage.claim_jobs(self._owner, wanted, self._lease)
                except Exception:
                    log.exception("cannot claim jobs; trying again", extra={"action": "claim_failed"})
                    await self._clock.sleep(1.0)
                    continue
                finally:
                    self._claiming = 0
                self._is_short = len(claims) == wanted
            if self._drain.is_set():
                await self._storage.release_claims([claim.token for claim in claims])
                return
            for claim in claims:
                self._begin(claim)
            if not claims or self._free <= 0:
                await self._idle()

    async def _idle(self) -> None:
        try:
            await self._clock.wait_for(self._wake.wait(), _IDLE_SECONDS)
        except TimeoutError:
            return

    def _begin(self, claim: JobClaim) -> None:
        earlier = self._active.get(claim.job.id)
        if earlier is not None:
            # This engine was too slow to keep its claim, and took the job over from itself: the first run is void.
            earlier[1].cancel()
        task = asyncio.create_task(self._run(claim), name=f"avtomatika-job-{claim.job.id}")
        self._active[claim.job.id] = (claim, task)
        # Not at the end of the run itself: one that is cancelled before its first step has no end.
        task.add_done_callback(functools.partial(self._ended, claim))

    def _ended(self, claim: JobClaim, task: asyncio.Task[None]) -> None:
        if self._active.get(claim.job.id, (None,))[0] is claim:
            del self._active[claim.job.id]
        if task.cancelled():
            self._release_soon(claim.token)
        if self._is_short:
            self._wake.set()

    async def _extend_forever(self) -> None:
        """Keeps the claims of long handlers alive."""
        while True:
            await self._clock.sleep(self._lease / 3)
            tokens = {claim.token: task for claim, task in self._active.values()}
            if not tokens:
                continue
            try:
                lost = await self._storage.extend_claims(list(tokens), self._lease)
            except Exception:
                log.exception("cannot extend claims; trying again", extra={"action": "extend_failed"})
                continue
            for token in lost:
                tokens[token].cancel()

    # --- one job ---

    async def _run(self, claim: JobClaim) -> None:
        job_id = claim.job.id
        try:
            with log_context(job_id=job_id):
                await self._chain(claim)
        except StorageError:
            log.exception(
                "a step could not be written; trying again", extra={"action": "step_failed", "job_id": job_id}
            )
            await self._give_back(claim)
        except Exception as error:
            # The claim is kept on purpose: its lease is the pause before the next try, and its deliveries are counted.
            log.exception("a step failed", extra={"action": "step_failed", "job_id": job_id})
            if claim.deliveries >= _LAST_DELIVERY:
                await self._give_up(claim, error)

    async def _give_back(self, claim: JobClaim) -> None:
        """Lets a job be tried again after a pause, without a trace: its handler has not ended this engine."""
        try:
            await self._clock.sleep(_STORAGE_PAUSE)
        finally:
            # If this fails too, the claim ends by itself.
            await self._release(claim.token)

    async def _give_up(self, claim: JobClaim, error: Exception) -> None:
        """Ends a job whose step this engine cannot do: a defect of the engine, which no further try mends."""
        message = (
            f"the engine could not do this step, {claim.deliveries} times in a row; the last time it raised "
            f"{type(error).__name__}: {error}{_place(error)}. This is no fault of the blueprint: please report it. "
            "Requeue the job when the cause is mended."
        )
        try:
            job = await self._storage.find_job(claim.job.id)
            # A job that has got further under this claim has another step now, which was tried but once.
            if job is not None and job.transitions == claim.job.transitions:
                await self._write(job, StepBroke(message), claim.token, go_on=False)
        except Exception:
            log.exception(
                "a job could not be given up; trying again", extra={"action": "give_up_failed", "job_id": claim.job.id}
            )
            # Without a trace: one claim more, and its handler would be blamed.
            await self._give_back(claim)

    async def _chain(self, claim: JobClaim) -> None:
        """Runs handler after handler, one commit each, while the next one is due at once."""
        job = claim.job
        if claim.deliveries >= _POISON_DELIVERIES:
            await self._quarantine(claim)
            return
        # Here, where the claim is kept alive: the store of files may take its time.
        job = await self._depot.fetch_job(job)
        for count in range(1, _CHAIN_LIMIT + 1):
            blueprint = self._registry.find_version(job.blueprint, job.blueprint_version)
            if job.status is not JobStatus.RUNNING:
                begun = await self._begin_first(job, blueprint, claim.token)
                if begun is None:
                    return
                job, event = begun
            elif blueprint is None:
                event = self._pin_again(job)
            else:
                event = await self._call(job, blueprint)
            go_on = count < _CHAIN_LIMIT and not self._drain.is_set()
            done = await self._write(job, event, claim.token, go_on=go_on)
            if done is None:
                log.info("a step came too late", extra={"action": "step_void", "job_id": job.id})
                return
            job, keeps_claim = done
            if not keeps_claim:
                return

    async def _begin_first(self, job: Job, blueprint: CompiledBlueprint | None, token: str) -> tuple[Job, Event] | None:
        """Calls the first handler of a job that waited for it; people see it run if it takes a while.

        Returns:
            The job as last committed, and what the handler did; None if somebody else was faster.
        """
        if blueprint is None:
            job_shown = await self._show(job, token)
            return None if job_shown is None else (job_shown, self._pin_again(job_shown))
        showing: list[asyncio.Task[Job | None]] = []

        def show() -> None:
            showing.append(asyncio.create_task(self._show(job, token), name=f"avtomatika-show-{job.id}"))

        # The machine's clock on purpose: people wait by it.
        timer = asyncio.get_running_loop().call_later(_SHOWN_SECONDS, show)
        try:
            event = await self._call(job, blueprint)
            for shown in showing:
                later = await shown
                if later is None:
                    return None
                job = later
            return job, event
        finally:
            timer.cancel()
            for shown in showing:
                shown.cancel()

    async def _show(self, job: Job, token: str) -> Job | None:
        """Writes down that the handler of a job is called; returns the job then, or None if it is another's."""
        began = await self._performer.step(job, HandlerStarted(), token, go_on=True)
        return None if began is None else began[0]

    async def _quarantine(self, claim: JobClaim) -> None:
        job = claim.job
        if job.status is not JobStatus.RUNNING:
            shown = await self._show(job, claim.token)
            if shown is None:
                return
            job = shown
        message = (
            f"the handler was begun {claim.deliveries - 1} times, and each time its engine ended before it returned. "
            "Look for what kills the process (memory, a native crash) before the job runs again."
        )
        await self._write(job, HandlerFailed("PERMANENT_ERROR", message), claim.token, go_on=False)

    async def _write(self, job: Job, event: Event, token: str, *, go_on: bool) -> tuple[Job, bool] | None:
        """Commits a step. It tells by itself if the job has ended; a signal may be about this very step."""
        self._writing.add(token)
        try:
            return await self._performer.step(job, event, token, go_on=go_on)
        finally:
            self._writing.discard(token)

    def _pin_again(self, job: Job) -> Event:
        """Finds another version for a job whose own is not loaded."""
        latest = self._registry.find(job.blueprint)
        if latest is None:
            return StateMissing(
                f"blueprint '{job.blueprint}' is not registered with this engine; register it, and the job goes on."
            )
        state = latest.migrations.get(job.state, job.state)
        if state in latest.graph:
            return Repinned(latest.graph.version, state)
        return StateMissing(
            f"state '{job.state}' does not exist in the version of blueprint '{job.blueprint}' that is loaded; "
            f"{latest.graph.known_states(job.state)} Load the job's version {job.blueprint_version} as well, or say "
            f"where its jobs go on: bp.migrate_states({{'{job.state}': ...}})."
        )

    async def _call(self, job: Job, blueprint: CompiledBlueprint) -> HandlerReturned | HandlerFailed:
        """Calls the handler of the job's state; whatever it does becomes an event."""
        event = await self._call_handler(job, blueprint)
        if isinstance(event, HandlerReturned):
            outcome = "returned"
        else:
            outcome = "raised" if event.code == "TRANSIENT_ERROR" else "faulty"
        self._meter.handler_ran(job, event.duration, outcome)
        return event

    async def _call_handler(self, job: Job, blueprint: CompiledBlueprint) -> HandlerReturned | HandlerFailed:
        began = self._clock.now()
        name = job.state
        try:
            # Apart: if the storage does not answer here, that is no failure of the handler.
            branches = await self._branches(job.id, job.fan_out) if job.fan_out is not None else ()
            context = _context_of(job, blueprint.data_stores, branches)
        except PayloadLostError as error:
            log.warning("%s", error, extra={"action": "payload_lost", "job_id": job.id, "state": job.state})
            return HandlerFailed("PAYLOAD_LOST_ERROR", str(error), self._clock.now() - began, name)
        files = None
        try:
            handler = blueprint.select(context)
            name = handler.name
            if self._payloads is not None and handler.wants_files:
                files = TaskFiles(self._payloads, job.id, context.file_facts)
                context.task_files = files if handler.is_async else files.blocking(asyncio.get_running_loop())
            with self._tracer.handler(job):
                arguments = handler.arguments(context)
                returned = await (handler.function(**arguments) if handler.is_async else _in_thread(handler, arguments))
            if isinstance(context.actions.requested, SubBlueprint):
                # A slip is told now, with what there is.
                child = self._registry.get(context.actions.requested.blueprint)
                child.check_input(dict(context.actions.requested.initial_data))
            state_history = Document.of(context.state_history, "state_history")
            has_returned = isinstance(returned, Mapping)
            result = Document.of(dict(returned), "the returned result") if has_returned else NULL
            if blueprint.output_schema is not None and blueprint.graph.state(job.state).outcome == "finished":
                blueprint.check_output((result if has_returned else state_history).value())
            return HandlerReturned(
                context.actions.requested,
                state_history,
                result,
                has_returned,
                self._clock.now() - began,
                name,
                context.file_facts,
                _moves(files),
            )
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            message = f"handler '{name}' raised CancelledError, though nobody cancelled it"
            return HandlerFailed("TRANSIENT_ERROR", message, self._clock.now() - began, name, _moves(files))
        except ContractError as error:
            log.warning("%s", error, extra={"action": "contract_violated", "job_id": job.id, "state": job.state})
            return HandlerFailed("CONTRACT_VIOLATION_ERROR", str(error), self._clock.now() - began, name, _moves(files))
        except (HandlerError, DocumentError, BlueprintError) as error:
            log.warning("%s", error, extra={"action": "handler_fault", "job_id": job.id, "state": job.state})
            return HandlerFailed("PERMANENT_ERROR", str(error), self._clock.now() - began, name, _moves(files))
        except Exception as error:
            log.warning(
                "handler '%s' raised", name, exc_info=error, extra={"action": "handler_raised", "job_id": job.id}
            )
            message = f"handler '{name}' raised {type(error).__name__}: {error}{_place(error)}"
            return HandlerFailed("TRANSIENT_ERROR", message, self._clock.now() - began, name, _moves(files))
        finally:
            if files is not None:
                await files.close()

    async def _branches(self, job_id: str, fan_out: FanOut) -> Sequence[Task]:
        """Returns the parallel tasks that the next handler joins."""
        return await self._depot.fetch_tasks(await self._storage.list_tasks(job_id, fan_out.id))


def _context_of(job: Job, data_stores: Any, branches: Sequence[Task]) -> JobContext:
    """Returns what a handler can see.

    Args:
        job: the job.
        data_stores: of its blueprint.
        branches: the parallel tasks that the handler joins.
    """
    file_facts = dict(job.file_facts)
    for task in branches:
        file_facts |= {facts.uri: facts for facts in task.data_metadata.values()}
    params = job.client.params
    return JobContext(
        job_id=job.id,
        current_state=job.state,
        initial_data=job.initial_data.value(),
        state_history=job.state_history.value(),
        actions=ActionFactory(),
        # A job that goes on at once has the very object of whoever created it.
        client=replace(job.client, params=copy.deepcopy(params) if params else {}),
        data_stores=data_stores,
        aggregation_results=fan_outs.results(branches) if branches else {},
        tracing_context=dict(job.tracing_context),
        webhook_url=job.webhook_url or None,
        # The same for each try of this step, another one for the next step.
        idempotency_key=f"{job.id}-{job.transitions}",
        attempt=job.attempt,
        file_facts=file_facts,
    )


async def _in_thread(handler: Handler, arguments: Mapping[str, Any]) -> Any:
    """Calls a plain function."""
    call = ThreadCall(functools.partial(handler.function, **arguments), f"avtomatika-{handler.name}")
    returned = await call.result
    # A plain wrapper around an async function looks plain, and returns what is still to be awaited.
    return await returned if inspect.isawaitable(returned) else returned


def _moves(files: TaskFiles | None) -> tuple[FileMove, ...]:
    """Returns what a handler has read and written."""
    if files is None:
        return ()
    return tuple(FileMove(way, name, facts) for (way, name), facts in files.moved.items())


def _place(error: Exception) -> str:
    """Returns `` (file.py, line 3)`` of the innermost frame, for people who see only the API."""
    frames = traceback.extract_tb(error.__traceback__)
    return f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
