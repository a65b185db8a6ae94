"""The reader: rows of a SQLite history for analysis, over a read-only connection of its own."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from avtomatika.errors import ConfigError, StorageError
from avtomatika.history.rows import (
    JOB_COLUMNS,
    WORKER_COLUMNS,
    format_moment,
    job_event_from_columns,
    worker_event_from_columns,
)
from avtomatika.history.sqlite import SCHEMA_VERSION
from avtomatika.history.uris import IN_MEMORY, parse_history_uri

Words = str | Collection[str] | None
"""A filter: one word, any of several, or None for all."""
Moment = datetime | str | float | None
"""A filter by time: an aware datetime, its ISO 8601 text, Unix seconds, or None for no bound."""
ROW_CAP = 1_000_000
"""How many rows a read without ``limit`` may return."""


class HistoryRows:
    """Reads a history file that an engine may be writing at the same time.

    Each call opens a connection and closes it, so an instance may be used from any thread.

    Args:
        path_or_uri: path of the file, or its ``sqlite:`` URI.
        cap: how many rows a read without ``limit`` may return.

    Raises:
        ConfigError: there is no such file, or it is in memory, where only the engine itself can read it.
    """

    def __init__(self, path_or_uri: str | Path, cap: int = ROW_CAP) -> None:
        location = str(path_or_uri)
        if location.startswith("sqlite:") or "://" in location:
            location = parse_history_uri(location).location
        if location in {"", IN_MEMORY}:
            raise ConfigError(
                "a history in memory can be read through its engine alone; set HISTORY_DATABASE_URI=sqlite:history.db "
                "to read it from elsewhere."
            )
        self.path = Path(location)
        self.cap = cap
        if not self.path.is_file():
            raise ConfigError(
                f"there is no history file '{self.path.absolute()}'; give the path of HISTORY_DATABASE_URI."
            )

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
            StorageError: SQLite did not answer.
        """
        words = {"job_id": job_id, "event_type": event_type, "state": state, "blueprint": blueprint}
        condition, values = _condition(words, since, until)
        found = self._select("job_history", JOB_COLUMNS, "timestamp, job_id, sequence", condition, values, limit)
        return [job_event_from_columns(columns) for columns in found]

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
        condition, values = _condition({"worker_id": worker_id, "event_type": event_type}, since, until)
        found = self._select("worker_history", WORKER_COLUMNS, "timestamp, position", condition, values, limit)
        return [worker_event_from_columns(columns) for columns in found]

    def _select(
        self, table: str, columns: tuple[str, ...], order: str, condition: str, values: list[Any], limit: int | None
    ) -> list[tuple[Any, ...]]:
        if limit is not None and limit < 0:
            raise ValueError(f"limit must be 0 or more rows; got {limit}.")
        # Names of tables and columns are ours; whatever the caller gave goes through parameters.
        newest = f"SELECT * FROM {table} {condition} ORDER BY {_descending(order)} LIMIT ?"  # noqa: S608
        with self._connected() as connection:
            if limit is None:
                self._refuse_too_many(connection, table, condition, values)
            return connection.execute(
                f"SELECT {', '.join(columns)} FROM ({newest}) ORDER BY {order}",  # noqa: S608
                [*values, self.cap if limit is None else limit],
            ).fetchall()

    def _refuse_too_many(self, connection: sqlite3.Connection, table: str, condition: str, values: list[Any]) -> None:
        counted = f"SELECT count(*) FROM (SELECT 1 FROM {table} {condition} LIMIT ?)"  # noqa: S608 - as above
        (count,) = connection.execute(counted, [*values, self.cap + 1]).fetchone()
        if count > self.cap:
            raise ValueError(
                f"more than {self.cap:,} rows of {table} match; narrow them down (job_id, event_type, since, until), "
                "or give limit=... for the newest."
            )

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


def _condition(words: Mapping[str, Words], since: Moment, until: Moment) -> tuple[str, list[Any]]:
    """Returns the WHERE clause for the filters that are given, and its parameters."""
    clauses: list[str] = []
    values: list[Any] = []
    for column, wanted in words.items():
        if wanted is None:
            continue
        several = [wanted] if isinstance(wanted, str) else list(wanted)
        clauses.append(f"{column} IN ({', '.join('?' * len(several))})")
        values += several
    for bound, moment, name in ((">=", since, "since"), ("<", until, "until")):
        if moment is not None:
            clauses.append(f"timestamp {bound} ?")
            values.append(_moment_text(moment, name))
    return (f"WHERE {' AND '.join(clauses)}" if clauses else ""), values


def _moment_text(moment: datetime | str | float, name: str) -> str:
    """Returns the moment as the table writes it."""
    if isinstance(moment, str):
        try:
            moment = datetime.fromisoformat(moment)
        except ValueError:
            raise ValueError(f"{name} must be a moment such as '2026-01-31T12:00:00+00:00'; got '{moment}'.") from None
    if isinstance(moment, datetime):
        if moment.utcoffset() is None:
            raise ValueError(
                f"{name} must say its time zone, as datetime.now(timezone.utc) does; got {moment.isoformat()}."
            )
        return format_moment(moment.timestamp())
    return format_moment(float(moment))


def _descending(order: str) -> str:
    return ", ".join(f"{column} DESC" for column in order.split(", "))
