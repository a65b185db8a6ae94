"""The faults of a blueprint: everything that would go wrong in a job and can be seen before there is one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from avtomatika.blueprints.graph import EdgeKind, Graph, State
from avtomatika.blueprints.handlers import Handler
from avtomatika.blueprints.source import ACTION_NAMES, Reading
from avtomatika.errors import suggest


@dataclass(frozen=True, slots=True)
class ReadHandler:
    """A handler as it was registered, with what its source says.

    Args:
        handler: the handler.
        reading: its edges and requests.
        is_aggregator: it was registered with ``aggregator_for``.
        is_end: it was registered with ``is_end=True``.
        outcome: it was registered with this outcome, or empty.
        declared: the targets given as ``transitions=[...]``, or None.
    """

    handler: Handler
    reading: Reading
    is_aggregator: bool = False
    is_end: bool = False
    outcome: str = ""
    declared: tuple[str, ...] | None = None


def faults(graph: Graph, handlers: Mapping[str, Sequence[ReadHandler]]) -> list[str]:
    """Returns one sentence for each fault, in the order of the states; empty for a sound blueprint.

    Args:
        graph: the states that have handlers, and all edges.
        handlers: name of each state to its handlers.
    """
    if not graph.states:
        return ["it has no handlers; add the first with @bp.handler_for('start', is_start=True)"]
    found = [
        *_start_faults(graph),
        *(fault for state in graph for fault in _state_faults(state, handlers[state.name])),
        *(fault for state in graph for read in handlers[state.name] for fault in _handler_faults(state, read)),
        *_edge_faults(graph),
        *_unreachable(graph),
    ]
    return list(dict.fromkeys(found))


def _start_faults(graph: Graph) -> Iterator[str]:
    starts = [state.name for state in graph if state.is_start]
    if not starts:
        yield f"no state is the start; add is_start=True to one of: {_names(graph)}"
    if len(starts) > 1:
        yield f"{' and '.join(_quoted(starts))} are all marked is_start=True; a job begins in exactly one state"


def _state_faults(state: State, handlers: Sequence[ReadHandler]) -> Iterator[str]:
    if len({read.is_aggregator for read in handlers}) > 1:
        yield (
            f"state '{state.name}' has handlers of both handler_for and aggregator_for "
            f"({', '.join(_quoted(read.handler.name for read in handlers))}); make it two states"
        )
    outcomes = sorted({read.outcome for read in handlers if read.outcome})
    if len(outcomes) > 1:
        yield f"state '{state.name}' is given the outcomes {' and '.join(_quoted(outcomes))}; keep one"
    if outcomes and not state.is_end:
        yield f"state '{state.name}' has outcome='{outcomes[0]}' but is no end state; add is_end=True or remove it"


def _handler_faults(state: State, read: ReadHandler) -> Iterator[str]:
    name, reading = read.handler.name, read.reading
    for unknown in reading.unknown:
        yield (
            f"handler '{name}' of state '{state.name}' calls actions.{unknown}, which does not exist; "
            f"known: {', '.join(ACTION_NAMES)}.{suggest(unknown, ACTION_NAMES)}"
        )
    if state.is_end and reading.requests:
        yield (
            f"handler '{name}' calls actions.{reading.requests[0]}, but '{state.name}' is an end state; "
            "remove the call, or is_end=True"
        )
    if not state.is_end and not reading.requests and reading.is_complete and not read.declared:
        yield (
            f"handler '{name}' of state '{state.name}' asks for no action, so that a job would stay there for ever; "
            f"call actions.transition_to(...) or another action, or add is_end=True"
        )


def _edge_faults(graph: Graph) -> Iterator[str]:
    missing = dict.fromkeys((edge.source, edge.target) for edge in graph.edges if edge.target not in graph)
    for source, target in missing:
        yield f"'{source}' leads to '{target}', which does not exist; {graph.known_states(target)}"
    for edge in graph.edges:
        if edge.kind is EdgeKind.AGGREGATE and edge.target in graph and not graph.state(edge.target).is_aggregator:
            yield (
                f"'{edge.source}' joins its tasks in '{edge.target}', which has no aggregator; "
                f"register its handler with @bp.aggregator_for('{edge.target}')"
            )


def _unreachable(graph: Graph) -> Iterator[str]:
    starts = [state.name for state in graph if state.is_start]
    if len(starts) != 1:
        return  # already a fault, and nothing could be said of the rest
    reached = reachable(graph, starts[0])
    if any(graph.state(name).is_open for name in reached):
        return
    for state in graph:
        if state.name not in reached:
            yield (
                f"no way leads from the start '{starts[0]}' to state '{state.name}'; "
                f"lead to it, or take it out with bp.remove_state('{state.name}')"
            )


def reachable(graph: Graph, start: str) -> set[str]:
    """Returns the names of the states that a job beginning in ``start`` can come to."""
    reached = {start}
    waiting = [start]
    while waiting:
        source = waiting.pop()
        fresh = {edge.target for edge in graph.edges_from(source) if edge.target in graph} - reached
        reached |= fresh
        waiting.extend(fresh)
    return reached


def _names(graph: Graph) -> str:
    return ", ".join(state.name for state in graph)


def _quoted(names: Iterable[str]) -> list[str]:
    return [f"'{name}'" for name in names]
