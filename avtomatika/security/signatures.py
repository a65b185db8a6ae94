"""Signatures of the worker protocol: HMAC-SHA256 over one exact text of a message.

Source: protocol notes, sections 5.3 and 5.4. The text is JSON with sorted members and without white space. Numbers stay
as the sender wrote them: workers write ``1e20`` or ``1e+20``, ``0`` or ``0.0``, depending on the release.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Any

from avtomatika.errors import ProtocolError

Key = hmac.HMAC
"""A key, ready to sign; it can be kept without keeping the token that it was made from."""


class Kind(StrEnum):
    """Which message is signed; each leaves something else out."""

    REGISTER = "register"
    HEARTBEAT = "heartbeat"
    RESULT = "result"
    EVENT = "event"


_SIGNED_BY_B12 = {
    Kind.HEARTBEAT: ("worker_id", "status", "usage", "current_tasks", "supported_skills", "hot_cache"),
    Kind.RESULT: ("job_id", "task_id", "worker_id", "status", "data", "error"),
}
_OWN_MEMBERS = frozenset({"security", "_signature"})
# The members that workers rebuild a task from before they check it (protocol, section 4).
_SIGNED_OF_TASKS = frozenset(
    [
        "job_id",
        "task_id",
        "type",
        "params",
        "tracing_context",
        "params_metadata",
        "priority",
        "deadline",
        "metadata",
        "timestamp",
        "policy",
        "step",
        "depth",
        "parent_hash",
    ]
)
_UNSIGNED_ZEROS = frozenset({"step", "depth"})
_INTEGERS_END = 2.0**63


class _Number(str):
    """A number as it was written."""

    __slots__ = ()


def key_of(token: str) -> Key:
    """Returns the key that a token makes."""
    return hmac.new(token.encode("utf-8", "surrogateescape"), digestmod=hashlib.sha256)


def sign(key: Key, text: str) -> str:
    """Returns the signature of a text, 64 hexadecimal digits."""
    signer = key.copy()
    signer.update(text.encode("utf-8", "surrogatepass"))
    return signer.hexdigest()


def is_signed_by(signature: str, raw: str | bytes, kind: Kind, keys: Iterable[Key]) -> bool:
    """Whether one of the keys made the signature of a message.

    Args:
        signature: as the message tells it.
        raw: the message as it was sent.
        kind: which message it is.
        keys: those that the sender may have.

    Raises:
        ProtocolError: the message is no JSON object.
    """
    told = signature.lower().encode("utf-8", "surrogatepass")
    known = list(keys)
    return any(hmac.compare_digest(sign(key, text).encode(), told) for text in signed_texts(raw, kind) for key in known)


def signed_texts(raw: str | bytes, kind: Kind) -> Iterator[str]:
    """Returns what releases sign of a message: those from 1.0b14 on, then 1.0b13, then 1.0b12.

    Raises:
        ProtocolError: the message is no JSON object.
    """
    try:
        body = json.loads(raw, parse_int=_Number, parse_float=_Number, parse_constant=_Number)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"the message is not JSON: {error}.") from None
    if not isinstance(body, dict):
        raise ProtocolError("the message is no JSON object.")
    left_out = _OWN_MEMBERS | ({"bubbling_chain"} if kind is Kind.EVENT else frozenset())
    signed = {name: value for name, value in body.items() if name not in left_out}
    yield _write(_without_nulls(signed, in_arrays=False))
    yield _write(_without_nulls(signed, in_arrays=True))
    yield _write(_as_b12(body, kind))
    if kind is Kind.HEARTBEAT:
        # 1.0b12 puts the list of skills in after it has signed.
        yield _write({**_as_b12(body, kind), "supported_skills": None})


def sign_task(task: Mapping[str, Any], key: Key) -> dict[str, Any]:
    """Returns a task with its signature in ``sig``.

    Args:
        task: as it will be sent; members that published workers do not know are not signed.
        key: made from what the worker has in ORCHESTRATOR_SECRET_KEY.
    """
    signed = _without_nulls({name: value for name, value in task.items() if name in _SIGNED_OF_TASKS})
    for name in _UNSIGNED_ZEROS:
        if signed.get(name) == 0:
            del signed[name]
    return {**task, "sig": sign(key, _write(_whole_numbers(signed)))}


def _as_b12(body: Mapping[str, Any], kind: Kind) -> Any:
    if kind is Kind.EVENT:
        return body.get("payload")
    if kind is Kind.REGISTER:
        return {**body, "security": None}
    return {name: body.get(name) for name in _SIGNED_BY_B12[kind]}


def _without_nulls(value: Any, *, in_arrays: bool = False) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(item, in_arrays=in_arrays) for name, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item, in_arrays=in_arrays) for item in value if not (in_arrays and item is None)]
    return value


def _whole_numbers(value: Any) -> Any:
    """Returns the value as the worker rebuilds it: ``5.0`` is 5."""
    if isinstance(value, dict):
        return {name: _whole_numbers(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_whole_numbers(item) for item in value]
    is_whole = isinstance(value, float) and value.is_integer() and abs(value) < _INTEGERS_END
    return int(value) if is_whole else value


def _write(value: Any) -> str:
    if isinstance(value, _Number):
        return str(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{_write(name)}:{_write(value[name])}" for name in sorted(value)) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_write, value)) + "]"
    return _write_float(value) if isinstance(value, float) else json.dumps(value, ensure_ascii=False)


def _write_float(value: float) -> str:
    """Writes a number as the JSON library of today's workers does: ``0.00001``, ``1e-6``, ``1e+16``."""
    mantissa, _, exponent = repr(value).partition("e")
    if not exponent:
        return mantissa
    return format(Decimal(repr(value)), "f") if int(exponent) == -5 else f"{mantissa}e{int(exponent):+d}"
