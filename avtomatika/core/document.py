"""Documents: the JSON-like values of a job, frozen as msgpack bytes; and what stands for one that is kept elsewhere."""

from __future__ import annotations

import datetime
import enum
import numbers
import uuid
from collections.abc import Mapping
from typing import Any

import msgpack
import msgspec

from avtomatika.errors import AvtomatikaError, DocumentError, PayloadLostError

MAX_DEPTH = 200
"""How many lists and mappings may stand inside each other in what comes from outside."""
_INT_MIN, _INT_MAX = -(2**63), 2**64 - 1
# An extension of msgpack, which no value has: so nobody can make a reference by sending one.
_AWAY_CODE, _AWAY_HEAD, _AWAY_LENGTH = 0x50, b"\xc7\x28\x50", 43
_REFUSALS = (TypeError, ValueError, OverflowError, RecursionError)


class DocumentAwayError(AvtomatikaError):
    """A document that is kept elsewhere was read before it was fetched: a defect of this package.

    Args:
        digest: SHA-256 of the document, in hex.
    """

    code = "document_away"

    def __init__(self, digest: str) -> None:
        self.digest = digest
        super().__init__(f"document {digest} is in the store of files and was not fetched. Please report this.")


class Document:
    """An immutable value made of dicts, lists, strings, numbers, booleans and None.

    It is kept as msgpack bytes: two documents are equal when their bytes are, every reader gets a copy of its own, and
    a storage writes what is already there. So a handler may change what it was given without changing the job.

    Args:
        raw: the msgpack bytes.
    """

    __slots__ = ("raw",)

    def __init__(self, raw: bytes) -> None:
        self.raw = raw

    @classmethod
    def of(cls, value: Any, name: str = "value") -> Document:
        """Freezes ``value``.

        Dates become ISO 8601 strings, UUIDs strings, enum members their values, numbers of other libraries (numpy)
        plain ones, tuples lists.

        Args:
            value: what to freeze.
            name: what the value is called in an error message.

        Raises:
            DocumentError: something in it is none of these; the message has its path.
        """
        try:
            return cls(_pack(value))
        except _REFUSALS:
            return cls._of_odd(value, name)

    @classmethod
    def _of_odd(cls, value: Any, name: str) -> Document:
        """Freezes what has to be made plain first, or says why it cannot be."""
        try:
            raw = msgpack.packb(value, default=_plain, strict_types=False)
            # Only here can there be tuples. As keys they can be written but never read again: refused rather than lost.
            msgpack.unpackb(raw, strict_map_key=False)
            return cls(raw)
        except _REFUSALS:
            _complain(value, name, 0)
            raise DocumentError(name, "the value is too deep or too large") from None

    @classmethod
    def away(cls, digest: str, size: int) -> Document:
        """Returns what stands in for a document that is kept elsewhere.

        Args:
            digest: SHA-256 of its bytes, in hex.
            size: its bytes.
        """
        return cls(msgpack.packb(msgpack.ExtType(_AWAY_CODE, bytes.fromhex(digest) + size.to_bytes(8, "big"))))

    @property
    def is_away(self) -> bool:
        """Whether this stands in for a document that is kept elsewhere."""
        return len(self.raw) == _AWAY_LENGTH and self.raw.startswith(_AWAY_HEAD)

    @property
    def digest(self) -> str:
        """SHA-256 of the bytes of a document that is away, in hex."""
        return self.raw[3:35].hex()

    def value(self) -> Any:
        """Returns a copy of the value.

        Raises:
            DocumentAwayError: it has to be fetched first.
        """
        raw = self.raw
        if len(raw) == _AWAY_LENGTH and self.is_away:  # the length first: each step reads two or three documents
            raise DocumentAwayError(self.digest)
        try:
            return _unpack(raw)
        except (msgspec.DecodeError, RecursionError):
            return msgpack.unpackb(raw, strict_map_key=False)

    def merged(self, changes: Mapping[str, Any], name: str = "value") -> Document:
        """Returns this mapping with ``changes`` laid over it."""
        if not changes:
            return self
        return Document.of({**self.value(), **changes}, name)

    def __len__(self) -> int:
        """Returns the size in bytes, also of one that is away."""
        size = len(self.raw)
        return int.from_bytes(self.raw[35:], "big") if size == _AWAY_LENGTH and self.is_away else size

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Document) and self.raw == other.raw

    def __hash__(self) -> int:
        return hash(self.raw)

    def __repr__(self) -> str:
        if self.is_away:
            return f"Document(away, {len(self):,} bytes)"
        text = repr(self.value())
        return f"Document({text if len(text) <= 80 else text[:77] + '...'})"


