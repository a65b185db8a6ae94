"""The historian: every row arrives once, however long the history is away."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import pytest

from avtomatika.core.history import HistoryEvent, WorkerEvent
from avtomatika.core.states import JobStatus
from avtomatika.errors import StorageError
from avtomatika.history.sqlite import SQLiteHistory
from avtomatika.runtime import historian
from avtomatika.runtime.historian import Historian
from avtomatika.storage.base import Storage

from .conftest import Line, System, chain


class FlakyHistory(SQLiteHistory):
    """A history that is down until somebody mends it; what it writes while it is half down, it denies."""

    def __init__(self) -> None:
        super().__init__("")
        self.is_down = False
        self.denies = False
        self.writes: list[str] = []
        self.tries = 0
        self.wrote = asyncio.Event()

    async def write(self, events: Sequence[HistoryEvent]) -> None:
        """Writes, or raises, or both."""
        self.tries += 1
        if self.is_down:
            raise StorageError("the history does not answer.")
        await super().write(events)
        if self.denies:
            raise StorageError("the history was written, but its answer was lost.")
        self.writes += [event.event_id for event in events]
        self.wrote.set()


@pytest.fixture
async def history() -> FlakyHistory:
    """An open history that works."""
    history = FlakyHistory()
    await history.open()
    return history


@pytest.fixture
async def system(system: System, history: FlakyHistory) -> Any:
    """A running system with a blueprint of two transitions, and a historian that was not started."""
    system.historian = Historian(system.storage, history, system.clock)
    system.history = history
    system.add(chain(2))
    return system


ROWS = 8


async def test_flush_carries_everything_and_empties_the_outbox(system: System, history: FlakyHistory) -> None:
    """After a flush the history has all rows, in order, and the storage keeps none."""
    job = await system.ended(await system.create())

    await system.historian.flush()

    rows = await history.job_events(job.id)
    assert (rows[0]["event_type"], rows[-1]["event_type"]) == ("job_created", "job_completed")
    assert len(rows) == len(history.writes) == ROWS
    assert await system.storage.read_events(10) == []


async def test_rows_arrive_by_themselves(system: System, history: FlakyHistory) -> None:
    """A running historian needs no flush and no time."""
    system.historian.start()

    await system.ended(await system.create())
    while len(history.writes) < ROWS:
        history.wrote.clear()
        await history.wrote.wait()

    await system.historian.stop()
    assert len(history.writes) == ROWS


async def test_rows_of_a_signal_that_was_missed_arrive_when_the_line_is_back(
    system: System, history: FlakyHistory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What another engine has written is carried without waiting for the next look."""
    monkeypatch.setattr(historian, "_GATHER_SECONDS", 0)
    line = Line(system.storage)
    carrier = Historian(cast("Storage", line), history, system.clock)
    carrier.start()
    await system.settle()
    line.cut()
    await system.ended(await system.create())
    await system.settle()
    assert not history.writes

    line.mend()

    await asyncio.wait_for(history.wrote.wait(), 30)
    await carrier.stop()


