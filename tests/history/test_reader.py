"""The reader: filters, order, the cap, and a writer at the same time."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from avtomatika.errors import ConfigError, StorageError
from avtomatika.history.base import History
from avtomatika.history.postgres import PostgresHistory
from avtomatika.history.postgres_reader import PostgresRows
from avtomatika.history.reader import HistoryRows, SQLiteRows
from avtomatika.history.sqlite import SQLiteHistory

MakeEvent = Callable[..., Any]
NOON = 1_767_268_800.25


async def filled(history: History, job_event: MakeEvent, worker_event: MakeEvent) -> None:
    """Opens a history; writes three events of one job, two of another, and two of a worker."""
    await history.open()
    await history.write([job_event("j1", n, type="state_started" if n == 1 else "state_finished") for n in (1, 2, 3)])
    await history.write([job_event("j2", n, blueprint="mail", state="b") for n in (1, 2)])
    await history.write_workers([worker_event(1), worker_event(2, worker_id="w2", type="worker_lost")])


@pytest.fixture(params=["sqlite", "postgresql"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a new history of each backend."""
    if request.param == "sqlite":
        return f"sqlite:{tmp_path / 'h.db'}"
    return str(request.getfixturevalue("postgres").new_schema())


@pytest.fixture
async def history(location: str, job_event: MakeEvent, worker_event: MakeEvent) -> AsyncIterator[History]:
    """A filled history at that address."""
    history: History = SQLiteHistory(location) if location.startswith("sqlite") else PostgresHistory(location)
    await filled(history, job_event, worker_event)
    yield history
    await history.close()


@pytest.fixture
def rows(history: History, location: str) -> HistoryRows:
    """A reader of that history, which stays open."""
    return HistoryRows(location)


@pytest.fixture
async def file(tmp_path: Path, job_event: MakeEvent, worker_event: MakeEvent) -> Path:
    """A filled history in a SQLite file that nobody writes any more."""
    history = SQLiteHistory(f"sqlite:{tmp_path / 'h.db'}")
    await filled(history, job_event, worker_event)
    await history.close()
    return tmp_path / "h.db"


def ids(found: list[dict[str, Any]]) -> list[str]:
    """Returns the event ids."""
    return [row["event_id"] for row in found]


def test_all_rows_come_by_time_then_job(rows: HistoryRows) -> None:
    """Without filters there is everything, in one order."""
    assert ids(rows.job_events()) == ["j1:1", "j2:1", "j1:2", "j2:2", "j1:3"]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"job_id": "j2"}, ["j2:1", "j2:2"]),
        ({"job_id": ["j1", "j2"], "blueprint": "mail"}, ["j2:1", "j2:2"]),
        ({"event_type": "state_finished"}, ["j1:2", "j1:3"]),
        ({"state": ("b",)}, ["j2:1", "j2:2"]),
        ({"state": []}, []),
        ({"job_id": "j1' OR 1=1 --"}, []),
        ({"job_id": "j\x001"}, []),
        ({"since": NOON + 1, "until": NOON + 2}, ["j1:2", "j2:2"]),
        ({"since": datetime.fromtimestamp(NOON + 2, UTC)}, ["j1:3"]),
        ({"until": "2026-01-01T13:00:00.250001+01:00"}, ["j1:1", "j2:1"]),
        ({"limit": 2}, ["j2:2", "j1:3"]),
        ({"limit": 0}, []),
        ({"job_id": "j1", "limit": 2}, ["j1:2", "j1:3"]),
    ],
)
def test_filters_choose_rows(rows: HistoryRows, filters: dict[str, Any], expected: list[str]) -> None:
    """Filters join with and; the lower bound is inside, the upper outside; a limit keeps the newest."""
    assert ids(rows.job_events(**filters)) == expected


def test_rows_are_those_of_the_history(rows: HistoryRows) -> None:
    """A row read here is the row that the API shows."""
    (row,) = rows.job_events(job_id="j1", limit=1)

    assert (row["sequence"], row["context_snapshot"]) == (3, {})
    assert row["timestamp"] == "2026-01-01T12:00:02.250000Z"


def test_worker_rows_are_filtered_alike(rows: HistoryRows) -> None:
    """Workers have the same filters by id, type and time."""
    assert ids(rows.worker_events()) == ["w1:1", "w1:2"]
    assert ids(rows.worker_events(worker_id="w2")) == ["w1:2"]
    assert ids(rows.worker_events(event_type="worker_registered")) == ["w1:1"]
    assert rows.worker_events(limit=1)[0]["worker_info_snapshot"] == {"n": 1}


def test_snapshots_are_read_as_they_were_written(rows: HistoryRows) -> None:
    """What workers said is an object again."""
    assert [row["worker_info_snapshot"] for row in rows.worker_events()] == [{"n": 1}, {"n": 1}]


def test_unbounded_read_above_the_cap_is_refused_with_advice(history: History, location: str) -> None:
    """Nobody fills the kernel's memory by accident; a narrower read or an explicit limit works."""
    rows = HistoryRows(location, cap=4)

    with pytest.raises(ValueError, match=r"more than 4 rows of job_history match; narrow them down .* limit="):
        rows.job_events()
    assert len(rows.job_events(job_id="j1")) == 3
    assert len(rows.job_events(limit=5)) == 5


async def test_reader_sees_what_is_written_while_it_exists(
    history: History, rows: HistoryRows, job_event: MakeEvent
) -> None:
    """The engine goes on writing, and the next read has it."""
    await history.write([job_event("j3")])

    assert ids(rows.job_events(job_id="j3")) == ["j3:1"]