class LostDocument(Document):
    """Stands in for a document that should be kept elsewhere, and is not there or is damaged.

    Args:
        raw: of the document that stood in for it.
        reason: a sentence for people.
    """

    __slots__ = ("reason",)

    def __init__(self, raw: bytes, reason: str) -> None:
        super().__init__(raw)
        self.reason = reason

    def value(self) -> Any:
        """Raises PayloadLostError."""
        raise PayloadLostError(self.reason)


def check_depth(value: Any, name: str) -> None:
    """Checks that no more than ``MAX_DEPTH`` lists and mappings stand inside each other.

    For what strangers send: it can be written deeper than most programs read it.

    Raises:
        DocumentError: there are more.
    """
    level = [value]
    for _ in range(MAX_DEPTH):
        children = (
            node.values() if isinstance(node, dict) else node for node in level if isinstance(node, dict | list)
        )
        level = [child for some in children for child in some if isinstance(child, dict | list)]
        if not level:
            return
    raise DocumentError(name, f"it is nested more than {MAX_DEPTH} levels deep")


# Reads three times as fast as msgpack does; what it does not take, that may.
_unpack = msgspec.msgpack.Decoder().decode
# A packer keeps its buffer; one that has grown larger than this is not kept.
_KEPT_BUFFER = 1024**2


class _Packer:
    """Packs values; keeps what packs plain ones, since making that takes longer than packing a small value."""

    def __init__(self) -> None:
        self._renew()

    def _renew(self) -> None:
        # It knows plain values alone, so it calls nothing that another thread could come in between.
        self._pack_plain = msgpack.Packer(strict_types=True).pack

    def pack(self, value: Any) -> bytes:
        """Returns the bytes of a value; raises what msgpack raises."""
        try:
            raw: bytes = self._pack_plain(value)
        except _REFUSALS:
            return bytes(msgpack.packb(value, default=_plain, strict_types=True))
        if len(raw) > _KEPT_BUFFER:
            self._renew()
        return raw


_pack = _Packer().pack


def _plain(value: Any) -> Any:
    """Turns what msgpack does not know into what it knows."""
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value)
    if getattr(getattr(value, "dtype", None), "kind", "") in {"M", "m"}:
        return str(value)  # numpy.datetime64: its item() is a bare integer where it counts nanoseconds
    if hasattr(value, "dtype") and getattr(value, "shape", None) == ():  # numpy.bool_ is registered with no ABC
        return value.item()
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(type(value).__name__)


def _complain(value: Any, path: str, depth: int) -> None:
    """Finds the part of ``value`` that cannot be stored and raises with its path."""
    if depth > MAX_DEPTH:
        raise DocumentError(path, f"it is nested more than {MAX_DEPTH} levels deep")
    match value:
        case str() if not _is_unicode(value):
            raise DocumentError(path, f"the text {value!r} is not valid Unicode")
        case None | bool() | str() | float() | bytes():
            return
        case int():
            if not _INT_MIN <= value <= _INT_MAX:
                raise DocumentError(path, f"the integer {value} does not fit into 64 bits")
        case Mapping():
            for key, item in value.items():
                if not isinstance(key, str | int):
                    raise DocumentError(path, f"the key {key!r} is a {type(key).__name__}")
                _complain(item, f"{path}.{key}", depth + 1)
        case list() | tuple():
            for index, item in enumerate(value):
                _complain(item, f"{path}[{index}]", depth + 1)
        case _:
            try:
                _plain(value)
            except TypeError:
                raise DocumentError(path, f"it is a {type(value).__name__}") from None


def _is_unicode(text: str) -> bool:
    """Whether the text has no lone surrogates, which UTF-8 cannot express."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


EMPTY = Document.of({})
"""The empty mapping."""
NULL = Document.of(None)
"""The value None."""
