"""``clients.toml``: who may use the API, by token, with plan, quota and parameters."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avtomatika.errors import suggest
from avtomatika.security.tokens import PRINTABLE, as_hash
from avtomatika.toml_files import Section, TomlFile

_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")
_FIELDS = ("token", "plan", "monthly_attempts")
_RESERVED = {"internal": "the engine itself", "default": "the holder of CLIENT_TOKEN"}
TOKEN = "a token of 1 to 1024 printable characters without spaces, such as `avtomatika token` makes"  # noqa: S105
"""What a token must be, in words."""


@dataclass(frozen=True, slots=True)
class ClientEntry:
    """A client of the file.

    Args:
        name: of its section.
        token_hash: never the token itself.
        plan: a word for blueprints to decide by, or empty.
        monthly_attempts: how many jobs it may create in a calendar month, or None for any number.
        params: all other fields.
    """

    name: str
    token_hash: str
    plan: str = ""
    monthly_attempts: int | None = None
    params: Mapping[str, Any] | None = None


def read_clients(path: str | Path, public: frozenset[str] = frozenset()) -> tuple[ClientEntry, ...]:
    """Reads the file.

    Args:
        path: where it is.
        public: tokens that everybody knows and nobody may have.

    Raises:
        ConfigError: something is wrong; the message names file, line, field and remedy.
    """
    holders: dict[str, str] = {}
    return tuple(_client(section, public, holders) for section in TomlFile(path))


def _client(section: Section, public: frozenset[str], holders: dict[str, str]) -> ClientEntry:
    name = section.name
    if not _NAME.match(name):
        raise section.complaint("", "is no name of a client; use letters, digits, . _ and -, at most 128.")
    if name in _RESERVED:
        raise section.complaint("", f"is the name of {_RESERVED[name]}; choose another one.")
    token_hash = take_token(section, public, holders)
    plan = section.take("plan", str, 'a text, such as plan = "free"', "")
    attempts = section.take("monthly_attempts", int, "a whole number from 0, such as monthly_attempts = 1000", None)
    if attempts is not None and attempts < 0:
        raise section.complaint("monthly_attempts", "is negative; expected a whole number from 0.")
    params = section.rest()
    for field, value in params.items():
        # A misspelt quota would be no quota.
        if near := suggest(field, _FIELDS):
            raise section.complaint(field, f"is unknown.{near} Correct it, or choose a name that is less alike.")
        if not _is_plain(value):
            raise section.complaint(field, "holds what no job can store, such as a date. Write it as a text in quotes.")
    return ClientEntry(name, token_hash, plan, attempts, params)


def take_token(section: Section, public: frozenset[str], holders: dict[str, str]) -> str:
    """Takes the token out of a section and returns its hash.

    Args:
        section: of the file.
        public: tokens that nobody may have.
        holders: which section has which hash, of the sections before; this one is added.

    Raises:
        ConfigError: it is missing, malformed, public, or another section's.
    """
    written = section.take("token", str, f"token = {TOKEN}")
    if not PRINTABLE.match(written):
        raise section.complaint("token", f"is empty, too long, or has spaces or other characters; expected {TOKEN}.")
    token_hash = as_hash(written)
    if token_hash in {as_hash(one) for one in public}:
        raise section.complaint("token", "is a public default, which everybody knows. Make one: `avtomatika token`.")
    holder = holders.setdefault(token_hash, section.name)
    if holder != section.name:
        raise section.complaint("token", f"is the same as that of [{holder}]; give each a secret of its own.")
    return token_hash


def _is_plain(value: Any) -> bool:
    """Whether JSON can express a value."""
    match value:
        case dict():
            return all(_is_plain(one) for one in value.values())
        case list():
            return all(_is_plain(one) for one in value)
        case float():
            return value - value == 0  # neither inf nor nan
        case _:
            return isinstance(value, str | int)
