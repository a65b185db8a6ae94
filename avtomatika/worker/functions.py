"""The functions of a worker: which skill each is, and how the params of a task become its arguments."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from avtomatika.errors import ConfigError, suggest
from avtomatika.protocol.identity import is_identifier
from avtomatika.protocol.messages import Skill
from avtomatika.worker import typed
from avtomatika.worker.context import Context
from avtomatika.worker.event_types import read_event_types, schema_of_events
from avtomatika.worker.outcome import Success
from avtomatika.worker.processes import check_importable, check_portable
from avtomatika.worker.retries import Retry
from avtomatika.worker.task_errors import InvalidInputError

_INJECTED = frozenset({"params", "context", "task_files"})
_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


@dataclass(frozen=True, slots=True)
class TaskFunction:
    """A function that does tasks of one type.

    Args:
        name: the type of the tasks.
        function: what is called.
        is_async: it is a coroutine function; a plain one runs in a thread.
        required: names of params that it must get.
        optional: names of params that it may get.
        wants: ``params``, ``context`` and ``task_files``, as far as it asks for them.
        takes_more: it has a ``**`` argument for the other params.
        concurrency: how many of its tasks may run at once, or None for no limit of its own.
        cost: what a task costs here, or None.
        description: for people.
        types: annotations of arguments whose values are checked, by name; ``params`` may be one of them.
        returns: the annotation of what it returns; ``Any`` if that says nothing.
        input_schema: JSON Schema of its params, or None.
        output_schema: JSON Schema of what it returns, or None.
        retry: when it is called again before the engine hears of a failure; None for never.
        process: it runs in a process of its own.
        download: stored files that its params name are brought to this machine.
        events: the events that it may tell, each with the annotation of its payload.
    """

    name: str
    function: Callable[..., Any]
    is_async: bool
    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    wants: frozenset[str] = frozenset()
    takes_more: bool = False
    concurrency: int | None = None
    cost: float | None = None
    description: str = ""
    types: Mapping[str, Any] = field(default_factory=dict)
    returns: Any = Any
    input_schema: Mapping[str, Any] | None = None
    output_schema: Mapping[str, Any] | None = None
    retry: Retry | None = None
    process: bool = False
    download: bool = True
    events: Mapping[str, Any] = field(default_factory=dict)

    @property
    def skill(self) -> Skill:
        """What the engine is told of it."""
        return Skill(
            self.name,
            self.name,
            self.description,
            input_schema=self.input_schema,
            output_schema=self.output_schema,
            events_schema=schema_of_events(self.events, f"task '{self.name}'"),
        )

    def arguments(self, params: Mapping[str, Any], context: Context) -> dict[str, Any]:
        """Returns what the function is called with.

        Args:
            params: of the task.
            context: of the call.

        Raises:
            InvalidInputError: a param that the function needs is missing, there is one that it does not know, or a
                value does not fit the annotation; the details have its ``path``.
        """
        injected: dict[str, Any] = {"params": dict(params), "context": context}
        if "task_files" in self.wants:
            injected["task_files"] = context.task_files
        given = {name: injected[name] for name in self.wants}
        named = (*self.required, *self.optional)
        missing = [name for name in self.required if name not in params]
        unknown = [name for name in params if name not in named]
        if missing:
            raise self._refusal(self._missing(missing[0], unknown), f"params.{missing[0]}")
        if unknown and not self.takes_more and "params" not in self.wants:
            known = ", ".join(named) or "none"
            raise self._refusal(
                f"task '{self.name}' got param '{unknown[0]}', which it does not know; it takes: {known}."
                f"{suggest(unknown[0], named)}",
                f"params.{unknown[0]}",
            )
        given |= {name: params[name] for name in named if name in params}
        if self.takes_more and "params" not in self.wants:
            given |= {name: params[name] for name in unknown if name not in self.wants}
        return {name: self._typed(name, value) for name, value in given.items()}

    def _typed(self, name: str, value: Any) -> Any:
        try:
            path = name if name == "params" else f"params.{name}"
            return typed.read(value, self.types.get(name, Any), path)
        except typed.UnfitError as error:
            raise self._refusal(f"task '{self.name}': {error}.", error.path) from None

    @staticmethod
    def _refusal(message: str, path: str) -> InvalidInputError:
        return InvalidInputError(message, details={"path": path})

    def _missing(self, name: str, unknown: list[str]) -> str:
        near = suggest(name, unknown).replace("Did you mean", "Was it sent as")
        return f"task '{self.name}' needs param '{name}', which was not sent.{near} Send it or give it a default."


def task_function(
    function: Callable[..., Any],
    name: str | None = None,
    *,
    cost: float | None = None,
    concurrency: int | None = None,
    description: str | None = None,
    retry: Retry | None = None,
    process: bool = False,
    download: bool = True,
    events: Mapping[str, Any] | Iterable[str] | None = None,
) -> TaskFunction:
    """Describes a function by its signature.

    ``params`` is the whole dict, ``context`` the Context, ``task_files`` the files of the job; every other argument is
    the param of its name.

    Raises:
        ConfigError: the name or the word of an event is none, a number is below its minimum, an argument cannot be
            given by name, an annotation is nothing that a JSON value can become, or no process could find the function.
    """
    name = name or str(getattr(function, "__name__", ""))
    if not is_identifier(name):
        raise ConfigError(f"a task is named {name!r}; use 1 to 128 of the characters A-Z a-z 0-9 _ and -.")
    if concurrency is not None and concurrency < 1:
        raise ConfigError(f"task '{name}': concurrency is {concurrency}; expected at least 1, or None for no limit.")
    if cost is not None and cost < 0:
        raise ConfigError(f"task '{name}': cost is {cost}; expected 0 or more.")
    types_of_events = read_event_types(events, f"task '{name}'")
    if process:
        check_importable(function, name)
        check_portable(types_of_events, name)
    parameters = inspect.signature(function).parameters.values()
    for parameter in parameters:
        if parameter.kind is parameter.POSITIONAL_ONLY:
            raise ConfigError(
                f"task '{name}': argument '{parameter.name}' is positional only, but params are given by name. "
                "Remove the '/' from the signature."
            )
    named = [p for p in parameters if p.kind in _BY_NAME and p.name not in _INJECTED]
    wants = _INJECTED & {p.name for p in parameters if p.kind in _BY_NAME}
    if process and "task_files" in wants:
        raise ConfigError(
            f"task '{name}': with process=True there are no task_files. Take paths as params, and return paths below "
            "context.folder."
        )
    takes_more = any(p.kind is p.VAR_KEYWORD for p in parameters)
    types = {p.name: typed.annotation_of(function, p.name, name) for p in named}
    whole = typed.annotation_of(function, "params", name) if "params" in wants else Any
    returns = typed.promised(typed.annotation_of(function, "return", name), Success)
    doc = (inspect.getdoc(function) or "").partition("\n")[0]
    return TaskFunction(
        name=name,
        function=function,
        is_async=inspect.iscoroutinefunction(function),
        required=tuple(p.name for p in named if p.default is p.empty),
        optional=tuple(p.name for p in named if p.default is not p.empty),
        wants=wants,
        takes_more=takes_more,
        concurrency=concurrency,
        cost=cost,
        description=doc if description is None else description,
        types={key: one for key, one in {**types, "params": whole}.items() if typed.is_checked(one)},
        returns=returns,
        input_schema=(
            typed.schema_of(whole, "params", name)
            if typed.is_checked(whole)
            else typed.schema_of_arguments(
                types,
                {p.name: p.default for p in named if p.default is not p.empty},
                name,
                closed=not takes_more and "params" not in wants,
            )
        ),
        output_schema=typed.schema_of(returns, "return", name) if typed.is_checked(returns) else None,
        retry=retry,
        process=process,
        download=download,
        events=types_of_events,
    )
