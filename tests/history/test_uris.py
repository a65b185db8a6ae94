"""Addresses of histories."""

from __future__ import annotations

import traceback

import pytest

from avtomatika.errors import ConfigError
from avtomatika.history.uris import parse_history_uri


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("", ("memory", ":memory:")),
        ("  ", ("memory", ":memory:")),
        ("sqlite:h.db", ("sqlite", "h.db")),
        ("sqlite:/var/h.db", ("sqlite", "/var/h.db")),
        ("sqlite:///data/h.db", ("sqlite", "data/h.db")),
        ("sqlite:////var/h.db", ("sqlite", "/var/h.db")),
        ("SQLite:odd name?.db", ("sqlite", "odd name?.db")),
        ("sqlite::memory:", ("sqlite", ":memory:")),
        ("sqlite:///:memory:", ("sqlite", ":memory:")),
        ("sqlite://:memory:", ("sqlite", ":memory:")),
        ("postgresql://u:p@db:5432/h", ("postgresql", "postgresql://u:p@db:5432/h")),
        (" Postgres://u:p%40ss@db/h ", ("postgresql", "postgresql://u:p%40ss@db/h")),
        (
            "postgresql:///h?host=/run/pg&sslmode=require",
            ("postgresql", "postgresql:///h?host=/run/pg&sslmode=require"),
        ),
        ("postgresql://[::1]:5432,db2/h", ("postgresql", "postgresql://[::1]:5432,db2/h")),
        ("postgresql://", ("postgresql", "postgresql://")),
    ],
)
def test_uri_that_works_gives_kind_and_location(uri: str, expected: tuple[str, str]) -> None:
    """Every spelling of the contract is understood."""
    assert parse_history_uri(uri) == expected


@pytest.mark.parametrize(
    ("uri", "sentence"),
    [
        ("history.db", "no scheme; write sqlite:history.db"),
        ("sqlite:", "names no file"),
        ("sqlite://", "names no file"),
        ("sqlite://data/h.db", "names a host, but SQLite is a file; write sqlite:data/h.db"),
        ("mysql://x", "unknown scheme 'mysql'"),
        ("postgresl://x", "Did you mean 'postgresql'"),
    ],
)
def test_uri_that_does_not_work_is_refused_with_a_remedy(uri: str, sentence: str) -> None:
    """The error says what is wrong and what works."""
    with pytest.raises(ConfigError, match=sentence) as refusal:
        parse_history_uri(uri)

    assert "sqlite:" in str(refusal.value)


@pytest.mark.parametrize(
    "rest",
    [
        "//u:hun/ter2@db/h",
        "//u:1/ter2@db/h",
        "//u:hun#ter2@db/h",
        "//u:1#ter2@db/h",
        "//u:hun?ter2@db/h",
        "//u:1?x=ter2@db/h",
        "//u:hun@ter2@db/h",
        "//u:ter2@db:port/h",
        "//u:ter2@[db/h",
        "//u:ter2@db/h?port=none",
        "//u:ter2@db/h?sslmode",
        "u:ter2@db/h",
        "",
    ],
)
def test_postgresql_uri_that_would_be_misread_is_refused_without_repeating_it(rest: str) -> None:
    """A password with special characters is no host or port, and messages never hold a secret."""
    with pytest.raises(ConfigError, match="percent-encoded") as refusal:
        parse_history_uri(f"postgresql:{rest}")

    assert "ter2" not in "".join(traceback.format_exception(refusal.value)).replace(rest, "")
    assert "hun" not in str(refusal.value)


@pytest.mark.parametrize(
    ("uri", "place"),
    [
        ("postgresql://u:hunter2@db:5432/h?sslmode=require", "at db:5432 (database 'h')"),
        ("postgresql:///h?host=/run/pg&password=hunter2", "at /run/pg (database 'h')"),
        ("postgresql://?dbname=h&user=u", "at the default host (database 'h')"),
        ("postgresql://db", "at db (default database)"),
        ("sqlite:h.db", "h.db"),
    ],
)
def test_place_and_repr_say_where_without_the_password(uri: str, place: str) -> None:
    """Messages name host and database; whoever prints the parsed address sees no secret either."""
    parsed = parse_history_uri(uri)

    assert parsed.place == place
    assert place in repr(parsed)
    assert "hunter2" not in repr(parsed)
