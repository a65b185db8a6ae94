"""Rows of a history in PostgreSQL, for readers that wait: scripts, notebooks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from avtomatika.errors import ConfigError
from avtomatika.history.postgres import (
    CLOSE_SECONDS,
    CONNECT_SECONDS,
    driver_errors,
    explain,
    load_driver,
    tables_version,
)
from avtomatika.history.postgres_values import plain_text
from avtomatika.history.selection import Selection
from avtomatika.history.uris import HistoryURI

T = TypeVar("T")

_READ_SECONDS = 120.0  # a read may fetch a million rows


class PostgresRows:
    """Rows of a history for analysis, without an event loop of the caller's.

    Args:
        uri: of kind ``postgresql``.

    Raises:
        ConfigError: asyncpg is not installed.
    """

    def __init__(self, uri: HistoryURI) -> None:
        self._uri = uri
        self._driver = load_driver()

    def select(self, selection: Selection, cap: int) -> list[tuple[Any, ...]]:
        """Returns the rows, over a read-only connection of its own.

        Raises:
            ValueError: more rows than ``cap`` match, and no limit was given.
            ConfigError: it cannot be connected to, is no history, or a newer one.
            StorageError: the server did not answer.
        """
        return _run_elsewhere(self._select(selection, cap))

    async def _select(self, selection: Selection, cap: int) -> list[tuple[Any, ...]]:
        dialect = _PostgresDialect()
        async with self._connected() as connection:
            if selection.limit is None:
                statement, values = selection.count(dialect, cap + 1)
                selection.check_count(await connection.fetchval(statement, *_plain(values)), cap)
            at_most = cap if selection.limit is None else selection.limit
            statement, values = selection.find(dialect, at_most)
            return [tuple(row) for row in await connection.fetch(statement, *_plain(values))]

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[Any]:
        try:
            connection = await self._driver.connect(
                self._uri.location, timeout=CONNECT_SECONDS, command_timeout=_READ_SECONDS
            )
            try:
                # One snapshot for the count and the rows.
                async with connection.transaction(isolation="repeatable_read", readonly=True):
                    if not await tables_version(connection, self._uri):
                        raise ConfigError(
                            f"PostgreSQL {self._uri.place} holds no history of avtomatika; give the value of "
                            "HISTORY_DATABASE_URI."
                        )
                    yield connection
            finally:
                await connection.close(timeout=CLOSE_SECONDS)
        except driver_errors(self._driver) as error:
            raise explain(error, self._uri) from error


class _PostgresDialect:
    """How PostgreSQL writes what differs: moments and snapshots are typed, and read as the texts that SQLite has."""

    def mark(self, number: int) -> str:
        """Returns the placeholder of a parameter."""
        return f"${number}"

    def moment(self, number: int) -> str:
        """Returns the placeholder of a moment."""
        return f"${number}::text::timestamptz"

    def column(self, name: str) -> str:
        """Returns what a column is read with."""
        if name == "timestamp":
            return "to_char(timestamp AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"
        return f"coalesce(snapshot_json, {name}::text)" if name.endswith("_snapshot") else name


def _plain(values: Sequence[Any]) -> list[Any]:
    return [plain_text(value) if isinstance(value, str) else value for value in values]


def _run_elsewhere(work: Coroutine[Any, Any, T]) -> T:
    """Runs ``work`` in another thread: the caller's may be running an event loop, as in a notebook."""
    with ThreadPoolExecutor(1, thread_name_prefix="avtomatika-history") as thread:
        return thread.submit(asyncio.run, work).result()
