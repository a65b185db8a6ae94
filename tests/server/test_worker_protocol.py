"""The worker protocol over raw HTTP, with the bodies that each generation of published workers sends."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientError, web

from avtomatika.errors import StorageError
from avtomatika.protocol.tasks import parse_task
from avtomatika.server.keys import DISPATCHER_KEY, STORAGE_KEY, WORKERS_KEY

from .conftest import WORKER, Answer, Api, until

GOLDEN = Path(__file__).parents[1] / "protocol" / "golden"
GENERATIONS = ("g0", "g1", "g1s", "g2", "g3", "g4")


def golden(name: str, **changes: Any) -> dict[str, Any]:
    """Reads a pinned message of a published worker and changes some of its members."""
    return {**json.loads((GOLDEN / f"{name}.json").read_text()), **changes}


def skills_of(generation: str) -> Any:
    """Returns the skill ``work`` as the generation writes it, under its name for the list."""
    name = "supported_tasks" if generation in {"g0", "g1"} else "supported_skills"
    plain = generation in {"g0", "g1", "g1s"}
    members: dict[str, Any] = {name: ["work"] if plain else [{"name": "work", "type": "work"}]}
    if generation in {"g3", "g4"}:
        members["available_skills"] = ["work"]
    return members


def headers_of(generation: str, worker_id: str) -> dict[str, str]:
    """Returns the headers that the generation sends besides the token."""
    if generation == "g0":
        return {}
    newest = {"X-Worker-ID": worker_id} if generation == "g4" else {}
    return {"X-RXON-Version": "1.0b2", **newest}


def result_of(generation: str, task: dict[str, Any], worker_id: str) -> dict[str, Any]:
    """Returns a success with data as the generation writes it; the newest leaves the status out."""
    echoed = {"job_id": task["job_id"], "task_id": task["task_id"], "worker_id": worker_id}
    if generation == "g0":
        return {**echoed, "result": {"status": "success", "data": {"n": 1}, "error": None}}
    if generation in {"g3", "g4"}:
        return {**echoed, "data": {"n": 1}, "origin_worker_id": worker_id, "timestamp": 1_800_000_000}
    return {**echoed, "status": "success", "data": {"n": 1}, "error": None, "data_metadata": None}


async def order(api: Api, **params: Any) -> str:
    """Creates a job and returns its id when its task waits."""
    job_id = await api.submit("/api/v2/shop/orders", {"params": params})
    await api.until(job_id, "waiting_for_worker")
    return job_id


async def send(api: Api, method: str, path: str, body: Any = None, **headers: str) -> Answer:
    """Sends a worker's request."""
    return await api.call(method, path, body, token=WORKER, headers=headers)


# --- each generation from beginning to end ---


@pytest.mark.parametrize("generation", GENERATIONS)
@pytest.mark.parametrize("root", ["/_worker", "//_worker"])
async def test_worker_of_each_generation_does_a_task(api: Api, generation: str, root: str) -> None:
    """Register, heartbeat, poll, result: the job finishes with the worker's data."""
    headers = headers_of(generation, "w1")
    body = golden(f"{generation}_register", worker_id="w1", **skills_of(generation))
    beat = golden(f"{generation}_heartbeat", status="idle", current_tasks=[], **skills_of(generation))
    for message in (body, beat):
        message.pop("security", None)  # it was signed as it was pinned
    if "worker_id" in beat:
        beat["worker_id"] = "w1"

    registered = await send(api, "POST", f"{root}/workers/register", body, **headers)
    heard = await send(api, "PATCH", f"{root}/workers/w1", beat, **headers)
    job_id = await order(api, w=64)
    task = (await send(api, "GET", f"{root}/workers/w1/tasks/next", **headers)).body
    accepted = await send(api, "POST", f"{root}/tasks/result", result_of(generation, task, "w1"), **headers)

    assert registered.body == {"status": "registered", "batch": 64, "tasks_with_results": True, "quiet": 40.0}
    assert heard.body == {"status": "ok"}
    assert accepted.body == {"status": "accepted"}
    job = await api.until(job_id, "finished")
    assert (job["current_state"], job["result"]) == ("sent", {"n": 1})
    (worker,) = (await api.get("/api/v1/workers")).body
    assert worker["worker_id"] == "w1"
    assert "work" in worker["skills"]


