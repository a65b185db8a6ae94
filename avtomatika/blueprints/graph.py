"""The graph of a blueprint: its states and edges as plain values, without the handlers' code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

from avtomatika.blueprints.retries import RetryPolicy
from avtomatika.errors import BlueprintError, suggest


class EdgeKind(StrEnum):
    """What leads along an edge."""

    TRANSITION = "transition"
    """``actions.transition_to``: the handler itself goes on."""
    TASK = "task"
    """``actions.dispatch_task``: the status that a worker answers; the label is that word."""
    AGGREGATE = "aggregate"
    """``actions.dispatch_parallel``: all branches have ended."""
    SLEEP = "sleep"
    """``actions.sleep`` and ``actions.sleep_until``: a moment has come."""
    APPROVAL = "approval"
    """``actions.await_human_approval``: what a person decided; the label is the decision, or ``expired``."""
    SUB_BLUEPRINT = "sub_blueprint"
    """``actions.run_blueprint``: how the child job ended; the label is that word."""
    DECLARED = "declared"
    """Named in ``transitions=[...]`` of the handler, for code that cannot be read."""


@dataclass(frozen=True, slots=True)
class Edge:
    """A way from one state to another.

    Args:
        source: name of the state whose handler leads away.
        target: name of the state it leads to.
        kind: what leads along it.
        label: the word of a task, a person or a child job that leads along it, or empty.
        condition: the condition of the handler (``.when``), or empty for the default handler.
        task_type: the type of the dispatched task, the name of the child's blueprint, or empty.
    """

    source: str
    target: str
    kind: EdgeKind = EdgeKind.TRANSITION
    label: str = ""
    condition: str = ""
    task_type: str = ""


@dataclass(frozen=True, slots=True)
class State:
    """A node of the graph.

    Args:
        name: unique within the blueprint.
        is_start: every job begins here; true for exactly one state.
        is_end: a job ends when the handler of this state returns.
        outcome: ``finished`` or ``failed`` for an end state, else empty.
        is_aggregator: entered when all branches of a fan-out have ended.
        is_open: the targets of a handler could not be read from its source and are not declared, so that the edges
            leaving this state are incomplete.
        handlers: names of the handler functions, conditional ones first; empty for a state of an unfinished blueprint
            that edges lead to although nobody has defined it.
    """

    name: str
    is_start: bool = False
    is_end: bool = False
    outcome: str = ""
    is_aggregator: bool = False
    is_open: bool = False
    handlers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Graph:
    """The states and edges of one version of a blueprint.

    Args:
        name: name of the blueprint.
        states: in order of definition.
        edges: in order of appearance.
        retry: the blueprint's policy of retries, or None; no part of its version.
        concurrency: type of task to how many of them the blueprint's jobs may have running; no part of its version.
        uses_files: a handler asks for the job's files; no part of its version.
    """

    name: str
    states: tuple[State, ...]
    edges: tuple[Edge, ...] = ()
    retry: RetryPolicy | None = None
    concurrency: Mapping[str, int] = field(default_factory=dict, hash=False)
    uses_files: bool = False
    _by_name: dict[str, State] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_name", {state.name: state for state in self.states})

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def __iter__(self) -> Iterator[State]:
        return iter(self.states)

    @cached_property
    def start(self) -> State:
        """The state in which every job begins."""
        for state in self.states:
            if state.is_start:
                return state
        raise BlueprintError(f"blueprint '{self.name}' has no start state; mark one with is_start=True.")

    @cached_property
    def version(self) -> str:
        """12 hexadecimal digits that change with the states or edges; the pinned version of a job."""
        canonical = [
            sorted([s.name, s.is_start, s.is_end, s.outcome, s.is_aggregator] for s in self.states),
            sorted([e.source, e.target, str(e.kind), e.label, e.condition, e.task_type] for e in self.edges),
        ]
        return hashlib.sha256(json.dumps(canonical).encode()).hexdigest()[:12]

    def state(self, name: str) -> State:
        """Returns the state of that name.

        Raises:
            BlueprintError: there is none; the message lists the known ones.
        """
        try:
            return self._by_name[name]
        except KeyError:
            raise BlueprintError(f"blueprint '{self.name}' has no state '{name}'; {self.known_states(name)}") from None

    def known_states(self, missing: str = "") -> str:
        """Returns ``known: a, b.`` with a guess at what ``missing`` was meant to be, for error messages."""
        return f"known: {', '.join(self._by_name)}.{suggest(missing, self._by_name)}"

    def edges_from(self, name: str) -> tuple[Edge, ...]:
        """Returns the edges that leave the state called ``name``."""
        return tuple(edge for edge in self.edges if edge.source == name)
