"""Reading members of messages from strangers: null is missing, odd types are forgiven where a meaning is left.

Objects are dicts, as JSON is decoded: to ask for any kind of mapping takes five times as long.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from avtomatika.errors import ProtocolError


def read_object(value: object, what: str) -> Mapping[str, Any]:
    """Returns ``value`` if it is an object.

    Args:
        value: what was decoded.
        what: what the message is called in an error message.

    Raises:
        ProtocolError: it is anything else.
    """
    if isinstance(value, dict):
        return value
    raise ProtocolError(f"the {what} is {_kind(value)}; a JSON object was expected.")


def read_mapping(value: object) -> dict[str, Any]:
    """Returns the members that are not null; nothing if ``value`` is no object."""
    if not isinstance(value, dict):
        return {}
    return {str(key): item for key, item in value.items() if item is not None}


def read_member(value: object, key: str) -> Any:
    """Returns a member; None if it is missing, or ``value`` is no object."""
    return value.get(key) if isinstance(value, dict) else None


def require_text(body: Mapping[str, Any], key: str, what: str) -> str:
    """Returns the text at ``key``.

    Raises:
        ProtocolError: it is missing, empty, or no text.
    """
    found = read_text(body.get(key))
    if found:
        return found
    raise ProtocolError(f"{what}: '{key}' is {_kind(body.get(key))}; a text that is not empty was expected.")


def read_text(value: object) -> str:
    """Returns a text, or a whole number as text, or an empty text for anything else."""
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**64:
        return str(value)
    return ""


def read_number(value: object) -> float | None:
    """Returns a finite number, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def read_whole(value: object) -> int | None:
    """Returns a whole number, whether it was written ``3`` or ``3.0``, or None."""
    number = read_number(value)
    return int(number) if number is not None and number.is_integer() else None


def read_names(value: object) -> tuple[str, ...] | None:
    """Returns the names of a list, each once; an object counts by its ``name``. None if ``value`` is no list."""
    if not isinstance(value, list | tuple):
        return None
    found = (read_text(item.get("name") if isinstance(item, dict) else item) for item in value)
    return tuple(dict.fromkeys(name for name in found if name))


def read_costs(value: object) -> dict[str, float]:
    """Returns the members that are numbers."""
    if not value:
        return {}
    costs = ((name, read_number(cost)) for name, cost in read_mapping(value).items())
    return {name: cost for name, cost in costs if cost is not None}


def _kind(value: object) -> str:
    """Names the JSON type of a value, never the value itself."""
    if value is None:
        return "missing"
    if value == "":
        return "empty"
    words = {bool: "a boolean", str: "a text", int: "a number", float: "a number", list: "an array", dict: "an object"}
    return words.get(type(value), f"a {type(value).__name__}")
