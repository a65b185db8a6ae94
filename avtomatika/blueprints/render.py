"""The graph of a blueprint as text for other programs: DOT, Mermaid, and a dict for JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from avtomatika.blueprints.graph import Edge, EdgeKind, Graph, State
from avtomatika.errors import AvtomatikaError, BlueprintError

_EDGE_STYLE: Final = {
    EdgeKind.TRANSITION: "solid",
    EdgeKind.TASK: "solid",
    EdgeKind.AGGREGATE: "bold",
    EdgeKind.SLEEP: "dotted",
    EdgeKind.APPROVAL: "solid",
    EdgeKind.SUB_BLUEPRINT: "solid",
    EdgeKind.DECLARED: "dashed",
}


def graph_dict(graph: Graph) -> dict[str, Any]:
    """Returns name, version, states and edges as plain dicts and lists, with the field names of ``State`` and ``Edge``.

    Two values differ in type only: ``handlers`` is a list, ``kind`` a string.

    Args:
        graph: such as ``blueprint.graph``.
    """
    return {
        "name": graph.name,
        "version": graph.version,
        "states": [{**dataclasses.asdict(state), "handlers": list(state.handlers)} for state in graph.states],
        "edges": [{**dataclasses.asdict(edge), "kind": str(edge.kind)} for edge in graph.edges],
    }


def graph_from_dict(drawn: Mapping[str, Any]) -> Graph:
    """Returns the graph that ``graph_dict`` wrote; members that this version does not know are left out.

    Raises:
        KeyError: a member without which there is no graph is missing.
    """
    states = [_known(State, state) for state in drawn["states"]]
    edges = [_known(Edge, edge) for edge in drawn["edges"]]
    return Graph(
        str(drawn["name"]),
        tuple(State(**{**state, "handlers": tuple(state.get("handlers", ()))}) for state in states),
        tuple(Edge(**{**edge, "kind": EdgeKind(edge.get("kind", EdgeKind.TRANSITION))}) for edge in edges),
    )


def _known(kind: type, members: Mapping[str, Any]) -> dict[str, Any]:
    names = {field.name for field in dataclasses.fields(kind)}
    return {name: value for name, value in members.items() if name in names}


def edge_text(edge: Edge) -> str:
    """Returns what stands at an edge: the word that leads along it, and the condition in brackets."""
    word = "later" if edge.kind is EdgeKind.SLEEP else edge.label
    condition = f"[{edge.condition}]" if edge.condition else ""
    return " ".join(part for part in (word, condition) if part)


def dot(graph: Graph) -> str:
    """Returns the graph in the DOT language; the same graph gives the same bytes.

    The start has a thick border, end states a double one (green, or red for ``failed``), an aggregator is a trapezium,
    a state whose ways out are not all known is dashed, one that nobody has defined dotted.
    """
    lines = [
        f"digraph {_quoted(graph.name)} {{",
        "  rankdir=LR;",
        '  node [shape=box, style="rounded,filled", fillcolor="#f6f8fa", color="#57606a", fontname="Helvetica"];',
        '  edge [color="#57606a", fontname="Helvetica", fontsize=10];',
        *(f"  {_quoted(state.name)} [{_attributes(_node_attributes(state))}];" for state in graph.states),
        *(f"  {_quoted(e.source)} -> {_quoted(e.target)} [{_attributes(_edge_attributes(e))}];" for e in graph.edges),
        "}",
    ]
    return "\n".join(lines) + "\n"


def _node_attributes(state: State) -> Iterator[tuple[str, str]]:
    yield "label", state.name
    if state.is_aggregator:
        yield "shape", "trapezium"
        yield "style", "filled"
    elif state.is_open:
        yield "style", "rounded,filled,dashed"
    elif not state.handlers:
        yield "style", "rounded,dotted"
    if state.is_start:
        yield "penwidth", "2.5"
    if state.is_end:
        yield "peripheries", "2"
        yield "color", "#cf222e" if state.outcome == "failed" else "#1a7f37"
        yield "fillcolor", "#ffebe9" if state.outcome == "failed" else "#dafbe1"


def _edge_attributes(edge: Edge) -> Iterator[tuple[str, str]]:
    if text := edge_text(edge):
        yield "label", text
    yield "style", _EDGE_STYLE[edge.kind]
    if edge.task_type:
        yield "tooltip", f"{'blueprint' if edge.kind is EdgeKind.SUB_BLUEPRINT else 'task'} {edge.task_type}"


def _attributes(pairs: Iterator[tuple[str, str]]) -> str:
    return ", ".join(f"{name}={_quoted(value)}" for name, value in pairs)


def _quoted(text: str) -> str:
    """Quotes a string; backslashes would begin one of DOT's escapes."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\r", "").replace("\n", "\\n").replace("\0", "")
    return f'"{escaped}"'