async def test_rows_that_come_soon_after_others_are_carried_together(
    system: System, history: FlakyHistory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows are not carried step by step as they come: what follows soon goes in one write."""
    monkeypatch.setattr(historian, "_GATHER_SECONDS", 3600.0)
    system.historian.start()

    await system.ended(await system.create())
    await system.settle()

    assert history.tries == 1
    await system.historian.flush()
    assert (history.tries, len(history.writes)) == (2, ROWS)
    await system.historian.stop()


async def test_history_that_is_down_delays_no_job(system: System, history: FlakyHistory) -> None:
    """Jobs end as if nothing were wrong; their rows wait in the outbox."""
    history.is_down = True
    system.historian.start()

    job = await system.ended(await system.create())

    assert job.status is JobStatus.FINISHED
    assert sum(len(step.decode()) for step in await system.storage.read_events(100)) == ROWS
    history.is_down = False
    await system.historian.stop()


async def test_history_that_comes_back_gets_every_row_once(system: System, history: FlakyHistory) -> None:
    """After an hour of trouble nothing is missing and nothing is there twice."""
    history.is_down = True
    system.historian.start()
    jobs = [await system.ended(await system.create()) for _ in range(5)]
    await system.clock.advance(3600)
    tries = history.tries
    history.is_down = False

    await system.clock.advance(30)
    await system.historian.stop()

    assert [len(await history.job_events(job.id)) for job in jobs] == [ROWS] * 5
    assert len(set(history.writes)) == len(history.writes) == 5 * ROWS
    assert await system.storage.read_events(1) == []
    assert tries < 200, "a history that is down must not be asked all the time"


async def test_write_whose_answer_was_lost_is_repeated_without_doubles(system: System, history: FlakyHistory) -> None:
    """A row that was written and written again stands there once."""
    job = await system.ended(await system.create())
    history.denies = True
    with pytest.raises(StorageError):
        await system.historian.flush()
    history.denies = False

    await system.historian.flush()

    assert len(await history.job_events(job.id)) == ROWS


async def test_more_rows_than_one_batch_arrive(system: System, history: FlakyHistory) -> None:
    """A long backlog is carried in several batches by one flush."""
    for _ in range(100):
        await system.ended(await system.create())

    await system.historian.flush()

    assert len(history.writes) == 100 * ROWS


async def test_rows_beyond_the_limit_are_forgotten_oldest_first(system: System, history: FlakyHistory) -> None:
    """A history in memory keeps the newest rows only."""
    system.historian = Historian(system.storage, history, system.clock, keep=10)
    first = await system.ended(await system.create())
    await system.historian.flush()
    second = await system.ended(await system.create())

    await system.historian.flush()

    assert len(await history.job_events(first.id)) == 2
    assert len(await history.job_events(second.id)) == ROWS


async def test_stop_carries_what_is_left(system: System, history: FlakyHistory) -> None:
    """The rows of the last moment are not lost by a stop."""
    system.historian.start()
    job = await system.ended(await system.create())

    await system.historian.stop()

    assert len(await history.job_events(job.id)) == ROWS


async def test_stop_leaves_rows_to_the_next_engine_when_the_history_is_down(
    system: System, history: FlakyHistory
) -> None:
    """A stop does not wait for a history that is away; the rows stay where the next engine finds them."""
    history.is_down = True
    system.historian.start()
    job = await system.ended(await system.create())
    await system.historian.stop()
    history.is_down = False

    await Historian(system.storage, history, system.clock).flush()

    assert len(await history.job_events(job.id)) == ROWS


async def test_rows_of_workers_arrive(system: System, history: FlakyHistory) -> None:
    """What workers do is written beside the rows of jobs, and survives a failure of the history."""
    told: list[WorkerEvent] = []

    async def write_workers(events: Sequence[WorkerEvent]) -> None:
        if history.is_down:
            raise StorageError("down")
        told.extend(events)

    history.write_workers = write_workers  # type: ignore[method-assign]
    history.is_down = True
    event = WorkerEvent("x", "w1", system.clock.now(), "worker_registered")
    system.historian.note(event)
    with pytest.raises(StorageError):
        await system.historian.flush()
    history.is_down = False

    await system.historian.flush()
    await system.historian.flush()

    assert told == [event]


async def test_history_that_keeps_nothing_empties_the_outbox(system: System, history: FlakyHistory) -> None:
    """Rows that nobody wants are not even read, and jobs can be forgotten all the same."""
    forgetful = Historian(system.storage, history, system.clock, keep=0)
    job = await system.ended(await system.create())
    forgetful.note(WorkerEvent("e1", "w1", 0.0, "worker_registered"))

    await forgetful.flush()

    assert history.writes == []
    assert await system.storage.read_events(1) == []
    assert await system.storage.purge_jobs(system.clock.now() + 1, 10) == [job.id]
