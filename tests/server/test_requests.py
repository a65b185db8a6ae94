"""What every request passes through: tokens, sizes, paths, methods, and the form of errors."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from avtomatika.errors import StorageError
from avtomatika.server.keys import HISTORY_KEY, STORAGE_KEY, WORKERS_KEY

from .conftest import CLIENT, WORKER, Api, check, read, until

# A token of its own, see test_approvals.py.
GUARDED = [("GET", "/_public/webhooks/approval/some"), ("POST", "/_public/webhooks/approval/some")]
# Proofs of their own, see tests/security.
PROVEN = [("POST", "/_worker/auth/token"), ("POST", "/_worker/auth/token/refresh")]
PUBLIC = [
    ("GET", "/_public/status"),
    ("GET", "/_public/health/live"),
    ("GET", "/_public/health/ready"),
    ("GET", "/_public/metrics"),
    ("GET", "/_public/openapi.json"),
    ("GET", "/_public/docs"),
    ("GET", "/_public/docs/docs.js"),
    ("GET", "/_public/ui"),
    ("GET", "/"),
]
PARTS = {"/_public/ui/docs.js"}  # of the page above; see test_operations.py
CLIENTS = [
    ("GET", "/api/v1/jobs"),
    ("GET", "/api/v1/jobs/some"),
    ("POST", "/api/v1/jobs/cancel"),
    ("POST", "/api/v1/jobs/requeue"),
    ("POST", "/api/v1/jobs/some/cancel"),
    ("POST", "/api/v1/jobs/some/requeue"),
    ("POST", "/api/v1/jobs/some/rewind"),
    ("POST", "/api/v1/jobs/some/fork"),
    ("GET", "/api/v1/jobs/some/explain"),
    ("GET", "/api/v1/jobs/some/history"),
    ("GET", "/api/v1/jobs/some/graph"),
    ("GET", "/api/v1/events"),
    ("GET", "/api/v1/dead-letters"),
    ("POST", "/api/v1/dead-letters/replay"),
    ("GET", "/api/v1/jobs/some/tasks"),
    ("GET", "/api/v1/jobs/some/files"),
    ("GET", "/api/v1/jobs/some/files/quick"),
    ("PUT", "/api/v1/jobs/some/files/quick"),
    ("GET", "/api/v1/blueprints"),
    ("GET", "/api/v1/blueprints/quick/graph"),
    ("GET", "/api/v1/workers"),
    ("GET", "/api/v1/workers/catalog"),
    ("GET", "/api/v1/dashboard"),
    ("GET", "/api/v1/schedules"),
    ("POST", "/api/v1/admin/reload-workers"),
    ("POST", "/api/v1/quick"),
]
WORKERS = [
    ("POST", "/_worker/workers/register"),
    ("PATCH", "/_worker/workers/w1"),
    ("GET", "/_worker/workers/w1/tasks/next"),
    ("POST", "/_worker/tasks/result"),
    ("POST", "/_worker/tasks/results"),
    ("POST", "/_worker/events"),
    ("GET", "/_worker/ws"),
    ("GET", "/_worker/ws/w1"),
]


def test_every_route_is_in_the_lists_above(api: Api) -> None:
    """A new route gets its token check tested."""
    known = {path for _, path in [*PUBLIC, *GUARDED, *PROVEN, *CLIENTS, *WORKERS]}
    replaced = {"{job_id}": "some", "{name}": "quick", "{worker_id}": "w1", "{path}": "v1/quick", "{file}": "docs.js"}
    for resource in api.engine.app.router.resources():
        path = resource.canonical
        for name, value in replaced.items():
            path = path.replace(name, value)
        assert path.replace("//_worker", "/_worker") in known | PARTS


# --- tokens ---


@pytest.mark.parametrize(("method", "path"), CLIENTS)
@pytest.mark.parametrize("token", [None, "", "wrong", WORKER, CLIENT + "x", CLIENT.upper()])
async def test_client_call_without_the_right_token_is_refused(
    api: Api, method: str, path: str, token: str | None
) -> None:
    """401, whatever is asked for; a worker's token opens nothing here."""
    answer = await api.call(method, path, token=token)

    assert (answer.status, answer.body["code"]) == (401, "unauthorized")
    assert "X-Client-Token" in answer.body["error"]


