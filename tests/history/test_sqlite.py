"""What is special about SQLite: files, versions, foreign files and locks."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from avtomatika.errors import ConfigError, StorageError
from avtomatika.history import sqlite as backend
from avtomatika.history.sqlite import SQLiteHistory

MakeEvent = Callable[..., Any]


async def opened(path: Path) -> SQLiteHistory:
    """Opens a history in the file."""
    history = SQLiteHistory(f"sqlite:{path}")
    await history.open()
    return history


async def test_file_closed_and_opened_again_has_its_rows(tmp_path: Path, job_event: MakeEvent) -> None:
    """What was written outlives the engine."""
    history = await opened(tmp_path / "h.db")
    await history.write([job_event()])
    await history.close()

    history = await opened(tmp_path / "h.db")

    assert len(await history.job_events("j1")) == 1
    await history.close()


async def test_two_engines_share_a_file(tmp_path: Path, job_event: MakeEvent) -> None:
    """Each reads what the other wrote, and the same event from both is one row."""
    one, other = await opened(tmp_path / "h.db"), await opened(tmp_path / "h.db")

    await one.write([job_event(sequence=1), job_event(sequence=2)])
    await other.write([job_event(sequence=2), job_event(sequence=3)])

    assert [row["sequence"] for row in await one.job_events("j1")] == [1, 2, 3]
    await one.close()
    await other.close()


async def test_tables_have_the_contracts_columns(tmp_path: Path, worker_event: MakeEvent) -> None:
    """People query the file by hand, so the names are a promise; worker rows hold their JSON."""
    history = await opened(tmp_path / "h.db")
    await history.write_workers([worker_event(), worker_event()])
    await history.close()

    with closing(sqlite3.connect(tmp_path / "h.db")) as connection:
        rows = connection.execute(
            "SELECT event_id, worker_id, timestamp, event_type, worker_info_snapshot FROM worker_history"
        ).fetchall()
        (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    assert rows == [("w1:1", "w1", "2026-01-01T12:00:00.250000Z", "worker_registered", '{"n":1}')]
    assert mode == "wal"


async def test_missing_directory_is_refused_with_a_remedy(tmp_path: Path) -> None:
    """The error names the directory that is not there."""
    with pytest.raises(ConfigError, match="absent' does not exist; create it"):
        await opened(tmp_path / "absent" / "h.db")


async def test_missing_relative_directory_that_exists_from_the_root_is_guessed(tmp_path: Path) -> None:
    """Three slashes make a relative path; who meant an absolute one is told so."""
    history = SQLiteHistory(f"sqlite://{tmp_path}/h.db")

    with pytest.raises(ConfigError, match=f"Did you mean sqlite:///{tmp_path}/h.db"):
        await history.open()


async def test_newer_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    """A file of a later release is not written to by an older one."""
    history = await opened(tmp_path / "h.db")
    await history.close()
    with closing(sqlite3.connect(tmp_path / "h.db")) as connection:
        connection.execute("UPDATE history_schema SET version = 99")
        connection.commit()

    with pytest.raises(ConfigError, match="version 99, but this avtomatika knows versions up to 1; update"):
        await opened(tmp_path / "h.db")


async def test_table_of_another_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    """A job_history that somebody else made is not taken over."""
    with closing(sqlite3.connect(tmp_path / "h.db")) as connection:
        connection.execute("CREATE TABLE job_history (event_id TEXT)")

    with pytest.raises(ConfigError, match="table 'job_history' that another program made"):
        await opened(tmp_path / "h.db")

    with closing(sqlite3.connect(tmp_path / "h.db")) as connection:
        names = connection.execute("SELECT name FROM sqlite_master").fetchall()
    assert names == [("job_history",)]


async def test_file_with_other_tables_is_shared(tmp_path: Path) -> None:
    """The history may live in the file of the storage."""
    with closing(sqlite3.connect(tmp_path / "h.db")) as connection:
        connection.execute("CREATE TABLE jobs (id TEXT)")
        connection.execute("PRAGMA user_version = 7")

    history = await opened(tmp_path / "h.db")
    await history.close()

    with closing(sqlite3.connect(tmp_path / "h.db")) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (7,)


async def test_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    """A path to something else is an error of the setting."""
    (tmp_path / "h.db").write_text("dear diary, " * 100)

    with pytest.raises(ConfigError, match="cannot be used: file is not a database"):
        await opened(tmp_path / "h.db")


async def test_path_of_a_directory_is_refused(tmp_path: Path) -> None:
    """A directory is not a file."""
    with pytest.raises(ConfigError, match="cannot be used: unable to open"):
        await opened(tmp_path)


async def test_locked_file_is_a_storage_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, job_event: MakeEvent
) -> None:
    """A file that is busy is no fault of the setting: the caller may try again."""
    monkeypatch.setattr(backend, "_BUSY_TIMEOUT", 0.01)
    history = await opened(tmp_path / "h.db")

    with closing(sqlite3.connect(tmp_path / "h.db", isolation_level=None)) as hog:
        hog.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StorageError, match="did not answer: database is locked"):
            await history.write([job_event()])
        with pytest.raises(StorageError, match="locked by another program"):
            await opened(tmp_path / "h.db")
    await history.write([job_event()])

    assert len(await history.job_events("j1")) == 1
    await history.close()


def test_wrong_uri_is_refused_at_construction() -> None:
    """The fault shows where the setting is, not when the engine starts."""
    with pytest.raises(ConfigError, match=r"unknown scheme 'sqlit'.*Did you mean 'sqlite'"):
        SQLiteHistory("sqlit:h.db")
