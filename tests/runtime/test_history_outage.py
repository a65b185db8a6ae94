"""A history that is away for long: no job waits for it, no row is lost, and it is not pestered."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from avtomatika.core.history import HistoryEvent
from avtomatika.core.states import JobStatus
from avtomatika.errors import StorageError
from avtomatika.history.postgres import PostgresHistory
from avtomatika.history.sqlite import SQLiteHistory
from avtomatika.runtime.historian import Historian
from avtomatika.testing import FakeClock

from .conftest import System, chain

HOUR = 3600.0
JOBS, ROUNDS = 1000, 100
ROWS = 8  # of a job with two transitions


class AwayHistory(SQLiteHistory):
    """A history that refuses, at once or after half a minute, until somebody mends it.

    Args:
        clock: what it waits by.
        patience: seconds until it refuses, as a server behind a broken network does.
    """

    def __init__(self, clock: FakeClock, patience: float) -> None:
        super().__init__()
        self._clock = clock
        self._patience = patience
        self.is_away = True
        self.tries = 0
        self.written: Counter[str] = Counter()

    async def write(self, events: Sequence[HistoryEvent]) -> None:
        """Refuses or writes, and counts."""
        if self.is_away:
            self.tries += 1
            await self._clock.sleep(self._patience)
            raise StorageError("the history does not answer.")
        await super().write(events)
        self.written.update(event.event_id for event in events)


class CountingHistory(PostgresHistory):
    """A history that tells when so many different rows were confirmed.

    Args:
        uri: where it is.
        expected: how many.
    """

    def __init__(self, uri: str, expected: int) -> None:
        super().__init__(uri)
        self._expected = expected
        self.refusals = 0
        self.written: set[str] = set()
        self.is_whole = False

    async def write(self, events: Sequence[HistoryEvent]) -> None:
        """Writes and counts."""
        try:
            await super().write(events)
        except StorageError:
            self.refusals += 1
            raise
        self.written.update(event.event_id for event in events)
        self.is_whole = len(self.written) == self._expected


@pytest.mark.parametrize("patience", [0.0, 30.0])
async def test_hour_without_history_slows_no_job_and_loses_no_row(system: System, patience: float) -> None:
    """A thousand jobs end without a moment of waiting; afterwards each of their rows is there once."""
    history = AwayHistory(system.clock, patience)
    await history.open()
    historian = Historian(system.storage, history, system.clock)
    historian.start()
    system.add(chain(2))

    job_ids = []
    for _ in range(ROUNDS):
        new = [await system.create() for _ in range(JOBS // ROUNDS)]
        jobs = [await system.ended(job_id) for job_id in new]
        assert {(job.status, job.updated_at - job.created_at) for job in jobs} == {(JobStatus.FINISHED, 0.0)}
        job_ids += new
        await system.clock.advance(HOUR / ROUNDS)
    waiting = await system.storage.read_events(JOBS * ROWS)
    tries = history.tries
    history.is_away = False
    await system.clock.advance(60)
    while await system.storage.read_events(1):
        await system.settle()
    await historian.stop()

    assert sum(len(step.decode()) for step in waiting) == JOBS * ROWS, "the outbox holds each row, and nothing else"
    assert tries < 2 * HOUR / 30, "a history that is away must not be asked all the time"
    rows = [await history.job_events(job_id) for job_id in job_ids]
    assert [[row["sequence"] for row in of_job] for of_job in rows] == [list(range(1, ROWS + 1))] * JOBS
    assert set(history.written.values()) == {1}
    assert await system.storage.audit() == []
    await history.close()


@pytest.mark.parametrize("kill", [False, True])
async def test_postgresql_that_stops_and_starts_misses_no_row(system: System, postgres: Any, kill: bool) -> None:
    """Jobs run on while the real server is away, and each row arrives once when it is back."""
    jobs = 300
    uri = postgres.new_schema()
    history = CountingHistory(uri, jobs * ROWS)
    await history.open()
    historian = Historian(system.storage, history, system.clock)
    historian.start()
    system.add(chain(2))

    async def run(count: int) -> None:
        for job_id in [await system.create() for _ in range(count)]:
            job = await system.ended(job_id)
            assert (job.status, job.updated_at - job.created_at) == (JobStatus.FINISHED, 0.0)

    await run(100)
    running = asyncio.ensure_future(run(100))
    await asyncio.to_thread(postgres.stop, kill=kill)  # in the middle of jobs and of writes
    await running
    await run(100)
    while not history.refusals:
        await system.clock.advance(1)
    postgres.start()
    while not history.is_whole:
        await system.clock.advance(30)
    await historian.stop()

    assert await system.storage.read_events(1) == []
    counts = "count(*), count(DISTINCT event_id), count(DISTINCT job_id), max(sequence)"
    assert postgres.execute(f"SELECT {counts} FROM job_history", uri) == f"{jobs * ROWS}|{jobs * ROWS}|{jobs}|{ROWS}"
    await history.close()
