"""Token tables: find who holds a token, keep none."""

from __future__ import annotations

import gc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avtomatika.errors import AuthError, ConfigError
from avtomatika.security.tokens import PRINTABLE, TokenTable, as_hash, hash_of, new_token

HEADER = "X-Client-Token"


@pytest.fixture
def table() -> TokenTable[str]:
    """A table with two clients."""
    table: TokenTable[str] = TokenTable(HEADER)
    table.add("first-secret", "anna")
    table.add("second-secret", "boris")
    return table


def test_find_known_token_returns_its_identity(table: TokenTable[str]) -> None:
    """Each token proves the identity that it was added with."""
    assert (table.find("first-secret"), table.find("second-secret")) == ("anna", "boris")
    assert table.require("second-secret") == "boris"


@pytest.mark.parametrize("token", ["", None, "first-secre", "first-secret ", "FIRST-SECRET", "\udcff\udcfe"])
def test_find_other_token_returns_none(table: TokenTable[str], token: str | None) -> None:
    """Nothing but the very token counts, and bytes that are no text do not raise."""
    assert table.find(token) is None


@given(st.text())
def test_find_of_any_text_in_empty_table_is_none(token: str) -> None:
    """A table without tokens lets nobody in."""
    assert TokenTable[str](HEADER).find(token) is None


def test_require_without_token_names_the_header(table: TokenTable[str]) -> None:
    """Who sends no token learns where it belongs."""
    with pytest.raises(AuthError, match="header X-Client-Token is missing"):
        table.require(None)


def test_require_wrong_token_does_not_repeat_it(table: TokenTable[str]) -> None:
    """A refused token may be a mistyped secret: it stays out of messages."""
    with pytest.raises(AuthError) as caught:
        table.require("first-sekret")

    assert HEADER in str(caught.value)
    assert "sekret" not in str(caught.value)


def test_add_second_token_of_one_identity_keeps_both(table: TokenTable[str]) -> None:
    """A token can be replaced without a moment at which neither works."""
    table.add("new-secret", "anna")

    assert (table.find("first-secret"), table.find("new-secret"), len(table)) == ("anna", "anna", 3)


def test_add_token_of_another_identity_is_refused(table: TokenTable[str]) -> None:
    """A token that two share proves neither; the message names both and not the token."""
    with pytest.raises(ConfigError, match="anna and clara have the same X-Client-Token") as caught:
        table.add("first-secret", "clara")

    assert "first-secret" not in str(caught.value)
    assert table.find("first-secret") == "anna"


def test_add_empty_token_is_refused(table: TokenTable[str]) -> None:
    """Nobody is let in without a secret."""
    with pytest.raises(ConfigError, match="of clara is empty"):
        table.add("", "clara")


def test_table_keeps_no_token() -> None:
    """Neither what a table prints nor anything that it holds is a token."""
    table: TokenTable[str] = TokenTable(HEADER)
    table.add("a-very-secret-token", "anna")

    held: list[Any] = [table]
    for thing in held:
        if isinstance(thing, str | bytes):
            assert b"very-secret" not in (thing.encode() if isinstance(thing, str) else thing)
        held += [part for part in gc.get_referents(thing) if isinstance(part, str | bytes | dict | list | tuple)]
    assert "very-secret" not in repr(table)
    assert len(held) > 3


def test_two_tables_have_different_digests() -> None:
    """A digest seen in one process is worth nothing in another."""
    tables: list[TokenTable[str]] = [TokenTable(HEADER), TokenTable(HEADER)]
    for table in tables:
        table.add("secret", "anna")

    assert tables[0]._identities.keys() != tables[1]._identities.keys()


def test_replace_takes_the_tokens_of_its_source_only(table: TokenTable[str]) -> None:
    """What a file no longer has is forgotten; what was added by hand stays."""
    table.replace("file", {hash_of("third-secret"): "clara", hash_of("fourth-secret"): "dora"})
    table.replace("file", {hash_of("third-secret"): "clara"})

    assert [table.find(f"{n}-secret") for n in ("first", "third", "fourth")] == ["anna", "clara", None]


def test_token_that_was_shown_and_is_taken_away_proves_nothing(table: TokenTable[str]) -> None:
    """What is remembered of tokens that were shown lasts no longer than the tokens themselves."""
    table.replace("clients.toml", {hash_of("third-secret"): "clara"})
    assert table.find_with_hash("third-secret") == (hash_of("third-secret"), "clara")

    table.replace("clients.toml", {hash_of("fourth-secret"): "clara"})

    assert table.find("third-secret") is None
    assert table.find_with_hash("third-secret") is None
    assert table.find("fourth-secret") == "clara"


def test_replace_with_a_token_of_somebody_else_changes_nothing(table: TokenTable[str]) -> None:
    """A file that clashes with the settings is refused whole."""
    table.replace("file", {hash_of("third-secret"): "clara"})

    with pytest.raises(ConfigError, match="anna and dora have the same"):
        table.replace("file", {hash_of("fourth-secret"): "dora", hash_of("first-secret"): "dora"})

    assert [table.find(f"{n}-secret") for n in ("first", "third", "fourth")] == ["anna", "clara", None]


def test_hash_is_the_same_written_or_made() -> None:
    """A file may hold either."""
    token = new_token()

    assert as_hash(token) == as_hash(hash_of(token)) == hash_of(token)
    assert PRINTABLE.match(token)
    assert new_token() != token
