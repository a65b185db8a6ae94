"""Both clients against a scripted server: what they send, return and raise."""

from __future__ import annotations

import asyncio
import datetime
import inspect
import threading
from typing import Any

import pytest
from aiohttp import web

from avtomatika.client import TERMINAL_STATUSES, AsyncClient, Client
from avtomatika.core.states import TERMINAL
from avtomatika.errors import (
    AuthError,
    BlueprintError,
    ClientError,
    ConfigError,
    ConnectionFailedError,
    DocumentError,
    JobNotFoundError,
)

# What stands beside the tests cannot be imported from conftest.py, so types of its fixtures are written as Any.
ACCEPTED = {"status": "accepted", "job_id": "j-1"}


def job(status: str = "running", state: str = "start", **more: Any) -> dict[str, Any]:
    """Returns a job as the API shows it."""
    return {"id": "j-1", "status": status, "current_state": state, "progress": 0, **more}


async def test_submit_to_endpoint_sends_data_options_and_token(api: Any, call: Any) -> None:
    """A job is created under version and endpoint, with the token in its header."""
    api.answers("POST /api/v1/orders/new", ACCEPTED, 202)

    job_id = await call(
        "submit", "/orders/new", {"n": 1}, idempotency_key="k-1", webhook_url="https://e.org/h", result_timeout=60
    )

    (seen,) = api.seen
    assert job_id == "j-1"
    assert seen.body == {"initial_data": {"n": 1}, "webhook_url": "https://e.org/h", "result_timeout": 60}
    assert seen.headers["X-Client-Token"] == "a-client-secret"
    assert seen.headers["Idempotency-Key"] == "k-1"
    assert seen.headers["Content-Type"] == "application/json"


async def test_submit_without_data_sends_an_empty_object(api: Any, call: Any) -> None:
    """A job that needs no data is created with none, and no option is sent that was not given."""
    api.answers("POST /api/v2/orders", ACCEPTED, 202)

    await call("submit", "/orders", version="v2")

    assert api.seen[0].body == {"initial_data": {}}
    assert "Idempotency-Key" not in api.seen[0].headers


async def test_submit_to_blueprint_uses_its_endpoint_and_version(api: Any, call: Any) -> None:
    """Who knows only the blueprint's name can create its jobs, too."""
    api.answers("GET /api/v1/blueprints", [{"name": "orders", "url": "/api/v3/jobs/orders"}])
    api.answers("POST /api/v3/jobs/orders", ACCEPTED, 202)

    assert await call("submit", "orders", {"n": 1}) == "j-1"


async def test_submit_to_unknown_blueprint_guesses_the_name(api: Any, call: Any) -> None:
    """A misspelt name is told before anything is created."""
    api.answers("GET /api/v1/blueprints", [{"name": "orders"}, {"name": "refunds"}])

    with pytest.raises(BlueprintError, match=r"no blueprint 'ordrs'; known: orders, refunds\. Did you mean 'orders'"):
        await call("submit", "ordrs")


async def test_submit_to_blueprint_without_endpoint_says_so(api: Any, call: Any) -> None:
    """A blueprint that only runs as a child cannot be created over HTTP."""
    api.answers("GET /api/v1/blueprints", [{"name": "child", "url": None}])

    with pytest.raises(BlueprintError, match="'child' has no api_endpoint"):
        await call("submit", "child")


async def test_submit_of_moments_sends_iso_text(api: Any, call: Any) -> None:
    """Dates may be submitted; the job gets them as text."""
    api.answers("POST /api/v1/orders", ACCEPTED, 202)

    await call("submit", "/orders", {"day": datetime.date(2025, 1, 2)})

    assert api.seen[0].body == {"initial_data": {"day": "2025-01-02"}}


@pytest.mark.parametrize("data", [{"x": {1, 2}}, {"x": float("nan")}, [1, 2], "text"])
async def test_submit_of_what_is_no_json_is_refused_here(api: Any, call: Any, data: Any) -> None:
    """Data that cannot travel is refused before a request is made."""
    with pytest.raises(DocumentError, match="initial_data cannot be stored"):
        await call("submit", "/orders", data)

    assert api.seen == []


async def test_job_with_wait_asks_for_the_next_change(api: Any, call: Any) -> None:
    """The wait is the server's to do."""
    api.answers("GET /api/v1/jobs/j-1", job())

    assert await call("job", "j-1", wait=7.5, version=3) == job()
    assert await call("job", "j-1") == job()
    assert [seen.query for seen in api.seen] == [{"wait": "7.5", "version": "3"}, {}]