@pytest.mark.parametrize("generation", ["g0", "g1", "g1s"])
async def test_old_worker_is_adopted_from_its_heartbeat(api: Api, generation: str) -> None:
    """Workers that never register twice go on after a restart of the engine."""
    beat = golden(f"{generation}_heartbeat", status="idle", **skills_of(generation))

    answer = await send(api, "PATCH", "/_worker/workers/old", {**beat, "worker_id": "old"})
    await order(api)

    assert answer.body == {"status": "ok"}
    assert (await send(api, "GET", "/_worker/workers/old/tasks/next")).status == 200


@pytest.mark.parametrize("generation", ["g2", "g3", "g4"])
async def test_newer_worker_is_asked_for_its_skills(api: Api, generation: str) -> None:
    """A heartbeat without skills of an unknown worker is answered 200 with the wish for all of it."""
    beat = golden(f"{generation}_heartbeat", worker_id="new")

    first = await send(api, "PATCH", "/_worker/workers/new", beat)
    second = await send(api, "PATCH", "/_worker/workers/new", {**beat, **skills_of(generation)})

    assert (first.status, first.body) == (200, {"status": "ok", "require_full_sync": True})
    assert second.body == {"status": "ok"}


# --- tasks on their way ---


async def test_task_has_every_member_in_the_type_that_workers_need(api: Api) -> None:
    """One wrong member would stop some worker for ever."""
    job_id = await order(api, w=64, nested={"list": [1, None]})
    await api.register()

    answer = await api.poll()

    task = answer.body
    assert answer.headers["Content-Type"].startswith("application/json")
    assert task["job_id"] == job_id
    assert task["type"] == "work"
    assert task["params"] == {"w": 64, "nested": {"list": [1, None]}}
    assert task["tracing_context"] == {}
    assert task["task_id"].replace("-", "").replace("_", "").isalnum()
    assert len(task["task_id"]) <= 128
    assert isinstance(task["priority"], int | float)
    assert "deadline" not in task or isinstance(task["deadline"], int)
    assert parse_task(task).task_id == task["task_id"]


async def test_poll_is_held_until_a_task_comes(api: Api) -> None:
    """An open poll is answered at once when there is something to do."""
    await api.register()
    poll = asyncio.create_task(api.poll())
    await api.until_parked()

    job_id = await order(api)

    assert (await poll).body["job_id"] == job_id


async def test_poll_without_a_task_is_answered_204_when_its_time_is_over(api: Api) -> None:
    """Held for the engine's thirty seconds, then nothing: 204 without a body, never null."""
    await api.register()
    poll = asyncio.create_task(api.poll())
    await api.until_parked()
    await api.clock.advance(29)
    await api.until_parked()
    await api.clock.advance(1)

    answer = await poll

    assert (answer.status, answer.body) == (204, "")


async def test_poll_is_held_no_longer_than_the_worker_waits(api: Api) -> None:
    """Newer workers say how long; a longer wish than the engine's is not granted."""
    await api.register()
    short = asyncio.create_task(api.poll(query="?timeout=10&available_skills=work&hot_skills="))
    long = asyncio.create_task(api.poll(query="?timeout=300.0&available_skills=work"))
    await api.until_parked(2)
    await api.clock.advance(10)
    await api.until_parked(1)
    await api.clock.advance(20)

    assert [(await short).status, (await long).status] == [204, 204]


async def test_poll_of_an_unknown_worker_is_held_once(api: Api) -> None:
    """Finding out who asks and waiting for a task share one time: the worker hangs up when it is over."""
    poll = asyncio.create_task(api.poll("w9"))
    await until(lambda: bool(api.engine.app[WORKERS_KEY]._unknown))
    await api.clock.advance(25)
    await api.register("w9")
    await api.until_parked()
    await api.clock.advance(5)

    assert (await asyncio.wait_for(poll, 30)).status == 204


async def test_quiet_worker_hears_in_the_answer_to_its_poll_that_it_was_forgotten(api: Api) -> None:
    """It sends no heartbeat whose answer could say so; one that is known, or not quiet, gets the usual answer."""
    await api.register("w1", skills_hash="5f0c")
    query = "?available_skills=work&quiet="
    asked = (("w1", f"{query}5f0c"), ("w8", query), ("w9", f"{query}5f0c"))
    polls = [asyncio.create_task(api.poll(*one)) for one in asked]
    await api.until_parked(2)
    await until(lambda: bool(api.engine.app[WORKERS_KEY]._unknown))
    await api.clock.advance(30)

    known, loud, unknown = [await poll for poll in polls]

    assert (known.status, loud.status) == (204, 204)
    assert (unknown.status, unknown.body) == (200, {"tasks": [], "require_full_sync": True})


