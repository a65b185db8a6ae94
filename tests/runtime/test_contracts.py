"""Schemas and sizes in a running engine: what does not fit fails, and says where."""

from __future__ import annotations

from typing import Any

import pytest

from avtomatika.blueprints import ActionFactory, StateMachineBlueprint
from avtomatika.errors import ContractError, DataSizeError
from avtomatika.testing import BlueprintTester

NUMBER = {"properties": {"n": {"type": "number"}}, "required": ["n"]}


def flow(name: str = "flow", task: dict[str, Any] | None = None, **options: Any) -> StateMachineBlueprint:
    """Returns a blueprint that sends one task with what it was given, and ends with what came back."""
    bp = StateMachineBlueprint(name, **options)

    @bp.handler_for("start", is_start=True)
    async def start(initial_data: dict[str, Any], actions: ActionFactory) -> None:
        actions.dispatch_task("work", initial_data, {"success": "end", "odd": "end", "failure": "failed"}, **task or {})

    @bp.handler_for("end", is_end=True)
    async def end(state_history: dict[str, Any]) -> dict[str, Any]:
        return state_history

    @bp.handler_for("failed", is_end=True)
    async def failed() -> None: ...

    return bp


async def test_job_with_wrong_input_is_not_created() -> None:
    """Whoever creates it hears the path."""
    async with BlueprintTester(flow(input_schema=NUMBER)) as t:
        with pytest.raises(ContractError, match=r"initial_data\.n: .*input_schema of blueprint 'flow'"):
            await t.submit({"n": "5"})

        assert t.jobs == []
        assert (await t.submit({"n": 5})).status == "waiting_for_worker"


async def test_job_with_wrong_output_fails_at_once() -> None:
    """It does not pretend to have finished; a job that ends as failed owes nothing."""
    async with BlueprintTester(flow(output_schema=NUMBER)) as t:
        t.worker("work", lambda n=None, code=None: {"n": n})
        good, bad = await t.submit({"n": 1}), await t.submit({"n": "one"})

        assert good.status == "finished"
        assert (bad.status, bad.error_code) == ("failed", "CONTRACT_VIOLATION_ERROR")
        assert bad.error is not None
        assert bad.error["message"].startswith("result.n: ")
        assert "job_failed" in await bad.events()


async def test_wrong_params_fail_the_job_at_once() -> None:
    """No worker sees them."""
    async with BlueprintTester(flow(task={"params_schema": NUMBER})) as t:
        worker = t.worker("work")
        job = await t.submit({"n": "five"})

        assert (job.status, job.error_code, worker.calls) == ("failed", "CONTRACT_VIOLATION_ERROR", [])


async def test_wrong_result_fails_the_job_at_once() -> None:
    """The worker's success is none; another status word is free in what it brings."""
    async with BlueprintTester(flow(task={"result_schema": NUMBER})) as t:
        t.worker("work", lambda n: {"status": n, "data": {"m": 1}})
        bad, odd = await t.submit({"n": "success"}), await t.submit({"n": "odd"})

        assert (bad.status, bad.error_code) == ("failed", "CONTRACT_VIOLATION_ERROR")
        assert bad.error is not None
        assert bad.error["message"].startswith("data.n: ")
        assert odd.status == "finished"


@pytest.mark.parametrize("check", [True, False])
async def test_what_a_skill_declares_is_a_promise(check: bool) -> None:
    """Of the worker that declares it; the setting can let it go."""
    async with BlueprintTester(flow(), CHECK_SKILL_SCHEMAS=check) as t:
        t.worker("work", returns={"n": "one"}, profile={"output_schema": NUMBER})
        job = await t.submit({})

        assert job.status == ("failed" if check else "finished")


async def test_schema_of_a_worker_that_makes_no_sense_promises_nothing() -> None:
    """An engine does not suffer from it."""
    async with BlueprintTester(flow()) as t:
        t.worker("work", returns={"n": "one"}, profile={"output_schema": {"type": "objekt"}})

        assert (await t.submit({})).status == "finished"


async def test_child_with_wrong_input_fails_its_parent_at_once() -> None:
    """The parent's handler asked for it."""
    parent = StateMachineBlueprint("parent")

    @parent.handler_for("start", is_start=True)
    async def start(actions: ActionFactory) -> None:
        actions.run_blueprint("flow", {"n": "x"}, {"success": "end"})

    @parent.handler_for("end", is_end=True)
    async def end() -> None: ...

    async with BlueprintTester(parent, flow(input_schema=NUMBER)) as t:
        job = await t.submit()

        assert (job.status, job.error_code) == ("failed", "CONTRACT_VIOLATION_ERROR")
        assert job.children == []


# --- sizes ---


async def test_data_that_are_too_large_are_refused_with_their_size() -> None:
    """Where they come in: at the creation, from a handler, from a worker, to a worker."""
    bp = StateMachineBlueprint("flow")

    @bp.handler_for("start", is_start=True)
    async def start(initial_data: dict[str, Any], state_history: dict[str, Any], actions: ActionFactory) -> None:
        state_history["text"] = "x" * initial_data.get("history", 0)
        params = {"text": "x" * initial_data.get("params", 0)}
        actions.dispatch_task("work", params, {"success": "end"})

    @bp.handler_for("end", is_end=True)
    async def end() -> None: ...

    async with BlueprintTester(bp, JOB_MAX_DATA_BYTES=2000) as t:
        with pytest.raises(DataSizeError, match=r"initial_data has 2,\d{3} bytes, and at most 2,000"):
            await t.submit({"text": "x" * 2000})
        answer = {"text": ""}
        t.worker("work", lambda text: answer)
        for data, size, status in (
            ({"history": 3000}, 0, "quarantined"),
            ({"params": 3000}, 0, "quarantined"),
            ({}, 3000, "failed"),
        ):
            answer["text"] = "x" * size
            job = await t.submit(data)
            assert job.status == status
            assert job.error is not None
            assert "3,0" in job.error["message"]
            assert "at most 2,000" in job.error["message"]