async def test_job_id_with_special_characters_stays_one_part_of_the_path(api: Any, call: Any) -> None:
    """An id cannot lead to another address."""
    api.answers("GET /api/v1/jobs/../x?y", job())

    await call("job", "../x?y")

    assert api.seen[0].path == "/api/v1/jobs/..%2Fx%3Fy"


async def test_wait_asks_again_until_the_job_has_ended(api: Any, call: Any) -> None:
    """Changes in between do not end the waiting."""
    for status in ("pending", "running", "awaiting_retry", "finished"):
        api.answers("GET /api/v1/jobs/j-1", job(status))

    assert (await call("wait", "j-1"))["status"] == "finished"
    assert len(api.seen) == 4


@pytest.mark.parametrize("status", sorted(TERMINAL_STATUSES))
async def test_wait_returns_for_every_terminal_status(api: Any, call: Any, status: str) -> None:
    """A job that failed has ended as much as one that finished."""
    api.answers("GET /api/v1/jobs/j-1", job(status))

    assert (await call("wait", "j-1", timeout=0))["status"] == status


async def test_wait_beyond_its_timeout_says_where_the_job_is(api: Any, call: Any) -> None:
    """The end of the waiting is not the end of the job, and the message says both."""
    api.answers("GET /api/v1/jobs/j-1", job("waiting_for_worker", "fetch"))

    with pytest.raises(TimeoutError, match=r"job 'j-1' is still waiting_for_worker in state 'fetch' after 0 s.*cancel"):
        await call("wait", "j-1", timeout=0)


async def test_events_yield_each_change_once(api: Any, call: Any) -> None:
    """A repeated answer, and a link that is made anew each time, are no change."""
    answers = [
        job("running", "a", version=4),
        job("running", "a", approval={"url": "another"}),
        job("running", "a", progress=0.5),
        job("running", "b", progress=0.5),
        job("finished", "b", progress=1),
    ]
    for answer in answers:
        api.answers("GET /api/v1/jobs/j-1", answer)

    assert await call.events("j-1") == [answers[0], *answers[2:]]
    assert api.seen[0].query == {}
    assert api.seen[1].query["version"] == "4"


async def test_cancel_returns_the_engines_word(api: Any, call: Any) -> None:
    """The caller learns whether a worker was told."""
    api.answers("POST /api/v1/jobs/j-1/cancel", {"status": "cancellation_request_sent"})

    assert await call("cancel", "j-1") == "cancellation_request_sent"


async def test_jobs_sends_only_the_given_filters(api: Any, call: Any) -> None:
    """A moment travels as Unix seconds."""
    api.answers("GET /api/v1/jobs", [job()])
    since = datetime.datetime(2025, 1, 1, tzinfo=datetime.UTC)

    assert await call("jobs", status="failed", since=since, limit=5) == [job()]
    await call("jobs")

    assert [seen.query for seen in api.seen] == [{"since": "1735689600.0", "status": "failed", "limit": "5"}, {}]


async def test_jobs_since_a_moment_without_zone_is_refused(call: Any) -> None:
    """A moment that could mean two is not guessed."""
    with pytest.raises(ValueError, match="without a time zone"):
        await call("jobs", since=datetime.datetime(2025, 1, 1))  # noqa: DTZ001 - the mistake under test


@pytest.mark.parametrize(
    ("method", "args", "path", "answer"),
    [
        ("history", ["j-1"], "/api/v1/jobs/j-1/history", [{"event_type": "job_created"}]),
        ("blueprints", [], "/api/v1/blueprints", [{"name": "orders"}]),
        ("workers", [], "/api/v1/workers", [{"worker_id": "w"}]),
        ("dashboard", [], "/api/v1/dashboard", {"workers": {"total": 1}}),
        ("tasks", ["j1"], "/api/v1/jobs/j1/tasks", [{"task_id": "t1"}]),
        ("status", [], "/_public/status", {"status": "ok"}),
        ("graph", ["orders", "json"], "/api/v1/blueprints/orders/graph", {"states": []}),
    ],
)
async def test_reading_call_returns_the_servers_json(
    api: Any, call: Any, method: str, args: list[str], path: str, answer: Any
) -> None:
    """Each reading call has its path and hands on what came."""
    api.answers(f"GET {path}", answer)

    assert await call(method, *args) == answer


async def test_graph_as_text_is_returned_as_text(api: Any, call: Any) -> None:
    """DOT comes as a string, letters of all alphabets included."""

    async def dot(request: web.Request) -> web.StreamResponse:
        return web.Response(body="digraph { ключ }".encode(), content_type="text/vnd.graphviz", charset="utf-8")

    api.responds("GET /api/v1/blueprints/my flow/graph", dot)

    assert await call("graph", "my flow") == "digraph { ключ }"
    assert api.seen[0].query == {"format": "dot"}


