"""Compiled blueprints: which handler is selected, and that a version does not change."""

from __future__ import annotations

import pytest

from avtomatika.blueprints import ActionFactory, F, JobContext, StateMachineBlueprint
from avtomatika.errors import BlueprintError, HandlerError

from .steps import end, go_done


@pytest.fixture
def choice(bp: StateMachineBlueprint) -> StateMachineBlueprint:
    """A blueprint with two conditions in its start state and no default."""

    @bp.handler_for("start", is_start=True).when("context.initial_data.n > 1")
    def many(actions: ActionFactory) -> None:
        actions.go_to("done")

    @bp.handler_for("start").when(F.initial_data.n > 0)
    def one(actions: ActionFactory) -> None:
        actions.go_to("done")

    bp.handler_for("done", is_end=True)(end)
    return bp


@pytest.mark.parametrize(("n", "name"), [(5, "many"), (1, "one"), (0, "default")])
def test_select_takes_the_first_condition_that_holds_else_the_default(
    choice: StateMachineBlueprint, n: int, name: str
) -> None:
    """The order is that of definition, and the default comes last wherever it was defined."""

    def default(actions: ActionFactory) -> None:
        actions.go_to("done")

    choice.handler_for("start")(default)

    assert choice.compile().select(JobContext("j", "start", {"n": n})).name == name


def test_select_without_default_says_what_was_tried(choice: StateMachineBlueprint) -> None:
    """A job that nobody wants learns which conditions were asked."""
    with pytest.raises(HandlerError, match=r"\[context.initial_data.n > 1\], \[F.initial_data.n > 0\] holds") as caught:
        choice.compile().select(JobContext("j", "start"))

    assert "@bp.handler_for('start')" in str(caught.value)


def test_select_in_an_unknown_state_is_an_error(choice: StateMachineBlueprint) -> None:
    """A job cannot be in a state that its version lacks."""
    with pytest.raises(BlueprintError, match="Did you mean 'start'"):
        choice.compile().select(JobContext("j", "strat"))


def test_condition_that_raises_is_named_in_the_error(bp: StateMachineBlueprint) -> None:
    """The error is the function's own, with a note on where it came from."""

    def is_big(context: JobContext) -> bool:
        return bool(context.initial_data["n"] > 3)

    bp.handler_for("s", is_start=True, is_end=True).when(is_big)(end)

    with pytest.raises(KeyError) as caught:
        bp.compile().select(JobContext("j", "s"))

    assert caught.value.__notes__ == ["raised by the condition [is_big] of handler 'end'"]


def test_compiled_blueprint_does_not_change_with_its_definition(choice: StateMachineBlueprint) -> None:
    """Running jobs keep the version they began with."""
    compiled = choice.compile()

    choice.handler_for("start")(go_done)
    choice.add_data_store("cache")

    assert len(compiled.handlers["start"]) == 2
    assert not hasattr(compiled.data_stores, "cache")
    assert (compiled.name, compiled.api_endpoint, compiled.api_version) == ("orders", "/jobs/orders", "v1")
