"""Captions: what the drawing says of each state and edge, and how much room that takes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from enum import StrEnum

from avtomatika.blueprints.drawing.layout import Box
from avtomatika.blueprints.drawing.lettering import shorten, text_width
from avtomatika.blueprints.graph import Edge, EdgeKind, Graph, State

NAME_SIZE, NOTE_SIZE, LABEL_SIZE = 13.0, 11.0, 12.0
"""Font sizes in pixels: of a state's name, of the line below it, of an edge's label."""
ICON_ROOM = 34.0
"""Pixels from a state's left side to its text."""
LINE_HEIGHT = 16.0
"""Pixels from one line of a label to the next."""
COUNT_ROOM = 36.0
"""Pixels for how often an edge was taken, below the label: a sign and up to three digits."""
_NAME_ROOM, _LABEL_ROOM = 220.0, 210.0
_MAX_LINES = 3
_FAILURE_WORDS = frozenset(
    {
        "failure",
        "failed",
        "quarantined",
        "error",
        "cancelled",
        "rejected",
        "expired",
        "DISPATCH_TIMEOUT",
        "TIMEOUT_ERROR",
        "RESULT_TIMEOUT",
    }
)
_WORDS = {EdgeKind.AGGREGATE: "all done", EdgeKind.SLEEP: "later"}
_SENDING = frozenset({EdgeKind.TASK, EdgeKind.AGGREGATE})
_WAITING = {EdgeKind.APPROVAL: "asks a person", EdgeKind.SLEEP: "lets time pass"}


class Role(StrEnum):
    """What a state is for; each has a shape, an icon and a colour of its own."""

    START = "start"
    PLAIN = "plain"
    TASK = "task"
    AGGREGATOR = "aggregator"
    HUMAN = "human"
    """It asks a person."""
    SLEEP = "sleep"
    """It lets time pass."""
    CHILD = "child"
    """It runs another blueprint."""
    FINISHED = "finished"
    FAILED = "failed"
    MISSING = "missing"
    """An edge leads to it, but no handler is defined yet."""


_ROLE_WORDS = {
    Role.START: "start state",
    Role.PLAIN: "state",
    Role.TASK: "state",
    Role.AGGREGATOR: "aggregator",
    Role.HUMAN: "state",
    Role.SLEEP: "state",
    Role.CHILD: "state",
    Role.FINISHED: "end state, outcome finished",
    Role.FAILED: "end state, outcome failed",
    Role.MISSING: "state without a handler",
}


_ROLES = {
    EdgeKind.TASK: Role.TASK,
    EdgeKind.AGGREGATE: Role.TASK,
    EdgeKind.SUB_BLUEPRINT: Role.CHILD,
    EdgeKind.APPROVAL: Role.HUMAN,
    EdgeKind.SLEEP: Role.SLEEP,
}


@dataclass(frozen=True, slots=True)
class StateCaption:
    """What is drawn for a state.

    Args:
        name: the state's.
        role: what it is for.
        text: the name, shortened if it is long.
        note: the types of its tasks and the blueprints that it runs, or empty.
        is_open: not all edges that leave it are known.
        description: all of it in words.
        tasks: the types of the tasks that it sends.
        box: the room it takes.
    """

    name: str
    role: Role
    text: str
    note: str
    is_open: bool
    description: str
    tasks: tuple[str, ...]
    box: Box


@dataclass(frozen=True, slots=True)
class LabelLine:
    """One line of an edge's label.

    Args:
        text: shortened if it is long.
        is_condition: it is the condition of a handler, not a status word.
    """

    text: str
    is_condition: bool = False


@dataclass(frozen=True, slots=True)
class EdgeCaption:
    """What is drawn for all edges from one state to another.

    Args:
        source: name of the state that they leave.
        target: name of the state that they lead to.
        lines: of the label; empty for none.
        is_failure: a way that is taken when something went wrong.
        is_join: all branches of a fan-out come together along it.
        description: all of it in words.
        width: of the label and the count, pixels; 0 for none.
        height: of both, pixels; 0 for none.
        is_counted: there is room for how often the edge was taken.
    """

    source: str
    target: str
    lines: tuple[LabelLine, ...]
    is_failure: bool
    is_join: bool
    description: str
    width: float
    height: float
    is_counted: bool


def caption_states(graph: Graph) -> list[StateCaption]:
    """Returns the captions: the start first, then in order of definition, then states that lack a handler."""
    defined = sorted(graph.states, key=lambda state: not state.is_start)
    targets = dict.fromkeys(edge.target for edge in graph.edges)
    sources = dict.fromkeys(edge.source for edge in graph.edges)
    missing = [State(name) for name in {**sources, **targets} if name not in graph]
    leaving: dict[str, list[Edge]] = {}
    for edge in graph.edges:
        leaving.setdefault(edge.source, []).append(edge)
    return [
        _caption_state(state, leaving.get(state.name, []), is_missing=state in missing)
        for state in [*defined, *missing]
    ]


def caption_edges(graph: Graph, *, is_counted: bool) -> list[EdgeCaption]:
    """Returns one caption for each pair of states, in order of appearance.

    Args:
        graph: whose edges.
        is_counted: leave room for how often each was taken.
    """
    merged: dict[tuple[str, str], list[Edge]] = {}
    for edge in graph.edges:
        merged.setdefault((edge.source, edge.target), []).append(edge)
    failed = {state.name for state in graph if state.is_end and state.outcome == "failed"}
    branching = {edge.source for edge in graph.edges if edge.condition}
    return [
        _caption_edges(edges, edges[0].target in failed, edges[0].source in branching, is_counted)
        for edges in merged.values()
    ]


