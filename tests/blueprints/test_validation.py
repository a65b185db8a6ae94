"""The faults that are found before a job runs."""

from __future__ import annotations

from typing import Any

import pytest

from avtomatika.blueprints import ActionFactory, StateMachineBlueprint
from avtomatika.errors import ValidationError


def faults(bp: StateMachineBlueprint) -> tuple[str, ...]:
    """Returns the faults of a blueprint."""
    try:
        bp.compile()
    except ValidationError as error:
        return error.faults
    return ()


def going(target: str) -> Any:
    """Returns a handler that leads to ``target``."""

    async def handler(actions: ActionFactory) -> None:
        actions.go_to(target)

    return handler


def end() -> None:
    """Ends."""


def opaque(actions: ActionFactory, target: str) -> None:
    """Leads where nobody can read."""
    actions.go_to(target)


@pytest.fixture
def bp() -> StateMachineBlueprint:
    """A sound blueprint: start leads to done."""
    blueprint = StateMachineBlueprint("orders")
    blueprint.handler_for("start", is_start=True)(going("done"))
    blueprint.handler_for("done", is_end=True)(end)
    return blueprint


def test_sound_blueprint_has_no_faults(bp: StateMachineBlueprint) -> None:
    """Nothing is found where nothing is wrong."""
    assert faults(bp) == ()


def test_blueprint_without_handlers_says_how_to_begin() -> None:
    """An empty blueprint gets one sentence, not five."""
    (fault,) = faults(StateMachineBlueprint("b"))

    assert "is_start=True" in fault


def test_blueprint_without_start_is_a_fault() -> None:
    """A job must begin somewhere."""
    bp = StateMachineBlueprint("b")
    bp.handler_for("done", is_end=True)(end)

    assert faults(bp) == ("no state is the start; add is_start=True to one of: done",)


def test_blueprint_with_two_starts_names_both(bp: StateMachineBlueprint) -> None:
    """A job begins in one state."""
    bp.handler_for("also", is_start=True)(going("done"))

    assert faults(bp) == ("'start' and 'also' are all marked is_start=True; a job begins in exactly one state",)


def test_transition_to_unknown_state_makes_a_guess(bp: StateMachineBlueprint) -> None:
    """A typing error is shown with the states that there are."""
    bp.handler_for("start").when("True")(going("dnoe"))

    assert faults(bp) == ("'start' leads to 'dnoe', which does not exist; known: start, done. Did you mean 'done'?",)


def test_declared_transition_to_unknown_state_is_a_fault(bp: StateMachineBlueprint) -> None:
    """What is declared is checked like what is read."""
    bp.handler_for("start", transitions=["nowhere"]).when("True")(opaque)

    assert len(faults(bp)) == 1


def test_unreachable_state_is_a_fault(bp: StateMachineBlueprint) -> None:
    """A state that no job can come to is a mistake, circles of such states too."""
    bp.handler_for("a")(going("b"))
    bp.handler_for("b")(going("a"))

    assert [fault.split(";")[0] for fault in faults(bp)] == [
        "no way leads from the start 'start' to state 'a'",
        "no way leads from the start 'start' to state 'b'",
    ]


def test_unreachable_state_is_forgiven_behind_a_reachable_open_one(bp: StateMachineBlueprint) -> None:
    """Code that cannot be read may lead anywhere; declared transitions close it again."""
    bp.handler_for("lonely")(going("done"))
    bp.handler_for("unreached")(opaque)
    assert len(faults(bp)) == 2

    bp.handler_for("start").when("True")(opaque)
    assert faults(bp) == ()

    bp.handler_for("start", transitions=["done"]).when("True")(opaque)
    assert len(faults(bp)) == 2


def test_handler_without_action_is_a_dead_end(bp: StateMachineBlueprint) -> None:
    """A job in a state whose handler asks for nothing would stay there for ever."""

    def idle(actions: ActionFactory) -> None:
        del actions.requested

    def helped(actions: ActionFactory) -> None:
        going(str(actions))

    def declared(actions: ActionFactory) -> None:
        del actions.requested

    bp.handler_for("start").when("context.initial_data.a")(idle)
    bp.handler_for("start").when("context.initial_data.b")(helped)
    bp.handler_for("start", transitions=["done"]).when("context.initial_data.c")(declared)

    assert [fault.split(",")[0] for fault in faults(bp)] == ["handler 'idle' of state 'start' asks for no action"]


def test_state_with_conditional_handlers_only_is_allowed(bp: StateMachineBlueprint) -> None:
    """A default is not needed."""
    bp.remove_state("start")
    bp.handler_for("start", is_start=True).when("context.initial_data.a")(going("done"))

    assert faults(bp) == ()


def test_end_state_that_asks_for_an_action_is_a_fault(bp: StateMachineBlueprint) -> None:
    """A job cannot end and go on."""
    bp.handler_for("start").when("True")(going("failed"))
    bp.handler_for("failed", is_end=True)(going("done"))

    assert faults(bp) == (
        "handler 'handler' calls actions.go_to, but 'failed' is an end state; remove the call, or is_end=True",
    )


def test_unknown_action_is_a_fault(bp: StateMachineBlueprint) -> None:
    """A typing error in an action is found without running it."""

    def handler(actions: Any) -> None:
        actions.transition_too("done")

    bp.handler_for("start").when("True")(handler)

    (fault,) = faults(bp)
    assert "calls actions.transition_too, which does not exist" in fault
    assert "Did you mean 'transition_to'?" in fault


def test_fan_out_into_a_state_without_aggregator_is_a_fault(bp: StateMachineBlueprint) -> None:
    """The state that joins parallel tasks needs an aggregator."""

    def fan_out(actions: ActionFactory) -> None:
        actions.dispatch_parallel([{"type": "x", "transitions": {"failure": "done"}}], aggregate_into="join")

    bp.handler_for("start").when("True")(fan_out)
    bp.handler_for("join")(going("done"))
    assert [fault.split(";")[0] for fault in faults(bp)] == [
        "'start' joins its tasks in 'join', which has no aggregator"
    ]

    bp.remove_state("join")
    bp.aggregator_for("join")(going("done"))
    assert faults(bp) == ()


def test_handler_and_aggregator_of_one_state_are_a_fault(bp: StateMachineBlueprint) -> None:
    """A state is entered in one way."""
    bp.aggregator_for("start")(end)

    assert any("both handler_for and aggregator_for" in fault for fault in faults(bp))


def test_outcome_must_be_one_and_belong_to_an_end_state(bp: StateMachineBlueprint) -> None:
    """An outcome without an end, or two of them, are mistakes."""
    bp.handler_for("start", outcome="failed").when("True")(going("done"))
    bp.handler_for("done", outcome="failed").when("context.initial_data.a")(end)
    bp.handler_for("done", outcome="finished").when("context.initial_data.b")(end)

    found = faults(bp)

    assert "state 'start' has outcome='failed' but is no end state; add is_end=True or remove it" in found
    assert "state 'done' is given the outcomes 'failed' and 'finished'; keep one" in found


def test_all_faults_come_at_once() -> None:
    """One run of the validation is enough to see everything."""
    bp = StateMachineBlueprint("b")
    bp.handler_for("a", is_start=True)(going("x"))
    bp.handler_for("b", is_start=True)(end)

    assert len(faults(bp)) == 3
