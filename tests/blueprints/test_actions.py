"""The actions that a handler can ask for."""

from __future__ import annotations

from typing import Any

import pytest

from avtomatika.blueprints import ActionFactory
from avtomatika.blueprints.actions import Dispatch, Parallel, TaskSpec, Transition
from avtomatika.errors import ActionError


def test_action_is_recorded_once() -> None:
    """One action is kept; a second is an error that names both."""
    actions = ActionFactory()
    assert actions.requested is None

    actions.go_to("done")

    assert actions.requested == Transition("done")
    with pytest.raises(ActionError, match=r"dispatch_task\('x'\) came after transition_to\('done'\)"):
        actions.dispatch_task("x")
    assert actions.requested == Transition("done")


def test_tasks_are_recorded_with_their_options() -> None:
    """Single and parallel tasks take the same options; ``type`` is another word for ``task_type``."""
    single, parallel = ActionFactory(), ActionFactory()

    single.dispatch_task("x", {"a": 1}, {"success": "done"}, timeout_seconds=5, priority=2.0)
    parallel.dispatch_parallel([{"type": "x", "params": {"a": 1}}, {"task_type": "y", "max_cost": 3}], "join")

    assert single.requested == Dispatch(TaskSpec("x", {"a": 1}, {"success": "done"}, timeout_seconds=5, priority=2.0))
    assert parallel.requested == Parallel((TaskSpec("x", {"a": 1}), TaskSpec("y", max_cost=3)), "join")


@pytest.mark.parametrize(
    ("ask", "sentence"),
    [
        (lambda a: a.go_to(5), "takes the name of a state"),
        (lambda a: a.dispatch_task("two words"), "task_type must be"),
        (lambda a: a.dispatch_task("x", ["a"]), "params of task 'x' must be a dict"),
        (lambda a: a.dispatch_task("x", {}, {"success": 5}), "transitions of task 'x'"),
        (lambda a: a.dispatch_task("x", dispatch_strategy="cheap"), "Did you mean 'cheapest'"),
        (lambda a: a.dispatch_task("x", timeout_seconds=0), "positive number of seconds"),
        (lambda a: a.dispatch_parallel(["x"], "join"), "task 0 of dispatch_parallel must be a dict"),
        (lambda a: a.dispatch_parallel([{"params": {}}], "join"), "exactly one of 'task_type' and 'type'"),
        (lambda a: a.dispatch_parallel([{"type": "x", "task_type": "x"}], "join"), "exactly one of"),
        (lambda a: a.dispatch_parallel([{"type": "x", "prams": {}}], "join"), "Did you mean 'params'"),
        (lambda a: a.dispatch_parallel([], None), "aggregate_into takes the name"),
    ],
)
def test_malformed_action_is_refused_and_not_recorded(ask: Any, sentence: str) -> None:
    """A mistake is shown where it is made, and leaves the handler free to ask again."""
    actions = ActionFactory()

    with pytest.raises(ActionError, match=sentence):
        ask(actions)

    assert actions.requested is None


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"resource_requirements": "gpu"}, "resource_requirements of task 'render' must be a dict such as"),
        (
            {"resource_requirements": {1: "gpu", "a": 2}},
            "resource_requirements of task 'render' must be a dict such as",
        ),
        ({"max_cost": "cheap"}, "max_cost of task 'render' must be a number; got 'cheap'."),
        ({"max_cost": float("nan")}, "max_cost of task 'render' must be a number"),
        ({"priority": "high"}, "priority of task 'render' must be a number; got 'high'."),
        ({"priority": True}, "priority of task 'render' must be a number; got True."),
    ],
)
def test_dispatch_option_of_a_wrong_kind_is_refused(options: dict[str, object], sentence: str) -> None:
    """It would otherwise stop every poll of that skill, where nobody could name the handler."""
    with pytest.raises(ActionError) as caught:
        ActionFactory().dispatch_task("render", **options)

    assert sentence in str(caught.value)