@pytest.mark.parametrize(("method", "path"), WORKERS)
@pytest.mark.parametrize("slashes", ["", "/"])
@pytest.mark.parametrize("token", [None, "wrong", CLIENT])
async def test_worker_call_without_the_right_token_is_refused(
    api: Api, method: str, path: str, slashes: str, token: str | None
) -> None:
    """403 and not 401: workers would give up their token for good."""
    call = asyncio.create_task(api.call(method, slashes + path, token=token))
    if path.endswith("/next"):
        await until(lambda: api.engine.app[WORKERS_KEY].held == 1)
        await api.clock.advance(5)

    answer = await call

    assert (answer.status, answer.body["code"]) == (403, "forbidden")
    assert "not found" not in answer.body["error"]


async def test_refused_poll_is_held(api: Api) -> None:
    """A worker with a wrong token asks a hundred times a second if it is answered at once; so it waits five seconds."""
    call = asyncio.create_task(api.get("/_worker/workers/w1/tasks/next", token="wrong"))
    await until(lambda: api.engine.app[WORKERS_KEY].held == 1)
    await api.clock.advance(4.9)
    is_held = not call.done() and api.engine.app[WORKERS_KEY].held == 1
    await api.clock.advance(0.1)

    assert is_held
    assert (await call).status == 403


async def test_poll_that_is_held_off_does_not_hold_up_the_stop(api: Api) -> None:
    """An engine that stops lets it go at once."""
    calls = [
        asyncio.create_task(api.get(f"/_worker/workers/{name}/tasks/next", token=token))
        for name, token in (("w1", "wrong"), ("unknown", WORKER))
    ]
    workers = api.engine.app[WORKERS_KEY]
    await until(lambda: workers.held == 1 and len(workers._unknown) == 1)

    await api.engine.stop()

    assert [(await call).status for call in calls] == [403, 204]


async def test_token_that_is_no_text_is_refused(api: Api) -> None:
    """Bytes that are no UTF-8 are a wrong token, not a failure."""
    reader, writer = await asyncio.open_connection("127.0.0.1", api.engine.port)
    writer.write(b"GET /api/v1/jobs HTTP/1.1\r\nHost: x\r\nX-Client-Token: \xff\xfe\r\nConnection: close\r\n\r\n")

    raw = await reader.read()

    writer.close()
    assert raw.startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize(("method", "path"), PUBLIC)
async def test_public_paths_need_no_token(api: Api, method: str, path: str) -> None:
    """A load balancer asks without a secret."""
    assert (await api.call(method, path, token=None)).status == 200


@pytest.mark.parametrize(("method", "path"), GUARDED)
async def test_guarded_paths_need_a_token(api: Api, method: str, path: str) -> None:
    """A decision is nobody's without one."""
    async with api.http.request(method, f"{api.origin}{path}") as response:
        assert response.status == 401


@pytest.mark.parametrize(
    "path",
    [
        "/_public/../api/v1/jobs",
        "/_public/%2e%2e/api/v1/jobs",
        "/_public/..%2fapi/v1/jobs",
        "/_worker/../api/v1/jobs",
        "//api/v1/jobs",
        "/%61pi/v1/jobs",
        "/API/v1/jobs",
        "/_public//api/v1/jobs",
    ],
)
async def test_no_spelling_of_a_path_leads_past_the_token(api: Api, path: str) -> None:
    """Neither dots nor codes nor slashes make a protected path public."""
    reader, writer = await asyncio.open_connection("127.0.0.1", api.engine.port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())

    raw = await reader.read()

    writer.close()
    assert raw.split(b" ")[1] in {b"401", b"403", b"404"}


async def test_without_the_client_api_none_of_it_exists(start_api: Any) -> None:
    """In pure holon mode a client's path is unknown, with and without a token; workers and status work."""
    api = await start_api(ENABLE_CLIENT_API=False)

    for method, path in CLIENTS:
        for token in (CLIENT, None):
            answer = await api.call(method, path, token=token)
            assert (answer.status, answer.body["code"]) == (404, "not_found")
    await api.register()
    assert (await api.get("/_public/status")).status == 200