async def test_closed_history_is_readable(history: History, rows: HistoryRows) -> None:
    """The history of an engine that has stopped can be read."""
    await history.close()

    assert len(rows.job_events()) == 5


def test_reader_works_from_any_thread(rows: HistoryRows) -> None:
    """One reader may be used by several threads at once."""
    counts: list[int] = []
    threads = [threading.Thread(target=lambda: counts.append(len(rows.job_events()))) for _ in range(4)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert counts == [5] * 4


def test_reader_never_changes_the_file(file: Path) -> None:
    """A reader has no way to write, even by a mistake of ours."""
    before = file.read_bytes()

    assert len(HistoryRows(file).job_events()) == 5
    with (
        SQLiteRows(str(file))._connected() as connection,
        pytest.raises(sqlite3.OperationalError, match="readonly"),
    ):
        connection.execute("DELETE FROM job_history")

    assert file.read_bytes() == before


async def test_reader_never_changes_the_database(postgres: Any, job_event: MakeEvent, worker_event: MakeEvent) -> None:
    """Nor has it in PostgreSQL, whatever the rights of its user."""
    history = PostgresHistory(postgres.new_schema())
    await filled(history, job_event, worker_event)
    reader = PostgresRows(history._uri)

    with pytest.raises(StorageError, match="read-only transaction"):
        async with reader._connected() as connection:
            await connection.execute("DELETE FROM job_history")
    await history.close()


@pytest.mark.parametrize("spelling", ["{}", "sqlite:{}", "sqlite:///{}"])
def test_reader_takes_a_path_or_a_uri(file: Path, spelling: str) -> None:
    """What stands in HISTORY_DATABASE_URI can be given as it is."""
    assert len(HistoryRows(spelling.format(file)).job_events()) == 5


async def test_reader_takes_a_path_with_odd_characters(tmp_path: Path, job_event: MakeEvent) -> None:
    """Question marks, hashes and percent signs are part of a file's name, not of a URI."""
    history = SQLiteHistory(f"sqlite:{tmp_path / 'a?b#c%41.db'}")
    await history.open()
    await history.write([job_event()])

    assert len(HistoryRows(tmp_path / "a?b#c%41.db").job_events()) == 1
    await history.close()


@pytest.mark.parametrize("location", ["", ":memory:", "sqlite::memory:"])
def test_history_in_memory_is_refused_with_a_remedy(location: str) -> None:
    """A database in memory belongs to its connection alone."""
    with pytest.raises(ConfigError, match=r"HISTORY_DATABASE_URI=sqlite:history.db"):
        HistoryRows(location)


def test_missing_file_is_refused(tmp_path: Path) -> None:
    """A typing error does not create an empty history."""
    with pytest.raises(ConfigError, match=r"no history file '.*/typo.db'"):
        HistoryRows(tmp_path / "typo.db")

    assert not (tmp_path / "typo.db").exists()


def test_foreign_file_is_refused(tmp_path: Path) -> None:
    """Another database and a text file are told apart from a history."""
    with closing(sqlite3.connect(tmp_path / "x.db")) as connection:
        connection.execute("CREATE TABLE x (y)")
    (tmp_path / "x.txt").write_text("no database " * 100)

    with pytest.raises(ConfigError, match="is no history of avtomatika"):
        HistoryRows(tmp_path / "x.db").job_events()
    with pytest.raises(StorageError, match="cannot be read: file is not a database"):
        HistoryRows(tmp_path / "x.txt").job_events()


def test_newer_file_is_refused(file: Path) -> None:
    """Columns of a later release are not guessed at."""
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("UPDATE history_schema SET version = 99")
        connection.commit()

    with pytest.raises(ConfigError, match="version 99, but this avtomatika reads versions up to 1"):
        HistoryRows(file).job_events()


async def test_newer_or_foreign_database_is_refused(postgres: Any) -> None:
    """Neither tables of a later release nor none at all are read."""
    uri = postgres.new_schema()
    with pytest.raises(ConfigError, match="holds no history of avtomatika"):
        HistoryRows(uri).job_events()
    history = PostgresHistory(uri)
    await history.open()
    await history.close()
    postgres.execute("UPDATE history_schema SET version = 99", uri)

    with pytest.raises(ConfigError, match="history of version 99, but this avtomatika knows versions up to 1"):
        HistoryRows(uri).job_events()


def test_server_that_is_not_there_is_a_storage_error() -> None:
    """Who reads is told what does not answer, without the password."""
    with pytest.raises(StorageError, match=r"at 127.0.0.1:1 \(database 'h'\) did not answer") as failure:
        HistoryRows("postgresql://u:hunter2@127.0.0.1:1/h").job_events()

    assert "hunter2" not in str(failure.value)


@pytest.mark.parametrize(
    ("filters", "sentence"),
    [
        ({"since": datetime(2026, 1, 1)}, "since must say its time zone"),  # noqa: DTZ001 - that is the mistake
        ({"until": "yesterday"}, "until must be a moment such as"),
        ({"limit": -1}, "limit must be 0 or more"),
    ],
)
def test_filter_that_makes_no_sense_is_refused(rows: HistoryRows, filters: dict[str, Any], sentence: str) -> None:
    """A wrong filter is named, instead of an answer that is silently wrong."""
    with pytest.raises(ValueError, match=sentence):
        rows.job_events(**filters)
