"""One suite over every backend that keeps a history."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avtomatika.core.document import Document
from avtomatika.core.history import HistoryEvent
from avtomatika.errors import StorageError
from avtomatika.history.base import History
from avtomatika.history.postgres import PostgresHistory
from avtomatika.history.rows import JOB_COLUMNS, dump_json, format_moment
from avtomatika.history.sqlite import SQLiteHistory

MakeEvent = Callable[..., Any]


@pytest.fixture(params=["sqlite-file", "sqlite-memory", "postgresql"])
def new_history(request: pytest.FixtureRequest, tmp_path: Path) -> History:
    """A history of each backend, not yet open."""
    match request.param:
        case "sqlite-file":
            return SQLiteHistory(f"sqlite:{tmp_path / 'history.db'}")
        case "sqlite-memory":
            return SQLiteHistory()
        case _:
            return PostgresHistory(request.getfixturevalue("postgres").new_schema())


@pytest.fixture
async def history(new_history: History) -> AsyncIterator[History]:
    """An open history of each backend."""
    await new_history.open()
    yield new_history
    await new_history.close()


async def test_event_with_every_field_comes_back_as_its_row(history: History) -> None:
    """A row has the contract's names, UTC text, milliseconds and the snapshot as an object."""
    event = HistoryEvent(
        job_id="j1",
        sequence=7,
        at=1_767_268_800.25,
        type="task_failed",
        blueprint="orders",
        state="charge",
        previous_state="fetch",
        next_state="refund",
        duration=0.0123456,
        worker_id="w1",
        attempt=2,
        task_id="j1-3-0",
        details={"code": "TIMEOUT_ERROR"},
        state_history=Document.of({"total": 3, "note": "añ\x00'\"<b>"}),
    )
    await history.write([event])

    (row,) = await history.job_events("j1")

    assert tuple(row) == JOB_COLUMNS
    assert row == {
        "event_id": "j1:7",
        "job_id": "j1",
        "timestamp": "2026-01-01T12:00:00.250000Z",
        "state": "charge",
        "event_type": "task_failed",
        "duration_ms": 12.346,
        "previous_state": "fetch",
        "next_state": "refund",
        "worker_id": "w1",
        "attempt_number": 2,
        "context_snapshot": {"code": "TIMEOUT_ERROR", "state_history": {"total": 3, "note": "añ\x00'\"<b>"}},
        "task_id": "j1-3-0",
        "blueprint": "orders",
        "sequence": 7,
    }


async def test_event_with_empty_fields_has_nulls_and_an_empty_snapshot(history: History, job_event: MakeEvent) -> None:
    """What an event does not say is None, not an empty string, and the snapshot is an object always."""
    await history.write([job_event()])

    (row,) = await history.job_events("j1")

    absent = ("duration_ms", "previous_state", "next_state", "worker_id", "attempt_number", "task_id")
    assert [row[name] for name in absent] == [None] * len(absent)
    assert row["context_snapshot"] == {}


async def test_event_written_twice_is_one_row(history: History, job_event: MakeEvent) -> None:
    """Delivery is at least once, so writing again changes nothing, not even within one call."""
    await history.write([job_event(state="first"), job_event(state="again")])
    await history.write([job_event(state="later"), job_event(sequence=2)])

    rows = await history.job_events("j1")

    assert [(row["sequence"], row["state"]) for row in rows] == [(1, "first"), (2, "a")]


async def test_job_events_written_out_of_order_come_in_sequence(history: History, job_event: MakeEvent) -> None:
    """Rows are ordered by sequence as a number, whatever the order of arrival, and other jobs are left out."""
    await history.write([job_event(sequence=n) for n in (10, 2, 1)])
    await history.write([job_event("j2")])

    assert [row["sequence"] for row in await history.job_events("j1")] == [1, 2, 10]


async def test_unknown_job_has_no_rows(history: History) -> None:
    """A job that nobody wrote about is an empty list, not an error."""
    assert await history.job_events("nobody") == []


async def test_empty_write_changes_nothing(history: History) -> None:
    """Writing no events is allowed."""
    await history.write([])
    await history.write_workers([])

    assert await history.trim(0) == 0


