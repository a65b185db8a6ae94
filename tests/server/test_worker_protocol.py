"""The worker protocol over raw HTTP, with the bodies that each generation of published workers sends."""

from __future__ import annotations

import asyncio

import pytest

from avtomatika.server.keys import WORKERS_KEY

from .conftest import Api, until
from .worker_wire import GENERATIONS, golden, headers_of, order, result_of, send, skills_of

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
