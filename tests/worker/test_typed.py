"""What annotations promise, of params and of results."""

# ruff: noqa: D103 - the functions are there for their signatures

from __future__ import annotations

import datetime
import enum
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import jsonschema_rs
import msgspec
import pydantic
import pytest

from avtomatika.errors import ConfigError
from avtomatika.protocol.messages import TaskMessage
from avtomatika.worker import ContractViolationError, Success
from avtomatika.worker.context import Context
from avtomatika.worker.event_types import EventTypes
from avtomatika.worker.functions import task_function
from avtomatika.worker.outcome import result_of_return
from avtomatika.worker.task_errors import InvalidInputError

from .conftest import SILENCE

TASK = TaskMessage("j", "t", "resize")
CONTEXT = Context(TASK, SILENCE, EventTypes({}, "resize", strict=True))


class Fit(enum.Enum):
    """How an image fits its frame."""

    COVER = "cover"
    CONTAIN = "contain"


@dataclass
class Size:
    """Of an image."""

    width: Annotated[int, msgspec.Meta(ge=1)]
    height: int = 2


class Frame(msgspec.Struct):
    """Where an image stands."""

    sizes: list[Size]
    fit: Fit = Fit.COVER


class Order(pydantic.BaseModel):
    """What somebody wants."""

    size: pydantic.PositiveInt
    tags: list[str] = []
    parent: Order | None = None


class Row(TypedDict):
    """A row of a table."""

    name: str
    at: NotRequired[datetime.date]


@dataclass
class Report:
    """What a task returns."""

    total: int
    rows: list[Row] = field(default_factory=list)
    path: Path = field(default_factory=lambda: Path("out"))


def by_name(
    size: Size, frame: Frame, order: Order, row: Row, kind: Literal["a", "b"] = "a", more: Any = None
) -> Report:
    """Takes one of each."""
    return Report(1)


def dataclass_whole(params: Size) -> None: ...
def struct_whole(params: Frame) -> None: ...
def model_whole(params: Order) -> None: ...


GOOD: dict[str, Any] = {
    "size": {"width": 3},
    "frame": {"sizes": [{"width": 1}], "fit": "contain"},
    "order": {"size": 2, "parent": {"size": 1}},
    "row": {"name": "n", "at": "2026-01-02"},
}


def test_params_become_what_the_annotations_say() -> None:
    """Dataclasses, structs, models, enums and dates arrive as such."""
    arguments = task_function(by_name).arguments(GOOD, CONTEXT)

    assert arguments == {
        "size": Size(3),
        "frame": Frame([Size(1)], Fit.CONTAIN),
        "order": Order(size=2, parent=Order(size=1)),
        "row": {"name": "n", "at": datetime.date(2026, 1, 2)},
    }


@pytest.mark.parametrize(
    ("function", "params", "expected"),
    [
        (dataclass_whole, {"width": 3}, Size(3)),
        (struct_whole, {"sizes": []}, Frame([])),
        (model_whole, {"size": 3}, Order(size=3)),
    ],
    ids=["dataclass", "struct", "model"],
)
def test_annotated_params_are_made_of_the_whole_dict(function: Any, params: Any, expected: Any) -> None:
    """One type may describe everything that a task brings along."""
    assert task_function(function).arguments(params, CONTEXT) == {"params": expected}


@pytest.mark.parametrize(
    ("function", "params", "path"),
    [
        (by_name, GOOD | {"size": {"width": 0}}, "params.size.width"),
        (by_name, GOOD | {"size": 3}, "params.size"),
        (by_name, GOOD | {"size": {}}, "params.size.width"),
        (by_name, GOOD | {"frame": {"sizes": [{"width": 1}, {"width": "1"}]}}, "params.frame.sizes[1].width"),
        (by_name, GOOD | {"order": {"size": 1, "parent": {"size": 0}}}, "params.order.parent.size"),
        (by_name, GOOD | {"order": {"size": 1, "tags": [1]}}, "params.order.tags[0]"),
        (by_name, GOOD | {"kind": "c"}, "params.kind"),
        (by_name, {}, "params.size"),
        (by_name, GOOD | {"sise": 1}, "params.sise"),
        (dataclass_whole, {"width": None}, "params.width"),
        (struct_whole, {}, "params.sizes"),
        (model_whole, {"size": -1}, "params.size"),
    ],
)
def test_value_that_does_not_fit_is_told_with_its_path(function: Any, params: Any, path: str) -> None:
    """Whoever sent it sees at once which member was wrong."""
    with pytest.raises(InvalidInputError) as caught:
        task_function(function).arguments(params, CONTEXT)

    assert caught.value.details == {"path": path}
    assert caught.value.code == "INVALID_INPUT_ERROR"


def test_message_says_what_was_expected() -> None:
    """The error is a sentence for people."""
    with pytest.raises(InvalidInputError, match=r"task 'by_name': params\.size\.width: Expected `int` >= 1\."):
        task_function(by_name).arguments(GOOD | {"size": {"width": 0}}, CONTEXT)