async def test_trim_keeps_the_last_rows_to_arrive_of_each_table(
    history: History, job_event: MakeEvent, worker_event: MakeEvent
) -> None:
    """The oldest arrivals go, and the number of forgotten rows is returned."""
    await history.write([job_event(sequence=n) for n in range(1, 6)])
    await history.write_workers([worker_event(n) for n in range(1, 4)])

    assert await history.trim(2) == 3 + 1
    assert [row["sequence"] for row in await history.job_events("j1")] == [4, 5]


async def test_trim_to_zero_forgets_all_and_writing_goes_on(history: History, job_event: MakeEvent) -> None:
    """After forgetting everything, the next rows are kept and counted from anew."""
    await history.write([job_event(sequence=n) for n in range(1, 4)])

    assert await history.trim(0) == 3
    await history.write([job_event(sequence=n) for n in range(4, 7)])

    assert await history.trim(2) == 1
    assert [row["sequence"] for row in await history.job_events("j1")] == [5, 6]


async def test_trim_to_a_negative_number_is_refused(history: History) -> None:
    """A negative number of rows is a mistake, named as one."""
    with pytest.raises(ValueError, match="0 or more rows; got -1"):
        await history.trim(-1)


async def test_writers_at_the_same_time_lose_nothing(history: History, job_event: MakeEvent) -> None:
    """Concurrent writes, reads and trims wait for each other."""
    writes = [history.write([job_event(f"j{n}", sequence) for sequence in (1, 2)]) for n in range(20)]

    await asyncio.gather(*writes, history.trim(1000), history.job_events("j0"))

    counts = [len(await history.job_events(f"j{n}")) for n in range(20)]
    assert counts == [2] * 20


async def test_cancelled_write_leaves_the_history_writable(history: History, job_event: MakeEvent) -> None:
    """A write that is cancelled half-way is whole or absent, and the next one works."""
    for steps in range(6):
        write = asyncio.ensure_future(history.write([job_event(f"c{steps}", n) for n in (1, 2)]))
        for _ in range(steps):
            await asyncio.sleep(0)
        write.cancel()
        await asyncio.wait([write])

        await history.write([job_event(f"after{steps}")])

        assert len(await history.job_events(f"c{steps}")) in {0, 2}
        assert len(await history.job_events(f"after{steps}")) == 1


async def test_open_and_close_twice_are_harmless(history: History, job_event: MakeEvent) -> None:
    """Both may be repeated; an open history stays as it is."""
    await history.write([job_event()])
    await history.open()

    assert len(await history.job_events("j1")) == 1
    await history.close()
    await history.close()


async def test_closed_history_says_that_it_is_not_open(history: History, job_event: MakeEvent) -> None:
    """Use after close is a StorageError with the remedy, not an error of the driver."""
    await history.close()

    with pytest.raises(StorageError, match=r"not open; call open\(\) first"):
        await history.write([job_event()])
    with pytest.raises(StorageError, match="not open"):
        await history.job_events("j1")


async def test_values_that_json_lacks_are_kept_as_text_or_null(history: History, job_event: MakeEvent) -> None:
    """A history refuses nothing that a job can hold: bytes, NaN and infinities included."""
    odd = Document.of({"raw": b"\x00\xff", "nan": float("nan"), "deep": [{"inf": float("inf")}], 5: "five"})
    await history.write([job_event(state_history=odd, details={"kinds": {"b", "a"}})])

    (row,) = await history.job_events("j1")

    assert row["context_snapshot"] == {
        "kinds": ["a", "b"],
        "state_history": {"raw": "AP8=", "nan": None, "deep": [{"inf": None}], "5": "five"},
    }


@given(st.lists(st.floats(-6e10, 2e11), min_size=2, max_size=2))
def test_moments_as_text_sort_like_their_numbers(moments: list[float]) -> None:
    """Filters compare texts, so the order of the texts must be that of the time."""
    earlier, later = sorted(moments)

    assert format_moment(earlier) <= format_moment(later)
    assert len(format_moment(earlier)) == 27


def test_json_of_a_plain_value_is_compact_ascii() -> None:
    """Snapshots are small, and safe in a database of any encoding."""
    assert dump_json({"a": [1, "ñ"]}) == '{"a":[1,"\\u00f1"]}'
