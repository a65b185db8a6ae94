"""The scheduler: makes the jobs of schedules, one for each instant, however many engines there are."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from avtomatika.clock import Clock
from avtomatika.core.document import Document
from avtomatika.core.job import Client
from avtomatika.core.schedule import Overlap, Schedule, Turn, decide_turn
from avtomatika.errors import JobNotFoundError, JobStateError
from avtomatika.log_context import log_context
from avtomatika.runtime.jobs import Jobs
from avtomatika.runtime.registry import Registry
from avtomatika.storage.base import Record, RecordWrite, Storage

log = logging.getLogger(__name__)

SPACE = "schedule"
"""Where it is written down when a schedule is due, under the schedule's name."""
# The clock of this machine and that of the storage may drift apart.
_LONGEST_SLEEP = 30.0
# Seconds before a schedule is tried again that went wrong.
_PAUSE = 5.0


@dataclass(frozen=True, slots=True)
class Due:
    """What is written down of a schedule.

    Args:
        next_at: the instant that comes next.
        last_at: the instant of its last job, or None.
        last_job_id: that job, or empty.
    """

    next_at: float
    last_at: float | None = None
    last_job_id: str = ""


class Scheduler:
    """Makes jobs by the clock.

    Args:
        storage: where it is written down what is due.
        jobs: makes jobs.
        registry: the loaded blueprints.
        clock: for waiting.
    """

    def __init__(self, storage: Storage, jobs: Jobs, registry: Registry, clock: Clock) -> None:
        self._storage = storage
        self._jobs = jobs
        self._registry = registry
        self._clock = clock
        self._schedules: tuple[Schedule, ...] = ()
        self._changed = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None

    @property
    def schedules(self) -> tuple[Schedule, ...]:
        """Those of the file, also those that are not enabled."""
        return self._schedules

    def replace(self, schedules: Sequence[Schedule]) -> None:
        """Takes these schedules in place of the ones before."""
        self._schedules = tuple(schedules)
        self._changed.set()

    def start(self) -> None:
        """Begins to make jobs."""
        self._loop = asyncio.create_task(self._run_forever(), name="avtomatika-scheduler")

    async def stop(self) -> None:
        """Makes no more jobs."""
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)

    async def due(self, schedule: Schedule) -> Due | None:
        """Returns what is written down of a schedule; None if that is of no use any more."""
        record = await self._storage.find_record(SPACE, schedule.name)
        return None if record is None else _read(schedule, record)

    async def _run_forever(self) -> None:
        while True:
            self._changed.clear()
            waits = [await self._apart(schedule) for schedule in self._schedules]
            try:
                await self._clock.wait_for(self._changed.wait(), min([_LONGEST_SLEEP, *waits]))
            except TimeoutError:
                continue

    async def _apart(self, schedule: Schedule) -> float:
        """Deals with one schedule; returns after how many seconds to look at it again."""
        try:
            if not schedule.enabled:
                await self._forget(schedule)
                return _LONGEST_SLEEP
            next_at = await self.turn(schedule)
            return max(0.0, next_at - await self._storage.now())
        except Exception:
            log.exception(
                "a schedule could not be dealt with; trying again",
                extra={"action": "schedule_failed", "schedule": schedule.name},
            )
            return _PAUSE

    async def turn(self, schedule: Schedule) -> float:
        """Makes the jobs of a schedule that are due; returns the instant that comes next."""
        while True:
            record = await self._storage.find_record(SPACE, schedule.name)
            now = await self._storage.now()
            due = None if record is None else _read(schedule, record)
            version = 0 if record is None else record.version
            if due is None:
                # New, or with other instants than before: what comes next counts from now.
                await self._write(schedule, version, Due(schedule.next_after(now)))
                continue
            turn = decide_turn(schedule, due.next_at, now)
            if turn is None:
                return due.next_at
            await self._fire(schedule, due, turn, version)

    async def _fire(self, schedule: Schedule, due: Due, turn: Turn, version: int) -> None:
        """Makes a job and writes down the next instant in one commit; another engine may have been faster."""
        facts = {"action": "schedule_fired", "schedule": schedule.name}
        if turn.fire is None or (
            schedule.overlap is Overlap.SKIP and due.last_job_id and await self._is_live(due.last_job_id)
        ):
            if await self._write(schedule, version, Due(turn.next_at, due.last_at, due.last_job_id)):
                log.info("left out an instant of a schedule", extra={**facts, "action": "schedule_skipped"})
            return
        job_id = schedule.job_id(turn.fire)
        with log_context(job_id=job_id):
            made = await self._jobs.create_once(
                job_id,
                self._registry.get(schedule.blueprint),
                schedule.initial_data,
                records=[_record(schedule, version, Due(turn.next_at, turn.fire, job_id))],
                client=Client(schedule.client),
                source="schedule",
                dispatch_timeout=schedule.dispatch_timeout,
                result_timeout=schedule.result_timeout,
            )
            if not made:
                await self._settle(schedule, version, due, turn, job_id)
                return
            log.info("made the job of a schedule", extra=facts)
            if schedule.overlap is Overlap.CANCEL and due.last_job_id:
                await self._cancel(due.last_job_id)

    async def _settle(self, schedule: Schedule, version: int, due: Due, turn: Turn, job_id: str) -> None:
        """Goes on where the job of an instant exists, though the instant is still written down as the next one.

        That happens when the record was lost or the rule was changed back; else another engine has written it.
        """
        record = await self._storage.find_record(SPACE, schedule.name)
        if record is not None and record.version == version:
            await self._write(schedule, version, Due(turn.next_at, turn.fire, job_id or due.last_job_id))

    async def _forget(self, schedule: Schedule) -> None:
        """Forgets what was due, so that the time without it does not count as missed once it is enabled again."""
        if await self._storage.find_record(SPACE, schedule.name) is not None:
            await self._storage.put_record(RecordWrite(SPACE, schedule.name, None))

    async def _write(self, schedule: Schedule, version: int, due: Due) -> bool:
        return await self._storage.put_record(_record(schedule, version, due))

    async def _is_live(self, job_id: str) -> bool:
        job = await self._storage.find_job(job_id)
        return job is not None and not job.is_terminal

    async def _cancel(self, job_id: str) -> None:
        try:
            await self._jobs.cancel(job_id, "schedule")
        except (JobNotFoundError, JobStateError):
            return  # it has ended by itself


def _record(schedule: Schedule, version: int, due: Due) -> RecordWrite:
    value = {
        "signature": schedule.signature,
        "next_at": due.next_at,
        "last_at": due.last_at,
        "last_job_id": due.last_job_id,
    }
    return RecordWrite(SPACE, schedule.name, Document.of(value), version)


def _read(schedule: Schedule, record: Record) -> Due | None:
    value = record.value.value()
    if value["signature"] != schedule.signature:
        return None
    return Due(value["next_at"], value["last_at"], value["last_job_id"])
