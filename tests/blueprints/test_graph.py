"""The graph as a value."""

from __future__ import annotations

from dataclasses import replace

import pytest

from avtomatika.blueprints import Edge, EdgeKind, Graph, State
from avtomatika.errors import BlueprintError

GRAPH = Graph(
    "orders",
    (State("start", is_start=True), State("done", is_end=True, outcome="finished")),
    (Edge("start", "done"),),
)


def test_graph_finds_states_and_edges_by_name() -> None:
    """States are found by name, edges by the state they leave."""
    assert "done" in GRAPH
    assert "x" not in GRAPH
    assert GRAPH.start is GRAPH.state("start")
    assert GRAPH.edges_from("start") == (Edge("start", "done"),)
    assert GRAPH.edges_from("done") == ()


def test_unknown_state_makes_a_guess() -> None:
    """The error lists what there is."""
    with pytest.raises(BlueprintError, match=r"known: start, done\. Did you mean 'start'"):
        GRAPH.state("strat")


def test_graph_without_start_says_how_to_mark_one() -> None:
    """An unfinished graph has no start."""
    with pytest.raises(BlueprintError, match="is_start=True"):
        _ = Graph("g", ()).start


def test_version_changes_with_what_jobs_depend_on_only() -> None:
    """Order and names of functions do not matter; a state or an edge does."""
    shuffled = Graph("orders", GRAPH.states[::-1], GRAPH.edges)
    renamed = replace(GRAPH, states=tuple(replace(state, handlers=("x",)) for state in GRAPH.states))
    other = replace(GRAPH, edges=(Edge("start", "done", EdgeKind.TASK, "success"),))

    assert shuffled.version == renamed.version == GRAPH.version
    assert other.version != GRAPH.version
    assert len(GRAPH.version) == 12
