"""Events over raw HTTP: progress, and what a worker tells by words of its own."""

from __future__ import annotations

from .conftest import Api
from .worker_wire import golden, order, send


async def test_progress_becomes_the_jobs_progress(api: Api) -> None:
    """A share or a percentage, with its sentence."""
    job_id = await order(api)
    task = await api.take()
    event = golden("g2_event", worker_id="w1", target_job_id=job_id, target_task_id=task["task_id"])

    first = await send(api, "POST", "/_worker/events", event)
    half = await api.job(job_id)
    await send(api, "POST", "/_worker/events", {**event, "payload": {"progress": 75, "message": "soon"}})
    soon = await api.job(job_id)

    assert first.body == {"status": "event_accepted"}
    assert (half["progress"], half["progress_message"]) == (0.5, "half")
    assert (soon["progress"], soon["progress_message"]) == (0.75, "soon")


async def test_event_of_the_workers_own_joins_the_history_of_its_job(api: Api) -> None:
    """Once, however often it is sent; the job goes on as before."""
    job_id = await order(api)
    task = await api.take()
    told = {"worker_id": "w1", "origin_worker_id": "w1", "event_id": "e-1"}
    event = golden("g4_event", **told, target_job_id=job_id, target_task_id=task["task_id"])

    answers = [await send(api, "POST", "/_worker/events", event) for _ in range(2)]
    await send(api, "POST", "/_worker/events", {**event, "event_id": "e-2", "payload": {}})
    await api.result(task)

    assert [answer.body for answer in answers] == [{"status": "event_accepted"}] * 2
    rows = [row for row in (await api.get(f"/api/v1/jobs/{job_id}/history")).body if row["event_type"] == "task_event"]
    assert [row["context_snapshot"] for row in rows] == [
        {"type": "page_found", "payload": {"page": 3}, "event_id": "e-1"},
        {"type": "page_found", "payload": {}, "event_id": "e-2"},
    ]
    assert {(row["worker_id"], row["attempt_number"]) for row in rows} == {("w1", 1)}
    assert (await api.until(job_id, "finished"))["status"] == "finished"


async def test_event_of_another_worker_joins_no_job(api: Api) -> None:
    """Nor does one of an attempt that is over."""
    job_id = await order(api)
    task = await api.take()
    event = golden("g4_event", worker_id="w2", target_job_id=job_id, target_task_id=task["task_id"])
    before = await api.job(job_id)

    await send(api, "POST", "/_worker/events", event)
    await send(api, "POST", "/_worker/events", {**event, "worker_id": "w1", "target_task_id": f"{task['task_id']}1"})

    assert await api.job(job_id) == before


async def test_event_that_is_too_large_is_refused(api: Api) -> None:
    """The history is no place for files."""
    job_id = await order(api)
    task = await api.take()
    event = golden("g4_event", worker_id="w1", target_job_id=job_id, target_task_id=task["task_id"])

    answer = await send(api, "POST", "/_worker/events", {**event, "payload": {"page": "x" * 70_000}})

    assert (answer.status, answer.body["code"]) == (400, "invalid_message")
    assert "at most 65,536 are kept" in answer.body["error"]


async def test_progress_of_an_earlier_attempt_is_not_shown(api: Api) -> None:
    """A task that begins again begins at nothing."""
    job_id = await order(api)
    task = await api.take()
    event = golden("g2_event", worker_id="w1", target_job_id=job_id, target_task_id=task["task_id"])
    await send(api, "POST", "/_worker/events", event)
    await api.result(task, status="failure", error={"code": "TRANSIENT_ERROR", "message": "flaky"})
    await api.clock.advance(2)
    again = await api.take("w2")

    job = await api.job(job_id)

    assert again["task_id"] != task["task_id"]
    assert (job["attempt"], job["progress"]) == (2, 0.0)