def _caption_state(state: State, edges: Sequence[Edge], *, is_missing: bool) -> StateCaption:
    kinds = {edge.kind for edge in edges}
    tasks = _names(edge for edge in edges if edge.kind is not EdgeKind.SUB_BLUEPRINT)
    children = _names(edge for edge in edges if edge.kind is EdgeKind.SUB_BLUEPRINT)
    role = Role.MISSING if is_missing else _role(state, kinds)
    text = shorten(state.name, NAME_SIZE, _NAME_ROOM)
    note = shorten(", ".join((*tasks, *children)), NOTE_SIZE, _NAME_ROOM)
    words = max(text_width(text, NAME_SIZE), text_width(note, NOTE_SIZE))
    height = 50.0 if note else 40.0
    facts = [_ROLE_WORDS[role]]
    if tasks:
        facts.append(f"sends {', '.join(tasks)} to workers")
    elif kinds & _SENDING:
        facts.append("sends tasks to workers")
    if children:
        facts.append(f"runs blueprint {', '.join(children)}")
    elif EdgeKind.SUB_BLUEPRINT in kinds:
        facts.append("runs another blueprint")
    facts += [what for kind, what in _WAITING.items() if kind in kinds]
    if state.handlers:
        facts.append(f"handled by {', '.join(dict.fromkeys(state.handlers))}")
    if state.is_open:
        facts.append("may lead to more states than shown")
    return StateCaption(
        state.name,
        role,
        text,
        note,
        state.is_open,
        f"{state.name}: {'; '.join(facts)}",
        tasks,
        _box(role, float(round(ICON_ROOM + words + 14)), height),
    )


def _names(edges: Iterable[Edge]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(edge.task_type for edge in edges if edge.task_type))


def _role(state: State, kinds: Set[EdgeKind]) -> Role:
    if state.is_end:
        return Role.FAILED if state.outcome == "failed" else Role.FINISHED
    if state.is_start:
        return Role.START
    if state.is_aggregator:
        return Role.AGGREGATOR
    return next((role for kind, role in _ROLES.items() if kind in kinds), Role.PLAIN)


def _box(role: Role, width: float, height: float) -> Box:
    match role:
        case Role.START | Role.FINISHED:
            return Box(width + 4, height, height / 2, height / 2)
        case Role.FAILED:
            return Box(width + 4, height, 12.0, 12.0, is_round=False)
        case Role.AGGREGATOR:
            return Box(width + 14, height, 14.0, height / 2, is_round=False)
        case Role.TASK | Role.CHILD:
            return Box(width, height, 4.0, 4.0)
        case _:
            return Box(width, height, 11.0, 11.0)


def _caption_edges(edges: Sequence[Edge], leads_to_failed: bool, is_branching: bool, is_counted: bool) -> EdgeCaption:
    first = edges[0]
    lines = _label_lines(edges, is_branching)
    shown = [LabelLine(shorten(line.text, LABEL_SIZE, _LABEL_ROOM), line.is_condition) for line in lines]
    if len(shown) > _MAX_LINES:
        shown[_MAX_LINES - 1 :] = [LabelLine(f"and {len(shown) - _MAX_LINES + 1} more", is_condition=True)]
    width = max((text_width(line.text, LABEL_SIZE) for line in shown), default=0.0)
    if width:
        width += 10
    if is_counted:
        width = max(width, COUNT_ROOM)
    facts = [_describe(edge) for edge in edges]
    return EdgeCaption(
        first.source,
        first.target,
        tuple(shown),
        is_failure=leads_to_failed or any(edge.label in _FAILURE_WORDS for edge in edges),
        is_join=all(edge.kind is EdgeKind.AGGREGATE for edge in edges),
        description=f"{first.source} to {first.target}: {'; '.join(dict.fromkeys(facts))}",
        width=float(round(width)),
        height=LINE_HEIGHT * (len(shown) + is_counted) + 4 if width else 0.0,
        is_counted=is_counted,
    )


def _label_lines(edges: Sequence[Edge], is_branching: bool) -> list[LabelLine]:
    """Returns the status words of each condition, then the condition; each once."""
    by_condition: dict[str, list[str]] = {}
    for edge in edges:
        words = by_condition.setdefault(edge.condition, [])
        word = edge.label or _WORDS.get(edge.kind, "")
        if word and word not in words:
            words.append(word)
    lines = []
    for condition, words in by_condition.items():
        if words:
            lines.append(LabelLine(", ".join(words)))
        if condition:
            lines.append(LabelLine(f"if {condition.removeprefix('context.')}", is_condition=True))
        elif is_branching and not words:
            lines.append(LabelLine("else", is_condition=True))
    return lines


def _describe(edge: Edge) -> str:
    match edge.kind:
        case EdgeKind.TASK:
            what = f"when {edge.task_type or 'the task'} answers {edge.label or 'anything'}"
        case EdgeKind.AGGREGATE:
            what = f"when all branches{' of ' + edge.task_type if edge.task_type else ''} have ended"
        case EdgeKind.SLEEP:
            what = "when its time has come"
        case EdgeKind.APPROVAL:
            what = "when nobody decides in time" if edge.label == "expired" else f"when a person decides {edge.label}"
        case EdgeKind.SUB_BLUEPRINT:
            what = f"when {edge.task_type or 'the child job'} ends with {edge.label}"
        case EdgeKind.DECLARED:
            what = "declared transition"
        case _:
            what = "transition"
    return f"{what}, if {edge.condition}" if edge.condition else what
