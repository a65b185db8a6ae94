"""Placing: a blueprint's JSON Schema inside the document, where its references must still lead to the same place.

A reference such as ``#/$defs/address`` counts from the root of the schema; inside a larger document it would count from
the root of that one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
_ANCHORS = ("$anchor", "$dynamicAnchor")
# What stands under these keywords is data, however much it looks like a schema.
_DATA = frozenset({"const", "enum", "default", "examples", "example"})
# Under these are schemas by names that the author chose.
_NAMED = frozenset(
    {"properties", "patternProperties", "dependentSchemas", "dependencies", "$defs", "definitions"},
)


def place(schema: Mapping[str, Any], at: str) -> dict[str, Any]:
    """Returns the schema with its references counted from the root of the document.

    Args:
        schema: a JSON Schema that refers to nothing outside of it.
        at: a JSON pointer to where it will stand, with ``#`` in front.
    """
    anchors = dict(_anchors(schema, at))

    def lead(reference: str) -> str:
        if reference == "#" or reference.startswith("#/"):
            return at + reference[1:]
        return anchors.get(reference, reference)

    # A schema with an id of its own is the root of its references wherever it stands.
    return dict(schema) if "$id" in schema else _mapped(schema, lead)


def _mapped(schema: Mapping[str, Any], lead: Callable[[str], str]) -> dict[str, Any]:
    def mapped(value: Any) -> Any:
        if isinstance(value, Mapping):
            return value if "$id" in value else _mapped(value, lead)
        return [mapped(one) for one in value] if isinstance(value, list) else value

    placed: dict[str, Any] = {}
    for keyword, value in schema.items():
        if keyword in _REFERENCES and isinstance(value, str):
            # Where it leads is known now, and to one place only.
            placed["$ref"] = lead(value)
        elif keyword in _NAMED and isinstance(value, Mapping):
            placed[keyword] = {name: mapped(one) for name, one in value.items()}
        elif keyword in _ANCHORS:
            continue
        else:
            placed[keyword] = value if keyword in _DATA else mapped(value)
    return placed


def _anchors(value: Any, at: str) -> Iterator[tuple[str, str]]:
    """Gives each anchor, with ``#`` in front, and the pointer to where it is."""
    if isinstance(value, Mapping):
        for keyword, one in value.items():
            if keyword in _ANCHORS and isinstance(one, str):
                yield f"#{one}", at
            else:
                yield from _anchors(one, f"{at}/{keyword.replace('~', '~0').replace('/', '~1')}")
    elif isinstance(value, list):
        for number, one in enumerate(value):
            yield from _anchors(one, f"{at}/{number}")
