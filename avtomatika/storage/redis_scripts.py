"""The Lua scripts: read from ``lua/``, put together from their parts, each with the list of keys that it names.

A script says in comments at its top which parts it needs (``-- parts: ...``) and which keys it touches (``-- keys:
...``, ``-- job keys: ...``); parts say the same. ``-- serves: many`` says that one run of it does what many calls ask
for. All keys share one hash tag, so that they live on one server.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib import resources

JOB_KEYS = {"job": "", "job_tasks": ":tasks", "job_open": ":open", "job_timers": ":timers"}
"""What the keys of one job end in; in a script they come after those that all jobs share."""


@dataclass(frozen=True, slots=True)
class Script:
    """One atomic step of the storage.

    Args:
        name: the name of its file.
        text: the Lua source.
        digest: what Redis knows it by.
        keys: names of the keys that it touches, in the order of ``KEYS``.
        serves_many: whether it takes an argument, and the keys of a job, for each of many calls.
    """

    name: str
    text: str
    digest: str
    keys: tuple[str, ...]
    serves_many: bool


@dataclass(frozen=True, slots=True)
class Keyspace:
    """The names of all keys of one storage.

    Args:
        prefix: the hash tag, without braces.
    """

    prefix: str

    def key(self, name: str) -> str:
        """Returns a key that all jobs share."""
        return f"{{{self.prefix}}}:{name}"

    def job_key(self, job_id: str, name: str = "job") -> str:
        """Returns a key of one job: ``job`` (its fields), ``job_tasks``, ``job_open`` or ``job_timers``."""
        return f"{self.key('job')}:{job_id}{JOB_KEYS[name]}"


@cache
def load_scripts() -> dict[str, Script]:
    """Returns all scripts by name."""
    folder = resources.files("avtomatika.storage") / "lua"
    names = sorted(path.name.removesuffix(".lua") for path in folder.iterdir() if path.name.endswith(".lua"))
    return {name: _assemble(name) for name in names}


def _assemble(name: str) -> Script:
    """Puts a script together."""
    own = _read(f"{name}.lua")
    parts = [_read("parts/common.lua"), *(_read(f"parts/{part}.lua") for part in _named(own, "parts"))]
    texts = [*parts, own]
    keys = _unique(key for kind in ("keys", "job keys") for text in texts for key in _named(text, kind))
    named = ", ".join(f"{key} = KEYS[{place}]" for place, key in enumerate(keys, 1))
    shared = sum(key not in JOB_KEYS for key in keys)
    text = f"local K = {{{named}}}\nlocal SHARED_KEYS = {shared}\n" + "\n".join(texts)
    # Redis names scripts by SHA-1; nothing secret depends on it.
    digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
    return Script(name, text, digest, keys, serves_many=_named(own, "serves") == ["many"])


def _read(path: str) -> str:
    return (resources.files("avtomatika.storage") / "lua" / path).read_text("utf-8")


def _named(text: str, kind: str) -> list[str]:
    """Returns the words of a line such as ``-- keys: jobs tasks``."""
    line = re.search(rf"^-- {kind}: (.*)$", text, re.MULTILINE)
    return line[1].split() if line else []


def _unique(words: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(words))
