"""Blueprints: states and their handlers, put together with decorators and compiled into something that can run."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, overload

from avtomatika.blueprints import drawing, render
from avtomatika.blueprints.arguments import (
    checked_concurrency,
    checked_endpoint,
    checked_name,
    checked_retry,
    checked_version,
)
from avtomatika.blueprints.compiled import CompiledBlueprint
from avtomatika.blueprints.decorator import ConditionSource, FunctionT, HandlerDecorator
from avtomatika.blueprints.export import module_text
from avtomatika.blueprints.graph import Edge, EdgeKind, Graph, State
from avtomatika.blueprints.registration import Options, Registration, check_default, options_of, supersedes
from avtomatika.blueprints.retries import RetryPolicy
from avtomatika.blueprints.schemas import check_schema
from avtomatika.blueprints.stores import SharedStore, as_store
from avtomatika.blueprints.validation import ReadHandler, faults
from avtomatika.errors import BlueprintError, ValidationError, suggest

_FAILED_WORDS: Final = frozenset({"failed", "failure", "error", "rejected"})


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
        self.name = checked_name(name)
        self.api_endpoint = checked_endpoint(api_endpoint)
        self.api_version = checked_version(api_version)
        self.retry = checked_retry(retry)
        self.concurrency = checked_concurrency(concurrency)
        self.input_schema = check_schema(input_schema, f"input_schema of blueprint '{name}'")
        self.output_schema = check_schema(output_schema, f"output_schema of blueprint '{name}'")
        self.data_stores = SimpleNamespace()
        self._registrations: dict[str, list[Registration]] = {}
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
        return self._named(state, options_of(False, is_start, is_end, outcome, transitions))

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
        return self._named(state, options_of(True, is_start, is_end, outcome, transitions))

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
        options = options_of(False, is_start, is_end, outcome, transitions)
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
        options = options_of(True, is_start, is_end, outcome, transitions)
        return self._decorate(state, condition, options)

    def _named(self, state: str, options: Options) -> HandlerDecorator:
        if not isinstance(state, str):
            raise BlueprintError(
                f"handler_for and aggregator_for take the name of a state first; got {state!r}. "
                "Without a name, write @bp.handler or @bp.aggregator."
            )
        return HandlerDecorator(self._register, state, options)

    def _decorate(self, state: Any, condition: ConditionSource | None, options: Options) -> Any:
        is_function = state is not None and not isinstance(state, str)
        decorator = HandlerDecorator(self._register, None if is_function else state, options)
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
        handlers = [registration.exported() for group in self._registrations.values() for registration in group]
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
        graph, _ = self._read()  # the drawing itself knows the states that are missing
        return {"text/plain": repr(self), "text/html": drawing.html(graph), "image/svg+xml": drawing.svg(graph)}

    def _register(self, new: Registration) -> None:
        """Puts the handler into its state: in the place of the one that it supersedes, or at the end.

        Raises:
            BlueprintError: the state already has another default.
        """
        former = self._registrations.get(new.handler.state, [])
        is_superseded = [supersedes(new, old) for old in former]
        kept = [old for old, is_gone in zip(former, is_superseded, strict=True) if not is_gone]
        check_default(new, kept)
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


def _outcome_of(state: str) -> str:
    """Returns how a job ends in a state of that name: by its last word."""
    words = re.split(r"[_\-\s]+|(?<=[a-z0-9])(?=[A-Z])", state.rstrip("_- "))
    return "failed" if words[-1].lower() in _FAILED_WORDS else "finished"
