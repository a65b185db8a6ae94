"""Heartbeats over raw HTTP: what keeps workers and tasks alive, and what workers are told to stop."""

from __future__ import annotations

import asyncio

import pytest

from .conftest import WORKER, Api
from .worker_wire import order


@pytest.mark.parametrize("data", [b"", b"{}", b"null"])
async def test_empty_heartbeat_keeps_the_worker_alive(api: Api, data: bytes) -> None:
    """A foreign client may send no body."""
    await api.register()
    await api.clock.advance(100)

    answer = await api.call("PATCH", "/_worker/workers/w1", token=WORKER, data=data)
    await api.clock.advance(100)

    assert answer.body == {"status": "ttl_refreshed"}
    assert [worker["worker_id"] for worker in (await api.get("/api/v1/workers")).body] == ["w1"]


async def test_cancelled_job_is_told_in_the_next_heartbeat(api: Api) -> None:
    """Only the tasks of cancelled jobs, only ours, and never a null."""
    cancelled, kept = await order(api), await order(api)
    tasks = {task["job_id"]: task["task_id"] for task in [await api.take(), await api.take()]}
    current = [*tasks.values(), "a-task-of-another-engine-1"]
    before = await api.beat(current_tasks=current)
    await api.post(f"/api/v1/jobs/{cancelled}/cancel")

    after = await api.beat(current_tasks=current)

    assert before.body == {"status": "ok"}
    assert after.body == {"status": "ok", "cancel_task_ids": [tasks[cancelled]]}
    assert (await api.job(kept))["status"] == "waiting_for_worker"


async def test_tasks_of_other_engines_are_never_cancelled(api: Api) -> None:
    """A worker that serves several engines names all of its tasks to each."""
    await api.register()

    answer = await api.beat(current_tasks=["theirs-1", "0b5b6c4e-11-0-1", "", "ünïcode", "x" * 500])

    assert answer.body == {"status": "ok"}


async def test_task_in_a_heartbeat_stays_with_its_worker(api: Api) -> None:
    """While the worker names it, nobody else gets it."""
    await order(api)
    task = await api.take()
    for _ in range(8):
        await api.beat(current_tasks=[task["task_id"]])
        await api.clock.advance(15)
    await api.register("w2")

    poll = asyncio.create_task(api.poll("w2", "?timeout=1"))
    await api.until_parked()
    await api.clock.advance(1)

    assert (await poll).status == 204


async def test_worker_that_says_goodbye_keeps_its_result(api: Api) -> None:
    """A worker that shuts down says ``offline`` first; results that come after it count."""
    job_id = await order(api)
    task = await api.take()
    await api.beat(status="offline", current_tasks=[task["task_id"]])

    assert (await api.get("/api/v1/workers")).body[0]["status"] == "offline"
    assert (await api.result(task, data={"n": 1})).body == {"status": "accepted"}
    assert (await api.until(job_id, "finished"))["result"] == {"n": 1}


async def test_cancelled_of_a_worker_that_leaves_is_handed_to_the_next(api: Api) -> None:
    """Nobody asked for that cancellation: the job goes on."""
    job_id = await order(api)
    task = await api.take()
    await api.beat(status="offline", current_tasks=[task["task_id"]])
    await api.result(task, status="cancelled")

    again = await api.take("w2")
    await api.result(again, "w2")

    assert (await api.until(job_id, "finished"))["status"] == "finished"
