"""Schemas inside the OpenAPI document: where their references lead."""

from __future__ import annotations

from typing import Any

import pytest

from avtomatika.server.openapi.placing import place

AT = "#/components/schemas/x"


@pytest.mark.parametrize(
    ("schema", "placed"),
    [
        ({"$ref": "#/$defs/a"}, {"$ref": f"{AT}/$defs/a"}),
        ({"items": {"$ref": "#"}}, {"items": {"$ref": AT}}),
        ({"anyOf": [{"$dynamicRef": "#/$defs/a"}]}, {"anyOf": [{"$ref": f"{AT}/$defs/a"}]}),
        (
            {"$ref": "#town", "$defs": {"a/b": {"$anchor": "town", "type": "string"}}},
            {"$ref": f"{AT}/$defs/a~1b", "$defs": {"a/b": {"type": "string"}}},
        ),
    ],
)
def test_references_inside_a_schema_count_from_the_document(schema: dict[str, Any], placed: dict[str, Any]) -> None:
    """By a path, to the root, or by the name of a place."""
    assert place(schema, AT) == placed


@pytest.mark.parametrize(
    "schema",
    [
        {"default": {"$ref": "#/$defs/a"}, "enum": [{"$ref": "#/$defs/a"}]},
        {"$id": "https://example.org/a", "$ref": "#/$defs/a"},
        {"properties": {"a": {"$id": "https://example.org/a", "$ref": "#/$defs/a"}}},
        {"$ref": "https://json-schema.org/draft/2020-12/schema"},
    ],
)
def test_what_counts_from_elsewhere_stays(schema: dict[str, Any]) -> None:
    """Data that look like a reference, and schemas with an id of their own."""
    assert place(schema, AT) == schema


def test_members_may_be_named_like_keywords() -> None:
    """A field called ``$ref`` or ``default`` is a field."""
    schema = {"properties": {"$ref": {"$ref": "#/$defs/a"}, "default": {"$ref": "#/$defs/a"}}}

    assert place(schema, AT)["properties"] == {
        "$ref": {"$ref": f"{AT}/$defs/a"},
        "default": {"$ref": f"{AT}/$defs/a"},
    }