def mermaid(graph: Graph) -> str:
    """Returns the graph as a Mermaid state diagram; the same graph gives the same bytes."""
    ids = {state.name: f"s{index}" for index, state in enumerate(graph.states)}
    lines = ["stateDiagram-v2", "  direction LR"]
    lines += [f'  state "{_mermaid(state.name)}" as {ids[state.name]}' for state in graph.states]
    lines += [f"  [*] --> {ids[state.name]}" for state in graph.states if state.is_start]
    for edge in graph.edges:
        text = _mermaid(edge_text(edge))
        lines.append(f"  {ids[edge.source]} --> {ids[edge.target]}" + (f" : {text}" if text else ""))
    lines += [f"  {ids[state.name]} --> [*]" for state in graph.states if state.is_end]
    lines += [
        "  classDef finished fill:#dafbe1,stroke:#1a7f37,color:#1f2328",
        "  classDef failed fill:#ffebe9,stroke:#cf222e,color:#1f2328",
        "  classDef aggregator fill:#ddf4ff,stroke:#0969da,color:#1f2328",
    ]
    lines += [f"  class {ids[state.name]} {_mermaid_class(state)}" for state in graph.states if _mermaid_class(state)]
    return "\n".join(lines) + "\n"


def _mermaid_class(state: State) -> str:
    if state.is_end:
        return state.outcome
    return "aggregator" if state.is_aggregator else ""


def _mermaid(text: str) -> str:
    """Writes every character that Mermaid or HTML could take for syntax as a numbered entity."""
    return "".join(char if char.isalnum() or char in " _-.,=!()'" else f"#{ord(char)};" for char in text)


def write_picture(graph: Graph, filename: str | Path, output_format: str) -> str:
    """Draws the graph with Graphviz and returns the path of the file.

    Args:
        graph: what to draw.
        filename: where; the format is added as suffix if it is not there yet.
        output_format: ``png``, ``svg``, ``pdf`` or another format that ``dot`` knows.

    Raises:
        BlueprintError: the format is unknown.
        AvtomatikaError: the package ``graphviz`` or the program ``dot`` is missing; the message says how to get it.
        OSError: the file cannot be written.
    """
    try:
        import graphviz  # noqa: PLC0415 - an optional dependency, needed for pictures only
    except ImportError:
        raise AvtomatikaError(
            "drawing a file needs the package graphviz; pip install 'avtomatika[notebook]'. "
            "Without a file name, render_graph() returns DOT text and needs nothing."
        ) from None
    suffix = f".{output_format}"
    path = Path(filename)
    path = path if path.name.endswith(suffix) else path.with_name(path.name + suffix)
    try:
        picture: bytes = graphviz.Source(dot(graph)).pipe(format=output_format)
    except graphviz.ExecutableNotFound:
        raise AvtomatikaError(
            "drawing a file needs the program dot, which was not found on PATH; on Debian and Ubuntu: "
            "apt-get install graphviz. Without a file name, render_graph() returns DOT text and needs nothing."
        ) from None
    except ValueError as error:
        raise BlueprintError(f"graphviz cannot write the format '{output_format}'; try png, svg or pdf.") from error
    path.write_bytes(picture)
    return str(path)
