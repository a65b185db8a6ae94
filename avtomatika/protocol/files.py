"""Files on the wire: what a message tells of the files that its params or its data name."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from msgspec import Struct, field

from avtomatika.protocol.reading import read_mapping, read_text, read_whole

MAX_FILES = 1000
"""So many files are told of in one message, and remembered of one job; of more, nothing is known."""
# What is told of one file; a worker may add what it likes, and all of it is kept with the job.
_LARGEST = 4096
_encode = msgspec.msgpack.Encoder().encode


class FileFacts(Struct, frozen=True):
    """What is known of a file.

    Args:
        uri: where it is, such as ``s3://bucket/key``.
        size: bytes; 0 if it is not known.
        etag: changes with the content; empty if it is not known.
        metadata: what else is known of it.
    """

    uri: str
    size: int = 0
    etag: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)


def read_files(value: object) -> dict[str, FileFacts]:
    """Returns path to facts; what makes no sense is passed over, as a result must not be lost for it.

    Args:
        value: ``data_metadata`` or ``params_metadata``: a path is made of members joined by ``.`` and of positions in
            brackets, as in ``nested.list[0]`` (protocol, section 4.2).
    """
    found: dict[str, FileFacts] = {}
    for path, told in read_mapping(value).items():
        facts = _read_facts(told)
        if facts is None or not _is_sound(path, facts):
            continue
        found[path] = facts
        if len(found) == MAX_FILES:
            break
    return found


def write_files(files: Mapping[str, FileFacts]) -> dict[str, dict[str, Any]]:
    """Returns path (or whatever the facts stand under) to what a message says of the file.

    What is not known is left out: a size of 0 would make the newest workers refuse the signature of a task.
    """
    written = {}
    for path, facts in files.items():
        told = {"uri": facts.uri, "size": facts.size, "etag": facts.etag, "metadata": dict(facts.metadata)}
        written[path] = {name: value for name, value in told.items() if value}
    return written


def find_files(value: Any, known: Mapping[str, FileFacts]) -> dict[str, FileFacts]:
    """Returns the files that a value names, by their paths in it.

    Args:
        value: params or data.
        known: address to facts.
    """
    return dict(_find(value, known, "")) if known else {}


def store_fingerprint(endpoint: str, access_key: str, bucket: str) -> str:
    """Returns what a worker tells of its object store at registration, without giving its settings away.

    Empty if a part is: then there is nothing to compare. Source: protocol, section 4.4.
    """
    if not (endpoint and access_key and bucket):
        return ""
    return hashlib.sha256(f"{endpoint}|{access_key}|{bucket}".encode()).hexdigest()[:16]


def is_same_store(own: str, told: object) -> bool | None:
    """Returns whether a worker keeps files where the engine does; None if one of the two does not say."""
    return own == told if own and told else None


def _find(value: Any, known: Mapping[str, FileFacts], path: str) -> Iterator[tuple[str, FileFacts]]:
    if isinstance(value, str):
        if path and value in known:
            yield path, known[value]
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _find(item, known, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _find(item, known, f"{path}[{index}]")


def _read_facts(told: object) -> FileFacts | None:
    if isinstance(told, FileFacts):
        return told
    if not isinstance(told, Mapping):
        return None
    uri = told.get("uri")
    if not isinstance(uri, str) or not uri:
        return None
    size = read_whole(told.get("size")) or 0
    return FileFacts(uri, max(size, 0), read_text(told.get("etag")), read_mapping(told.get("metadata")))


def _is_sound(path: str, facts: FileFacts) -> bool:
    """Whether every storage can keep it, and it is not too much."""
    try:
        return len(_encode((path, facts))) <= _LARGEST
    except (TypeError, ValueError, OverflowError, RecursionError):
        return False
