"""The addresses of histories: what ``HISTORY_DATABASE_URI`` may say."""

from __future__ import annotations

from typing import Literal, NamedTuple

from avtomatika.errors import ConfigError, suggest

IN_MEMORY = ":memory:"
"""The location of a SQLite database that ends with its connection."""
_ALLOWED = "an empty value (the newest events, in memory), sqlite:path, sqlite:///path or sqlite::memory:"
_SCHEMES = ("sqlite", "postgresql")


class HistoryURI(NamedTuple):
    """Where a history is.

    Args:
        kind: ``memory`` for a bounded history that ends with the engine, or ``sqlite``.
        location: path of the file, or ``:memory:``.
    """

    kind: Literal["memory", "sqlite"]
    location: str


def parse_history_uri(uri: str) -> HistoryURI:
    """Reads the value of ``HISTORY_DATABASE_URI``.

    ``sqlite:path`` takes the path as it stands; after ``sqlite://`` comes an empty host, so ``sqlite:///file.db`` is
    relative to the working directory and ``sqlite:////var/lib/file.db`` absolute.

    Raises:
        ConfigError: the scheme is unknown or not offered, or there is no path.
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
            # The URI may hold a password, so it is not repeated.
            raise ConfigError(f"HISTORY_DATABASE_URI: this version keeps no history in PostgreSQL; give {_ALLOWED}.")
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
