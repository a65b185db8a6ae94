"""Blueprints: states and their handlers, put together with decorators and compiled into something that can run."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, TypeVar, overload

from magic_filter import MagicFilter

from avtomatika.blueprints import drawing, render
from avtomatika.blueprints.conditions import Condition, condition_of
from avtomatika.blueprints.context import JobContext
from avtomatika.blueprints.export import ExportedHandler, module_text
from avtomatika.blueprints.graph import Edge, EdgeKind, Graph, State
from avtomatika.blueprints.handlers import Handler, name_of, plain_function
from avtomatika.blueprints.literals import FunctionNode
from avtomatika.blueprints.retries import RetryPolicy
from avtomatika.blueprints.schemas import check_data, check_schema
from avtomatika.blueprints.source import find_node, read_handler
from avtomatika.blueprints.stores import SharedStore, as_store
from avtomatika.blueprints.validation import ReadHandler, faults
from avtomatika.errors import ActionError, BlueprintError, HandlerError, ValidationError, suggest

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])
ConditionSource = str | Callable[[Any], Any] | MagicFilter

_OUTCOMES: Final = ("finished", "failed")
_FAILED_WORDS: Final = frozenset({"failed", "failure", "error", "rejected"})
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
_SEGMENT: Final = re.compile(r"[A-Za-z0-9._~-]+")


@dataclass(frozen=True)
class CompiledBlueprint:
    """One version of a blueprint, checked and unchangeable: what an engine runs.

    Args:
        name: of the blueprint.
        api_endpoint: where clients create jobs, with one leading ``/``; None if they cannot.
        api_version: the part of the path before it, such as ``v1``, or None.
        graph: states and edges.
        data_stores: what its handlers share.
        handlers: name of each state to its handlers, conditional ones first, each group in order of definition.
        migrations: states of older versions to the states where their jobs go on.
        input_schema: JSON Schema of the initial data, or None.
        output_schema: JSON Schema of the result of a finished job, or None.
    """

    name: str
    api_endpoint: str | None
    api_version: str | None
    graph: Graph
    data_stores: SimpleNamespace
    handlers: Mapping[str, tuple[Handler, ...]]
    migrations: Mapping[str, str] = field(default_factory=dict)
    input_schema: Mapping[str, Any] | None = None
    output_schema: Mapping[str, Any] | None = None

    def check_input(self, initial_data: Any) -> None:
        """Checks what a job is to be created with.

        Args:
            initial_data: plain values.

        Raises:
            ContractError: it does not fit the schema.
        """
        if self.input_schema is not None:
            check_data(initial_data, self.input_schema, "initial_data", f"input_schema of blueprint '{self.name}'")

    def check_output(self, result: Any) -> None:
        """Checks what a job is to finish with.

        Args:
            result: plain values.

        Raises:
            ContractError: it does not fit the schema.
        """
        if self.output_schema is not None:
            check_data(result, self.output_schema, "result", f"output_schema of blueprint '{self.name}'")

    def select(self, context: JobContext) -> Handler:
        """Returns the handler to run: the first whose condition holds, else the default of the state.

        Args:
            context: the job as its handler would see it.

        Raises:
            BlueprintError: there is no such state.
            HandlerError: no condition holds and the state has no default.
        """
        state = self.graph.state(context.current_state)
        for handler in self.handlers[state.name]:
            if handler.condition is None or _holds(handler, handler.condition, context):
                return handler
        tried = ", ".join(f"[{handler.condition.text}]" for handler in self.handlers[state.name] if handler.condition)
        raise HandlerError(
            f"no handler of state '{state.name}' wants job {context.job_id}: none of the conditions {tried} holds, and "
            f"there is no default; add one with @bp.handler_for('{state.name}')."
        )


@dataclass(frozen=True, slots=True)
class _Options:
    """What a decorator was given besides name and condition."""

    is_aggregator: bool
    is_start: bool
    is_end: bool
    outcome: str
    declared: tuple[str, ...] | None


@dataclass(frozen=True, slots=True, eq=False)
class _Registration:
    """A handler with the options of its decorator and the source it had at that moment."""

    handler: Handler
    options: _Options
    node: FunctionNode | None

    def read(self) -> ReadHandler:
        """Reads the source; constants have the values that they have now."""
        options = self.options
        return ReadHandler(
            self.handler,
            read_handler(self.handler, self.node),
            options.is_aggregator,
            options.is_end,
            options.outcome,
            options.declared,
        )


class HandlerDecorator:
    """What ``bp.handler_for(...)`` returns: it decorates a function, as the default or after ``.when(condition)``."""

    def __init__(
        self, blueprint: StateMachineBlueprint, state: str | None, options: _Options, condition: Condition | None = None
    ) -> None:
        self._blueprint = blueprint
        self._state = state
        self._options = options
        self._condition = condition

    def when(self, condition: ConditionSource) -> HandlerDecorator:
        """Returns a decorator for a handler that runs only if the condition holds.

        The handlers of a state with conditions are tried in order of definition, before the default.

        Args:
            condition: a text such as ``"context.initial_data.type == 'urgent'"``, a function of the context, or an
                expression made from ``F``.

        Raises:
            ConditionError: the text cannot be parsed; the message points at the place.
            BlueprintError: it is none of these, or a second condition.
        """
        if self._condition is not None:
            raise BlueprintError(
                f"a handler has one condition, but '{self._condition.text}' is followed by another .when(); "
                "join them with 'and'."
            )
        return HandlerDecorator(self._blueprint, self._state, self._options, condition_of(condition))

    def __call__(self, function: FunctionT) -> FunctionT:
        """Registers the function and returns it unchanged."""
        state = name_of(function) if self._state is None else self._state
        handler = Handler.of(function, _checked_state(state), self._condition)
        self._blueprint._register(_Registration(handler, self._options, find_node(function)))  # noqa: SLF001 - its own part
        return function


class StateMachineBlueprint:
    """The definition of a kind of job: states, and the handlers that lead from one to the next.

    Args:
        name: letters, digits, ``_`` and ``-``; unique in an engine.
        api_endpoint: where clients create jobs, such as ``/jobs/orders``; without one, jobs come from other blueprints,
            schedules and code only.
        api_version: the part of the path before the endpoint, such as ``v1``.
        data_stores: what the handlers share: a dict becomes a ``DataStore``, any other object stays what it is.
        retry: how failed attempts at its tasks and handlers are repeated, as a ``RetryPolicy`` or a dict of its parts;
            what it leaves open is as the engine's settings say.
        concurrency: type of task to how many of them all of its jobs together may have running at a time.
        input_schema: JSON Schema that the initial data of its jobs must fit.
        output_schema: JSON Schema that the results of its finished jobs must fit.

    Raises:
        BlueprintError: a name or an endpoint is malformed.
    """

    def __init__(
        self,
        name: str,
        api_endpoint: str | None = None,
        api_version: str | None = None,
        data_stores: Mapping[str, Any] | None = None,
        retry: RetryPolicy | Mapping[str, Any] | None = None,
        concurrency: Mapping[str, int] | None = None,
        input_schema: Mapping[str, Any] | None = None,
        output_schema: Mapping[str, Any] | None = None,
    ) -> None:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise BlueprintError(
                f"the name of a blueprint is 1 to 128 of the characters A-Z a-z 0-9 _ -, such as 'order_flow'; "
                f"got {name!r}."
            )
        self.name = name
        self.api_endpoint = _checked_endpoint(api_endpoint)
        self.api_version = _checked_version(api_version)
        self.retry = _checked_retry(retry)
        self.concurrency = _checked_concurrency(concurrency)
        self.input_schema = check_schema(input_schema, f"input_schema of blueprint '{name}'")
        self.output_schema = check_schema(output_schema, f"output_schema of blueprint '{name}'")
        self.data_stores = SimpleNamespace()
        self._registrations: dict[str, list[_Registration]] = {}
        self._migrations: dict[str, str] = {}
        for store, value in (data_stores or {}).items():
            self.add_data_store(store, value)

    def handler_for(
        self,
        state: str,
        is_start: bool = False,
        is_end: bool = False,
        outcome: str | None = None,
        transitions: Iterable[str] | None = None,
    ) -> HandlerDecorator:
        """Returns the decorator for the default handler of a state, or with ``.when(condition)`` for another.

        Args:
            state: name of the state.
            is_start: every job begins here.
            is_end: a job ends when this handler returns; a dict that it returns is the job's result.
            outcome: how it ends, ``finished`` or ``failed``; if not given, ``failed`` for a state whose last word is
                failed, failure, error or rejected.
            transitions: states that it leads to and that cannot be read from its source.

        Raises:
            BlueprintError: an option is malformed, or (when the function comes) the state already has a default.
        """
        return self._named(state, _options(False, is_start, is_end, outcome, transitions))

    def aggregator_for(
        self,
        state: str,
        is_start: bool = False,
        is_end: bool = False,
        outcome: str | None = None,
        transitions: Iterable[str] | None = None,
    ) -> HandlerDecorator:
        """Returns the decorator for the handler that runs when all parallel tasks have ended.

        Args and Raises: as ``handler_for``.
        """
        return self._named(state, _options(True, is_start, is_end, outcome, transitions))

    @overload
    def handler(self, state: FunctionT) -> FunctionT: ...

    @overload
    def handler(
        self,
        state: str | None = None,
        condition: ConditionSource | None = None,
        *,
        is_start: bool = False,
        is_end: bool = False,
        outcome: str | None = None,
        transitions: Iterable[str] | None = None,
    ) -> HandlerDecorator: ...

    def handler(
        self,
        state: Any = None,
        condition: ConditionSource | None = None,
        *,
        is_start: bool = False,
        is_end: bool = False,
        outcome: str | None = None,
        transitions: Iterable[str] | None = None,
    ) -> Any:
        """The shorter spelling of ``handler_for(...).when(...)``; without a name, the function's name is the state.

        ``@bp.handler``, ``@bp.handler(is_start=True)``, ``@bp.handler("state")`` and
        ``@bp.handler("state", "context.initial_data.n > 3")`` all work.

        Args and Raises: as ``handler_for``.
        """
        options = _options(False, is_start, is_end, outcome, transitions)
        return self._decorate(state, condition, options)

    @overload
    def aggregator(self, state: FunctionT) -> FunctionT: ...

    @overload
    def aggregator(
        self,
        state: str | None = None,
        condition: ConditionSource | None = None,
        *,
        is_start: bool = False,
        is_end: bool = False,
        outcome: str | None = None,
        transitions: Iterable[str] | None = None,
    ) -> HandlerDecorator: ...

    def aggregator(
        self,
        state: Any = None,
        condition: ConditionSource | None = None,
        *,
        is_start: bool = False,
        is_end: bool = False,
        outcome: str | None = None,
        transitions: Iterable[str] | None = None,
    ) -> Any:
        """The shorter spelling of ``aggregator_for(...)``; without a name, the function's name is the state.

        Args and Raises: as ``handler_for``.
        """
        options = _options(True, is_start, is_end, outcome, transitions)
        return self._decorate(state, condition, options)

    def _named(self, state: str, options: _Options) -> HandlerDecorator:
        if not isinstance(state, str):
            raise BlueprintError(
                f"handler_for and aggregator_for take the name of a state first; got {state!r}. "
                "Without a name, write @bp.handler or @bp.aggregator."
            )
        return HandlerDecorator(self, state, options)

    def _decorate(self, state: Any, condition: ConditionSource | None, options: _Options) -> Any:
        is_function = state is not None and not isinstance(state, str)
        decorator = HandlerDecorator(self, None if is_function else state, options)
        if condition is not None:
            decorator = decorator.when(condition)
        return decorator(state) if is_function else decorator

    def remove_state(self, name: str) -> None:
        """Takes a state and its handlers out, such as one that a notebook cell has renamed.

        Args:
            name: of the state.

        Raises:
            BlueprintError: there is no such state.
        """
        if name not in self._registrations:
            known = ", ".join(self._registrations)
            raise BlueprintError(
                f"blueprint '{self.name}' has no state '{name}'; known: {known}.{suggest(name, self._registrations)}"
            )
        del self._registrations[name]

    def migrate_states(self, moves: Mapping[str, str]) -> None:
        """Says where jobs of older versions go on whose state this version does not have.

        Args:
            moves: name of a state of an older version to the name of a state of this one.
        """
        self._migrations.update(moves)

    def add_data_store(self, name: str, initial: Any = None, *, shared: bool = False) -> None:
        """Gives the handlers a store, which they reach as ``data_stores.<name>``.

        Args:
            name: a Python identifier; a store of the same name is replaced.
            initial: a dict (or None) becomes a ``DataStore``; any other object is handed through as it is.
            shared: make a ``SharedStore`` of the dict, whose values all engines on one storage share.

        Raises:
            BlueprintError: the name is no identifier, or what cannot be shared is to be.
        """
        if not isinstance(name, str) or not name.isidentifier():
            raise BlueprintError(f"a data store is an attribute of data_stores, so its name cannot be {name!r}.")
        if shared and not (initial is None or isinstance(initial, dict)):
            raise BlueprintError(f"data store '{name}': only the values of a dict can be shared; got {initial!r}.")
        setattr(self.data_stores, name, SharedStore(initial) if shared else as_store(initial))

    @property
    def graph(self) -> Graph:
        """States and edges as far as they are defined; states that only edges name are there without handlers."""
        graph, _ = self._read()
        missing = dict.fromkeys(edge.target for edge in graph.edges if edge.target not in graph)
        return replace(graph, states=(*graph.states, *(State(name) for name in missing)))

    def compile(self) -> CompiledBlueprint:
        """Checks the blueprint and returns it in the form that an engine runs; later changes do not touch it.

        Raises:
            ValidationError: it has faults; all are listed.
        """
        graph, handlers = self._read()
        found = faults(graph, handlers)
        found += [
            f"migrate_states leads from '{old}' to '{new}', which is no state; {graph.known_states(new)}"
            for old, new in self._migrations.items()
            if new not in graph
        ]
        if found:
            raise ValidationError(self.name, found)
        return CompiledBlueprint(
            self.name,
            self.api_endpoint,
            self.api_version,
            graph,
            SimpleNamespace(**vars(self.data_stores)),
            {state: tuple(read.handler for read in reads) for state, reads in handlers.items()},
            dict(self._migrations),
            self.input_schema,
            self.output_schema,
        )

    def render_graph(self, output_filename: str | Path | None = None, output_format: str = "png") -> str:
        """Returns the graph as DOT text, or draws it into a file and returns the file's path.

        Args:
            output_filename: the file; its suffix is added if missing.
            output_format: ``png``, ``svg``, ``pdf`` or another that Graphviz knows.

        Raises:
            AvtomatikaError: Graphviz is not installed; the message says how to get it.
        """
        if output_filename is None:
            return render.dot(self.graph)
        return render.write_picture(self.graph, output_filename, output_format)

    def module_text(self) -> str:
        """Returns the text of a Python module that defines the blueprint as ``bp``, as ``export`` writes it.

        Raises:
            BlueprintError: as ``export`` does.
        """
        arguments = {
            name: value
            for name, value in (
                ("name", self.name),
                ("api_endpoint", self.api_endpoint),
                ("api_version", self.api_version),
                ("retry", self.retry),
                ("concurrency", self.concurrency or None),
                ("input_schema", self.input_schema),
                ("output_schema", self.output_schema),
            )
            if value is not None
        }
        handlers = [
            _exported(registration) for registrations in self._registrations.values() for registration in registrations
        ]
        return module_text(arguments, vars(self.data_stores), handlers, self)

    def export(self, path: str | Path) -> Path:
        """Writes the blueprint as a Python module that defines it as ``bp``, out of the cells of a notebook.

        What the handlers use of the notebook comes along: imports, functions, classes, and constants that can be
        written down. A data store begins empty there.

        Args:
            path: of the module, such as ``flow.py``; an existing file is replaced.

        Returns:
            The path.

        Raises:
            BlueprintError: a handler has no source, a condition is no text, or something that a handler uses cannot be
                written down.
        """
        file = Path(path)
        file.write_text(self.module_text(), encoding="utf-8")
        return file

    def __repr__(self) -> str:
        endpoint = f", api_endpoint={self.api_endpoint!r}" if self.api_endpoint else ""
        return f"<StateMachineBlueprint {self.name!r}{endpoint}: {len(self._registrations)} states>"

    def _repr_mimebundle_(
        self, include: Collection[str] | None = None, exclude: Collection[str] | None = None
    ) -> dict[str, str]:
        """Shows the graph in a notebook, complete or not."""
        del include, exclude  # the front end chooses among what is there
        return {
            "text/plain": repr(self),
            "text/html": drawing.html(self.graph),
            "image/svg+xml": drawing.svg(self.graph),
        }

    def _register(self, new: _Registration) -> None:
        """Puts the handler into its state: in the place of the one that it supersedes, or at the end.

        Raises:
            BlueprintError: the state already has another default.
        """
        former = self._registrations.get(new.handler.state, [])
        is_superseded = [_supersedes(new, old) for old in former]
        kept = [old for old, is_gone in zip(former, is_superseded, strict=True) if not is_gone]
        _check_default(new, kept)
        place = is_superseded.index(True) if True in is_superseded else len(former)
        kept.insert(place, new)
        self._registrations[new.handler.state] = kept

    def _read(self) -> tuple[Graph, dict[str, list[ReadHandler]]]:
        """Returns the graph, and the handlers of each state in the order in which they are tried."""
        handlers = {
            name: sorted((r.read() for r in registrations), key=lambda read: read.handler.condition is None)
            for name, registrations in self._registrations.items()
        }
        states = tuple(self._state(name, reads) for name, reads in handlers.items())
        edges = dict.fromkeys(edge for reads in handlers.values() for read in reads for edge in _edges(read))
        asked = (parameter.source for reads in handlers.values() for r in reads for parameter in r.handler.parameters)
        uses_files = "task_files" in asked
        return Graph(self.name, states, tuple(edges), self.retry, self.concurrency, uses_files), handlers

    def _state(self, name: str, reads: list[ReadHandler]) -> State:
        is_end = any(read.is_end for read in reads)
        return State(
            name,
            is_start=any(registration.options.is_start for registration in self._registrations[name]),
            is_end=is_end,
            outcome=next((read.outcome for read in reads if read.outcome), _outcome_of(name)) if is_end else "",
            is_aggregator=any(read.is_aggregator for read in reads),
            is_open=not is_end and any(not read.reading.is_complete and read.declared is None for read in reads),
            handlers=tuple(read.handler.name for read in reads),
        )


Blueprint = StateMachineBlueprint


def _exported(registration: _Registration) -> ExportedHandler:
    options, handler = registration.options, registration.handler
    given = {
        "is_start": options.is_start,
        "is_end": options.is_end,
        "outcome": options.outcome,
        "transitions": list(options.declared) if options.declared is not None else None,
    }
    decorator = "aggregator_for" if options.is_aggregator else "handler_for"
    used = {name: value for name, value in given.items() if value or value == []}
    return ExportedHandler(handler.state, handler.function, handler.condition, decorator, used)


def _edges(read: ReadHandler) -> tuple[Edge, ...]:
    handler = read.handler
    known = {edge.target for edge in read.reading.edges}
    condition = handler.condition.text if handler.condition else ""
    declared = (
        Edge(handler.state, target, EdgeKind.DECLARED, condition=condition)
        for target in read.declared or ()
        if target not in known
    )
    return (*read.reading.edges, *declared)


def _holds(handler: Handler, condition: Condition, context: JobContext) -> bool:
    try:
        return condition.holds(context)
    except Exception as error:
        error.add_note(f"raised by the condition [{condition.text}] of handler '{handler.name}'")
        raise


def _supersedes(new: _Registration, old: _Registration) -> bool:
    """Whether ``new`` is the same handler as ``old``, defined again: a notebook cell was run once more.

    It is if both have the same condition, or if the function of that name was defined elsewhere before, as every change
    of a cell makes it. Two functions of one name and different conditions in one file are two handlers. In a notebook,
    a default replaces the former default whatever its name was.
    """
    if _are_rivals(new, old) and _is_in_notebook(new.handler.function):
        return True
    first, second = old.handler.condition, new.handler.condition
    if first is not None and second is not None and first.identity == second.identity:
        return True
    if old.handler.function is new.handler.function:
        return first is None and second is None
    before, after = plain_function(old.handler.function), plain_function(new.handler.function)
    if before is None or after is None or _label(before) != _label(after) or after.__name__ in {"_", "<lambda>"}:
        return False
    is_elsewhere = before.__code__.co_filename != after.__code__.co_filename
    return is_elsewhere or (first is None and second is None)


def _label(function: Callable[..., Any]) -> tuple[str, str]:
    return function.__module__, function.__qualname__


def _check_default(new: _Registration, others: Iterable[_Registration]) -> None:
    for old in others:
        if _are_rivals(new, old):
            raise BlueprintError(
                f"state '{new.handler.state}' already has the default handler '{old.handler.name}', and "
                f"'{new.handler.name}' would be a second one; give one of them a condition with .when(...), or "
                "another state."
            )


def _are_rivals(new: _Registration, old: _Registration) -> bool:
    """Whether both want to be the default of the state."""
    is_default = new.handler.condition is None and old.handler.condition is None
    return is_default and new.options.is_aggregator == old.options.is_aggregator


def _is_in_notebook(function: Callable[..., Any]) -> bool:
    """Whether the function was typed into a running IPython shell, where a new definition replaces the former."""
    ipython = sys.modules.get("IPython")
    return getattr(function, "__module__", "") == "__main__" and ipython is not None and bool(ipython.get_ipython())


def _options(
    is_aggregator: bool, is_start: bool, is_end: bool, outcome: str | None, transitions: Iterable[str] | None
) -> _Options:
    if outcome is not None and outcome not in _OUTCOMES:
        raise BlueprintError(f"outcome is 'finished' or 'failed'; got {outcome!r}.{suggest(str(outcome), _OUTCOMES)}")
    return _Options(is_aggregator, bool(is_start), bool(is_end), outcome or "", _declared(transitions))


def _declared(transitions: Iterable[str] | None) -> tuple[str, ...] | None:
    if transitions is None:
        return None
    is_list = isinstance(transitions, Iterable) and not isinstance(transitions, str | Mapping)
    targets = tuple(transitions) if is_list else ()
    if not is_list or not all(isinstance(target, str) for target in targets):
        raise BlueprintError(
            f"transitions is a list of the states that a handler leads to, such as ['ship', 'refund']; "
            f"got {transitions!r}."
        )
    return targets


def _outcome_of(state: str) -> str:
    """Returns how a job ends in a state of that name: by its last word."""
    words = re.split(r"[_\-\s]+|(?<=[a-z0-9])(?=[A-Z])", state.rstrip("_- "))
    return "failed" if words[-1].lower() in _FAILED_WORDS else "finished"


def _checked_state(state: str) -> str:
    if not state.strip() or state != state.strip() or not state.isprintable():
        raise BlueprintError(f"the name of a state is printable text without spaces around it; got {state!r}.")
    if state == "<lambda>":
        raise BlueprintError("a lambda has no name that could be its state; write @bp.handler('state').")
    return state


def _checked_endpoint(endpoint: str | None) -> str | None:
    if endpoint is None:
        return None
    segments = endpoint.removeprefix("/").removesuffix("/").split("/") if isinstance(endpoint, str) else [""]
    if not all(_SEGMENT.fullmatch(segment) for segment in segments):
        raise BlueprintError(
            f"api_endpoint is a path such as '/jobs/orders', of letters, digits and . _ ~ - between slashes; "
            f"got {endpoint!r}."
        )
    return "/" + "/".join(segments)


def _checked_version(version: str | None) -> str | None:
    if version is not None and not (isinstance(version, str) and _SEGMENT.fullmatch(version)):
        raise BlueprintError(f"api_version is one part of a path, such as 'v1'; got {version!r}.")
    return version


def _checked_concurrency(concurrency: Mapping[str, int] | None) -> dict[str, int]:
    limits = {} if concurrency is None else concurrency
    if not isinstance(limits, Mapping) or not all(
        isinstance(name, str) and type(limit) is int and limit >= 1 for name, limit in limits.items()
    ):
        raise BlueprintError(
            "concurrency is a dict of type of task to how many may run at a time, a whole number from 1, such as "
            f"{{'render': 2}}; got {concurrency!r}."
        )
    return dict(limits)


def _checked_retry(retry: RetryPolicy | Mapping[str, Any] | None) -> RetryPolicy | None:
    try:
        return RetryPolicy.of(retry)
    except ActionError as error:
        raise BlueprintError(str(error)) from None
