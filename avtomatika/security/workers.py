"""``workers.toml``: workers, or patterns of them, with tokens of their own."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from avtomatika.security.clients import take_token
from avtomatika.toml_files import Section, TomlFile

_NAME = re.compile(r"^[A-Za-z0-9_*?-]{1,128}$")
_FIELDS = ("token", "description")


@dataclass(frozen=True, slots=True)
class WorkerEntry:
    """A section of the file.

    Args:
        name: the id of a worker, or a pattern of ids: ``*`` is any text, ``?`` any character.
        token_hash: never the token itself.
        description: for people.
    """

    name: str
    token_hash: str
    description: str = ""

    def covers(self, worker_id: str) -> bool:
        """Whether the section is about that worker."""
        return fnmatchcase(worker_id, self.name)


def read_workers(path: str | Path, public: frozenset[str] = frozenset()) -> tuple[WorkerEntry, ...]:
    """Reads the file.

    Args:
        path: where it is.
        public: tokens that everybody knows and nobody may have.

    Raises:
        ConfigError: something is wrong; the message names file, line, field and remedy.
    """
    holders: dict[str, str] = {}
    return tuple(_worker(section, public, holders) for section in TomlFile(path))


def _worker(section: Section, public: frozenset[str], holders: dict[str, str]) -> WorkerEntry:
    if not _NAME.match(section.name):
        raise section.complaint("", "is no id of a worker; use letters, digits, _ and -, and * or ? for patterns.")
    token_hash = take_token(section, public, holders)
    description = section.take("description", str, "a text in quotes", "")
    section.require_empty(_FIELDS)
    return WorkerEntry(section.name, token_hash, description)
