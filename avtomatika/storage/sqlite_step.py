"""One step in a transaction of the SQLite storage: what it may use, and what it leaves behind."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Any

from avtomatika.storage.base import Signal
from avtomatika.storage.sqlite_queries import QUERIES

Row = tuple[Any, ...]


class Step:
    """A connection inside a transaction, the moment, and the signals to give once all is written.

    Args:
        connection: runs the statements.
        now: the moment on the storage's clock.
    """

    __slots__ = ("_connection", "now", "signals")

    def __init__(self, connection: sqlite3.Connection, now: float) -> None:
        self._connection = connection
        self.now = now
        self.signals: list[Signal] = []

    def tell(self, *signals: Signal) -> None:
        """Gives signals when the step is written."""
        self.signals += signals

    def write(self, query: str, **values: Any) -> int:
        """Runs the named statement; returns how many rows it changed."""
        return self._connection.execute(QUERIES[query], values).rowcount

    def write_many(self, query: str, rows: Iterable[Row]) -> None:
        """Runs the named statement for each row of values."""
        self._connection.executemany(QUERIES[query], rows)

    def rows(self, query: str, **values: Any) -> list[Row]:
        """Returns all rows of the named query."""
        return self.rows_of(QUERIES[query], values)

    def row(self, query: str, **values: Any) -> Row | None:
        """Returns the first row of the named query, or None."""
        rows = self.rows_of(QUERIES[query], values)
        return rows[0] if rows else None

    def value(self, query: str, **values: Any) -> Any:
        """Returns the only value of the first row, or None."""
        row = self.row(query, **values)
        return None if row is None else row[0]

    def rows_of(self, sql: str, values: dict[str, Any]) -> list[Row]:
        """Returns all rows of a query."""
        try:
            return self._connection.execute(sql, values).fetchall()
        except UnicodeEncodeError:
            # A text with lone surrogates, out of somebody's JSON: nothing can be stored under such a name.
            return []
