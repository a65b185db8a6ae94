"""The graph as text for other programs."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from avtomatika.blueprints import (
    ActionFactory,
    Edge,
    EdgeKind,
    Graph,
    State,
    StateMachineBlueprint,
    dot,
    graph_dict,
    mermaid,
)
from avtomatika.errors import AvtomatikaError, BlueprintError

GRAPH = Graph(
    "orders",
    (
        State("start", is_start=True, handlers=("a",)),
        State("join", is_aggregator=True, handlers=("b",)),
        State("wild", is_open=True, handlers=("c",)),
        State("done", is_end=True, outcome="finished", handlers=("d",)),
        State("bad", is_end=True, outcome="failed", handlers=("e",)),
        State("later"),
    ),
    (
        Edge("start", "join", EdgeKind.AGGREGATE, condition="context.initial_data.n > 1"),
        Edge("start", "bad", EdgeKind.TASK, "failure", "x", "charge"),
        Edge("join", "done"),
        Edge("wild", "later", EdgeKind.DECLARED),
    ),
)
HOSTILE = 'a"];\n<script>\\N %% --> {b}; #quot; :é'


def test_dot_shows_every_kind_of_state_and_edge() -> None:
    """The exact text is pinned: it is an exchange format."""
    assert dot(GRAPH).splitlines()[4:] == [
        '  "start" [label="start", penwidth="2.5"];',
        '  "join" [label="join", shape="trapezium", style="filled"];',
        '  "wild" [label="wild", style="rounded,filled,dashed"];',
        '  "done" [label="done", peripheries="2", color="#1a7f37", fillcolor="#dafbe1"];',
        '  "bad" [label="bad", peripheries="2", color="#cf222e", fillcolor="#ffebe9"];',
        '  "later" [label="later", style="rounded,dotted"];',
        '  "start" -> "join" [label="[context.initial_data.n > 1]", style="bold"];',
        '  "start" -> "bad" [label="failure [x]", style="solid", tooltip="task charge"];',
        '  "join" -> "done" [style="solid"];',
        '  "wild" -> "later" [style="dashed"];',
        "}",
    ]


def test_dot_escapes_quotes_backslashes_and_line_breaks() -> None:
    """A name cannot leave its quotes."""
    line = dot(Graph("g", (State(HOSTILE, handlers=("a",)),))).splitlines()[4]

    quoted = '"a\\"];\\n<script>\\\\N %% --> {b}; #quot; :é"'
    assert line == f"  {quoted} [label={quoted}];"


def test_mermaid_shows_starts_ends_and_labels() -> None:
    """The exact text is pinned."""
    assert mermaid(GRAPH).splitlines() == [
        "stateDiagram-v2",
        "  direction LR",
        '  state "start" as s0',
        '  state "join" as s1',
        '  state "wild" as s2',
        '  state "done" as s3',
        '  state "bad" as s4',
        '  state "later" as s5',
        "  [*] --> s0",
        "  s0 --> s1 : #91;context.initial_data.n #62; 1#93;",
        "  s0 --> s4 : failure #91;x#93;",
        "  s1 --> s3",
        "  s2 --> s5",
        "  s3 --> [*]",
        "  s4 --> [*]",
        "  classDef finished fill:#dafbe1,stroke:#1a7f37,color:#1f2328",
        "  classDef failed fill:#ffebe9,stroke:#cf222e,color:#1f2328",
        "  classDef aggregator fill:#ddf4ff,stroke:#0969da,color:#1f2328",
        "  class s1 aggregator",
        "  class s3 finished",
        "  class s4 failed",
    ]


def test_mermaid_writes_syntax_characters_as_entities() -> None:
    """A name can neither end its line nor become markup."""
    line = mermaid(Graph("g", (State(HOSTILE, handlers=("a",)),))).splitlines()[2]

    inner = line.removeprefix('  state "').removesuffix('" as s0')
    assert not set(inner) & set('"<>\\\n{}%:[]')


def test_dict_can_be_written_as_json() -> None:
    """Names, kinds and handlers survive the way through JSON."""
    found = json.loads(json.dumps(graph_dict(GRAPH)))

    assert (found["name"], found["version"]) == ("orders", GRAPH.version)
    assert found["states"][0] == {
        "name": "start",
        "is_start": True,
        "is_end": False,
        "outcome": "",
        "is_aggregator": False,
        "is_open": False,
        "handlers": ["a"],
    }
    assert [Edge(**{**edge, "kind": EdgeKind(edge["kind"])}) for edge in found["edges"]] == list(GRAPH.edges)


@pytest.fixture
def bp() -> StateMachineBlueprint:
    """A small blueprint, not finished yet."""
    blueprint = StateMachineBlueprint("orders")

    @blueprint.handler_for("start", is_start=True)
    def start(actions: ActionFactory) -> None:
        actions.go_to("done")

    return blueprint


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program ``dot`` that writes what it was asked."""
    path = tmp_path / "bin" / "dot"
    path.parent.mkdir()
    path.write_text(f"#!{sys.executable}\nimport sys\nprint(*sys.argv[1:], sys.stdin.read())\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", str(path.parent))
    return path


def test_render_graph_without_file_returns_dot(bp: StateMachineBlueprint) -> None:
    """An unfinished blueprint can be drawn, and nothing needs to be installed for it."""
    assert bp.render_graph() == dot(bp.graph)


@pytest.mark.parametrize("name", ["flow", "flow.svg"])
def test_render_graph_with_file_writes_it_through_dot(
    bp: StateMachineBlueprint, program: Path, tmp_path: Path, name: str
) -> None:
    """The suffix is added if it is missing, and the path comes back."""
    path = bp.render_graph(tmp_path / name, "svg")

    assert path == str(tmp_path / "flow.svg")
    assert '"start" -> "done"' in Path(path).read_text()
    assert "-Tsvg" in Path(path).read_text()


def test_render_graph_without_dot_program_says_what_to_install(
    bp: StateMachineBlueprint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message names the package of the system and the way without it."""
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(AvtomatikaError, match=r"apt-get install graphviz.*render_graph\(\) returns DOT"):
        bp.render_graph(tmp_path / "flow")

    assert not (tmp_path / "flow.png").exists()


def test_render_graph_without_graphviz_package_names_the_extra(
    bp: StateMachineBlueprint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message names the extra to install."""
    monkeypatch.setitem(sys.modules, "graphviz", None)

    with pytest.raises(AvtomatikaError, match=r"avtomatika\[notebook\]"):
        bp.render_graph(tmp_path / "flow")


def test_render_graph_in_unknown_format_is_refused(bp: StateMachineBlueprint, program: Path, tmp_path: Path) -> None:
    """A format that Graphviz does not know is a mistake of the caller."""
    with pytest.raises(BlueprintError, match="format 'docx'"):
        bp.render_graph(tmp_path / "flow", "docx")
