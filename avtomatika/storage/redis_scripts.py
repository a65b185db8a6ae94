"""The Lua scripts: read from ``lua/``, put together from their parts, each with the list of keys that it names.

A script says in comments at its top which parts it needs (``-- parts: ...``) and which keys it touches (``-- keys:
...``, ``-- job keys: ...``); parts say the same. All keys share one hash tag, so that they live on one server.

A script may have a second form, for what few of its calls need: ``-- also as: NAME PARTS``. Each key and each part
costs every call a little, whether it is used or not.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
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
    """

    name: str
    text: str
    digest: str
    keys: tuple[str, ...]


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
    files = sorted(path.name for path in folder.iterdir() if path.name.endswith(".lua"))
    return {script.name: script for file in files for script in _forms(file)}


def _forms(file: str) -> Iterator[Script]:
    """Puts a script together, and its second form if it has one."""
    own = _read(file)
    parts = _named(own, "parts")
    yield _assemble(file.removesuffix(".lua"), own, parts)
    if second := _named(own, "also as"):
        yield _assemble(second[0], own, [*parts, *second[1:]])


def _assemble(name: str, own: str, parts: Sequence[str]) -> Script:
    texts = [_read("parts/common.lua"), *(_read(f"parts/{part}.lua") for part in parts), own]
    keys = _unique(key for kind in ("keys", "job keys") for text in texts for key in _named(text, kind))
    names = "local K = {" + ", ".join(f"{key} = KEYS[{place}]" for place, key in enumerate(keys, 1)) + "}\n"
    text = names + "\n".join(texts)
    # Redis names scripts by SHA-1; nothing secret depends on it.
    digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
    return Script(name, text, digest, keys)


def _read(path: str) -> str:
    return (resources.files("avtomatika.storage") / "lua" / path).read_text("utf-8")


def _named(text: str, kind: str) -> list[str]:
    """Returns the words of a line such as ``-- keys: jobs tasks``."""
    line = re.search(rf"^-- {kind}: (.*)$", text, re.MULTILINE)
    return line[1].split() if line else []


def _unique(words: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(words))