async def test_prefix_of_the_client_api_can_be_chosen(start_api: Any) -> None:
    """All of the client API moves with it."""
    api = await start_api(CLIENT_API_PREFIX="/internal/engine/")

    assert (await api.post("/internal/engine/v1/quick", {})).status == 202
    assert len((await api.get("/internal/engine/v1/jobs")).body) == 1
    assert (await api.get("/internal/engine/v1/blueprints")).body[0]["url"] == "/internal/engine/v1/quick"
    assert (await api.get("/api/v1/jobs")).status == 404


# --- paths and methods ---


@pytest.mark.parametrize("path", ["/nothing", "/_public/nothing", "/_worker/nothing", "/skills/call"])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_unknown_path_is_not_found(api: Api, path: str, method: str) -> None:
    """404, as JSON."""
    token = WORKER if path.startswith("/_worker") else CLIENT

    answer = await api.call(method, path, token=token)

    assert (answer.status, answer.body["code"]) == (404, "not_found")


async def test_misspelt_path_is_answered_with_a_guess(api: Api) -> None:
    """The nearest path is named."""
    answer = await api.get("/_public/statsu")

    assert "Did you mean '/_public/status'?" in answer.body["error"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/_public/status", "GET"),
        ("DELETE", "/api/v1/jobs/some", "GET"),
        ("PUT", "/api/v1/dashboard", "GET"),
        ("GET", "/api/v1/jobs/some/cancel", "POST"),
        ("GET", "/api/v1/quick", "POST"),
        ("PUT", "/_worker/workers/w1", "PATCH"),
        ("GET", "/_worker/events", "POST"),
    ],
)
async def test_wrong_method_is_answered_with_the_right_one(api: Api, method: str, path: str, allowed: str) -> None:
    """405 with the header ``Allow`` and a sentence."""
    token = WORKER if path.startswith("/_worker") else CLIENT

    answer = await api.call(method, path, token=token)

    assert (answer.status, answer.body["code"]) == (405, "method_not_allowed")
    assert allowed in answer.headers["Allow"].split(", ")
    assert f"{method} is not possible at {path}" in answer.body["error"]


async def test_unknown_path_below_the_api_is_not_found(api: Api) -> None:
    """A misspelt path is no wrong method, though endpoints of blueprints may be anywhere."""
    answer = await api.get("/api/v1/job/some")

    assert (answer.status, answer.body["code"]) == (404, "not_found")
    assert "Did you mean" in answer.body["error"]


# --- sizes ---


async def test_body_that_says_it_is_too_large_is_refused_unread(start_api: Any) -> None:
    """413 by the header alone, with the limit and what to do."""
    api = await start_api(API_MAX_BODY_BYTES=2000)

    answer = await api.post("/api/v1/quick", {"text": "x" * 3000})

    assert (answer.status, answer.body["code"], answer.body["limit"]) == (413, "body_too_large", 2000)
    assert "the limit is 2,000" in answer.body["error"]
    assert "API_MAX_BODY_BYTES" in answer.body["error"]


async def test_body_of_unknown_length_is_refused_when_it_is_too_large(start_api: Any) -> None:
    """A chunked body is measured while it is read."""
    api = await start_api(API_MAX_BODY_BYTES=2000)

    async def chunks() -> AsyncIterator[bytes]:
        yield b'{"text": "'
        for _ in range(100):
            yield b"x" * 100
        yield b'"}'

    answer = await api.post("/api/v1/quick", data=chunks())

    assert (answer.status, answer.body["code"]) == (413, "body_too_large")


async def test_body_that_unpacks_to_too_much_is_refused(start_api: Any) -> None:
    """A small compressed body cannot fill the memory."""
    api = await start_api(API_MAX_BODY_BYTES=2000)
    packed = gzip.compress(json.dumps({"text": "x" * 1_000_000}).encode())

    answer = await api.post("/api/v1/quick", data=packed, headers={"Content-Encoding": "gzip"})

    assert len(packed) < 2000
    assert (answer.status, answer.body["code"]) == (413, "body_too_large")


