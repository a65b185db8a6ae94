"""Addresses of histories."""

from __future__ import annotations

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


def test_postgresql_uri_is_refused_without_repeating_its_password() -> None:
    """Messages never hold a secret."""
    with pytest.raises(ConfigError, match="no history in PostgreSQL") as refusal:
        parse_history_uri("postgresql://u:hunter2@db/h")

    assert "hunter2" not in str(refusal.value)
