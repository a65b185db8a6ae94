"""The holon: an engine that is a worker of another engine, its parent, with its blueprints as skills.

Each task of the parent becomes a job here. The job's id follows from the task's, so that a task which is handed out
again finds the job that runs already, also after a restart. How the job ends is a message in the commit that ends it:
the parent hears of it however often either side goes away. Everything a worker does is done by the worker SDK.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import replace
from typing import Any

from avtomatika.blueprints import CompiledBlueprint
from avtomatika.clock import Clock
from avtomatika.core.document import Document
from avtomatika.core.job import HOLON, Failure, Job, parse_wire_id
from avtomatika.core.retry import Verdict, classify
from avtomatika.core.states import JobStatus
from avtomatika.core.steps import HOLON_TOPIC
from avtomatika.errors import ConfigError, ContractError, DocumentError, JobStateError
from avtomatika.holon_events import HolonEvents, UndeliveredError
from avtomatika.protocol.codec import dumps
from avtomatika.protocol.identity import is_identifier
from avtomatika.protocol.messages import Result
from avtomatika.protocol.results import CANCELLED, FAILURE, SUCCESS, encode_result
from avtomatika.runtime.jobs import Jobs
from avtomatika.runtime.registry import Registry
from avtomatika.runtime.upward import Upward
from avtomatika.storage.base import Message, Record, RecordWrite, Storage
from avtomatika.worker import Context, Success, TaskError, Worker
from avtomatika.worker.lifecycle import ResultStep, after_result
from avtomatika.worker.settings import Settings
from avtomatika.worker.transport import Transport

log = logging.getLogger(__name__)

_SPACE = "holon"
_REMEMBERED_SECONDS = 30 * 24 * 3600.0
_LOOK_SECONDS = 20.0
_SETTLE_SECONDS = 1.0
_LONGEST_PAUSE = 30.0
_EVENTS_SECONDS = 30.0  # so long the events of a job hold up its outcome, as those of a task do at other workers
_ATTEMPTS = 10  # as far back as a job of an earlier attempt is looked for


class Holon:
    """The side of an engine that works for a parent.

    Args:
        jobs: creates, cancels and waits for jobs.
        registry: the blueprints that become skills.
        storage: where jobs live, and whose tasks they are.
        clock: for waiting.
        upward: what workers have told that the parent is to hear.
    """

    topic = HOLON_TOPIC
    limit = 20
    timeout = 60.0

    def __init__(self, jobs: Jobs, registry: Registry, storage: Storage, clock: Clock, upward: Upward) -> None:
        self._jobs = jobs
        self._registry = registry
        self._storage = storage
        self._clock = clock
        self._events = HolonEvents(upward, clock, self._task_of, self._connected)
        self._settings: Settings | None = None
        self._worker: _HolonWorker | None = None
        self._is_leaving = False
        self._ended: set[str] = set()
        self._carried: dict[str, asyncio.Event] = {}

    def configure(self, url: str, token: str, worker_id: str, concurrency: int) -> None:
        """Sets whom to work for, with the blueprints that are registered now.

        Args:
            url: address of the parent.
            token: proves to it who this is.
            worker_id: the id of this engine among its workers; its own, and the same after a restart.
            concurrency: how many of its tasks are taken at once.

        Raises:
            ConfigError: a value is wrong, or there is no blueprint to offer.
        """
        worker = _HolonWorker(
            self,
            worker_id,
            url=url,
            token=token,
            concurrency=concurrency,
            clock=self._clock,
            worker_type="holon",
            skills_dir="",
            exit_on_refused=False,
        )
        for blueprint in self._offered():
            worker.add_task(self._runner_of(blueprint.name), blueprint.name, description=f"blueprint {blueprint.name}")
        if not worker.task_names:
            raise ConfigError(
                "a holon has its blueprints as skills, and none is registered. Call engine.register_blueprint(bp)."
            )
        self._settings, self._worker = worker.settings, worker

    async def start(self) -> None:
        """Begins to work for the parent, if there is one; registering goes on by itself until it answers."""
        if self._worker is None:
            return
        await self._worker.start()
        self._events.start()
        log.info(
            "works for the engine at %s with the blueprints %s",
            self._worker.settings.url,
            ", ".join(self._worker.task_names),
            extra={"action": "holon_started", "worker_id": self._worker.settings.worker_id},
        )

    async def stop(self) -> None:
        """Says goodbye and gives the tasks back; their jobs stay, and go on in the next engine on this storage."""
        self._is_leaving = True
        await self._events.stop()
        if self._worker is not None:
            self._worker.request_stop(drain=False)
            await self._worker.stop()
            self._worker = None

    # --- a task of the parent becomes a job ---

    def _offered(self) -> Iterable[CompiledBlueprint]:
        for blueprint in self._registry:
            if is_identifier(blueprint.name):
                yield blueprint
            else:
                log.warning(
                    "blueprint '%s' is not offered to the parent: names of skills have the characters A-Z a-z 0-9 _ -",
                    blueprint.name,
                    extra={"action": "blueprint_not_offered"},
                )

    def _runner_of(self, name: str) -> Any:
        async def run(params: dict[str, Any], context: Context) -> Any:
            return await self._run(name, params, context)

        return run

    async def _run(self, name: str, params: dict[str, Any], context: Context) -> Any:
        """Does a task: finds or creates its job, waits for its end, and passes on what happens meanwhile."""
        job_id = await self._job_of(name, params, context)
        try:
            job = await self._follow(job_id, context)
        except asyncio.CancelledError:
            if not self._is_leaving:
                await self._cancel(job_id, context.task_id)
            raise
        self._ended.add(context.task_id)
        return _returned(await self._jobs.depot.fetch_job(job))

    async def _job_of(self, name: str, params: dict[str, Any], context: Context) -> str:
        """Returns the job that does the task; one of an earlier attempt, unless that has failed."""
        task_id, attempt = parse_wire_id(context.task_id)
        for job_id in _job_ids(context.job_id, task_id, attempt):
            job = await self._storage.find_job(job_id)
            if job is not None and (job.status not in _FAILED or job_id == _job_id(context.job_id, task_id, attempt)):
                # Whoever asked before has been given up by the parent; the outcome belongs to this attempt now. One
                # that was told already stays told: then this attempt's worker says it again by itself.
                if not job.is_terminal or await self._storage.find_record(_SPACE, job_id) is not None:
                    await self._note(job_id, context)
                return job_id
        job_id = _job_id(context.job_id, task_id, attempt)
        seconds = None if context.deadline is None else context.deadline - await self._storage.now()
        if seconds is not None and seconds <= 0:
            raise TaskError("the deadline of the task has passed", "TIMEOUT_ERROR")
        try:
            await self._jobs.create_once(
                job_id,
                self._registry.get(name),
                params,
                records=[self._record_of(job_id, context)],
                source=HOLON,
                result_timeout=seconds,
                tracing_context=context.tracing_context,
            )
        except (ContractError, DocumentError) as error:
            # No later attempt brings other params.
            raise TaskError(str(error), "INVALID_INPUT_ERROR") from error
        return job_id

    async def _note(self, job_id: str, context: Context) -> None:
        """Writes down whose task the job does, for whoever carries its outcome."""
        await self._storage.put_record(self._record_of(job_id, context))

    def _record_of(self, job_id: str, context: Context) -> RecordWrite:
        worker_id = "" if self._settings is None else self._settings.worker_id
        told = {"task_id": context.task_id, "job_id": context.job_id, "worker_id": worker_id}
        return RecordWrite(_SPACE, job_id, Document.of(told), None, _REMEMBERED_SECONDS)

    async def _follow(self, job_id: str, context: Context) -> Job:
        """Returns the job when it has ended, and passes its progress on until then."""
        version, told = -1, None
        while True:
            job = await self._jobs.wait(job_id, version, _LOOK_SECONDS)
            if job.is_terminal:
                return job
            version = job.version
            progress = await self._storage.find_progress(job_id)
            if progress is not None and progress != told:
                told = progress
                context.progress(progress.value, progress.message)

    async def _cancel(self, job_id: str, wire_id: str) -> None:
        """Ends the job of a task that the parent does not want any more, unless the job is another attempt's by now."""
        record = await self._storage.find_record(_SPACE, job_id)
        if record is None or record.value.value()["task_id"] != wire_id:
            return
        try:
            await self._jobs.cancel(job_id, "parent")
        except JobStateError:
            return  # it has just ended by itself

    # --- the outcome goes up ---

    async def carry(self, message: Message) -> None:
        """Tells the parent how a job has ended, after all that its workers have told of it.

        Raises:
            ConfigError: this engine has no parent any more.
            UndeliveredError: the parent does not take it.
        """
        report: Mapping[str, Any] = message.body.value()
        job_id = str(report["child"])
        try:
            await self._events.flush(job_id)
        except UndeliveredError:
            # The parent may be there and take results, but no more events for now: these hold up no outcome for long.
            if await self._storage.now() < message.created_at + _EVENTS_SECONDS:
                raise
        while (record := await self._storage.find_record(_SPACE, job_id)) is not None:
            wire_id = await self._send(record, report)
            if await self._storage.put_record(RecordWrite(_SPACE, job_id, None, record.version)):
                self._carried.setdefault(wire_id, asyncio.Event()).set()
                return

    def retry_after(self, message: Message, error: Exception) -> float | None:
        """Returns how long to wait before the next attempt: longer each time, and never giving up."""
        del error
        return min(_LONGEST_PAUSE, 0.25 * 2.0 ** min(message.attempts, 10))

    async def _task_of(self, job_id: str) -> Mapping[str, Any] | None:
        """Returns whose task a job does; None if the parent knows how it has ended."""
        record = await self._storage.find_record(_SPACE, job_id)
        return None if record is None else dict(record.value.value())

    @contextlib.asynccontextmanager
    async def _connected(self, worker_id: str) -> AsyncIterator[Transport]:
        """Gives a connection as the worker that took a task: another engine on this storage may speak for it."""
        if self._settings is None:
            raise ConfigError("the engine has no parent, but a job that a parent asked for has ended. Set PARENT_URL.")
        transport = Transport(replace(self._settings, worker_id=worker_id), self._clock)
        try:
            yield transport
        finally:
            await transport.close()

    async def _send(self, record: Record, report: Mapping[str, Any]) -> str:
        """Sends the result of the task that a record names; returns the task's id on the wire."""
        task = record.value.value()
        result = _result(report, task)
        async with self._connected(task["worker_id"]) as transport:
            reply = await transport.result(dumps(encode_result(result, self._clock.now())), {})
        if after_result(reply) is ResultStep.RETRY:
            raise UndeliveredError(f"the parent did not take a result: {reply}.")
        if after_result(reply) is ResultStep.REPLACE:
            log.error("the parent refuses a result: %s", reply, extra={"action": "result_refused", **task})
        return result.task_id

    async def settles(self, result: Result) -> bool:
        """Returns whether the message of the job's end brings the result to the parent; then, once it has."""
        if result.task_id not in self._ended:
            return False
        self._ended.discard(result.task_id)
        task_id, attempt = parse_wire_id(result.task_id)
        carried = self._carried.setdefault(result.task_id, asyncio.Event())
        try:
            while not carried.is_set():
                records = [
                    await self._storage.find_record(_SPACE, job_id)
                    for job_id in _job_ids(result.job_id, task_id, attempt)
                ]
                if not any(record and record.value.value()["task_id"] == result.task_id for record in records):
                    # Another engine on this storage has carried it, or it went up before this attempt began.
                    return carried.is_set()
                try:
                    await self._clock.wait_for(carried.wait(), _SETTLE_SECONDS)
                except TimeoutError:
                    continue
            return True
        finally:
            del self._carried[result.task_id]