async def test_status_of_degraded_engine_is_an_answer(api: Any, call: Any) -> None:
    """Who asks how the engine is wants to hear that it is not well."""
    api.answers("GET /_public/status", {"status": "degraded"}, 503)

    assert await call("status") == {"status": "degraded"}


@pytest.mark.parametrize("status", [401, 403])
async def test_refused_token_raises_auth_error_with_servers_sentence(api: Any, call: Any, status: int) -> None:
    """A wrong token is told apart from everything else, and stays out of the message."""
    api.answers("GET /api/v1/jobs", {"error": "the token is not valid here", "code": "unauthorized"}, status)

    with pytest.raises(AuthError, match="the token is not valid here") as caught:
        await call("jobs")

    assert "a-client-secret" not in str(caught.value)


@pytest.mark.parametrize("method", ["job", "wait", "cancel", "history"])
async def test_unknown_job_raises_job_not_found(api: Any, call: Any, method: str) -> None:
    """Every call about a job says alike that there is none."""
    missing = {"error": "no such job", "code": "job_not_found"}
    for path in ("GET /api/v1/jobs/j-1", "POST /api/v1/jobs/j-1/cancel", "GET /api/v1/jobs/j-1/history"):
        api.answers(path, missing, 404)

    with pytest.raises(JobNotFoundError) as caught:
        await call(method, "j-1")

    assert caught.value.job_id == "j-1"


async def test_refusal_raises_client_error_with_sentence_and_code(api: Any, call: Any) -> None:
    """What the engine says reaches the caller, for people and for programs."""
    api.answers("POST /api/v1/jobs/j-1/cancel", {"error": "it has ended", "code": "job_state_conflict"}, 409)

    with pytest.raises(ClientError, match="it has ended") as caught:
        await call("cancel", "j-1")

    assert (caught.value.status, caught.value.code, caught.value.message) == (409, "job_state_conflict", "it has ended")


async def test_refusal_without_explanation_asks_what_answered(api: Any, call: Any) -> None:
    """A proxy's error page does not end up in the message."""

    async def page(request: web.Request) -> web.StreamResponse:
        return web.Response(status=502, text="<html>Bad Gateway</html>", content_type="text/html")

    api.responds("GET /api/v1/jobs", page)

    with pytest.raises(ClientError, match="is this an avtomatika engine") as caught:
        await call("jobs")

    assert (caught.value.status, caught.value.code) == (502, "http_502")


async def test_redirect_is_not_followed(api: Any, call: Any) -> None:
    """The token goes to the given address only; the message says where the server wants it."""
    api.answers("GET /api/v1/jobs", {}, 307, Location="https://elsewhere.example/api")

    with pytest.raises(ClientError, match=r"on to https://elsewhere\.example/api"):
        await call("jobs")

    assert len(api.seen) == 1


async def test_answer_of_another_kind_is_refused(api: Any, call: Any) -> None:
    """What is no engine is recognised even when it says 200."""
    api.answers("GET /api/v1/jobs", {"hello": "world"})
    api.answers("GET /api/v1/jobs/j-1", [])
    api.answers("POST /api/v1/orders", {"hello": "world"})

    for args in (["jobs"], ["job", "j-1"], ["submit", "/orders"]):
        with pytest.raises(ClientError, match="is this an avtomatika engine"):
            await call(*args)


async def test_broken_json_is_refused(api: Any, call: Any) -> None:
    """Half an answer is no answer."""

    async def half(request: web.Request) -> web.StreamResponse:
        return web.Response(text='{"status": ', content_type="application/json")

    api.responds("GET /_public/status", half)

    with pytest.raises(ClientError, match="broken JSON"):
        await call("status")


@pytest.mark.parametrize("kind", [AsyncClient, Client])
async def test_no_server_raises_connection_failed(unused_tcp_port: int, kind: Any) -> None:
    """The message names the address and asks whether the engine runs."""
    client = kind(f"http://127.0.0.1:{unused_tcp_port}", "secret")

    with pytest.raises(ConnectionFailedError, match=f"127.0.0.1:{unused_tcp_port}.*Is the engine running there"):
        await client.status() if kind is AsyncClient else client.status()

    if kind is AsyncClient:
        await client.close()