@pytest.mark.parametrize("function", [by_name, dataclass_whole, struct_whole, model_whole])
def test_input_schema_takes_what_the_function_takes(function: Any) -> None:
    """A schema that is generated accepts the good params, refuses bad ones, and needs nothing from elsewhere."""
    schema = json.loads(json.dumps(task_function(function).skill.input_schema))
    validator = jsonschema_rs.validator_for(schema)
    good = {by_name: GOOD, dataclass_whole: GOOD["size"], struct_whole: GOOD["frame"], model_whole: GOOD["order"]}

    assert validator.is_valid(good[function])
    assert not validator.is_valid({})
    assert not validator.is_valid([])


def test_input_schema_has_names_defaults_and_limits() -> None:
    """What the signature says, people and programs can read."""
    schema = task_function(by_name).skill.input_schema

    assert schema is not None
    assert schema["required"] == ["size", "frame", "order", "row"]
    assert schema["properties"]["kind"] == {"enum": ["a", "b"], "default": "a"}
    assert schema["additionalProperties"] is False
    assert schema["$defs"]["Size"]["properties"]["width"] == {"type": "integer", "minimum": 1}


def test_output_schema_takes_what_is_sent() -> None:
    """A returned dataclass goes out as the schema says."""
    function = task_function(by_name)
    returned = Report(2, [{"name": "n", "at": datetime.date(2026, 1, 2)}])

    result = result_of_return(TASK, returned, function.returns)

    assert result.data == {"total": 2, "rows": [{"name": "n", "at": "2026-01-02"}], "path": "out"}
    assert jsonschema_rs.validator_for(function.skill.output_schema).is_valid(result.data)


@pytest.mark.parametrize("returned", [Order(size=1, tags=["a"]), {"order": Order(size=1, tags=["a"])}])
def test_returned_model_is_sent_as_its_values(returned: Any) -> None:
    """Models of pydantic may be returned, also inside other values."""
    data = result_of_return(TASK, returned).data

    assert data in ({"size": 1, "tags": ["a"], "parent": None}, {"order": {"size": 1, "tags": ["a"], "parent": None}})


def test_broken_promise_is_a_contract_violation() -> None:
    """A function that returns something else than it says is found out before its result is sent."""
    with pytest.raises(ContractViolationError, match=r"its annotation does not promise: data\.total: Expected `int`"):
        result_of_return(TASK, {"total": "2"}, Report)


def test_promise_is_about_success_alone() -> None:
    """What comes along with another status word is not what the annotation means."""
    assert result_of_return(TASK, Success({"why": "blurred"}, "rejected"), Report).data == {"why": "blurred"}


def vague_dict() -> dict[str, Any]: ...
def vague_union() -> dict | Success: ...
def no_annotation(): ...
def nothing() -> None: ...
def envelope() -> Success: ...
def either() -> Report | Success: ...
def counts() -> dict[str, int]: ...


@pytest.mark.parametrize(
    ("function", "kind"),
    [
        (vague_dict, None),
        (vague_union, None),
        (no_annotation, None),
        (nothing, None),
        (envelope, None),
        (either, "object"),
        (counts, "object"),
    ],
)
def test_output_schema_is_there_if_the_annotation_says_something(function: Any, kind: str | None) -> None:
    """Any dict may be a whole result, so it promises nothing of the data."""
    schema = task_function(function).skill.output_schema

    assert (schema and schema["type"]) == kind


class Odd:
    """Nothing that JSON has."""


@dataclass
class OddDefault:
    """Has a default that no schema can tell."""

    path: Path = Path("out")


def takes_odd(x: list[Odd]) -> None: ...
def takes_odd_default(x: OddDefault) -> None: ...
def returns_odd() -> Odd: ...
def unknown_name(x: Nowhere) -> None: ...  # type: ignore[name-defined] # noqa: F821


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (takes_odd, r"task 'takes_odd': 'x' is annotated with .*Odd.*, which no JSON value can become"),
        (takes_odd_default, r"a default has no JSON form: .*Path.* Make it with default_factory"),
        (returns_odd, r"task 'returns_odd': 'return' is annotated with .*Odd"),
        (unknown_name, r"task 'unknown_name': the annotation 'Nowhere' of 'x' cannot be resolved"),
    ],
)
def test_annotation_that_no_json_value_can_become_is_refused(function: Any, message: str) -> None:
    """Found when the function is defined, not when the first task comes."""
    with pytest.raises(ConfigError, match=message):
        task_function(function)


def test_annotations_of_what_is_injected_are_not_resolved() -> None:
    """Names that only a type checker imports may stand at the context."""

    def work(context: Nowhere, x: int) -> None:  # type: ignore[name-defined] # noqa: F821
        """Works."""

    assert task_function(work).arguments({"x": 1}, CONTEXT) == {"context": CONTEXT, "x": 1}