class _HolonWorker(Worker):
    """A worker whose results are carried by the engine's messages.

    Args:
        holon: whose worker it is.
        worker_id: its identity.
        options: as of every worker.
    """

    def __init__(self, holon: Holon, worker_id: str, **options: Any) -> None:
        super().__init__(worker_id, **options)
        self._holon = holon

    async def settles(self, result: Result) -> bool:
        """As ``Holon.settles``."""
        return await self._holon.settles(result)


_FAILED = frozenset({JobStatus.FAILED, JobStatus.QUARANTINED, JobStatus.ERROR, JobStatus.CANCELLED})


def _job_id(parent_job_id: str, task_id: str, attempt: int) -> str:
    """Returns the id of the job that does an attempt at a task, as long as any other job's."""
    digest = hashlib.sha256(f"{parent_job_id}:{task_id}:{attempt}".encode()).hexdigest()
    return "-".join((digest[:8], digest[8:12], digest[12:16], digest[16:20], digest[20:32]))


def _job_ids(parent_job_id: str, task_id: str, attempt: int) -> list[str]:
    """Returns the ids of the jobs of this attempt and of those before it, the newest first."""
    return [_job_id(parent_job_id, task_id, number) for number in range(attempt, max(-1, attempt - _ATTEMPTS), -1)]


