"""The actions that a handler can ask for."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from avtomatika.blueprints import ActionFactory
from avtomatika.blueprints.requests import Dispatch, Parallel, Sleep, TaskSpec, Transition
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


def test_several_tasks_into_one_aggregator_are_a_fan_out() -> None:
    """The older way to fan out: each call adds a branch."""
    actions = ActionFactory()

    for n in range(3):
        actions.dispatch_task("x", {"n": n}, {"success": "join", "failure": f"broken_{n}"})

    specs = tuple(TaskSpec("x", {"n": n}, {"success": "join", "failure": f"broken_{n}"}) for n in range(3))
    assert actions.requested == Parallel(specs, "join")


@pytest.mark.parametrize("transitions", [{"success": "other"}, {"failure": "join"}, None])
def test_second_task_that_leads_elsewhere_is_refused(transitions: dict[str, str] | None) -> None:
    """The message names both ways; the first task stands."""
    actions = ActionFactory()
    actions.dispatch_task("x", {}, {"success": "join"})

    with pytest.raises(ActionError, match="for 'success' 'x' leads to 'join' and 'y' to"):
        actions.dispatch_task("y", {}, transitions)

    assert actions.requested == Dispatch(TaskSpec("x", {}, {"success": "join"}))


def test_task_after_a_fan_out_is_a_second_action() -> None:
    """Only calls of dispatch_task come together."""
    actions = ActionFactory()
    actions.dispatch_parallel([{"type": "x"}], "join")

    with pytest.raises(ActionError, match="came after dispatch_parallel"):
        actions.dispatch_task("y", {}, {"success": "join"})


def test_policy_of_a_fan_out_is_recorded() -> None:
    """``at_least`` is a policy of its own."""
    tasks = [{"type": "x"}, {"type": "y"}]
    common, chosen, counted = ActionFactory(), ActionFactory(), ActionFactory()

    common.dispatch_parallel(tasks, "join")
    chosen.dispatch_parallel(tasks, "join", policy="collect")
    counted.dispatch_parallel(tasks, "join", at_least=2)

    specs = (TaskSpec("x"), TaskSpec("y"))
    assert common.requested == Parallel(specs, "join", "all")
    assert chosen.requested == Parallel(specs, "join", "collect")
    assert counted.requested == Parallel(specs, "join", "at_least", 2)


def test_sleep_takes_seconds_and_moments_in_every_form() -> None:
    """Numbers, and what the standard library has for them."""
    requests = []
    for name, value in (
        ("sleep", 90),
        ("sleep", datetime.timedelta(minutes=1.5)),
        ("sleep_until", 1_700_000_000),
        ("sleep_until", datetime.datetime(2023, 11, 14, 22, 13, 20, tzinfo=datetime.UTC)),
    ):
        actions = ActionFactory()
        getattr(actions, name)(value, "check")
        requests.append(actions.requested)

    assert requests == [Sleep("check", seconds=90)] * 2 + [Sleep("check", until=1_700_000_000)] * 2


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
        (lambda a: a.dispatch_parallel([], "join", policy="colect"), "Did you mean 'collect'"),
        (lambda a: a.dispatch_parallel([{"type": "x"}], "join", at_least=2), "from 1 to 1; got 2"),
        (lambda a: a.dispatch_parallel([{"type": "x"}], "join", at_least=0), "from 1 to 1; got 0"),
        (lambda a: a.dispatch_parallel([{"type": "x"}], "join", at_least="all"), "from 1 to 1; got 'all'"),
        (lambda a: a.dispatch_parallel([{"type": "x"}], "join", "collect", 1), "leave policy='collect' out"),
        (lambda a: a.await_human_approval("", {"approved": "x"}), "takes the question as its message"),
        (lambda a: a.await_human_approval("?", {}), "needs transitions for the decisions"),
        (lambda a: a.await_human_approval("?", {"expired": "x"}, timeout_seconds=5), "needs transitions for"),
        (lambda a: a.await_human_approval("?", {"yes": "x", "expired": "y"}), "there is no timeout_seconds"),
        (lambda a: a.await_human_approval("?", {"yes": 1}), "transitions of await_human_approval must be a dict"),
        (lambda a: a.await_human_approval("?", {"yes": "x"}, "two words"), "integration is a word"),
        (lambda a: a.await_human_approval("?", {"yes": "x"}, timeout_seconds=0), "positive number of seconds; got 0"),
        (lambda a: a.run_blueprint("two words", {}, {"success": "x"}), "takes the name of a blueprint"),
        (lambda a: a.run_blueprint("b", [1], {"success": "x"}), "initial_data of run_blueprint must be a dict"),
        (lambda a: a.run_blueprint("b", {}, {"succes": "x"}), r"know no 'succes'.*Did you mean 'success'"),
        (lambda a: a.run_blueprint("b", {}, {"failure": "x"}), "need 'success'"),
        (lambda a: a.sleep(-1, "x"), "seconds from 0, or a timedelta; got -1"),
        (lambda a: a.sleep(float("inf"), "x"), "seconds from 0"),
        (lambda a: a.sleep(5, None), "takes the name of the state that follows; got None"),
        (lambda a: a.sleep_until("noon", "x"), "datetime with a time zone; got 'noon'"),
        (lambda a: a.sleep_until(datetime.datetime(2026, 1, 1), "x"), "another moment on every machine"),  # noqa: DTZ001
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
