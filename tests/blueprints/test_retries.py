"""Retry policies as blueprints and handlers write them."""

from __future__ import annotations

from typing import Any

import pytest

from avtomatika.blueprints import RetryPolicy, StateMachineBlueprint
from avtomatika.blueprints.actions import ActionFactory
from avtomatika.blueprints.requests import Dispatch, Parallel
from avtomatika.errors import ActionError, BlueprintError


def test_policy_as_a_dict_is_the_same_as_one_made() -> None:
    """Whoever does not want to import a class writes a dict; a list of codes will do."""
    written = RetryPolicy.of({"attempts": 5, "delay": 2, "never": ["QUOTA_ERROR"]})

    assert written == RetryPolicy(5, 2, never=("QUOTA_ERROR",))
    assert RetryPolicy.of(None) is None
    assert RetryPolicy.of(written) is written


def test_narrower_policy_goes_first() -> None:
    """What a policy says counts, what it leaves open comes from the wider one."""
    wide = RetryPolicy(4, 1.0, 2.0, 60.0, ("A",))

    assert RetryPolicy(attempts=9, never=()).over(wide) == RetryPolicy(9, 1.0, 2.0, 60.0, ())
    assert RetryPolicy().over(wide) == wide


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"attempts": 0}, "attempts of a retry policy is a whole number from 1; got 0"),
        ({"attempts": True}, "got True"),
        ({"attempts": 2.5}, "got 2.5"),
        ({"delay": -1}, "delay of a retry policy is a number from 0; got -1"),
        ({"factor": 0.5}, "factor of a retry policy is a number from 1; got 0.5"),
        ({"max_delay": float("inf")}, "max_delay of a retry policy is a number from 0; got inf"),
        ({"never": "QUOTA_ERROR"}, "a list of error codes"),
        ({"never": [1]}, "a list of error codes"),
        ({"atempts": 3}, "'atempts' is no part of a retry policy; known: attempts, .* Did you mean 'attempts'"),
        (3, "retry is a RetryPolicy or a dict with some of attempts, .*; got int"),
    ],
)
def test_malformed_policy_is_refused(value: Any, message: str) -> None:
    """The sentence names the part and what it must be, wherever the policy stands."""
    with pytest.raises(ActionError, match=message):
        ActionFactory().dispatch_task("work", retry=value)
    with pytest.raises(ActionError, match=message):
        ActionFactory().dispatch_parallel([{"type": "work", "retry": value}], "join")
    with pytest.raises(BlueprintError, match=message):
        StateMachineBlueprint("flow", retry=value)


def test_policy_of_a_task_stands_in_its_request() -> None:
    """One task and each of several may have policies of their own."""
    one, many = ActionFactory(), ActionFactory()

    one.dispatch_task("work", retry={"attempts": 2})
    many.dispatch_parallel([{"type": "work", "retry": RetryPolicy(3)}, {"type": "work"}], "join")

    assert isinstance(one.requested, Dispatch)
    assert one.requested.task.retry == RetryPolicy(2)
    assert isinstance(many.requested, Parallel)
    assert [task.retry for task in many.requested.tasks] == [RetryPolicy(3), None]


def test_policy_of_a_blueprint_is_no_part_of_its_version() -> None:
    """Jobs that run get a changed policy at once: it changes neither states nor ways."""
    graphs = []
    for retry in (None, {"attempts": 7}):
        flow = StateMachineBlueprint("flow", retry=retry)

        @flow.handler_for("only", is_start=True, is_end=True)
        async def only() -> None: ...

        graphs.append(flow.compile().graph)

    assert graphs[0].version == graphs[1].version
    assert [graph.retry for graph in graphs] == [None, RetryPolicy(attempts=7)]