def _returned(job: Job) -> Any:
    """Returns what the worker makes a result of.

    Raises:
        TaskError: the job has failed.
    """
    if job.status is JobStatus.FINISHED:
        return Success(job.result.value())
    if job.status is JobStatus.CANCELLED:
        return Success(None, CANCELLED)
    code, message = _failure(job.status, job.failure)
    raise TaskError(message, code)


def _result(report: Mapping[str, Any], task: Mapping[str, Any]) -> Result:
    """Makes the result of a task from the message of its job's end."""
    ids = {"job_id": task["job_id"], "task_id": task["task_id"], "worker_id": task["worker_id"]}
    status = JobStatus(report["status"])
    if status is JobStatus.FINISHED:
        return Result(**ids, status=SUCCESS, data=report["result"])
    if status is JobStatus.CANCELLED:
        return Result(**ids, status=CANCELLED)
    failure = report["failure"]
    code, message = _failure(status, Failure(failure["code"], failure["message"]) if failure else None)
    return Result(**ids, status=FAILURE, error_code=code, error_message=message)


def _failure(status: JobStatus, failure: Failure | None) -> tuple[str, str]:
    """Returns code and message for the parent.

    What may pass was tried again here, as often as the blueprint wants; tried again at each level, it would multiply.
    """
    if failure is None:
        return "PERMANENT_ERROR", f"the job is {status}"
    if classify(failure.code) is Verdict.RETRY:
        return "PERMANENT_ERROR", f"{failure.code}: {failure.message}"
    return failure.code, failure.message
