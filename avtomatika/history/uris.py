"""The addresses of histories: what ``HISTORY_DATABASE_URI`` may say."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from avtomatika.errors import ConfigError, suggest

IN_MEMORY = ":memory:"
"""The location of a SQLite database that ends with its connection."""
_ALLOWED = (
    "an empty value (the newest events, in memory), sqlite:path, sqlite:///path, sqlite::memory: or "
    "postgresql://user:password@host:5432/database"
)
_SCHEMES = ("sqlite", "postgresql")
_HOST = r"(?:\[[0-9A-Fa-f:.]+\]|[^\[\]:@,]+)(?::\d+)?"
# What may stand before the path of a PostgreSQL URI: user and password, then hosts with their ports.
_NETLOC = re.compile(rf"(?:[^@]*@)?(?:{_HOST}(?:,{_HOST})*)?")


class HistoryURI(NamedTuple):
    """Where a history is.

    Args:
        kind: ``memory`` for a bounded history that ends with the engine, ``sqlite`` or ``postgresql``.
        location: path of the file, ``:memory:``, or the whole URI of a PostgreSQL database, with its password.
    """

    kind: Literal["memory", "sqlite", "postgresql"]
    location: str

    @property
    def place(self) -> str:
        """The location for messages: of PostgreSQL, host and database without user and password."""
        return _postgres_place(self.location) if self.kind == "postgresql" else self.location

    def __repr__(self) -> str:
        return f"HistoryURI(kind={self.kind!r}, place={self.place!r})"


def parse_history_uri(uri: str) -> HistoryURI:
    """Reads the value of ``HISTORY_DATABASE_URI``.

    ``sqlite:path`` takes the path as it stands; after ``sqlite://`` comes an empty host, so ``sqlite:///file.db`` is
    relative to the working directory and ``sqlite:////var/lib/file.db`` absolute. ``postgres:`` means ``postgresql:``.

    Raises:
        ConfigError: the scheme is unknown, there is no path, or host and port cannot be read.
    """
    text = uri.strip()
    if not text:
        return HistoryURI("memory", IN_MEMORY)
    scheme, colon, rest = text.partition(":")
    if not colon:
        raise ConfigError(f"HISTORY_DATABASE_URI '{uri}' has no scheme; write sqlite:{uri} or give {_ALLOWED}.")
    match scheme.lower():
        case "sqlite":
            return HistoryURI("sqlite", _sqlite_path(uri, rest))
        case "postgresql" | "postgres":
            _check_postgres(rest)
            return HistoryURI("postgresql", f"postgresql:{rest}")
        case unknown:
            raise ConfigError(
                f"HISTORY_DATABASE_URI has the unknown scheme '{unknown}'; give {_ALLOWED}.{suggest(unknown, _SCHEMES)}"
            )


def _sqlite_path(uri: str, rest: str) -> str:
    if rest.startswith("//"):
        host, slash, path = rest[2:].partition("/")
        if host and host != IN_MEMORY:
            raise ConfigError(
                f"HISTORY_DATABASE_URI '{uri}' names a host, but SQLite is a file; write sqlite:{rest[2:]} for a "
                f"relative path or sqlite:///{'/' + host + slash + path} for an absolute one."
            )
        rest = host or path
    if not rest:
        raise ConfigError(f"HISTORY_DATABASE_URI '{uri}' names no file; give {_ALLOWED}.")
    return rest


def _check_postgres(rest: str) -> None:
    """Refuses what would be misread: a password with a bare ``/`` would end up as a port, and in messages."""
    parts = _split(rest)
    if parts is None or "@" in parts.path + parts.query or parts.fragment or not _NETLOC.fullmatch(parts.netloc):
        # The URI may hold a password, so it is not repeated.
        raise ConfigError(
            "HISTORY_DATABASE_URI: user, host, port or parameters cannot be read; write "
            "postgresql://user:password@host:5432/database, and special characters of the password percent-encoded "
            "(%40 for @, %2F for /, %23 for #, %3F for ?, %25 for %). For a file, write sqlite:path."
        )


def _split(rest: str) -> SplitResult | None:
    if not rest.startswith("//"):
        return None
    try:
        parts = urlsplit(f"postgresql:{rest}")
        query = parse_qs(parts.query, strict_parsing=bool(parts.query))
    except ValueError:  # brackets of an IPv6 address that do not match, or a parameter without a value
        return None
    return parts if all(port.isdecimal() for value in query.get("port", []) for port in value.split(",")) else None


def _postgres_place(uri: str) -> str:
    parts = urlsplit(uri)
    query = parse_qs(parts.query)
    hosts = parts.netloc.rpartition("@")[2] or ",".join(query.get("host", []))
    database = parts.path.removeprefix("/") or "".join(query.get("dbname", query.get("database", [])))
    return " ".join(
        (
            f"at {unquote(hosts)}" if hosts else "at the default host",
            f"(database '{unquote(database)}')" if database else "(default database)",
        )
    )
