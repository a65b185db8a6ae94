"""The SQL of the SQLite storage: texts from ``sql/sqlite/``, by name."""

from __future__ import annotations

import re
import sqlite3
from importlib import resources

_FOLDER = resources.files("avtomatika.storage") / "sql" / "sqlite"
_NAME = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)


def _load_queries() -> dict[str, str]:
    parts = _NAME.split((_FOLDER / "queries.sql").read_text("utf-8"))
    return {name: text.strip() for name, text in zip(parts[1::2], parts[2::2], strict=True)}


QUERIES = _load_queries()
"""Every statement, by the name that stands above it in ``queries.sql``."""

MIGRATIONS = (1, 2, 3, 4, 5)
"""The versions of the tables, oldest first; each is made from the one before by ``migration_<version>.sql``."""


def load_migration(version: int) -> list[str]:
    """Returns the statements that make the tables of ``version`` out of those of the version before."""
    statements, buffer = [], ""
    for line in (_FOLDER / f"migration_{version}.sql").read_text("utf-8").splitlines(keepends=True):
        buffer += line
        if sqlite3.complete_statement(buffer):
            statements.append(buffer)
            buffer = ""
    return statements
