"""The cookbook, while a task runs and after it failed: cancel, progress, error types."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any

import pytest

from avtomatika import ActionFactory, StateMachineBlueprint
from avtomatika.errors import ClientError
from avtomatika.worker import Context, TaskError

from .conftest import Serve, until

pytestmark = pytest.mark.acceptance


def encode() -> StateMachineBlueprint:
    """Returns a blueprint with one long task."""
    bp = StateMachineBlueprint("encode", api_endpoint="/encode")

    @bp.handler_for("start", is_start=True)
    async def start(actions: ActionFactory) -> None:
        actions.dispatch_task("encode", {}, {"success": "encoded"})

    @bp.handler_for("encoded", is_end=True)
    async def encoded() -> None: ...

    return bp


async def test_cancel_reaches_the_worker_over_its_websocket(serve: Serve) -> None:
    """The client hears that it was sent, the worker which task to stop, and what it still sends changes nothing."""
    kitchen = await serve(encode())
    worker = kitchen.plain_worker("w1")
    await worker.register("encode")
    job_id = await kitchen.client.submit("/encode")
    task = await worker.take()

    async with await worker.listen() as socket:
        answer = await kitchen.client.cancel(job_id)
        command = json.loads(await asyncio.wait_for(socket.receive_str(), 60))
    late = await worker.give(task, status="success", data={"size": 1})
    job = await kitchen.client.wait(job_id, timeout=60)
    with pytest.raises(ClientError) as again:
        await kitchen.client.cancel(job_id)

    assert answer == "cancellation_request_sent"
    assert (command["command"], command["task_id"], command["job_id"]) == ("cancel_task", task["task_id"], job_id)
    assert late == 200
    assert (job["status"], "size" in job["state_history"]) == ("cancelled", False)
    assert again.value.status == 409


async def test_cancel_reaches_a_worker_without_a_websocket(serve: Serve) -> None:
    """The client hears that it was accepted, and the worker's function is interrupted after its next heartbeat."""
    kitchen = await serve(encode())
    started, interrupted = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            interrupted.set()

    await kitchen.hire(tasks={"encode": work})
    job_id = await kitchen.client.submit("/encode")
    await started.wait()

    answer = await kitchen.client.cancel(job_id)
    await asyncio.wait_for(interrupted.wait(), 60)
    job = await kitchen.client.wait(job_id, timeout=60)

    assert (answer, job["status"]) == ("cancellation_request_accepted", "cancelled")


async def test_cancel_ends_a_job_without_a_running_task_at_once(serve: Serve) -> None:
    """A task that nobody took is withdrawn: a worker that comes later does not get it."""
    kitchen = await serve(encode())
    job_id = await kitchen.client.submit("/encode")
    await kitchen.until(job_id, "waiting_for_worker")

    answer = await kitchen.client.cancel(job_id)
    job = await kitchen.client.job(job_id)
    ran: list[str] = []
    await kitchen.hire(tasks={"encode": lambda context: ran.append(context.job_id)})
    other = await kitchen.run("/encode")

    assert (answer, job["status"]) == ("cancellation_request_accepted", "cancelled")
    assert ran == [other["id"]]


async def test_progress_is_seen_while_the_task_runs(serve: Serve) -> None:
    """Share and message that the worker reports stand in the job."""
    kitchen = await serve(encode())
    door = asyncio.Event()

    async def work(context: Context) -> None:
        context.progress(0.25, "a quarter")
        await door.wait()

    await kitchen.hire(tasks={"encode": work})
    job_id = await kitchen.client.submit("/encode")
    seen: dict[str, Any] = {}

    async def is_reported() -> bool:
        seen.update(await kitchen.client.job(job_id))
        return bool(seen["progress"])

    await until(is_reported)
    door.set()
    job = await kitchen.client.wait(job_id, timeout=60)

    assert (seen["progress"], seen["progress_message"], seen["task_worker_id"]) == (0.25, "a quarter", "w1")
    assert (job["status"], job["progress"]) == ("finished", 1)


RETRIED, AT_ONCE, FAILED = ("quarantined", 2), ("quarantined", 1), ("failed", 1)
OUTCOMES = {
    "": RETRIED,
    "TRANSIENT_ERROR": RETRIED,
    "RESOURCE_EXHAUSTED_ERROR": RETRIED,
    "TIMEOUT_ERROR": RETRIED,
    "INTERNAL_ERROR": RETRIED,
    "A_CODE_OF_OUR_OWN": RETRIED,
    "PERMANENT_ERROR": AT_ONCE,
    "SECURITY_ERROR": AT_ONCE,
    "DEPENDENCY_ERROR": AT_ONCE,
    "INVALID_INPUT_ERROR": FAILED,
    "INTEGRITY_MISMATCH_ERROR": FAILED,
    "CONTRACT_VIOLATION_ERROR": FAILED,
}


async def test_error_type_decides_what_becomes_of_the_job(serve: Serve) -> None:
    """Some are tried again, some quarantine the job, some fail it; a way for ``failure`` is taken before quarantine."""
    bp = StateMachineBlueprint("convert", api_endpoint="/convert")

    @bp.handler_for("start", is_start=True).when("context.initial_data.guarded == True")
    async def guarded(code: str, actions: ActionFactory) -> None:
        actions.dispatch_task("convert", {"code": code}, {"success": "converted", "failure": "repair"})

    @bp.handler_for("start")
    async def start(code: str, actions: ActionFactory) -> None:
        actions.dispatch_task("convert", {"code": code}, {"success": "converted"})

    @bp.handler_for("repair")
    async def repair(state_history: dict[str, Any], actions: ActionFactory) -> None:
        state_history["repaired"] = {name: state_history["last_error"][name] for name in ("code", "message", "attempt")}
        actions.transition_to("converted")

    @bp.handler_for("converted", is_end=True)
    async def converted() -> None: ...

    kitchen = await serve(bp, JOB_MAX_RETRIES=1, RETRY_DELAY_SECONDS=0.001)
    attempts: Counter[str] = Counter()

    async def convert(code: str, context: Context) -> dict[str, str]:
        attempts[context.job_id] += 1
        if code == "unknown_word":
            return {"status": "unknown_word"}
        raise TaskError("no such codec", code) if code else RuntimeError("no such codec")

    await kitchen.hire(tasks={"convert": convert}, concurrency=20)

    async def outcome(code: str, **data: Any) -> dict[str, Any]:
        return await kitchen.run("/convert", {"code": code, **data})

    jobs = dict(zip(OUTCOMES, await asyncio.gather(*map(outcome, OUTCOMES)), strict=True))
    stubborn, permanent = await outcome("TRANSIENT_ERROR", guarded=True), await outcome("SECURITY_ERROR", guarded=True)
    word = await outcome("unknown_word")

    assert {code: (job["status"], attempts[job["id"]]) for code, job in jobs.items()} == OUTCOMES
    assert all("no such codec" in job["error_message"] for job in jobs.values())
    assert "PERMANENT_ERROR" in jobs["PERMANENT_ERROR"]["error_message"]
    assert (stubborn["status"], permanent["status"], word["status"]) == ("finished", "finished", "failed")
    assert stubborn["result"]["repaired"] == {"code": "TRANSIENT_ERROR", "message": "no such codec", "attempt": 2}
    assert permanent["result"]["repaired"] == {"code": "SECURITY_ERROR", "message": "no such codec", "attempt": 1}
    assert "unknown_word" in word["error_message"]
    assert "success" in word["error_message"]
