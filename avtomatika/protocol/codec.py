"""JSON as workers write it: reading forgives what some of them send, writing is always strict JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import msgspec

from avtomatika.errors import ProtocolError

_MAX_DEPTH = 200
_SEPARATORS = (",", ":")
_read_quickly = msgspec.json.Decoder().decode
_ENCODER = json.JSONEncoder(allow_nan=False, separators=_SEPARATORS)


def loads(text: str | bytes) -> Any:
    """Reads JSON.

    The literals ``NaN``, ``Infinity`` and ``-Infinity`` are taken as floats: the standard library, and with it the
    oldest workers, writes them.

    Raises:
        ProtocolError: it is not JSON, or nested too deep; the message has the position.
    """
    try:
        return _read_quickly(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        # What it does not take may be one of those literals; if not, the other one says best what is wrong.
        pass
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ProtocolError(
            f"the body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}. Send one JSON value."
        ) from None
    except RecursionError:
        raise ProtocolError("the body is nested too deep to be read. Send a flatter JSON value.") from None
    except ValueError as error:
        raise ProtocolError(f"the body is not JSON in UTF-8: {error}.") from None


def dumps(value: Any) -> str:
    """Writes JSON, in ASCII so that any text survives any transport.

    NaN and the infinities, which JSON does not have, become null.

    Raises:
        ProtocolError: something in ``value`` has no JSON form; the message has its path.
    """
    try:
        return _ENCODER.encode(value)
    except (TypeError, ValueError, RecursionError):
        return json.dumps(to_json(value), separators=_SEPARATORS)


def to_json(value: Any, path: str = "value", limit: int = _MAX_DEPTH) -> Any:
    """Returns a copy of ``value`` that is plain JSON: lists for tuples, text keys, null for NaN and the infinities.

    Args:
        value: what to copy.
        path: what the value is called in an error message.
        limit: how many objects and arrays may stand inside each other.

    Raises:
        ProtocolError: something has no JSON form or stands too deep; the message has its path.
    """
    return _copy(value, path, limit, limit)


def _copy(value: Any, path: str, left: int, limit: int) -> Any:
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if not isinstance(value, Mapping | list | tuple):
        raise ProtocolError(
            f"{path} is a {type(value).__name__}, which JSON does not have. "
            "Use dict (with text keys), list, str, int, float, bool or None."
        )
    if left == 0:
        # The path of something too deep is as long as it is deep; its beginning says where to look.
        raise ProtocolError(f"{path[:80]} is nested more than {limit} levels deep. Send a flatter value.")
    if isinstance(value, Mapping):
        return {_key(key, path): _copy(item, f"{path}.{key}", left - 1, limit) for key, item in value.items()}
    return [_copy(item, f"{path}[{index}]", left - 1, limit) for index, item in enumerate(value)]


def _key(key: object, path: str) -> str:
    if isinstance(key, str):
        return str(key)
    if isinstance(key, int) and not isinstance(key, bool):
        return str(int(key))
    raise ProtocolError(f"{path} has the key {key!r}, a {type(key).__name__}; JSON has text keys only.")