@pytest.mark.parametrize("kind", [AsyncClient, Client])
async def test_silent_server_raises_connection_failed(api: Any, kind: Any) -> None:
    """A server that accepts and says nothing does not hold the caller for ever."""
    asked = asyncio.Event()

    async def nothing(request: web.Request) -> web.StreamResponse:
        await asked.wait()
        return web.Response()

    api.responds("GET /_public/status", nothing)
    client = kind(api.url, "secret", timeout=0.05)

    with pytest.raises(ConnectionFailedError, match=r"silent for 0\.05 s"):
        await (client.status() if kind is AsyncClient else asyncio.to_thread(client.status))

    asked.set()
    if kind is AsyncClient:
        await client.close()


async def test_connection_cut_in_the_answer_raises_connection_failed(api: Any, call: Any) -> None:
    """An engine that dies while it answers is told like one that is not there."""

    async def half(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "10"})
        await response.prepare(request)
        await response.write(b"12345")
        assert request.transport is not None
        request.transport.close()
        return response

    api.responds("GET /_public/status", half)

    with pytest.raises(ConnectionFailedError):
        await call("status")


@pytest.mark.parametrize("kind", [AsyncClient, Client])
@pytest.mark.parametrize(
    "url", ["localhost:8080", "127.0.0.1", "ftp://host", "http://", "http://host:port", "http://[::1", "http://h/?a=1"]
)
def test_bad_address_is_refused_at_once(kind: Any, url: str) -> None:
    """A mistyped address is an error of the constructor."""
    with pytest.raises(ConfigError, match="must look like http"):
        kind(url, "secret")


@pytest.mark.parametrize("kind", [AsyncClient, Client])
@pytest.mark.parametrize("token", ["", "two words", "line\nbreak", None])
def test_unusable_token_is_refused_without_being_shown(kind: Any, token: Any) -> None:
    """A token that no header can carry is an error of the constructor, and is not repeated."""
    with pytest.raises(ConfigError) as caught:
        kind("http://127.0.0.1:1", token)

    assert not token or token not in str(caught.value)


@pytest.mark.parametrize("kind", [AsyncClient, Client])
def test_repr_shows_the_address_and_not_the_token(kind: Any) -> None:
    """A client can be printed."""
    assert repr(kind("http://127.0.0.1:8080/", "secret")) == f"{kind.__name__}('http://127.0.0.1:8080')"


async def test_prefix_and_path_of_the_address_are_kept(api: Any) -> None:
    """An engine behind a proxy, or with another prefix, is reached."""
    api.answers("GET /behind/work/v1/jobs", [])

    async with AsyncClient(f"{api.url}/behind/", "secret", prefix="work") as client:
        await client.jobs()
    await asyncio.to_thread(Client(f"{api.url}/behind/", "secret", prefix="work").jobs)

    assert [seen.path for seen in api.seen] == ["/behind/work/v1/jobs"] * 2


async def test_async_client_after_close_opens_again(api: Any) -> None:
    """Closing twice does no harm, and a closed client can be used again."""
    api.answers("GET /_public/status", {"status": "ok"})
    client = AsyncClient(api.url, "secret")
    await client.status()

    await client.close()
    await client.close()

    assert (await client.status())["status"] == "ok"
    await client.close()


async def test_plain_client_inside_a_running_loop_works() -> None:
    """A notebook cell, which runs inside a loop, can use the plain client: here the server has a thread of its own."""
    address: list[str] = []
    ready, over = threading.Event(), threading.Event()

    async def serve() -> None:
        async def status(request: web.Request) -> web.Response:
            return web.json_response({"status": "ok"})

        app = web.Application()
        app.router.add_get("/_public/status", status)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        address.append(f"http://127.0.0.1:{runner.addresses[0][1]}")
        ready.set()
        await asyncio.to_thread(over.wait, 10)
        await runner.cleanup()

    server = threading.Thread(target=asyncio.run, args=(serve(),))
    server.start()
    ready.wait(10)

    try:
        assert Client(address[0], "secret").status() == {"status": "ok"}
    finally:
        over.set()
        server.join()


def test_both_clients_have_the_same_calls() -> None:
    """What one can do the other can, with the same arguments."""

    def calls(kind: Any) -> dict[str, list[inspect.Parameter]]:
        return {
            name: list(inspect.signature(member).parameters.values())
            for name, member in vars(kind).items()
            if not name.startswith("_") and name != "close"
        }

    assert calls(AsyncClient) == calls(Client)
    assert inspect.signature(AsyncClient).parameters == inspect.signature(Client).parameters


def test_terminal_statuses_are_those_of_the_engine() -> None:
    """The client may not import the core, so a test keeps the two lists alike."""
    assert {str(status) for status in TERMINAL} == TERMINAL_STATUSES
