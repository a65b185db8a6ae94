"""History in PostgreSQL, through asyncpg."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from avtomatika.core.history import HistoryEvent, WorkerEvent
from avtomatika.errors import ConfigError, StorageError
from avtomatika.history.postgres_values import job_values, plain_text, worker_values
from avtomatika.history.queries import load_query
from avtomatika.history.rows import job_event_from_columns
from avtomatika.history.uris import HistoryURI, parse_history_uri

log = logging.getLogger(__name__)

MIGRATIONS = ("schema_1",)
"""Scripts in ``sql/postgres``, in order; each makes the tables one version newer."""
SCHEMA_VERSION = len(MIGRATIONS)
"""The version of the tables that this package writes."""
# One connection writes; the others read for the API, so that a page of history never waits for a batch.
_CONNECTIONS = 4
CONNECT_SECONDS = 5.0
"""How long a server may take to let us in."""
_COMMAND_SECONDS = 30.0
CLOSE_SECONDS = 3.0
"""How long a goodbye may take."""
# A message of the protocol ends at 1 GB; long before that, one statement would hold up everything.
_CHUNK_CHARACTERS = 8_000_000
# Any number of our own: engines that start at the same time make the tables one after another.
_MIGRATION_LOCK = 0x61_76_74_6F
# Classes of SQLSTATE that no waiting mends: authorization, unknown database, schema, role, parameter or right.
_SETTING_ERRORS = ("28", "3D", "3F", "42", "22023")
_UNDEFINED_TABLE = "42P01"
_NO_PRIVILEGE = "42501"


class PostgresHistory:
    """A history in a PostgreSQL database, version 12 or newer.

    Several engines may share it. Connections that break are replaced at the next call. While the server is away, each
    call raises StorageError after some seconds at most.

    Args:
        uri: ``postgresql://user:password@host:port/database``; what it leaves out comes from libpq's variables
            (``PGHOST``, ``PGPASSWORD`` ...) and files. Parameters follow after ``?``: ``sslmode=require``, or any
            setting of the server, such as ``search_path=audit`` for tables in another schema.

    Raises:
        ConfigError: the URI cannot be read, or asyncpg is not installed.
    """

    def __init__(self, uri: str) -> None:
        self._uri = parse_history_uri(uri)
        if self._uri.kind != "postgresql":
            raise ConfigError("PostgresHistory takes an address such as postgresql://user:password@host:5432/database.")
        self._driver = load_driver()
        self._pool: Any = None
        self._is_prepared = False
        self._opening = asyncio.Lock()

    async def open(self) -> None:
        """Connects and creates the tables if they are missing. Idempotent.

        A server that does not answer is no error: an engine must be able to start while its history is away. That is
        logged, and the tables are created when it answers.

        Raises:
            ConfigError: user, password, database or rights are wrong, or the tables are another program's or newer.
        """
        async with self._opening:
            if self._pool is not None:
                return
            self._pool = self._driver.create_pool(
                self._uri.location,
                min_size=0,
                max_size=_CONNECTIONS,
                timeout=CONNECT_SECONDS,
                command_timeout=_COMMAND_SECONDS,
            )
            try:
                await self._pool
                async with self._connected():
                    pass
            except StorageError as error:
                log.warning("%s History waits in the storage until then.", error, extra={"action": "history_away"})
            except BaseException:
                await self._close()
                raise

    async def close(self) -> None:
        """Gives up the connections within seconds. Idempotent."""
        async with self._opening:
            await self._close()

    async def _close(self) -> None:
        pool, self._pool, self._is_prepared = self._pool, None, False
        if pool is None:
            return
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await pool.close()
        except Exception:
            # Nothing is lost by it: a row whose write was not confirmed is still in the storage.
            pool.terminate()

    async def write(self, events: Sequence[HistoryEvent]) -> None:
        """Keeps the rows, all or none; a row whose ``event_id`` is known changes nothing."""
        await self._insert("insert_job_events", [job_values(event) for event in events])

    async def write_workers(self, events: Sequence[WorkerEvent]) -> None:
        """Keeps the rows, all or none; a row whose ``event_id`` is known changes nothing."""
        await self._insert("insert_worker_events", [worker_values(event) for event in events])

    async def job_events(self, job_id: str) -> list[dict[str, Any]]:
        """Returns the rows of a job by their sequence."""
        async with self._answering() as connection:
            found = await connection.fetch(load_query("postgres", "job_events"), plain_text(job_id))
        return [job_event_from_columns(tuple(columns)) for columns in found]

    async def trim(self, keep: int) -> int:
        """Forgets all but the last ``keep`` rows to arrive in each table; returns how many rows were forgotten.

        Raises:
            ValueError: ``keep`` is negative.
        """
        if keep < 0:
            raise ValueError(f"keep must be 0 or more rows; got {keep}.")
        forgotten = 0
        async with self._answering() as connection:
            for table in ("job_history", "worker_history"):
                tag = await connection.execute(load_query("postgres", f"trim_{table}"), keep)
                forgotten += int(tag.removeprefix("DELETE "))
        return forgotten

    async def _insert(self, query: str, rows: list[tuple[Any, ...]]) -> None:
        if not rows:
            return
        statement = load_query("postgres", query)
        chunks = [[list(column) for column in zip(*chunk, strict=True)] for chunk in _chunks(rows)]
        async with self._answering() as connection:
            if len(chunks) == 1:  # one statement is whole or absent by itself
                await connection.execute(statement, *chunks[0])
                return
            async with connection.transaction():
                for columns in chunks:
                    await connection.execute(statement, *columns)

    @asynccontextmanager
    async def _answering(self) -> AsyncIterator[Any]:
        """Gives a connection to prepared tables; whatever goes wrong is a StorageError."""
        try:
            async with self._connected() as connection:
                yield connection
        except ConfigError as error:
            raise StorageError(str(error)) from error

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[Any]:
        """Gives a connection to prepared tables; the driver's errors become ConfigError or StorageError."""
        if self._pool is None:
            raise StorageError("the history is not open; call open() first.")
        try:
            async with self._pool.acquire(timeout=2 * CONNECT_SECONDS) as connection:
                if not self._is_prepared:
                    await _prepare(connection, self._uri)
                    self._is_prepared = True
                yield connection
        except driver_errors(self._driver) as error:
            if getattr(error, "sqlstate", None) == _UNDEFINED_TABLE:
                self._is_prepared = False  # somebody dropped them, perhaps to restore a copy: look again next time
            raise explain(error, self._uri) from error


