"""Blueprints: what they are made with, decorators, and the graph that comes of them."""

from __future__ import annotations

from typing import Any

import pytest

import avtomatika.context
from avtomatika.blueprints import (
    ActionFactory,
    Blueprint,
    DataStore,
    Edge,
    EdgeKind,
    JobContext,
    State,
    StateMachineBlueprint,
)
from avtomatika.errors import BlueprintError, ConditionError, ValidationError

from .steps import end, go_done


def test_public_names_are_promised() -> None:
    """Both import paths lead to the same classes, and Blueprint is the short name."""
    assert Blueprint is StateMachineBlueprint
    assert avtomatika.context.ActionFactory is ActionFactory
    assert avtomatika.context.JobContext is JobContext


@pytest.mark.parametrize("name", ["", "two words", "a/b", None, 5, "x" * 129])
def test_blueprint_with_malformed_name_is_refused(name: Any) -> None:
    """A name is part of URLs and messages, so it is a plain word."""
    with pytest.raises(BlueprintError, match="the name of a blueprint"):
        StateMachineBlueprint(name)


@pytest.mark.parametrize("endpoint", ["jobs/my_flow", "/jobs/my_flow", "/jobs/my_flow/"])
def test_endpoint_gets_one_leading_slash(endpoint: str) -> None:
    """With or without slashes around, an endpoint is the same."""
    assert StateMachineBlueprint("b", endpoint).api_endpoint == "/jobs/my_flow"
    assert StateMachineBlueprint("b").api_endpoint is None


@pytest.mark.parametrize("endpoint", ["", "/", "a//b", "a?b", "{job}", "//a", 5])
def test_malformed_endpoint_is_refused(endpoint: Any) -> None:
    """What could not be a plain path is refused at once."""
    with pytest.raises(BlueprintError, match="api_endpoint is a path"):
        StateMachineBlueprint("b", endpoint)


@pytest.mark.parametrize("version", ["", "v/1", 1])
def test_malformed_version_is_refused(version: Any) -> None:
    """The version is one part of a path."""
    with pytest.raises(BlueprintError, match="api_version"):
        StateMachineBlueprint("b", "a", version)


async def test_data_stores_are_made_and_kept_by_every_version() -> None:
    """A dict becomes a store, another object stays; compiled versions share them."""
    client = object()
    bp = StateMachineBlueprint("b", data_stores={"cache": {"a": 1}, "redis": client})
    bp.add_data_store("more")
    bp.handler_for("s", is_start=True, is_end=True)(end)

    stores = bp.compile().data_stores

    assert await stores.cache.get("a") == 1
    assert stores.redis is client
    assert isinstance(stores.more, DataStore)
    assert stores.cache is bp.compile().data_stores.cache
    with pytest.raises(BlueprintError, match="data store"):
        bp.add_data_store("no identifier")


def test_decorators_return_the_function_unchanged(bp: StateMachineBlueprint) -> None:
    """A handler can be called and tested like any function, and decorated twice."""
    assert bp.handler_for("a")(go_done) is go_done
    assert bp.handler_for("a").when("True")(go_done) is go_done
    assert bp.aggregator_for("b")(go_done) is go_done
    assert bp.handler(go_done) is go_done
    assert bp.aggregator(end) is end
    assert [state.name for state in bp.graph] == ["a", "b", "go_done", "end", "done"]


def test_shorter_spelling_means_the_same() -> None:
    """Both spellings make the same graph."""
    long, short = StateMachineBlueprint("b"), StateMachineBlueprint("b")

    long.handler_for("go_done", is_start=True)(go_done)
    long.handler_for("go_done").when("context.initial_data.n == 1")(go_done)
    long.handler_for("x", is_end=True, outcome="failed")(end)
    long.aggregator_for("go", transitions=["x"])(go_done)
    long.aggregator_for("end", is_end=True)(end)
    short.handler(is_start=True)(go_done)
    short.handler("go_done", "context.initial_data.n == 1")(go_done)
    short.handler("x", is_end=True, outcome="failed")(end)
    short.aggregator("go", transitions=["x"])(go_done)
    short.aggregator(is_end=True)(end)

    assert long.graph == short.graph
    assert long.graph.state("go").is_aggregator


