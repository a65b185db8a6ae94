"""Results over raw HTTP, of every shape: taken once, ignored with a reason, and never lost."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from avtomatika.errors import StorageError
from avtomatika.server.keys import STORAGE_KEY

from .conftest import WORKER, Api
from .worker_wire import order, send


@pytest.mark.parametrize(
    ("sent", "result"),
    [
        ({"result": {"status": "success", "data": {"a": 1}}}, {"a": 1}),
        ({"result": {"data": {"a": 1}}}, {"a": 1}),
        ({"result": "text"}, {"work": "text"}),
        ({"result": [1, 2]}, {"work": [1, 2]}),
        ({"result": 7}, {"work": 7}),
        ({"result": None}, {}),
        ({"status": "success", "data": None}, {}),
        ({"status": None, "data": {"a": 1}}, {"a": 1}),
        ({"data": {"a": 1}, "error": {"code": "X", "message": "y"}}, {"a": 1}),
        ({"data": "text"}, {"work": "text"}),
        ({}, {}),
    ],
)
async def test_success_of_every_shape_finishes_the_job(api: Api, sent: Any, result: Any) -> None:
    """Nested or not, with or without a status, data of any type."""
    job_id = await order(api)

    answer = await api.result(await api.take(), **sent)

    assert answer.body == {"status": "accepted"}
    job = await api.until(job_id, "finished")
    assert (job["current_state"], job["result"]) == ("sent", result)


@pytest.mark.parametrize(
    ("sent", "status", "sentence"),
    [
        ({"result": {"status": "failure", "error": "disk full"}}, "awaiting_retry", "disk full"),
        (
            {"status": "failure", "error": {"code": "TRANSIENT_ERROR", "message": "flaky"}},
            "awaiting_retry",
            "TRANSIENT_ERROR: ",
        ),
        ({"status": "failure"}, "awaiting_retry", "the worker gave no reason"),
        ({"status": "failure", "error": {"code": "INVALID_INPUT_ERROR"}}, "failed", "INVALID_INPUT_ERROR"),
        ({"status": "failure", "error": {"code": "PERMANENT_ERROR", "message": "no"}}, "failed", None),
        ({"status": "never_heard"}, "failed", "'never_heard'"),
        ({"status": "later"}, "finished", None),
        ({"status": "cancelled"}, "cancelled", None),
    ],
)
async def test_every_status_leads_where_it_should(api: Api, sent: Any, status: str, sentence: str | None) -> None:
    """Failures by their code, words of the blueprint's own, unknown words, cancellations."""
    job_id = await order(api)

    answer = await api.result(await api.take(), **sent)

    assert answer.body == {"status": "accepted"}
    job = await api.until(job_id, status)
    assert (sentence or "") in (job["error_message"] or "")


async def test_repeated_result_is_accepted_and_counts_once(api: Api) -> None:
    """A worker that lost the answer is content with the second one."""
    job_id = await order(api)
    task = await api.take()

    answers = [await api.result(task, data={"n": 1}) for _ in range(3)]

    assert [answer.body for answer in answers] == [{"status": "accepted"}] * 3
    rows = (await api.get(f"/api/v1/jobs/{job_id}/history")).body
    assert [row["event_type"] for row in rows].count("task_finished") == 1


async def test_unwanted_result_is_ignored_with_its_reason(api: Api) -> None:
    """Always 200, so that no worker loses its head; the reason is one of the five words."""
    cancelled, held, late = await order(api), await order(api), await order(api)
    tasks = {task["job_id"]: task for task in [await api.take() for _ in range(3)]}
    await api.post(f"/api/v1/jobs/{cancelled}/cancel")
    await api.result(tasks[late], status="success")
    stranger = {**tasks[held], "job_id": "no-such-job"}
    other_task = {**tasks[held], "task_id": "no-such-task-1"}

    reasons = [
        (await api.result(tasks[cancelled])).body,
        (await api.result(tasks[held], worker_id="w2")).body,
        (await api.result(tasks[late], status="failure")).body,
        (await api.result(stranger)).body,
        (await api.result(other_task)).body,
    ]

    assert {body["status"] for body in reasons} == {"ignored"}
    assert [body["reason"] for body in reasons] == [
        "job_cancelled",
        "worker_mismatch",
        "stale_task",
        "job_not_found",
        "stale_task",
    ]
    assert all(body["message"] for body in reasons)


async def test_result_after_the_deadline_is_ignored_with_that_reason(api: Api) -> None:
    """The worker learns that it was too slow."""
    job_id = await api.submit("/api/v2/shop/orders", {"initial_data": {}, "result_timeout": 30})
    await api.until(job_id, "waiting_for_worker")
    task = await api.take()
    await api.clock.advance(30)

    answer = await api.result(task)

    assert (answer.status, answer.body["status"]) == (200, "ignored")


async def test_result_that_cannot_be_written_closes_the_connection(
    api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Every generation repeats a result after a lost connection, and drops it after an error."""
    job_id = await order(api)
    task = await api.take()

    async def fail(batch: Any) -> None:
        raise StorageError("down")

    monkeypatch.setattr(api.engine.app[STORAGE_KEY], "commit", fail)
    body = json.dumps({**task, "worker_id": "w1"}).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", api.engine.port)
    head = f"POST /_worker/tasks/result HTTP/1.1\r\nHost: x\r\nX-Worker-Token: {WORKER}\r\nContent-Length: {len(body)}"
    writer.write(head.encode() + b"\r\n\r\n" + body)
    try:
        raw = await reader.read()
    except ConnectionError:
        raw = b""
    writer.close()
    monkeypatch.undo()

    assert raw == b""
    assert (await api.result(task, data={"n": 1})).body == {"status": "accepted"}
    await api.until(job_id, "finished")


@pytest.mark.parametrize("body", [[], "x", None, {}, {"job_id": "j"}, {"task_id": 5, "job_id": "j"}])
@pytest.mark.parametrize("path", ["workers/register", "tasks/result", "events"])
async def test_message_that_is_none_is_refused_with_a_sentence(api: Api, path: str, body: Any) -> None:
    """400: what was expected stands in the answer."""
    answer = await send(api, "POST", f"/_worker/{path}", body)

    assert (answer.status, answer.body["code"]) == (400, "invalid_message")


@pytest.mark.parametrize("raw", [b"{", b"\xff", b"nothing"])
@pytest.mark.parametrize(
    ("method", "path"), [("POST", "workers/register"), ("PATCH", "workers/w1"), ("POST", "tasks/result")]
)
async def test_malformed_message_is_refused(api: Api, method: str, path: str, raw: bytes) -> None:
    """400, and the engine goes on."""
    answer = await api.call(method, f"/_worker/{path}", token=WORKER, data=raw)

    assert (answer.status, answer.body["code"]) == (400, "invalid_json")


async def test_result_with_bare_nan_is_read(api: Api) -> None:
    """The oldest workers' encoder writes NaN; the job gets a null in its answers."""
    job_id = await order(api)
    task = await api.take()
    raw = json.dumps({"job_id": job_id, "task_id": task["task_id"], "worker_id": "w1", "result": {"x": float("nan")}})

    answer = await api.call("POST", "/_worker/tasks/result", token=WORKER, data=raw)

    assert answer.body == {"status": "accepted"}
    assert (await api.until(job_id, "finished"))["result"] == {"x": None}
