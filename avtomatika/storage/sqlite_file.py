"""The file of the SQLite storage: where it is, whether it is ours, and of which version."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from avtomatika.errors import ConfigError, StorageError
from avtomatika.storage.sqlite_queries import MIGRATIONS, load_migration

BUSY_SECONDS = 5.0
"""How long a writer waits for another process that writes."""
_APPLICATION_ID = 0x61767461  # "avta": marks a file as ours, whatever tables it has
# The history may live in the same file; its tables are no sign of another program.
_HISTORY = frozenset({"history_schema", "job_history", "worker_history"})
_PATIENCE = 0.05  # seconds between two tries where SQLite itself does not wait


def parse_location(path_or_uri: str | os.PathLike[str]) -> str:
    """Returns the path that a setting means.

    A path is taken as it stands, and so is what follows ``sqlite:``. After ``sqlite://`` comes an empty host, so
    ``sqlite:///jobs.db`` is relative to the working directory and ``sqlite:////var/lib/jobs.db`` absolute.

    Raises:
        ConfigError: there is no path, or it is none of a file.
    """
    text = os.fspath(path_or_uri)
    scheme, colon, path = text.partition(":")
    if not colon or scheme.lower() != "sqlite":
        path = text
    elif path.startswith("//"):
        host, slash, path = path[2:].partition("/")
        if host and host != ":memory:":
            raise ConfigError(
                f"'{text}' names a host, but SQLite is a file; write sqlite:{host}{slash}{path} for a relative path, "
                f"or sqlite:////{host}{slash}{path} for an absolute one."
            )
        path = host or path
    if not path:
        raise ConfigError(f"'{text}' names no file; write sqlite:///jobs.db, or sqlite:////var/lib/jobs.db.")
    if path == ":memory:":
        raise ConfigError(
            "a SQLite storage keeps jobs in a file, and ':memory:' is none; use MemoryStorage (STORAGE_URI=memory:) "
            "for jobs that end with the process, or give a path."
        )
    return path


def open_writer(path: str) -> sqlite3.Connection:
    """Connects for writing; makes the file and its tables if they are missing, and brings older ones up to date.

    Raises:
        ConfigError: the directory is missing, or the file cannot be used: another program's, newer, read-only.
        StorageError: another process keeps it locked.
    """
    _check_directory(path)
    with _explained(path):
        connection = _connect(path)
    try:
        with _explained(path):
            _prepare(connection, path)
            # A step is acknowledged when a power cut cannot take it: FULL, not WAL's usual NORMAL.
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA cache_size = -16384")  # 16 MiB: a group of commits fits, so none spills early
            connection.execute("PRAGMA journal_size_limit = 67108864")  # 64 MiB: what the log keeps after a rush
    except BaseException:
        connection.close()
        raise
    return connection


def open_reader(path: str) -> sqlite3.Connection:
    """Connects for reading to a file that ``open_writer`` has prepared.

    Raises:
        ConfigError: the file cannot be used.
        StorageError: another process keeps it locked.
    """
    with _explained(path):
        connection = _connect(path)
        connection.execute("PRAGMA query_only = ON")
    return connection


def failure(path: str, error: sqlite3.Error) -> StorageError:
    """Returns what to raise when SQLite refuses a step; nothing of the step was written."""
    match getattr(error, "sqlite_errorcode", 0) & 0xFF:
        case sqlite3.SQLITE_FULL:
            reason = "the disk is full. Free some space; work goes on by itself then."
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            reason = f"another program has kept it locked for more than {BUSY_SECONDS} s. Close that program."
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM | sqlite3.SQLITE_CANTOPEN:
            reason = f"it cannot be written ({error}). Check that it is still there, and its permissions."
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            reason = f"it is damaged ({error}). Stop all engines and restore it from a copy."
        case sqlite3.SQLITE_IOERR:
            reason = f"the disk refused ({error}). Is it full, or failing?"
        case _:
            reason = f"{error}."
    return StorageError(f"storage '{path}': {reason} Nothing of the step was written.")


def _connect(path: str) -> sqlite3.Connection:
    # Transactions are begun by hand. One thread at a time uses a connection, but not always the one that made it.
    return sqlite3.connect(
        path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=256
    )


def _check_directory(path: str) -> None:
    """Refuses a file in a directory that is not there: SQLite's own message does not name it."""
    directory = Path(path).parent
    if directory.is_dir():
        return
    rooted = Path("/", path)
    meant = f" Did you mean sqlite:///{rooted}?" if rooted != Path(path) and rooted.parent.is_dir() else ""
    raise ConfigError(
        f"the storage is to be in '{path}', but the directory '{directory.absolute()}' does not exist; create it or "
        f"choose another path.{meant}"
    )


def _prepare(connection: sqlite3.Connection, path: str) -> None:
    """Makes the file ours and up to date; waits for another process that does the same."""
    ends = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            with _transaction(connection, "BEGIN"):
                _check(connection, path)
            _use_wal(connection, path)
            with _transaction(connection, "BEGIN IMMEDIATE"):
                _migrate(connection, path)
            break
        except sqlite3.OperationalError as error:
            # SQLite itself does not wait where two processes change the mode of the same file.
            if not _is_locked(error) or time.monotonic() > ends:
                raise
            time.sleep(_PATIENCE)


@contextmanager
def _transaction(connection: sqlite3.Connection, begin: str) -> Iterator[None]:
    """Commits what is done inside, or undoes it."""
    connection.execute(begin)
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _check(connection: sqlite3.Connection, path: str) -> int:
    """Returns the version of the tables, 0 for none; refuses those of others, and newer ones. In a transaction."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    foreign = sorted(name for name in tables - _HISTORY if not name.startswith("sqlite_"))
    if application != _APPLICATION_ID:
        if application or version or foreign:
            has = f"has a table '{foreign[0]}'" if foreign else f"has the mark {application}, version {version}"
            raise ConfigError(
                f"'{path}' belongs to another program: it {has}. Give the storage another path; the file stays as "
                "it is."
            )
        return 0
    if version > MIGRATIONS[-1]:
        raise ConfigError(
            f"'{path}' is a storage of version {version}, but this avtomatika knows versions up to {MIGRATIONS[-1]}; "
            "update avtomatika, or give the storage another path. The file stays as it is."
        )
    return int(version)


def _use_wal(connection: sqlite3.Connection, path: str) -> None:
    """Makes readers and the writer wait for each other no more; the file remembers it."""
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise ConfigError(
            f"'{path}' is on a file system that SQLite's write-ahead log does not work on (such as a network share); "
            "give the storage a path on a local disk."
        )


def _migrate(connection: sqlite3.Connection, path: str) -> None:
    """Brings the tables to the newest version. In a transaction."""
    version = _check(connection, path)
    if version == MIGRATIONS[-1]:
        return
    for newer in MIGRATIONS:
        if newer > version:
            for statement in load_migration(newer):
                connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {MIGRATIONS[-1]}")


@contextmanager
def _explained(path: str) -> Iterator[None]:
    """Turns SQLite's refusals at the opening into ours."""
    try:
        yield
    except sqlite3.Error as error:
        if _is_locked(error):
            raise StorageError(
                f"storage '{path}' has been locked by another program for more than {BUSY_SECONDS} s; close that "
                "program or choose another file."
            ) from error
        if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_NOTADB:
            raise ConfigError(f"'{path}' is no SQLite database; give the storage another path.") from error
        raise ConfigError(
            f"the storage '{path}' cannot be used: {error}. Give the path of a SQLite file that may be written, or of "
            "a new one."
        ) from error


def _is_locked(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