def test_graph_tells_states_and_edges_in_order(bp: StateMachineBlueprint) -> None:
    """Options may stand at any handler of a state; conditional handlers come first; declared targets are edges."""

    def opaque(actions: ActionFactory, target: str) -> None:
        actions.go_to(target)

    bp.handler_for("start")(go_done)
    bp.handler_for("start", is_start=True, transitions=["done", "other"]).when("True")(opaque)
    bp.handler_for("other")(opaque)
    bp.handler_for("done", is_end=True)(end)

    assert bp.graph.states == (
        State("start", is_start=True, handlers=("opaque", "go_done")),
        State("other", is_open=True, handlers=("opaque",)),
        State("done", is_end=True, outcome="finished", handlers=("end",)),
    )
    assert bp.graph.edges == (
        Edge("start", "done", EdgeKind.DECLARED, condition="True"),
        Edge("start", "other", EdgeKind.DECLARED, condition="True"),
        Edge("start", "done"),
    )


def test_graph_of_an_unfinished_blueprint_holds_the_states_to_come(bp: StateMachineBlueprint) -> None:
    """Every edge of a graph ends at a state of it, and a drawing in a notebook shows what nobody has defined yet."""
    bp.handler_for("start", is_start=True)(go_done)

    assert [(state.name, state.handlers) for state in bp.graph] == [("start", ("go_done",)), ("done", ())]
    assert 'class="state missing" data-state="done"' in bp._repr_mimebundle_()["image/svg+xml"]


@pytest.mark.parametrize(
    ("state", "outcome"),
    [
        ("done", "finished"),
        ("failed", "failed"),
        ("payment_failed", "failed"),
        ("payment-failure", "failed"),
        ("Payment Error", "failed"),
        ("orderRejected", "failed"),
        ("FAILED", "failed"),
        ("failed_over", "finished"),
        ("unfailed", "finished"),
        ("terror", "finished"),
        ("error2", "finished"),
    ],
)
def test_outcome_of_end_state_follows_its_last_word(bp: StateMachineBlueprint, state: str, outcome: str) -> None:
    """A name that speaks of failure ends the job failed, unless the outcome is given."""
    bp.handler_for(state, is_end=True)(end)
    bp.handler_for("x_" + state, is_end=True, outcome="finished")(end)

    assert bp.graph.state(state).outcome == outcome
    assert bp.graph.state("x_" + state).outcome == "finished"


@pytest.mark.parametrize(
    ("define", "sentence"),
    [
        (lambda bp: bp.handler_for("s", outcome="failure"), "outcome is 'finished' or 'failed'.*Did you mean 'failed'"),
        (lambda bp: bp.handler_for("s", transitions="done"), "transitions is a list"),
        (lambda bp: bp.handler_for("s", transitions={"success": "done"}), "transitions is a list"),
        (lambda bp: bp.handler_for("s", transitions=[end]), "transitions is a list"),
        (lambda bp: bp.handler_for(end), "Without a name, write @bp.handler"),
        (lambda bp: bp.handler_for("")(end), "the name of a state"),
        (lambda bp: bp.handler_for(" a")(end), "the name of a state"),
        (lambda bp: bp.handler(lambda: None), "a lambda has no name"),
        (lambda bp: bp.handler_for("s").when("True").when("False"), "followed by another"),
        (lambda bp: bp.handler_for("s").when(True), "a condition is a text"),
        (lambda bp: bp.handler(5), "must be a function"),
    ],
)
def test_malformed_definition_is_refused(bp: StateMachineBlueprint, define: Any, sentence: str) -> None:
    """A wrong option is an error where it is written, and changes nothing."""
    with pytest.raises(BlueprintError, match=sentence):
        define(bp)

    assert not list(bp.graph)


def test_condition_with_an_error_is_refused_where_it_is_written(bp: StateMachineBlueprint) -> None:
    """A text that cannot be parsed never waits for a job."""
    with pytest.raises(ConditionError):
        bp.handler_for("s").when("context.initial_data.n = 1")


def test_state_can_be_taken_out(bp: StateMachineBlueprint) -> None:
    """A state that was renamed in a cell does not stay for ever."""
    bp.handler_for("strat")(end)

    with pytest.raises(BlueprintError, match="Did you mean 'strat'"):
        bp.remove_state("start")
    bp.remove_state("strat")

    assert not list(bp.graph)


def test_faulty_blueprint_is_not_compiled(bp: StateMachineBlueprint) -> None:
    """All faults come in one error."""
    bp.handler_for("a")(go_done)

    with pytest.raises(ValidationError) as caught:
        bp.compile()

    assert caught.value.blueprint == "orders"
    assert len(caught.value.faults) == 2


def test_blueprint_has_a_short_repr(bp: StateMachineBlueprint) -> None:
    """The plain representation says what it is in a line."""
    assert repr(bp) == "<StateMachineBlueprint 'orders', api_endpoint='/jobs/orders': 0 states>"