async def _prepare(connection: Any, uri: HistoryURI) -> None:
    """Makes the tables, or makes them as new as this package."""
    if await tables_version(connection, uri) == SCHEMA_VERSION:
        return
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _MIGRATION_LOCK)
        made = await tables_version(connection, uri)  # again: another engine may have been faster
        for version, script in enumerate(MIGRATIONS[made:], made + 1):
            await connection.execute(load_query("postgres", script))
            await connection.execute("INSERT INTO history_schema (version) VALUES ($1)", version)


async def tables_version(connection: Any, uri: HistoryURI) -> int:
    """Returns the version of the tables, 0 if there are none.

    Raises:
        ConfigError: they are another program's, or newer.
    """
    tables = [row[0] for row in await connection.fetch(load_query("postgres", "known_tables"))]
    if not tables:
        return 0
    if "history_schema" not in tables:
        raise ConfigError(
            f"PostgreSQL {uri.place} already has a table '{tables[0]}' that another program made; give "
            "HISTORY_DATABASE_URI another database, or another schema with ?search_path=name. Nothing was changed."
        )
    version: int = await connection.fetchval("SELECT coalesce(max(version), 0) FROM history_schema")
    if version > SCHEMA_VERSION:
        raise ConfigError(
            f"PostgreSQL {uri.place} holds a history of version {version}, but this avtomatika knows versions up to "
            f"{SCHEMA_VERSION}; update avtomatika, or give HISTORY_DATABASE_URI another database."
        )
    return version


def _chunks(rows: Sequence[tuple[Any, ...]]) -> Iterator[list[tuple[Any, ...]]]:
    """Cuts rows into statements of a size that the server takes well."""
    chunk: list[tuple[Any, ...]] = []
    size = 0
    for row in rows:
        chunk.append(row)
        size += sum(len(value) for value in row if isinstance(value, str))
        if size > _CHUNK_CHARACTERS:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def load_driver() -> Any:
    """Returns the module ``asyncpg``.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import asyncpg  # noqa: PLC0415 - optional
    except ModuleNotFoundError as error:
        raise ConfigError(
            "HISTORY_DATABASE_URI names PostgreSQL, which needs the package asyncpg; install it with: "
            "pip install 'avtomatika[history]'"
        ) from error
    return asyncpg


def driver_errors(driver: Any) -> tuple[type[Exception], ...]:
    """Returns what the driver raises when something is wrong with the server, the connection or the setting."""
    return (OSError, driver.PostgresError, driver.InterfaceError, driver.InternalClientError)


def explain(error: Exception, uri: HistoryURI) -> ConfigError | StorageError:
    """Returns our error for one of the driver: ConfigError for what no waiting mends, else StorageError."""
    state = getattr(error, "sqlstate", None) or ""
    if state == _NO_PRIVILEGE:
        return ConfigError(
            f"HISTORY_DATABASE_URI: PostgreSQL {uri.place} refuses it: {error}. Let the user create tables there "
            "(GRANT CREATE ON SCHEMA public TO user), or read and write those that exist."
        )
    if state.startswith(_SETTING_ERRORS) or isinstance(error, load_driver().exceptions.ClientConfigurationError):
        return ConfigError(
            f"HISTORY_DATABASE_URI: PostgreSQL {uri.place} cannot be used: {error}. Check user, password, database and "
            "parameters; the password is not shown here."
        )
    if state:
        return StorageError(f"PostgreSQL {uri.place} answered with an error: {error}.")
    reason = "no answer in time" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
    return StorageError(
        f"PostgreSQL {uri.place} did not answer: {reason}. Does it run, and can it be reached from here?"
    )
