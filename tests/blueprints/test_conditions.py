"""Conditions of all three kinds, as ``.when()`` takes them."""

from __future__ import annotations

import functools
from typing import Any

import pytest
from magic_filter import F, MagicFilter

from avtomatika.blueprints.conditions import condition_of
from avtomatika.blueprints.context import JobContext
from avtomatika.core.job import Client
from avtomatika.errors import BlueprintError, ConditionError

CONTEXT = JobContext(
    "j1",
    "s",
    initial_data={"type": "urgent", "n": 5, "area": {"name": "x"}, "tags": ["a"], "items": 3, "rows": [{"id": 1}]},
    state_history={"score": 0.5},
    client=Client("shop", "premium"),
)


def is_urgent(context: JobContext) -> bool:
    """Returns whether it is urgent."""
    return bool(context.initial_data["type"] == "urgent")


def test_text_condition_keeps_its_text() -> None:
    """The label of a text is the text, without spaces around it."""
    condition = condition_of("  context.initial_data.n == 5 ")

    assert condition.text == "context.initial_data.n == 5"
    assert condition.holds(CONTEXT)
    assert condition == condition_of(condition.text)


def test_text_condition_with_an_error_is_refused_at_definition() -> None:
    """A typing error comes out when the handler is defined, not when a job runs."""
    with pytest.raises(ConditionError):
        condition_of("context.initial_data.n = 5")


def test_function_condition_has_the_name_of_the_function() -> None:
    """The label of a function is its name."""
    condition = condition_of(is_urgent)

    assert condition.text == "is_urgent"
    assert condition.holds(CONTEXT)
    assert condition_of(lambda context: context.attempt).text == "lambda"


def test_function_condition_that_raises_lets_the_error_out() -> None:
    """An error in a condition is not taken for false."""
    with pytest.raises(KeyError):
        condition_of(is_urgent).holds(JobContext("j", "s"))


async def coroutine(context: JobContext) -> bool:
    """Must be refused."""
    return True


@pytest.mark.parametrize("function", [coroutine, lambda: True, lambda a, b: True])
def test_function_condition_that_cannot_be_asked_is_refused(function: Any) -> None:
    """A coroutine function would always be true; a wrong number of arguments would always raise."""
    with pytest.raises(BlueprintError, match=r"plain 'def'|one argument"):
        condition_of(function)


def test_function_condition_may_be_any_callable() -> None:
    """Partials and built-in functions are taken too."""
    assert condition_of(functools.partial(lambda limit, context: context.initial_data["n"] > limit, 3)).holds(CONTEXT)
    assert condition_of(bool).holds(CONTEXT)


@pytest.mark.parametrize("condition", [True, None, 5])
def test_condition_of_another_type_is_refused(condition: Any) -> None:
    """What was compared too early is a bool, and says nothing about the job."""
    with pytest.raises(BlueprintError, match="a condition is a text"):
        condition_of(condition)


@pytest.mark.parametrize(
    ("expression", "expected", "text"),
    [
        (F.initial_data["type"] == "urgent", True, "F.initial_data['type'] == 'urgent'"),
        (F.initial_data.type == "urgent", True, "F.initial_data.type == 'urgent'"),
        (F.initial_data.area.name == "x", True, "F.initial_data.area.name == 'x'"),
        (F.initial_data.rows[0].id == 1, True, "F.initial_data.rows[0].id == 1"),
        (F.initial_data.items == 3, True, "F.initial_data.items == 3"),
        (F.initial_data.n > 5, False, "F.initial_data.n > 5"),
        (F.initial_data.missing != 5, False, "F.initial_data.missing != 5"),
        (F.initial_data["missing"]["deeper"] == 5, False, "F.initial_data['missing']['deeper'] == 5"),
        (F.initial_data.type > 5, False, "F.initial_data.type > 5"),
        (F.client.plan == "premium", True, "F.client.plan == 'premium'"),
        (F.state_history.score.in_([0.5, 1]), True, "F.state_history.score in [0.5, 1]"),
        (F.initial_data.tags.contains("b"), False, "'b' in F.initial_data.tags"),
        (F.initial_data.tags.len() == 1, True, "len(F.initial_data.tags) == 1"),
        (~F.initial_data.missing, True, "~(F.initial_data.missing)"),
        (F.initial_data.n + 1 == 6, True, "F.initial_data.n + 1 == 6"),
        (
            (F.initial_data.n == 1) | (F.initial_data.n == 5),
            True,
            "(F.initial_data.n == 1) | (F.initial_data.n == 5)",
        ),
        ((F.initial_data.n == 5) & F.state_history.gone, False, "(F.initial_data.n == 5) & F.state_history.gone"),
        (F.initial_data.type.func(str.isupper), False, "F(...)"),
        (F.initial_data.type.startswith("urg"), True, "F(...)"),
        (F.job_id == "j1", True, "F.job_id == 'j1'"),
    ],
)
def test_filter_condition_is_resolved_and_written(expression: MagicFilter, expected: bool, text: str) -> None:
    """An F expression sees the context, its keys also as attributes, and can be read in a label."""
    condition = condition_of(expression)

    assert condition.holds(CONTEXT) is expected
    assert condition.text == text


def test_conditions_are_the_same_only_if_that_is_certain() -> None:
    """Texts and readable expressions are known again; expressions without readable form and lambdas only by place."""
    first, second = condition_of(F.initial_data.n.func(str)), condition_of(F.initial_data.n.func(int))

    assert condition_of(F.initial_data.n == 1).identity == condition_of(F.initial_data.n == 1).identity
    assert first.text == second.text
    assert first.identity != second.identity
    assert (
        condition_of(lambda context: 1).identity
        != condition_of(
            lambda context: 2,
        ).identity
    )
    assert condition_of(is_urgent).identity == condition_of(is_urgent).identity