@pytest.mark.parametrize("query", ["?timeout=soon", "?timeout=-5", "?timeout=nan", "?nonsense=1"])
async def test_odd_query_of_a_poll_is_forgiven(api: Api, query: str) -> None:
    """What cannot be read counts as not said; an error would make old workers ask a hundred times a second."""
    await order(api)
    await api.register()

    assert (await api.poll(query=query)).status == 200


async def test_worker_that_hung_up_gets_no_task(api: Api) -> None:
    """The task goes to the next poll, at once and as never handed out."""
    await api.register("w1")
    await api.register("w2")
    gone = asyncio.create_task(api.poll("w1"))
    await api.until_parked()
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    # The server has noticed when its side of the connection is closed.
    await until(lambda: all(poll.is_gone() for poll in api.engine.app[DISPATCHER_KEY]._parked["work"]))
    job_id = await order(api)

    task = (await api.poll("w2")).body

    assert task["job_id"] == job_id
    rows = (await api.get(f"/api/v1/jobs/{job_id}/history")).body
    assert [row["worker_id"] for row in rows if row["event_type"] == "task_started"] == ["w2"]


async def test_poll_in_trouble_is_held_and_answered_204(
    api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A storage that is away must not make old workers ask a hundred times a second."""
    await api.register()

    async def fail() -> None:
        raise StorageError("down")

    monkeypatch.setattr(api.engine.app[STORAGE_KEY], "list_queues", fail)
    poll = asyncio.create_task(api.poll())
    await until(lambda: "a poll failed" in caplog.text)
    assert not poll.done()
    await api.clock.advance(5)

    assert (await poll).status == 204


# --- results ---


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


# --- who is calling ---


async def test_message_that_contradicts_itself_about_its_sender_is_refused(api: Api) -> None:
    """Path, header and body must name the same worker; a poll is held before it hears so."""
    poll = asyncio.create_task(send(api, "GET", "/_worker/workers/w1/tasks/next", **{"X-Worker-ID": "w2"}))
    await until(lambda: api.engine.app[WORKERS_KEY].held == 1)
    await api.clock.advance(5)
    contradictions = [
        await send(api, "PATCH", "/_worker/workers/w1", {"worker_id": "w2"}),
        await send(api, "PATCH", "/_worker/workers/w1", {"worker_id": "w1"}, **{"X-Worker-ID": "w2"}),
        await poll,
        await send(api, "POST", "/_worker/workers/register", {"worker_id": "w1"}, **{"X-Worker-ID": "w2"}),
        await send(api, "POST", "/_worker/tasks/result", {"task_id": "t", "worker_id": "w1"}, **{"X-Worker-ID": "w2"}),
        await send(api, "POST", "/_worker/events", {"event_type": "x", "worker_id": "w1"}, **{"X-Worker-ID": "w2"}),
    ]

    assert {(answer.status, answer.body["code"]) for answer in contradictions} == {(403, "worker_mismatch")}
    assert not any("not found" in answer.body["error"].lower() for answer in contradictions)
    assert (await api.get("/api/v1/workers")).body == []


@pytest.mark.parametrize("worker_id", ["a b", "w/1", "w" * 129, "wörker", "../w", "w\n"])
async def test_identity_that_is_none_is_refused(api: Api, worker_id: str) -> None:
    """Ids become names of directories at workers and of keys in storages."""
    answer = await send(api, "POST", "/_worker/workers/register", {"worker_id": worker_id, "supported_skills": []})

    assert (answer.status, answer.body["code"]) == (400, "invalid_message")


async def test_result_that_names_nobody_is_refused(api: Api) -> None:
    """Whose task it was cannot be known then."""
    await order(api)
    task = await api.take()

    body = {"job_id": task["job_id"], "task_id": task["task_id"]}
    answer = await send(api, "POST", "/_worker/tasks/result", body)

    assert (answer.status, answer.body["code"]) == (400, "invalid_message")


async def test_result_is_identified_by_its_header(api: Api) -> None:
    """The newest workers name themselves in a header."""
    job_id = await order(api)
    task = await api.take()

    body = {"job_id": job_id, "task_id": task["task_id"]}
    answer = await send(api, "POST", "/_worker/tasks/result", body, **{"X-Worker-ID": "w1"})

    assert answer.body == {"status": "accepted"}


# --- heartbeats ---


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


# --- events ---


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


# --- many at a time, for the SDK of this engine ---


async def poll_many(api: Api, limit: object, seconds: float = 1) -> Answer:
    """Asks for tasks as a worker that knows of batches."""
    path = f"/_worker/workers/w1/tasks/next?timeout={seconds}&available_skills=work&batch={limit}"
    return await send(api, "GET", path)


async def test_poll_for_many_brings_them_in_one_answer(api: Api) -> None:
    """Up to the number that was asked for; each is what it would be alone."""
    await send(api, "POST", "/_worker/workers/register", golden("g4_register", worker_id="w1", **skills_of("g4")))
    jobs = [await order(api, n=number) for number in range(3)]

    two, one = await poll_many(api, 2), await poll_many(api, 64)

    assert [(task["job_id"], task["params"]) for task in two.body["tasks"]] == [
        (jobs[0], {"n": 0}),
        (jobs[1], {"n": 1}),
    ]
    assert [parse_task(task).job_id for task in one.body["tasks"]] == jobs[2:]


@pytest.mark.parametrize("limit", ["0", "-1", "x", "1.5", ""])
async def test_poll_with_an_odd_number_is_a_poll_for_one(api: Api, limit: str) -> None:
    """What cannot be read counts as not said, as everywhere in a poll."""
    job_id = await order(api)

    assert (await poll_many(api, limit)).body["job_id"] == job_id


async def test_many_results_are_answered_one_by_one(api: Api) -> None:
    """What is wrong with one of them is no matter of the others; sent again, they are accepted again."""
    jobs = [await order(api, n=number) for number in range(2)]
    tasks = (await poll_many(api, 5)).body["tasks"]
    results = [
        result_of("g4", tasks[0], "w1"),
        {"job_id": "j", "status": "success"},
        result_of("g4", {"job_id": "j", "task_id": "t-1"}, "w1"),
        result_of("g4", tasks[1], "w2"),
        result_of("g4", tasks[1], "w1"),
    ]
    body = {"worker_id": "w1", "results": results}

    first = await send(api, "POST", "/_worker/tasks/results", body)
    second = await send(api, "POST", "/_worker/tasks/results", body)

    statuses = ["accepted", "refused", "ignored", "ignored", "accepted"]
    assert [answer["status"] for answer in first.body["answers"]] == statuses
    assert [answer["status"] for answer in second.body["answers"]] == statuses
    assert first.body["answers"][3]["reason"] == "worker_mismatch"
    for job_id in jobs:
        assert (await api.until(job_id, "finished"))["status"] == "finished"


async def test_result_of_many_that_cannot_be_written_is_asked_for_again(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others count meanwhile."""
    jobs = [await order(api, n=number) for number in range(2)]
    tasks = (await poll_many(api, 5)).body["tasks"]
    workers = api.engine.app[WORKERS_KEY]
    real = workers.result

    async def fail_once(result: Any, worker_id: str) -> Any:
        if result.task_id == tasks[0]["task_id"]:
            raise StorageError("gone for a moment")
        return await real(result, worker_id)

    monkeypatch.setattr(workers, "result", fail_once)
    body = {"worker_id": "w1", "results": [result_of("g4", task, "w1") for task in tasks]}
    first = await send(api, "POST", "/_worker/tasks/results", body)
    monkeypatch.setattr(workers, "result", real)
    second = await send(api, "POST", "/_worker/tasks/results", body)

    assert [answer["status"] for answer in first.body["answers"]] == ["again", "accepted"]
    assert [answer["status"] for answer in second.body["answers"]] == ["accepted", "accepted"]
    await api.until(jobs[0], "finished")


@pytest.mark.parametrize("results", [None, {}, [{}] * 65], ids=["none", "object", "too many"])
async def test_many_results_that_are_no_list_are_refused(api: Api, results: Any) -> None:
    """An error of the sender, which only our own SDK can be."""
    answer = await send(api, "POST", "/_worker/tasks/results", {"worker_id": "w1", "results": results})

    assert (answer.status, "must be a list" in answer.body["error"]) == (400, True)


async def test_many_tasks_go_back_when_the_worker_hangs_up(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """None of them waits for the end of its lease."""
    for number in range(2):
        await order(api, n=number)

    real = web.Response.write_eof

    async def hang_up(response: web.Response, data: bytes = b"") -> None:
        if b"tasks" not in (response.body or b""):
            await real(response, data)
            return
        response._req.transport.abort()
        raise ConnectionResetError

    with monkeypatch.context() as patch:
        patch.setattr(web.Response, "write_eof", hang_up)
        with pytest.raises(ClientError):
            await poll_many(api, 5)

    assert len((await poll_many(api, 5)).body["tasks"]) == 2
