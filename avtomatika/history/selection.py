"""Selections: which rows of a history a reader wants, and the SQL that finds them in either database."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from avtomatika.history.rows import format_moment

Words = str | Collection[str] | None
"""A filter: one word, any of several, or None for all."""
Moment = datetime | str | float | None
"""A filter by time: an aware datetime, its ISO 8601 text, Unix seconds, or None for no bound."""


class Dialect(Protocol):
    """How a database writes what differs."""

    def mark(self, number: int) -> str:
        """Returns the placeholder of a parameter, counted from 1."""
        ...

    def moment(self, number: int) -> str:
        """Returns the placeholder of a moment, whose parameter is its ISO 8601 text."""
        ...

    def column(self, name: str) -> str:
        """Returns what a column is read with, so that all databases give the same values."""
        ...


@dataclass(frozen=True, slots=True)
class Selection:
    """Rows of one table.

    Args:
        table: its name.
        columns: what to read.
        order: the columns to order by.
        words: by column, the words that it may have; None for any.
        since: this moment or later, as ``format_moment`` writes it, or None.
        until: before this moment, likewise.
        limit: the newest that many, or None for all.

    Raises:
        ValueError: the limit is negative.
    """

    table: str
    columns: tuple[str, ...]
    order: tuple[str, ...]
    words: Mapping[str, Words] = field(default_factory=dict)
    since: str | None = None
    until: str | None = None
    limit: int | None = None

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 0:
            raise ValueError(f"limit must be 0 or more rows; got {self.limit}.")

    # Names of tables and columns are ours; whatever the caller gave goes through parameters.

    def find(self, dialect: Dialect, at_most: int) -> tuple[str, list[Any]]:
        """Returns the statement that finds the newest ``at_most`` rows, oldest first, and its parameters."""
        where, values = self._where(dialect)
        columns = ", ".join(dialect.column(name) for name in self.columns)
        newest = ", ".join(f"{name} DESC" for name in self.order)
        rows = f"SELECT * FROM {self.table} {where} ORDER BY {newest} LIMIT {dialect.mark(len(values) + 1)}"  # noqa: S608
        return f"SELECT {columns} FROM ({rows}) AS newest ORDER BY {', '.join(self.order)}", [*values, at_most]  # noqa: S608

    def count(self, dialect: Dialect, at_most: int) -> tuple[str, list[Any]]:
        """Returns the statement that counts the rows, up to ``at_most``, and its parameters."""
        where, values = self._where(dialect)
        rows = f"SELECT 1 FROM {self.table} {where} LIMIT {dialect.mark(len(values) + 1)}"  # noqa: S608
        return f"SELECT count(*) FROM ({rows}) AS counted", [*values, at_most]  # noqa: S608

    def check_count(self, count: int, cap: int) -> None:
        """Refuses a read that would return more rows than the cap.

        Raises:
            ValueError: ``count`` is above ``cap``.
        """
        if count > cap:
            raise ValueError(
                f"more than {cap:,} rows of {self.table} match; narrow them down (job_id, event_type, since, until), "
                "or give limit=... for the newest."
            )

    def _where(self, dialect: Dialect) -> tuple[str, list[Any]]:
        clauses: list[str] = []
        values: list[Any] = []
        for column, wanted in self.words.items():
            if wanted is None:
                continue
            several = [wanted] if isinstance(wanted, str) else list(wanted)
            marks = [dialect.mark(len(values) + number) for number in range(1, len(several) + 1)]
            clauses.append(f"{column} IN ({', '.join(marks)})" if marks else "1 = 0")
            values += several
        for bound, moment in ((">=", self.since), ("<", self.until)):
            if moment is not None:
                values.append(moment)
                clauses.append(f"timestamp {bound} {dialect.moment(len(values))}")
        return (f"WHERE {' AND '.join(clauses)}" if clauses else ""), values


def moment_text(moment: Moment, name: str) -> str | None:
    """Returns a moment as ``format_moment`` writes it, None for none.

    Args:
        moment: what the caller gave.
        name: the argument's name, for the error.

    Raises:
        ValueError: it cannot be read, or lacks a time zone.
    """
    if moment is None:
        return None
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
