"""Handlers: what they may look like and what they are called with."""

from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import Any

import pytest

import avtomatika.context
from avtomatika.blueprints import ActionFactory, JobContext
from avtomatika.blueprints.handlers import KNOWN_ARGUMENTS, Handler
from avtomatika.errors import ArgumentError, BlueprintError


@pytest.fixture
def context() -> JobContext:
    """A context in which every known argument has a value of its own."""
    return JobContext(
        job_id="j1",
        current_state="s",
        initial_data={"path": "in", "size": 3, "job_id": "not this"},
        state_history={"path": "out", 7: "a key that is no name"},  # type: ignore[dict-item]
        client=SimpleNamespace(name="shop"),
        data_stores=SimpleNamespace(cache=1),
        aggregation_results={"t1": {"data": {}}},
        tracing_context={"traceparent": "00"},
        webhook_url="https://example.org",
        idempotency_key="j1:3",
        attempt=2,
    )


@pytest.mark.parametrize("name", KNOWN_ARGUMENTS)
def test_known_argument_comes_from_the_context(name: str, context: JobContext) -> None:
    """Every known name gets that part of the context, whatever the job's data hold under it."""
    scope: dict[str, Any] = {}
    exec(f"def handler({name}): pass", scope)

    arguments = Handler.of(scope["handler"], "s").arguments(context)

    assert arguments == {name: context if name == "context" else getattr(context, name)}


def test_context_takes_what_others_hang_on_it(context: JobContext) -> None:
    """A decorator of handlers may leave something of its own for the handler that it wraps."""
    context.tenant = "north"  # type: ignore[attr-defined]

    assert context.tenant == "north"  # type: ignore[attr-defined]


def test_other_argument_comes_from_history_then_from_initial_data(context: JobContext) -> None:
    """What the steps left wins over what the job was created with; a default stands if neither has the name."""

    def handler(path: str, *, size: int, colour: str = "red", **rest: Any) -> None: ...

    assert Handler.of(handler, "s").arguments(context) == {"path": "out", "size": 3}


def test_missing_argument_names_handler_argument_and_what_there_is(context: JobContext) -> None:
    """The error of a missing argument helps to find the typing error."""

    def publish(pth: str) -> None: ...

    with pytest.raises(ArgumentError) as caught:
        Handler.of(publish, "s").arguments(context)

    assert (caught.value.handler, caught.value.argument) == ("publish", "pth")
    assert {"path", "size", "state_history", "context"} <= set(caught.value.available)
    assert "Did you mean 'path'?" in str(caught.value)


def test_annotated_argument_is_found_under_any_name(context: JobContext) -> None:
    """ActionFactory and JobContext are recognised by annotation, as object or as text."""

    def handler(a: ActionFactory, job: JobContext, b: avtomatika.context.ActionFactory) -> None: ...

    handler.__annotations__["a"] = ActionFactory

    found = Handler.of(handler, "s").arguments(context)

    assert found == {"a": context.actions, "b": context.actions, "job": context}


class Callable_:  # noqa: N801 - the underscore keeps it apart from typing.Callable
    """A callable object, plain or asynchronous."""

    def method(self, size: int) -> int:
        """Returns the size."""
        return size

    async def __call__(self, size: int) -> int:
        """Returns the size."""
        return size


def decorated(function: Any) -> Any:
    """Wraps a function as users do."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


def plain(factor: int, size: int) -> int:
    """Returns the product."""
    return factor * size


@pytest.mark.parametrize(
    ("function", "name", "is_async"),
    [
        (Callable_(), "Callable_", True),
        (Callable_().method, "method", False),
        (functools.partial(plain, 2), "plain", False),
        (functools.partial(plain, factor=2), "plain", False),
        (functools.partial(functools.partial(Callable_())), "Callable_", True),
        (decorated(lambda size: size), "<lambda>", False),
    ],
)
def test_callable_of_every_kind_can_be_called(function: Any, name: str, is_async: bool, context: JobContext) -> None:
    """Partials, methods, wrapped functions and callable objects are handlers too."""
    handler = Handler.of(function, "s")

    assert (handler.name, handler.is_async) == (name, is_async)
    assert handler.arguments(context) == {"size": 3}


async def test_partial_keeps_what_was_bound(context: JobContext) -> None:
    """A keyword bound by a partial is not looked for in the job, even under a known name."""

    async def handler(client: Any, size: int) -> Any:
        return client

    found = Handler.of(functools.partial(handler, client="mine"), "s")

    assert found.is_async
    assert await found.function(**found.arguments(context)) == "mine"


def positional(actions: ActionFactory, /) -> None:
    """Must be refused."""


def starred(*values: int) -> None:
    """Must be refused."""


def generator(actions: ActionFactory) -> Any:
    """Must be refused."""
    yield


async def async_generator(actions: ActionFactory) -> Any:
    """Must be refused."""
    yield


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        (positional, "'positional' takes 'actions' by position"),
        (starred, "'starred' takes '\\*values' by position"),
        (generator, "'generator' of state 's' contains 'yield'"),
        (async_generator, "'async_generator' of state 's' contains 'yield'"),
        (JobContext, "must be a function; got a class"),
        (5, "must be a function; got a int"),
        (dict.fromkeys, "cannot be read|by position"),
    ],
)
def test_function_that_cannot_be_a_handler_is_refused(function: Any, sentence: str) -> None:
    """What could never run is refused when it is defined, with a sentence."""
    with pytest.raises(BlueprintError, match=sentence):
        Handler.of(function, "s")
