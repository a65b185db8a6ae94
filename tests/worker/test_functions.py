"""How params become arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from avtomatika.errors import ConfigError
from avtomatika.protocol.messages import TaskMessage
from avtomatika.worker.context import Context
from avtomatika.worker.event_types import EventTypes
from avtomatika.worker.functions import task_function
from avtomatika.worker.task_errors import InvalidInputError

from .conftest import SILENCE

CONTEXT = Context(TaskMessage("j", "t", "resize"), SILENCE, EventTypes({}, "resize", strict=True))


def resize(width: int, height: int = 2, *, path: str) -> None:
    """Changes the size of an image.

    More words.
    """


def whole(params: dict[str, Any], context: Context) -> None:
    """Takes everything at once."""


def rest(width: int, **more: Any) -> None:
    """Takes what there is."""


def both(params: dict[str, Any], width: int) -> None:
    """Takes everything and one by name."""


def test_description_is_the_first_line_of_the_docstring() -> None:
    """People see what a function says of itself."""
    skill = task_function(resize).skill

    assert (skill.name, skill.description) == ("resize", "Changes the size of an image.")


@pytest.mark.parametrize(
    ("function", "params", "expected"),
    [
        (resize, {"width": 1, "path": "p"}, {"width": 1, "path": "p"}),
        (resize, {"width": 1, "path": "p", "height": 3}, {"width": 1, "path": "p", "height": 3}),
        (whole, {"a": 1}, {"params": {"a": 1}, "context": CONTEXT}),
        (rest, {"width": 1, "b": 2}, {"width": 1, "b": 2}),
        (both, {"width": 1, "b": 2}, {"width": 1, "params": {"width": 1, "b": 2}}),
    ],
)
def test_params_are_given_by_name(function: Callable[..., Any], params: Any, expected: Any) -> None:
    """``params`` and ``context`` are injected, all else comes from the params."""
    assert task_function(function).arguments(params, CONTEXT) == expected


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"width": 1}, "task 'resize' needs param 'path', which was not sent. Send it"),
        ({"widht": 1, "path": "p"}, "needs param 'width', which was not sent. Was it sent as 'widht'"),
        (
            {"width": 1, "path": "p", "hight": 3},
            "got param 'hight', .* takes: width, path, height. Did you mean 'height'",
        ),
    ],
)
def test_wrong_params_are_named(params: dict[str, Any], message: str) -> None:
    """The error names the param, and the one that was probably meant."""
    with pytest.raises(InvalidInputError, match=message):
        task_function(resize).arguments(params, CONTEXT)


def test_arguments_are_copies_of_params() -> None:
    """A function may change the dict without changing the task."""
    params = {"a": 1}

    task_function(whole).arguments(params, CONTEXT)["params"]["b"] = 2

    assert params == {"a": 1}


def positional(width: int, /) -> None:
    """Cannot be called by name."""


@pytest.mark.parametrize(
    ("function", "options", "message"),
    [
        (positional, {}, "argument 'width' is positional only"),
        (resize, {"name": "a b"}, "a task is named 'a b'"),
        (lambda: None, {}, "a task is named '<lambda>'"),
        (resize, {"concurrency": 0}, "concurrency is 0; expected at least 1"),
        (resize, {"cost": -1}, "cost is -1; expected 0 or more"),
    ],
)
def test_definition_that_cannot_work_is_refused(
    function: Callable[..., Any], options: dict[str, Any], message: str
) -> None:
    """Mistakes are found when the function is defined, not when a task comes."""
    with pytest.raises(ConfigError, match=message):
        task_function(function, **options)