async def test_body_at_the_limit_is_taken(start_api: Any) -> None:
    """The limit itself is allowed, in a chunked body too."""
    api = await start_api(API_MAX_BODY_BYTES=2000)
    raw = json.dumps({"text": ""}).encode()
    raw = json.dumps({"text": "x" * (2000 - len(raw))}).encode()

    async def chunks() -> AsyncIterator[bytes]:
        yield raw[:1000]
        yield raw[1000:]

    assert len(raw) == 2000
    assert (await api.post("/api/v1/quick", data=raw)).status == 202
    assert (await api.post("/api/v1/quick", data=chunks())).status == 202


async def test_results_may_be_larger_than_requests(start_api: Any) -> None:
    """Workers lose a result that is refused, so theirs is another limit."""
    api = await start_api(API_MAX_BODY_BYTES=2000, RESULT_MAX_BODY_BYTES=10_000)
    job_id = await api.submit("/api/v2/shop/orders", {})
    await api.until(job_id, "waiting_for_worker")

    answer = await api.result(await api.take(), data={"text": "x" * 5000})

    assert answer.body == {"status": "accepted"}
    assert len((await api.until(job_id, "finished"))["result"]["text"]) == 5000


async def test_compressed_body_is_read(api: Api) -> None:
    """A client may send gzip."""
    packed = gzip.compress(json.dumps({"n": 4}).encode())

    answer = await api.post("/api/v1/quick", data=packed, headers={"Content-Encoding": "gzip"})

    assert answer.status == 202
    assert (await api.job(answer.body["job_id"]))["initial_data"] == {"n": 4}


# --- trouble inside ---


async def test_failing_handler_is_answered_with_a_reference_to_the_log(
    api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The client learns nothing of the inside, and the operator finds the line."""

    async def fail() -> Any:
        raise RuntimeError("the inside")

    monkeypatch.setattr(api.engine.app[STORAGE_KEY], "list_workers", fail)
    answer = await api.get("/api/v1/workers")

    assert (answer.status, answer.body["code"]) == (500, "internal_error")
    assert "the inside" not in json.dumps(answer.body)
    assert answer.body["reference"] in caplog.text


async def test_storage_in_trouble_is_answered_503(
    api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The client is told to come again, and when."""

    async def fail() -> Any:
        raise StorageError("the storage does not answer.")

    monkeypatch.setattr(api.engine.app[STORAGE_KEY], "list_workers", fail)
    answer = await api.get("/api/v1/workers")

    assert (answer.status, answer.body["code"]) == (503, "storage_unavailable")
    assert int(answer.headers["Retry-After"]) > 0


async def test_history_in_trouble_disturbs_nothing_but_the_history(
    api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Jobs are created and looked up as ever."""

    async def fail(events: Any) -> None:
        raise StorageError("the history does not answer.")

    monkeypatch.setattr(api.engine.app[HISTORY_KEY], "write", fail)
    with caplog.at_level(logging.CRITICAL, "avtomatika"):
        job_id = await api.submit()
        assert (await api.until(job_id, "finished"))["result"] == {"double": 42}

        assert (await api.get(f"/api/v1/jobs/{job_id}/history")).status == 503
    monkeypatch.undo()
    assert (await api.get(f"/api/v1/jobs/{job_id}/history")).status == 200


async def test_half_a_request_harms_nobody(api: Api) -> None:
    """A client that hangs up in the middle of its body leaves no trace."""
    _, writer = await asyncio.open_connection("127.0.0.1", api.engine.port)
    head = f"POST /api/v1/quick HTTP/1.1\r\nHost: x\r\nX-Client-Token: {CLIENT}\r\nContent-Length: 100\r\n\r\n{{"
    writer.write(head.encode())
    await writer.drain()
    writer.close()
    await writer.wait_closed()

    assert (await api.get("/api/v1/jobs")).body == []


async def test_answer_of_head_has_no_body(api: Api) -> None:
    """HEAD works where GET does."""
    async with api.http.head(f"{api.origin}/_public/status") as response:
        answer = await read(response)

    check(answer)
    assert answer.status == 200
