"""Handlers of one state: which takes the place of which, and which is refused."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from avtomatika.blueprints import ActionFactory, F, StateMachineBlueprint
from avtomatika.errors import BlueprintError

from .steps import end, go_done


def in_cell(source: str, cell: str, module: str = "__main__") -> Any:
    """Returns the function ``step`` as if it came from a notebook cell."""
    scope: dict[str, Any] = {"__name__": module}
    exec(compile(source, cell, "exec"), scope)
    return scope["step"]


CELL = "def step(actions): actions.go_to('done')"


def _handlers(bp: StateMachineBlueprint) -> list[Any]:
    """Returns the handlers of state ``s``, whatever faults there are elsewhere."""
    return [read.handler for read in bp._read()[1]["s"]]


def test_second_default_of_a_state_is_refused_by_name(bp: StateMachineBlueprint) -> None:
    """Two different defaults are a mistake; the first one stays."""
    bp.handler_for("s")(go_done)

    with pytest.raises(BlueprintError, match="'go_done', and 'end' would be a second one"):
        bp.handler_for("s")(end)

    assert bp.graph.state("s").handlers == ("go_done",)


def test_cell_run_again_replaces_its_handlers_in_place(bp: StateMachineBlueprint) -> None:
    """The same condition, or the same function name from another cell, is the same handler, wherever it stands."""
    bp.handler_for("s").when("context.initial_data.n == 1")(in_cell(CELL, "<1>"))
    bp.handler_for("s").when(F.initial_data.n == 2)(go_done)
    bp.handler_for("s")(end)

    bp.handler_for("s")(end)
    bp.handler_for("s").when(F.initial_data.n == 2)(end)
    bp.handler_for("s").when("context.initial_data.n == 3")(in_cell(CELL, "<2>"))

    conditions = [handler.condition.text for handler in _handlers(bp) if handler.condition]
    assert conditions == ["context.initial_data.n == 3", "F.initial_data.n == 2"]
    assert [handler.name for handler in _handlers(bp)] == ["step", "end", "end"]


def test_conditional_handler_that_becomes_the_default_is_not_left_behind(bp: StateMachineBlueprint) -> None:
    """Taking the condition away in a cell and running it again leaves one handler."""
    bp.handler_for("s").when("True")(in_cell(CELL, "<1>"))

    bp.handler_for("s")(in_cell(CELL, "<2>"))

    assert [handler.condition for handler in _handlers(bp)] == [None]


def test_functions_of_one_name_in_one_file_are_two_handlers(bp: StateMachineBlueprint) -> None:
    """Nothing is lost when a module calls all its handlers alike."""

    @bp.handler_for("s").when("context.initial_data.n == 1")
    def handler(actions: ActionFactory) -> None:
        actions.go_to("done")

    @bp.handler_for("s").when("context.initial_data.n == 2")
    def handler(actions: ActionFactory) -> None:  # type: ignore[no-redef]  # noqa: F811 - what is tested
        actions.go_to("done")

    bp.handler_for("s").when(lambda context: 1)(go_done)
    bp.handler_for("s").when(
        lambda context: 2,
    )(go_done)

    assert len(_handlers(bp)) == 4


def test_functions_of_one_factory_are_two_handlers(bp: StateMachineBlueprint) -> None:
    """Handlers that a function makes share name and place, and are not taken for each other."""

    def made() -> Any:
        return lambda actions: actions.go_to("done")

    def named() -> Any:
        def handler(actions: ActionFactory) -> None:
            actions.go_to("done")

        return handler

    bp.handler_for("s")(named())
    bp.handler_for("s").when("context.initial_data.n == 1")(named())
    bp.handler_for("s").when("context.initial_data.n == 2")(made())

    assert len(_handlers(bp)) == 3


def test_one_function_can_serve_several_conditions(bp: StateMachineBlueprint) -> None:
    """Decorators can be stacked."""
    bp.handler_for("s").when("context.initial_data.n == 1")(go_done)
    bp.handler_for("s").when("context.initial_data.n == 2")(go_done)

    assert len(_handlers(bp)) == 2


def test_other_default_replaces_the_former_in_a_notebook_only(
    bp: StateMachineBlueprint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Renaming a function in a cell must not demand a restart of the kernel."""
    bp.handler_for("s")(end)

    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: None))
    with pytest.raises(BlueprintError):
        bp.handler_for("s")(in_cell(CELL, "<1>"))
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=object))
    with pytest.raises(BlueprintError):
        bp.handler_for("s")(in_cell(CELL, "<1>", module="some_module"))
    bp.handler_for("s")(in_cell(CELL, "<1>"))

    assert bp.graph.state("s").handlers == ("step",)
