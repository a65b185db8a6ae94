"""What answers say to browsers: nobody frames, sniffs or keeps them, and only named origins read them."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import CLIENT, WORKER, Api

PAGE = "https://app.example.org"
PREFLIGHT = {
    "Origin": PAGE,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "x-client-token",
}


@pytest.mark.parametrize("path", ["/_public/status", "/api/v1/jobs", "/api/v1/nothing", "/nothing"])
async def test_answers_are_neither_framed_nor_sniffed_nor_kept(api: Api, path: str) -> None:
    """Good answers and errors alike; the maker's version is nobody's business."""
    headers = (await api.get(path)).headers

    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Cache-Control"] == "no-store"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert headers["Server"] == "avtomatika"


async def test_drawing_may_have_its_styles_and_no_script(api: Api) -> None:
    """A graph that is opened by itself is shown as drawn."""
    headers = (await api.get("/api/v1/blueprints/quick/graph?format=svg")).headers

    assert "style-src 'unsafe-inline'" in headers["Content-Security-Policy"]
    assert "sandbox" in headers["Content-Security-Policy"]
    assert "script-src" not in headers["Content-Security-Policy"]


async def test_without_the_setting_no_other_origin_reads_anything(api: Api) -> None:
    """A browser is told nothing, so it allows nothing."""
    for answer in (
        await api.get("/api/v1/jobs", headers={"Origin": PAGE}),
        await api.call("OPTIONS", "/api/v1/quick", headers=PREFLIGHT, token=None),
    ):
        assert not [name for name in answer.headers if name.startswith("Access-Control")]


async def test_named_origin_may_use_the_api(start_api: Any) -> None:
    """Its preflight needs no token, its calls do."""
    api = await start_api(CORS_ORIGINS=f"http://localhost:3000, {PAGE}")

    preflight = await api.call("OPTIONS", "/api/v1/quick", headers=PREFLIGHT, token=None)
    call = await api.post("/api/v1/quick", {}, headers={"Origin": PAGE})
    refused = await api.post("/api/v1/quick", {}, headers={"Origin": PAGE}, token="wrong")

    assert (preflight.status, call.status, refused.status) == (204, 202, 401)
    assert preflight.headers["Access-Control-Allow-Methods"].split(", ").count("POST") == 1
    assert "X-Client-Token" in preflight.headers["Access-Control-Allow-Headers"]
    for answer in (preflight, call, refused):
        assert answer.headers["Access-Control-Allow-Origin"] == PAGE
        assert "Origin" in answer.headers["Vary"]
        assert "Access-Control-Allow-Credentials" not in answer.headers


async def test_named_origin_may_not_use_the_worker_protocol(start_api: Any) -> None:
    """Workers are no pages: a preflight there is answered like any call without a token."""
    api = await start_api(CORS_ORIGINS=PAGE)

    preflight = await api.call("OPTIONS", "/_worker/workers/register", headers=PREFLIGHT, token=None)

    assert preflight.status == 403
    assert not [name for name in preflight.headers if name.startswith("Access-Control")]


async def test_stream_of_events_may_be_read_by_a_named_origin(start_api: Any) -> None:
    """What is sent piece by piece carries the same headers."""
    api = await start_api(CORS_ORIGINS=PAGE)
    headers = {"Origin": PAGE, "X-Client-Token": CLIENT}

    async with api.http.get(f"{api.origin}/api/v1/events", headers=headers) as response:
        assert response.headers["Access-Control-Allow-Origin"] == PAGE
        assert response.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    "origin", ["https://evil.example", f"{PAGE}.evil.example", "null", "http://app.example.org", ""]
)
async def test_other_origins_are_told_nothing(start_api: Any, origin: str) -> None:
    """An origin is compared whole."""
    api = await start_api(CORS_ORIGINS=PAGE)

    call = await api.get("/api/v1/jobs", headers={"Origin": origin})
    preflight = await api.call("OPTIONS", "/api/v1/quick", headers={**PREFLIGHT, "Origin": origin}, token=None)

    assert call.status == 200
    assert preflight.status == 401
    for answer in (call, preflight):
        assert "Access-Control-Allow-Origin" not in answer.headers
        assert "Origin" in answer.headers["Vary"]


async def test_worker_protocol_is_for_no_page(start_api: Any) -> None:
    """A named origin may use what clients use, and no more."""
    api = await start_api(CORS_ORIGINS=PAGE)

    answer = await api.post("/_worker/workers/register", {"worker_id": "w1"}, token=WORKER, headers={"Origin": PAGE})

    assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/_public/status", "GET, HEAD, OPTIONS"),
        ("/api/v1/jobs/some/cancel", "OPTIONS, POST"),
        ("/api/v1/jobs/some", "GET, HEAD, OPTIONS"),
        ("/api/v1/quick", "OPTIONS, POST"),
    ],
)
async def test_options_tell_what_is_possible(api: Api, path: str, allowed: str) -> None:
    """OPTIONS is an answer, not an error."""
    answer = await api.call("OPTIONS", path)

    assert (answer.status, answer.headers["Allow"]) == (204, allowed)


async def test_head_takes_no_task(api: Api) -> None:
    """What changes something is not done for a HEAD."""
    await api.until(await api.submit("/api/v2/shop/orders"), "waiting_for_worker")
    await api.register()

    headers = {"X-Worker-Token": WORKER}
    async with api.http.head(f"{api.origin}/_worker/workers/w1/tasks/next", headers=headers) as response:
        assert response.status == 405

    assert (await api.poll()).status == 200
