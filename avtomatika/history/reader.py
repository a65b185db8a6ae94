"""The reader: rows of a history for analysis, over a read-only connection of its own."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Protocol

from avtomatika.errors import ConfigError, StorageError
from avtomatika.history.postgres_reader import PostgresRows
from avtomatika.history.rows import JOB_COLUMNS, WORKER_COLUMNS, job_event_from_columns, worker_event_from_columns
from avtomatika.history.selection import Moment, Selection, Words, moment_text
from avtomatika.history.sqlite import SCHEMA_VERSION
from avtomatika.history.uris import IN_MEMORY, parse_history_uri

__all__ = ["ROW_CAP", "HistoryRows", "Moment", "Words"]

ROW_CAP = 1_000_000
"""How many rows a read without ``limit`` may return."""


class _Rows(Protocol):
    """Where rows come from."""

    def select(self, selection: Selection, cap: int) -> list[tuple[Any, ...]]:
        """Returns the rows; ValueError if they are more than ``cap`` and no limit was given."""
        ...


class HistoryRows:
    """Reads a history that an engine may be writing at the same time.

    Each call opens a connection and closes it, so an instance may be used from any thread, also from one that runs an
    event loop.

    Args:
        path_or_uri: path of a SQLite file, or a value of ``HISTORY_DATABASE_URI``.
        cap: how many rows a read without ``limit`` may return.

    Raises:
        ConfigError: there is no such file; or the history is in memory, where only the engine itself can read it; or
            it is in PostgreSQL and asyncpg is not installed.
    """

    def __init__(self, path_or_uri: str | Path, cap: int = ROW_CAP) -> None:
        self.cap = cap
        self._rows: _Rows = _rows_at(str(path_or_uri))

    def job_events(
        self,
        *,
        job_id: Words = None,
        event_type: Words = None,
        state: Words = None,
        blueprint: Words = None,
        since: Moment = None,
        until: Moment = None,
        limit: int | None = None,
    ) -> list[dict[str, Any]]:
        """Returns rows of ``job_history`` by time, those of one job by sequence.

        Args:
            job_id: these jobs only.
            event_type: these events only.
            state: events in these states only.
            blueprint: events of these blueprints' jobs only.
            since: events at this moment or later.
            until: events before this moment.
            limit: the newest that many; None for all, up to the cap.

        Raises:
            ValueError: more rows than the cap, a negative limit, or a moment that cannot be read.
            ConfigError: what is there is no history, or one of a newer version.
            StorageError: the database did not answer.
        """
        selection = Selection(
            "job_history",
            JOB_COLUMNS,
            ("timestamp", "job_id", "sequence"),
            {"job_id": job_id, "event_type": event_type, "state": state, "blueprint": blueprint},
            moment_text(since, "since"),
            moment_text(until, "until"),
            limit,
        )
        return [job_event_from_columns(columns) for columns in self._rows.select(selection, self.cap)]

    def worker_events(
        self,
        *,
        worker_id: Words = None,
        event_type: Words = None,
        since: Moment = None,
        until: Moment = None,
        limit: int | None = None,
    ) -> list[dict[str, Any]]:
        """Returns rows of ``worker_history`` by time; arguments and errors as in ``job_events``."""
        selection = Selection(
            "worker_history",
            WORKER_COLUMNS,
            ("timestamp", "position"),
            {"worker_id": worker_id, "event_type": event_type},
            moment_text(since, "since"),
            moment_text(until, "until"),
            limit,
        )
        return [worker_event_from_columns(columns) for columns in self._rows.select(selection, self.cap)]


def _rows_at(location: str) -> _Rows:
    if location.startswith("sqlite:") or "://" in location:
        uri = parse_history_uri(location)
        if uri.kind == "postgresql":
            return PostgresRows(uri)
        location = uri.location
    return SQLiteRows(location)


class SQLiteRows:
    """Rows of a SQLite file.

    Args:
        location: its path.

    Raises:
        ConfigError: there is no such file, or it is in memory.
    """

    def __init__(self, location: str) -> None:
        if location in {"", IN_MEMORY}:
            raise ConfigError(
                "a history in memory can be read through its engine alone; set HISTORY_DATABASE_URI=sqlite:history.db "
                "to read it from elsewhere."
            )
        self.path = Path(location)
        if not self.path.is_file():
            raise ConfigError(
                f"there is no history file '{self.path.absolute()}'; give the path of HISTORY_DATABASE_URI."
            )

    def select(self, selection: Selection, cap: int) -> list[tuple[Any, ...]]:
        """Returns the rows.

        Raises:
            ValueError: more rows than ``cap`` match, and no limit was given.
            ConfigError: the file is no history, or a newer one.
            StorageError: SQLite did not answer.
        """
        dialect = _SQLiteDialect()
        with self._connected() as connection:
            if selection.limit is None:
                (count,) = connection.execute(*selection.count(dialect, cap + 1)).fetchone()
                selection.check_count(count, cap)
            at_most = cap if selection.limit is None else selection.limit
            return connection.execute(*selection.find(dialect, at_most)).fetchall()

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(f"{self.path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
                connection.isolation_level = None
                connection.execute("BEGIN")  # one snapshot for the count and the rows
                self._check_version(connection)
                yield connection
        except sqlite3.Error as error:
            raise StorageError(f"history '{self.path}' cannot be read: {error}.") from error

    def _check_version(self, connection: sqlite3.Connection) -> None:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'history_schema'").fetchone():
            raise ConfigError(f"'{self.path}' is no history of avtomatika; give the path of HISTORY_DATABASE_URI.")
        (version,) = connection.execute("SELECT max(version) FROM history_schema").fetchone()
        if version > SCHEMA_VERSION:
            raise ConfigError(
                f"'{self.path}' is a history of version {version}, but this avtomatika reads versions up to "
                f"{SCHEMA_VERSION}; update avtomatika."
            )


class _SQLiteDialect:
    """How SQLite writes what differs: moments are texts."""

    def mark(self, number: int) -> str:
        """Returns the placeholder of a parameter."""
        return f"?{number}"

    def moment(self, number: int) -> str:
        """Returns the placeholder of a moment."""
        return self.mark(number)

    def column(self, name: str) -> str:
        """Returns the column as it stands."""
        return name
