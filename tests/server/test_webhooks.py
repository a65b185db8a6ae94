"""Webhooks of jobs: asked for, delivered, given up, and sent again."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from avtomatika.server.keys import TARGETS_KEY
from avtomatika.webhooks.targets import TargetPolicy

from .conftest import Api, StartApi, until


class Hook:
    """A receiver: what it heard, and the statuses that it answers with before 200."""

    def __init__(self) -> None:
        self.heard: list[dict[str, Any]] = []
        self.ids: list[str] = []
        self.statuses: list[int] = []
        app = web.Application()
        app.router.add_post("/hook", self._hear)
        self.server = TestServer(app)

    @property
    def url(self) -> str:
        """Where it listens."""
        return str(self.server.make_url("/hook"))

    async def _hear(self, request: web.Request) -> web.Response:
        self.heard.append(json.loads(await request.text()))
        self.ids.append(request.headers["webhook-id"])
        return web.Response(status=self.statuses.pop(0) if self.statuses else 200)


@pytest.fixture
async def hook() -> AsyncIterator[Hook]:
    """A receiver that listens."""
    made = Hook()
    await made.server.start_server()
    yield made
    await made.server.close()


async def test_outcome_is_told_in_the_form_of_the_contract(api: Api, hook: Hook) -> None:
    """Five members; the result of a job that finished."""
    job_id = await api.submit(body={"initial_data": {"n": 4}, "webhook_url": hook.url})

    await until(lambda: bool(hook.heard))

    assert hook.heard == [
        {"event": "job_finished", "job_id": job_id, "status": "finished", "result": {"double": 8}, "error": None}
    ]


@pytest.mark.parametrize(
    ("code", "event", "status"),
    [("PERMANENT_ERROR", "job_failed", "failed"), ("INVALID_INPUT_ERROR", "job_failed", "failed")],
)
async def test_failure_is_told_with_its_reason(api: Api, hook: Hook, code: str, event: str, status: str) -> None:
    """Whatever the way to it."""
    job_id = await api.submit("/api/v2/shop/orders", {"initial_data": {}, "webhook_url": hook.url})
    task = await api.take()
    await api.result(task, status="failure", error={"code": code, "message": "it leaks"})

    await until(lambda: bool(hook.heard))

    (told,) = hook.heard
    assert (told["event"], told["job_id"], told["status"]) == (event, job_id, status)


async def test_cancelled_job_is_told(api: Api, hook: Hook) -> None:
    """Also an end that somebody wanted."""
    job_id = await api.submit("/api/v2/shop/orders", {"initial_data": {}, "webhook_url": hook.url})
    await api.until(job_id, "waiting_for_worker")
    await api.post(f"/api/v1/jobs/{job_id}/cancel")

    await until(lambda: bool(hook.heard))

    assert (hook.heard[0]["event"], hook.heard[0]["error"]) == ("job_cancelled", None)


async def test_delivery_is_repeated_under_the_same_id(api: Api, hook: Hook) -> None:
    """So that the receiver can tell a repetition from another webhook."""
    hook.statuses = [500]
    await api.submit(body={"initial_data": {}, "webhook_url": hook.url})
    await until(lambda: len(hook.heard) == 1)

    async def later() -> bool:
        await api.clock.advance(2)
        return len(hook.heard) == 2

    while not await later():
        pass

    assert len(set(hook.ids)) == 1


async def test_webhook_that_was_given_up_can_be_sent_again(api: Api, hook: Hook) -> None:
    """It is listed with its error, and delivered when somebody says so."""
    hook.statuses = [410]
    await api.submit(body={"initial_data": {}, "webhook_url": hook.url})
    dead: list[dict[str, Any]] = []
    while not dead:
        dead = (await api.get("/api/v1/dead-letters")).body["dead_letters"]

    assert (dead[0]["topic"], dead[0]["error"]) == ("webhook", "the receiver answered 410")
    answer = await api.post("/api/v1/dead-letters/replay", {"ids": [dead[0]["id"]]})
    await until(lambda: len(hook.heard) == 2)
    assert answer.body["replayed"] == [dead[0]["id"]]


async def test_target_that_is_private_is_refused_at_creation(api: Api, hook: Hook) -> None:
    """An engine on the network does not let strangers reach into it; the sentence says what to set."""
    api.engine.app[TARGETS_KEY].policy = TargetPolicy()

    for url in (hook.url, "http://localhost/", "http://169.254.169.254/latest/meta-data", "http://2130706433/"):
        answer = await api.post("/api/v1/quick", {"initial_data": {}, "webhook_url": url})
        assert (answer.status, answer.body["code"]) == (400, "invalid_webhook_url")
        assert "WEBHOOK_ALLOW_PRIVATE=true" in answer.body["error"]
    assert (await api.get("/api/v1/jobs")).body == []


@pytest.mark.parametrize("url", ["nonsense", 17, "http://user:pass@example.com/"])
async def test_target_that_is_none_is_refused_at_creation(api: Api, url: object) -> None:
    """A typing error shows at once."""
    answer = await api.post("/api/v1/quick", {"initial_data": {}, "webhook_url": url})

    assert (answer.status, answer.body["code"]) == (400, "invalid_webhook_url")
    assert "pass" not in json.dumps(answer.body).replace("password", "")


@pytest.mark.parametrize(
    ("settings", "exempt"),
    [
        ({}, True),
        ({"WEBHOOK_ALLOW_PRIVATE": True}, True),
        ({"WEBHOOK_ALLOWED_HOSTS": "hooks.internal"}, True),
    ],
)
async def test_engine_on_loopback_may_reach_loopback(
    start_api: StartApi, settings: dict[str, Any], exempt: bool
) -> None:
    """Nobody else can ask it to."""
    api = await start_api(**settings)

    assert api.engine.app[TARGETS_KEY].policy.is_exempt("hooks.internal") is exempt


async def test_metrics_count_webhooks(api: Api, hook: Hook) -> None:
    """Each attempt that failed, and each that arrived."""
    hook.statuses = [410]
    await api.submit(body={"initial_data": {}, "webhook_url": hook.url})
    await api.submit(body={"initial_data": {}, "webhook_url": hook.url})
    text = ""
    while 'orchestrator_webhooks_total{outcome="delivered"} 1.0' not in text or "given_up" not in text:
        text = (await api.get("/_public/metrics", token=None)).body

    assert "orchestrator_webhook_failures_total 1.0" in text
