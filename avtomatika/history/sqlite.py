"""History in a SQLite file, or in memory for as long as the engine runs."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiosqlite

from avtomatika.core.history import HistoryEvent, WorkerEvent
from avtomatika.errors import ConfigError, StorageError
from avtomatika.history.queries import load_query
from avtomatika.history.rows import job_columns, job_event_from_columns, worker_columns
from avtomatika.history.uris import IN_MEMORY, parse_history_uri

SCHEMA_VERSION = 1
"""The version of the tables that this package writes."""
_BUSY_TIMEOUT = 5.0  # seconds to wait for another process that writes, such as a second engine


class SQLiteHistory:
    """A history in one SQLite database.

    Several engines may share the file. Writers wait for each other up to five seconds; readers wait for nobody.

    Args:
        uri: ``sqlite:path``, ``sqlite:///path``, ``sqlite::memory:``, or empty for memory.

    Raises:
        ConfigError: the URI is none of these.
    """

    def __init__(self, uri: str = "") -> None:
        self.location = parse_history_uri(uri).location
        self._connection: aiosqlite.Connection | None = None
        # One transaction at a time: the connection is shared, and a second writer's rows must not join the first's.
        self._writing = asyncio.Lock()

    async def open(self) -> None:
        """Connects and creates the tables if they are missing. Idempotent.

        Raises:
            ConfigError: the directory is missing, or the file cannot be written, is no history, or a newer one.
            StorageError: another process keeps the file locked.
        """
        async with self._writing:
            if self._connection is None:
                self._check_directory()
                self._connection = await self._connect()

    async def close(self) -> None:
        """Closes the file. Idempotent."""
        async with self._writing:
            connection, self._connection = self._connection, None
            if connection is not None:
                await connection.close()

    async def write(self, events: Sequence[HistoryEvent]) -> None:
        """Keeps the rows, all or none; a row whose ``event_id`` is known changes nothing."""
        await self._insert("insert_job_events", [job_columns(event) for event in events])

    async def write_workers(self, events: Sequence[WorkerEvent]) -> None:
        """Keeps the rows, all or none; a row whose ``event_id`` is known changes nothing."""
        await self._insert("insert_worker_events", [worker_columns(event) for event in events])

    async def job_events(self, job_id: str) -> list[dict[str, Any]]:
        """Returns the rows of a job by their sequence."""
        with self._answering() as connection:
            found = await connection.execute_fetchall(load_query("sqlite", "job_events"), (job_id,))
        return [job_event_from_columns(columns) for columns in found]

    async def trim(self, keep: int) -> int:
        """Forgets all but the last ``keep`` rows to arrive in each table; returns how many rows were forgotten.

        Raises:
            ValueError: ``keep`` is negative.
        """
        if keep < 0:
            raise ValueError(f"keep must be 0 or more rows; got {keep}.")
        forgotten = 0
        async with self._writing:
            with self._answering() as connection:
                for table in ("job_history", "worker_history"):
                    deletion = await connection.execute(load_query("sqlite", f"trim_{table}"), (keep,))
                    forgotten += deletion.rowcount
        return forgotten

    async def _insert(self, query: str, rows: list[tuple[Any, ...]]) -> None:
        if not rows:
            return
        async with self._writing:
            with self._answering() as connection:
                try:
                    await connection.execute("BEGIN IMMEDIATE")
                    await connection.executemany(load_query("sqlite", query), rows)
                    await connection.commit()
                except BaseException:  # also when cancelled: the next writer must not find a transaction open
                    await connection.rollback()
                    raise

    @contextmanager
    def _answering(self) -> Iterator[aiosqlite.Connection]:
        """Gives the open connection; SQLite's own errors become StorageError."""
        if self._connection is None:
            raise StorageError("the history is not open; call open() first.")
        try:
            yield self._connection
        except (sqlite3.Error, ValueError) as error:  # ValueError: closed while we waited
            raise StorageError(f"history '{self.location}' did not answer: {error}. Is the disk full?") from error

    def _check_directory(self) -> None:
        """Refuses a file in a directory that is not there: SQLite's own message does not name it."""
        if self.location == IN_MEMORY:
            return
        directory = Path(self.location).parent
        if directory.is_dir():
            return
        rooted = Path("/", self.location)
        meant = f" Did you mean sqlite:///{rooted}?" if rooted != Path(self.location) and rooted.parent.is_dir() else ""
        raise ConfigError(
            f"HISTORY_DATABASE_URI leads to '{self.location}', but the directory '{directory.absolute()}' does not "
            f"exist; create it or choose another path.{meant}"
        )

    async def _connect(self) -> aiosqlite.Connection:
        try:
            # A failure inside aiosqlite.connect leaves its thread behind, so a file that cannot be opened fails here.
            await asyncio.to_thread(lambda: sqlite3.connect(self.location).close())
            connection = aiosqlite.connect(self.location, timeout=_BUSY_TIMEOUT, isolation_level=None)
            # A program that forgets to stop its engine must still be able to end: no row is lost by it, since the
            # storage keeps each until it is written here. The library has no public way to say so.
            connection._thread.daemon = True  # noqa: SLF001
            await connection
        except sqlite3.Error as error:
            raise self._unusable(error) from error
        try:
            await self._prepare(connection)
        except sqlite3.Error as error:
            await connection.close()
            raise self._unusable(error) from error
        except BaseException:
            await connection.close()
            raise
        return connection

    async def _prepare(self, connection: aiosqlite.Connection) -> None:
        await connection.execute("PRAGMA journal_mode = WAL")
        # The storage forgets a row once it is here, so a power cut must not take it: FULL, not WAL's usual NORMAL.
        await connection.execute("PRAGMA synchronous = FULL")
        await self._check_tables(connection)
        await connection.executescript(f"BEGIN IMMEDIATE;\n{load_query('sqlite', 'schema')}\nCOMMIT;")
        await self._check_tables(connection)  # again: another process may have been faster

    async def _check_tables(self, connection: aiosqlite.Connection) -> None:
        """Refuses tables that this version did not make; tables that are missing are fine."""
        names = await connection.execute_fetchall(
            "SELECT name FROM sqlite_master WHERE name IN ('history_schema', 'job_history', 'worker_history')"
        )
        tables = {name for (name,) in names}
        if tables and "history_schema" not in tables:
            raise ConfigError(
                f"'{self.location}' already has a table '{min(tables)}' that another program made; "
                "give HISTORY_DATABASE_URI another path, the file stays as it is."
            )
        if tables:
            for (version,) in await connection.execute_fetchall("SELECT max(version) FROM history_schema"):
                if version is not None and version > SCHEMA_VERSION:
                    raise ConfigError(
                        f"'{self.location}' is a history of version {version}, but this avtomatika knows versions up "
                        f"to {SCHEMA_VERSION}; update avtomatika, or give HISTORY_DATABASE_URI another path."
                    )

    def _unusable(self, error: sqlite3.Error) -> ConfigError | StorageError:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
            return StorageError(
                f"history '{self.location}' is locked by another program for more than {_BUSY_TIMEOUT} s; "
                "close that program or choose another file."
            )
        return ConfigError(
            f"HISTORY_DATABASE_URI leads to '{self.location}', which cannot be used: {error}. "
            "Give the path of a SQLite file that may be written, or of a new one."
        )
