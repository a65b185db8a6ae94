"""Schemas: what data must look like."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from avtomatika.blueprints import ActionFactory, StateMachineBlueprint
from avtomatika.blueprints.schemas import check_data, check_schema
from avtomatika.errors import BlueprintError, ContractError

PARCEL = {
    "type": "object",
    "properties": {
        "to": {"type": "string", "minLength": 2},
        "boxes": {"type": "array", "items": {"$ref": "#/$defs/box"}},
    },
    "required": ["to"],
    "additionalProperties": False,
    "$defs": {"box": {"type": "object", "properties": {"kg": {"type": "number", "maximum": 30}}}},
}


@pytest.mark.parametrize(
    ("data", "path"),
    [
        ({"to": 5}, "data.to"),
        ({}, "data.to"),
        ({"to": "Vigo", "tó": 1}, "data.tó"),
        ({"to": "Vigo", "boxes": [{"kg": 1}, {"kg": 31}]}, "data.boxes[1].kg"),
        ([], "data"),
        ({"to": "Vigo", "boxes": [{"kg": datetime.date(2024, 1, 1)}]}, "data"),
    ],
    ids=["type", "missing", "unexpected", "nested", "whole", "no-json"],
)
def test_data_that_do_not_fit_are_refused_with_their_path(data: Any, path: str) -> None:
    """The path leads to the member that is wrong, missing or too much."""
    with pytest.raises(ContractError) as caught:
        check_data(data, PARCEL, "data", "the schema")

    assert caught.value.path == path
    assert str(caught.value).startswith(f"{path}: ")


def test_message_holds_no_data() -> None:
    """Data of a job are nobody's business in a log."""
    with pytest.raises(ContractError) as caught:
        check_data({"to": "S"}, {"properties": {"to": {"const": "x"}, "no": False}}, "data", "the schema")
    assert "'S'" not in str(caught.value)
    assert '"S"' not in str(caught.value)
    with pytest.raises(ContractError) as caught:
        check_data({"kg": "a-secret"}, {"properties": {"kg": {"type": "number"}}}, "data", "the schema")
    assert "a-secret" not in str(caught.value)


def test_data_that_fit_are_taken() -> None:
    """Nothing is returned or changed."""
    check_data({"to": "Vigo", "boxes": [{"kg": 30}]}, PARCEL, "data", "the schema")


@pytest.mark.parametrize(
    "schema",
    [{"type": "objekt"}, "object", {"$ref": "http://127.0.0.1:9/x.json"}, {"const": datetime.date(2024, 1, 1)}],
    ids=["word", "text", "elsewhere", "no-json"],
)
def test_schema_that_cannot_be_used_is_refused_where_it_is_written(schema: Any) -> None:
    """A schema elsewhere is not fetched: an engine must not be sent anywhere."""
    with pytest.raises(BlueprintError, match="input_schema of blueprint 'bad'"):
        StateMachineBlueprint("bad", input_schema=schema)


def test_schema_is_copied() -> None:
    """What is changed afterwards does not count."""
    schema: dict[str, Any] = {"type": "object"}

    checked = check_schema(schema, "the schema")
    schema["type"] = "array"

    assert checked == {"type": "object"}


def test_params_that_do_not_fit_are_refused_by_the_action() -> None:
    """With the path, and the task."""
    with pytest.raises(ContractError, match=r"params\.kg: .*params_schema of task 'carry'"):
        ActionFactory().dispatch_task("carry", {"kg": "5"}, params_schema={"properties": {"kg": {"type": "number"}}})
