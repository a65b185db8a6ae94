"""How a job's data are put together: the rules of the manual, one by one."""

from __future__ import annotations

from typing import Any

import pytest

from avtomatika.blueprints import ActionFactory, StateMachineBlueprint
from avtomatika.testing import BlueprintTester
from avtomatika.worker import PermanentError


def one_task() -> StateMachineBlueprint:
    """Returns a blueprint with data of its own, which sends one task."""
    bp = StateMachineBlueprint("flow")

    @bp.handler_for("start", is_start=True)
    async def start(state_history: dict[str, Any], actions: ActionFactory) -> None:
        state_history.update({"kept": 1, "address": {"city": "Vigo", "street": "Rúa"}, "dropped": 2})
        actions.transition_to("send")

    @bp.handler_for("send")
    async def send(state_history: dict[str, Any], actions: ActionFactory) -> None:
        del state_history["dropped"]
        actions.dispatch_task("work", {}, {"success": "end", "failure": "lost"})

    @bp.handler_for("end", is_end=True)
    async def end() -> None: ...

    @bp.handler_for("lost", is_end=True)
    async def lost() -> None: ...

    return bp


BEFORE = {"kept": 1, "address": {"city": "Vigo", "street": "Rúa"}}


@pytest.mark.parametrize(
    ("returned", "after"),
    [
        ({"new": 1}, {**BEFORE, "new": 1}),
        ({"address": {"city": "Lugo"}}, {"kept": 1, "address": {"city": "Lugo"}}),
        ({"kept": None}, {**BEFORE, "kept": None}),
        ([1, 2], {**BEFORE, "work": [1, 2]}),
        ("done", {**BEFORE, "work": "done"}),
        (None, BEFORE),
        ({}, BEFORE),
    ],
    ids=["new", "replaced", "none-member", "list", "text", "none", "empty"],
)
async def test_result_is_laid_over_member_by_member(returned: Any, after: dict[str, Any]) -> None:
    """What was there under the same name is replaced as a whole; the rest stays."""
    async with BlueprintTester(one_task()) as t:
        t.worker("work", returns=returned)

        job = await t.submit()

        assert job.state_history == after


async def test_attempt_that_is_repeated_leaves_nothing() -> None:
    """Only what came of the task in the end counts."""
    async with BlueprintTester(one_task()) as t:
        t.worker("work", fails="TRANSIENT_ERROR", times=1, returns={"n": 2})
        job = await t.submit()
        assert job.state_history == BEFORE

        await t.advance(60)

        assert job.state_history == {**BEFORE, "n": 2}


async def test_failure_for_good_leaves_its_reason() -> None:
    """The handler of the failure state finds it."""
    async with BlueprintTester(one_task()) as t:
        t.worker("work", fails=PermanentError("no road"))

        job = await t.submit()

        error = job.state_history["last_error"]
        assert {**job.state_history, "last_error": None} == {**BEFORE, "last_error": None}
        assert (error["code"], error["message"]) == ("PERMANENT_ERROR", "no road")


async def test_handler_that_raises_leaves_nothing() -> None:
    """Its changes are those of a step that did not happen."""
    bp = StateMachineBlueprint("flow")

    @bp.handler_for("start", is_start=True, is_end=True)
    async def start(state_history: dict[str, Any], attempt: int) -> None:
        state_history[f"try {attempt}"] = True
        if attempt == 1:
            raise RuntimeError

    async with BlueprintTester(bp) as t:
        job = await t.submit()
        await t.advance(60)

        assert job.state_history == {"try 2": True}


async def test_branches_leave_nothing_and_a_child_its_result() -> None:
    """An aggregator joins branches by itself; a child's result stands under its blueprint's name."""
    bp, child = StateMachineBlueprint("flow"), StateMachineBlueprint("child")

    @bp.handler_for("start", is_start=True)
    async def start(actions: ActionFactory) -> None:
        actions.dispatch_parallel([{"type": "work"}, {"type": "work"}], "join")

    @bp.aggregator_for("join")
    async def join(state_history: dict[str, Any], aggregation_results: dict[str, Any], actions: ActionFactory) -> None:
        assert state_history == {}
        state_history["joined"] = len(aggregation_results)
        actions.run_blueprint("child", {}, {"success": "end"})

    @bp.handler_for("end", is_end=True)
    async def end() -> None: ...

    @child.handler_for("start", is_start=True, is_end=True)
    async def only() -> dict[str, Any]:
        return {"n": 7}

    async with BlueprintTester(bp, child) as t:
        t.worker("work", returns={"n": 1})
        job = await t.submit()

        (one,) = job.children
        outcome = {"job_id": one.id, "status": "finished", "result": {"n": 7}}
        assert job.state_history == {"joined": 2, "child": outcome}
