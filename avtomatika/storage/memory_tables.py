"""What the storage in memory holds: tables that its parts share."""

from __future__ import annotations

from collections import Counter, OrderedDict
from dataclasses import dataclass, field

from msgspec.structs import replace

from avtomatika.clock import Clock, SystemClock
from avtomatika.core.events import TimerKind
from avtomatika.core.job import Job
from avtomatika.core.states import JobStatus
from avtomatika.storage.base import Duplicate, Progress, Timer
from avtomatika.storage.codec import decode_job_fields
from avtomatika.storage.heap import LazyHeap
from avtomatika.storage.listeners import Listeners
from avtomatika.storage.mailbox import Mailbox
from avtomatika.storage.queues import ReadyQueue, TaskTable
from avtomatika.storage.record_table import CounterTable, RecordTable
from avtomatika.storage.records import first_position
from avtomatika.storage.rows import HistoryStep

TimerKey = tuple[str, TimerKind, str]
"""Whose it is, what for, and the task that it belongs to, or empty."""


@dataclass(slots=True)
class JobRow:
    """A job as stored, with what must be known of it without decoding.

    Args:
        job: the job, but for the fields that are kept as bytes.
        encoded: fields in which a caller could change something, as bytes: each reader gets values of its own.
        rows: rows that its history has had.
        acknowledged: how many of them have left the outbox.
        tasks: ids of all its tasks.
        open_tasks: ids of those that have not ended, as keys.
        ended_at: when it ended, or 0.
        timers: keys of its timers, as keys.
    """

    job: Job
    encoded: dict[str, bytes]
    rows: int = 0
    acknowledged: int = 0
    tasks: list[str] = field(default_factory=list)
    open_tasks: dict[str, None] = field(default_factory=dict)
    timers: dict[TimerKey, None] = field(default_factory=dict)
    ended_at: float = 0.0

    def load(self) -> Job:
        """Returns the job as last committed."""
        return replace(self.job, **decode_job_fields(self.encoded)) if self.encoded else self.job


class MemoryTables:
    """The tables.

    Args:
        clock: what moments are measured by; None for the machine's clock.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock: Clock = SystemClock() if clock is None else clock
        self._jobs: dict[str, JobRow] = {}
        self._by_creation: list[tuple[float, str]] = []
        self._counts: Counter[JobStatus] = Counter()
        self._created = 0
        self._ready = ReadyQueue()
        self._tasks = TaskTable()
        self._timers: dict[TimerKey, Timer] = {}
        self._timers_due: LazyHeap[TimerKey] = LazyHeap()
        self._outbox: OrderedDict[str, tuple[HistoryStep, int]] = OrderedDict()
        self._mailbox = Mailbox()
        self._records = RecordTable()
        self._counters = CounterTable()
        self._progress: dict[str, Progress] = {}
        self._dedupe: dict[str, Duplicate] = {}
        self._dedupe_ends: LazyHeap[str] = LazyHeap()
        self._workers: dict[str, tuple[bytes, float]] = {}
        self._workers_end: LazyHeap[str] = LazyHeap()
        self._ended: LazyHeap[str] = LazyHeap()
        self._listeners = Listeners()
        # The log of changes, and the position of each.
        self._changes: list[bytes] = []
        self._positions: list[int] = []
        # What was told before this object was made, nobody can tell any more.
        self._changes_floor = self._last_position = first_position(self._clock.now())

    def _append(self, row: JobRow, job_id: str, raw: bytes, number: int) -> None:
        """Puts rows of history into the outbox."""
        step = HistoryStep(job_id, row.rows + 1, raw)
        self._outbox[step.id] = (step, number)
        row.rows += number
