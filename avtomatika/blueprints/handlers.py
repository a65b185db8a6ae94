"""Handlers: the functions of a blueprint, and how their arguments are found by name."""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from avtomatika.blueprints.conditions import Condition
from avtomatika.blueprints.context import JobContext
from avtomatika.errors import ArgumentError, BlueprintError

KNOWN_ARGUMENTS: Final = (*JobContext.__struct_fields__, "context")
"""Names that a handler can always ask for."""
_PARTS: Final = frozenset(JobContext.__struct_fields__)

_BY_ANNOTATION: Final = {"ActionFactory": "actions", "JobContext": "context"}
_NAMED_KINDS: Final = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


@dataclass(frozen=True, slots=True)
class Parameter:
    """An argument that a handler asks for.

    Args:
        name: as in the function's signature.
        source: what it receives: one of ``KNOWN_ARGUMENTS``, or else the key to look for in the job's data.
        is_required: it has no default.
    """

    name: str
    source: str
    is_required: bool


@dataclass(frozen=True, slots=True)
class Handler:
    """A function that runs when a job is in a state.

    Args:
        function: what is called, with keyword arguments only.
        name: the function's name.
        state: the state that it belongs to.
        condition: when it is the one to run; None for the default of its state.
        is_async: calling it gives a coroutine; a plain function is run in a thread.
        parameters: what it asks for.
        wants_files: it asks for the job's files, or for all that there is.
    """

    function: Callable[..., Any]
    name: str
    state: str
    condition: Condition | None
    is_async: bool
    parameters: tuple[Parameter, ...]
    wants_files: bool = False

    @classmethod
    def of(cls, function: Callable[..., Any], state: str, condition: Condition | None = None) -> Handler:
        """Looks at the function's signature once, so that calling it later is only a look-up of names.

        Args:
            function: what the user has defined, sync or async.
            state: name of its state.
            condition: when it is chosen; None for the default of the state.

        Raises:
            BlueprintError: it cannot be called with arguments by name, or is no function.
        """
        name = name_of(function)
        _check_kind(function, name, state)
        parameters = _parameters(function, name)
        wants_files = any(parameter.source in ("task_files", "context") for parameter in parameters)
        return cls(function, name, state, condition, _is_async(function), parameters, wants_files)

    def arguments(self, context: JobContext) -> dict[str, Any]:
        """Returns what the function is called with.

        A known name gets that part of the context. Any other is looked for in ``state_history``, then in
        ``initial_data``; if it is in neither, the function's own default stands.

        Raises:
            ArgumentError: an argument without default is nowhere.
        """
        found: dict[str, Any] = {}
        for parameter in self.parameters:
            if parameter.source in _PARTS:
                found[parameter.name] = getattr(context, parameter.source)
            elif parameter.source == "context":
                found[parameter.name] = context
            elif parameter.source in context.state_history:
                found[parameter.name] = context.state_history[parameter.source]
            elif parameter.source in context.initial_data:
                found[parameter.name] = context.initial_data[parameter.source]
            elif parameter.is_required:
                raise ArgumentError(self.name, parameter.name, _available(context))
        return found


def name_of(function: Callable[..., Any]) -> str:
    """Returns the name that a function is known by in graphs, logs and messages."""
    while isinstance(function, functools.partial):
        function = function.func
    return str(getattr(function, "__name__", type(function).__name__))


def plain_function(function: Callable[..., Any]) -> types.FunctionType | None:
    """Returns the ``def`` below partials, methods, wrappers and callable objects, or None if there is none."""
    for _ in range(100):  # wrappers may lead round in a circle
        if isinstance(function, functools.partial):
            function = function.func
        elif isinstance(function, types.MethodType):
            function = function.__func__
        elif hasattr(function, "__wrapped__"):
            function = function.__wrapped__
        elif isinstance(function, types.FunctionType):
            return function
        else:
            call = type(function).__call__
            return call if isinstance(call, types.FunctionType) else None
    return None


def _check_kind(function: Any, name: str, state: str) -> None:
    """Refuses what would never run as a handler."""
    if not callable(function) or isinstance(function, type):
        kind = "a class" if isinstance(function, type) else f"a {type(function).__name__}"
        raise BlueprintError(f"the handler of state '{state}' must be a function; got {kind}: {function!r}.")
    plain = plain_function(function)
    if inspect.isgeneratorfunction(plain) or inspect.isasyncgenfunction(plain):
        raise BlueprintError(
            f"handler '{name}' of state '{state}' contains 'yield', so that calling it would run nothing; "
            "use 'return', and actions for what comes next."
        )


def _is_async(function: Any) -> bool:
    while isinstance(function, functools.partial):
        function = function.func
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


def _parameters(function: Callable[..., Any], name: str) -> tuple[Parameter, ...]:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        raise BlueprintError(
            f"the arguments of handler '{name}' cannot be read; wrap it in a 'def' that names them."
        ) from None
    bound = function.keywords if isinstance(function, functools.partial) else {}
    parameters = []
    for parameter in signature.parameters.values():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD or parameter.name in bound:
            continue
        if parameter.kind not in _NAMED_KINDS:
            star = "*" if parameter.kind is inspect.Parameter.VAR_POSITIONAL else ""
            raise BlueprintError(
                f"handler '{name}' takes '{star}{parameter.name}' by position, but arguments are given by name; "
                f"name each argument that it needs, without '*' and '/'. A decorator should use functools.wraps."
            )
        is_required = parameter.default is inspect.Parameter.empty
        parameters.append(Parameter(parameter.name, _source(parameter), is_required))
    return tuple(parameters)


def _source(parameter: inspect.Parameter) -> str:
    """Returns what a parameter receives; the annotations ActionFactory and JobContext work under any name."""
    if parameter.name in KNOWN_ARGUMENTS:
        return parameter.name
    annotation = parameter.annotation
    written = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    return _BY_ANNOTATION.get(written.strip("\"' ").rpartition(".")[2], parameter.name)


def _available(context: JobContext) -> Iterable[str]:
    keys = (key for data in (context.state_history, context.initial_data) for key in data if isinstance(key, str))
    return dict.fromkeys((*KNOWN_ARGUMENTS, *keys))
