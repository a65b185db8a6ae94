"""State cells: the body of a cell as the handler of a state."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from avtomatika import StateMachineBlueprint
from avtomatika.errors import BlueprintError
from avtomatika.notebook import Workbench
from avtomatika.notebook.cells import StateCell, define_state


@pytest.fixture
def names() -> dict[str, Any]:
    """The variables of a notebook."""
    return {"__name__": "__main__", "limit": 3}


@pytest.fixture
def bp() -> StateMachineBlueprint:
    """An empty blueprint."""
    return StateMachineBlueprint("review")


def _edges(bp: StateMachineBlueprint) -> list[tuple[str, str]]:
    return [(edge.source, edge.target) for edge in bp.graph.edges]


def test_states_in_cells_make_a_blueprint_that_runs(
    workbench: Workbench, bp: StateMachineBlueprint, names: dict[str, Any]
) -> None:
    """The cell after another leads from it; arguments are what the body uses."""
    define_state(bp, StateCell("validate", "state_history['ok'] = initial_data['n'] < limit", is_start=True), names)
    define_state(bp, StateCell("review", "state_history['seen'] = True", after=("validate",)), names)
    define_state(bp, StateCell("done", "return {'ok': ok, 'seen': seen}", after=("review",), is_end=True), names)

    assert _edges(bp) == [("validate", "review"), ("review", "done")]
    assert workbench.submit(bp, {"n": 1}).result(30) == {"ok": True, "seen": True}


def test_cell_that_chooses_by_itself_leads_where_it_says(bp: StateMachineBlueprint, names: dict[str, Any]) -> None:
    """``--after`` a state that says so itself changes nothing."""
    body = "actions.transition_to('a' if initial_data['x'] else 'b')"
    define_state(bp, StateCell("start", body, is_start=True), names)
    define_state(bp, StateCell("a", "pass", after=("start",), is_end=True), names)

    assert _edges(bp) == [("start", "a"), ("start", "b")]
    with pytest.raises(BlueprintError, match=r"chooses by itself where it leads \(a, b\)"):
        define_state(bp, StateCell("c", "pass", after=("start",)), names)


def test_cells_run_again_replace_what_they_said(bp: StateMachineBlueprint, names: dict[str, Any]) -> None:
    """A body may change, and a state may get another predecessor; what it had leads there no more."""
    for name in ("one", "two"):
        define_state(bp, StateCell(name, "pass", is_start=name == "one"), names)
    define_state(bp, StateCell("end", "pass", after=("one",), is_end=True), names)

    define_state(bp, StateCell("one", "x = 1", is_start=True), names)
    assert _edges(bp) == [("one", "end")]
    define_state(bp, StateCell("end", "pass", after=("two",), is_end=True), names)

    assert _edges(bp) == [("two", "end")]


def test_condition_of_a_cell_chooses_the_handler(bp: StateMachineBlueprint, names: dict[str, Any]) -> None:
    """Two cells of one state: one with a condition, one for the rest."""
    define_state(bp, StateCell("sort", "actions.transition_to('big')", when="context.initial_data.n > 3"), names)
    define_state(bp, StateCell("sort", "actions.transition_to('small')"), names)

    assert {(edge.target, edge.condition) for edge in bp.graph.edges} == {
        ("big", "context.initial_data.n > 3"),
        ("small", ""),
    }


@pytest.mark.parametrize(
    ("cell", "sentence"),
    [
        (StateCell("x", "pass", after=("nowhere",)), "has no state 'nowhere'"),
        (StateCell("x", "pass", after=("plain",)), "was not written with %%state"),
        (StateCell("x", "pass", after=("end",)), "is an end state"),
        (StateCell("x", "pass", after=("start",)), "leads to 'end' already"),
        (StateCell("x", "a = (\n"), "the cell of state 'x' is no Python: line"),
    ],
)
def test_cell_that_does_not_fit_is_refused_whole(
    bp: StateMachineBlueprint, names: dict[str, Any], cell: StateCell, sentence: str
) -> None:
    """The sentence says what to do, and the blueprint is as before."""

    @bp.handler_for("plain")
    async def plain() -> None: ...

    define_state(bp, StateCell("start", "pass", is_start=True), names)
    define_state(bp, StateCell("end", "pass", after=("start",), is_end=True), names)
    before = bp.graph

    with pytest.raises(BlueprintError, match=sentence):
        define_state(bp, cell, names)

    assert bp.graph == before


def test_odd_names_are_states_too(bp: StateMachineBlueprint, names: dict[str, Any]) -> None:
    """A state may be called what a function cannot."""
    define_state(bp, StateCell("2nd try", "pass", is_start=True, is_end=True), names)

    assert "2nd try" in bp.graph


def test_state_cells_can_be_exported(bp: StateMachineBlueprint, names: dict[str, Any], tmp_path: Path) -> None:
    """The module holds the handlers as written, with the notebook's constants."""
    define_state(bp, StateCell("start", "state_history['n'] = limit", is_start=True), names)
    define_state(bp, StateCell("end", "pass", after=("start",), is_end=True), names)

    text = bp.export(tmp_path / "flow.py").read_text()

    assert "limit = 3" in text
    assert "actions.transition_to('end')" in text
