"""Rates and quotas: what is too much is refused, and nobody who behaves is kept off."""

from __future__ import annotations

import asyncio
import datetime
import zoneinfo
from pathlib import Path
from typing import Any

import pytest

from avtomatika import Config
from avtomatika.errors import StorageError
from avtomatika.server.keys import LIMITER_KEY, STORAGE_KEY, WORKERS_KEY
from avtomatika.server.limits import month_of
from avtomatika.storage.base import Count
from avtomatika.testing import FakeClock

from .conftest import CLIENT, OTHER, WORKER, Answer, Api, StartApi

ACME = "acme-has-this-token"


def refused(answer: Answer, code: str = "rate_limited") -> float:
    """Checks that an answer is a refusal with ``Retry-After``, and returns its seconds."""
    assert (answer.status, answer.body["code"]) == (429, code), answer
    seconds = float(answer.headers["Retry-After"])
    assert seconds >= answer.body["retry_after"] > 0
    return seconds


async def blocked(api: Api, kind: str) -> float:
    """Returns how many calls of a kind the metrics say were blocked."""
    text = (await api.get("/_public/metrics", token=None)).body
    found = [
        line for line in text.splitlines() if line.startswith(f'orchestrator_ratelimit_blocked_total{{kind="{kind}"}}')
    ]
    return float(found[0].split()[-1]) if found else 0.0


async def at_once(_seconds: float) -> None:
    """Takes the place of the pause before a poll is refused."""


# --- clients ---


async def test_client_that_calls_too_often_is_told_when_to_come_back(start_api: StartApi) -> None:
    """Each client for itself, and after the period everything begins anew."""
    api = await start_api(RATE_LIMIT_LIMIT=3)

    answers = [(await api.get("/api/v1/jobs")).status for _ in range(3)]
    seconds = refused(await api.get("/api/v1/jobs"))

    assert answers == [200, 200, 200]
    assert 0 < seconds <= 60
    assert (await api.get("/api/v1/jobs", token=OTHER)).status == 200
    assert await blocked(api, "client") == 1
    await api.clock.advance(seconds)
    assert (await api.get("/api/v1/jobs")).status == 200


async def test_public_paths_are_not_limited(start_api: StartApi) -> None:
    """Whoever watches the engine is never refused."""
    api = await start_api(RATE_LIMIT_LIMIT=1)

    assert {(await api.get("/_public/status", token=None)).status for _ in range(5)} == {200}


@pytest.mark.parametrize("worker", [False, True])
async def test_guessing_tokens_is_slowed_down_for_the_address(start_api: StartApi, worker: bool) -> None:
    """After too many wrong tokens there is no answer about further ones; right ones still work."""
    api = await start_api(RATE_LIMIT_LIMIT=3)
    path = "/_worker/workers/w1/tasks/none" if worker else "/api/v1/jobs"
    wrong = 403 if worker else 401

    answers = [await api.get(path, token=f"guess-{n}") for n in range(4)]

    assert [answer.status for answer in answers] == [wrong, wrong, wrong, 429]
    refused(answers[-1])
    assert (await api.get("/api/v1/jobs")).status == 200


async def test_guessing_refresh_tokens_is_slowed_down_for_the_address(start_api: StartApi) -> None:
    """They need no other token, so nobody else counts them."""
    api = await start_api(RATE_LIMIT_LIMIT=3)
    path = "/_worker/auth/token/refresh"

    answers = [await api.post(path, {"refresh_token": f"guess-{n}"}, token=None) for n in range(4)]

    assert [answer.status for answer in answers] == [403, 403, 403, 429]
    refused(answers[-1])


async def test_tokens_of_a_worker_share_the_general_limit(start_api: StartApi) -> None:
    """Issued or renewed: each is a record in the storage."""
    api = await start_api(RATE_LIMIT_LIMIT=3)
    path, headers = "/_worker/auth/token", {"X-Worker-ID": "w1"}
    told = await api.post(path, token=WORKER, headers=headers)

    second = await api.post(f"{path}/refresh", {"refresh_token": told.body["refresh_token"]}, token=None)
    third = await api.post(path, token=WORKER, headers=headers)

    assert [answer.status for answer in (told, second, third)] == [200, 200, 200]
    refused(await api.post(path, token=WORKER, headers=headers))
    refused(await api.post(f"{path}/refresh", {"refresh_token": second.body["refresh_token"]}, token=None))
    assert (await api.post(path, token=WORKER, headers={"X-Worker-ID": "w2"})).status == 200


@pytest.mark.parametrize(
    ("settings", "host", "limited"),
    [
        ({}, "127.0.0.1", False),
        ({}, "::1", False),
        ({}, "10.0.0.1", True),
        ({}, "", True),
        ({"RATE_LIMIT_POLL_LIMIT": 5}, "127.0.0.1", True),
        ({"RATE_LIMITING_ENABLED": True}, "127.0.0.1", True),
        ({"RATE_LIMITING_ENABLED": False, "RATE_LIMIT_LIMIT": 5}, "10.0.0.1", False),
    ],
)
def test_loopback_is_not_limited_unless_somebody_says_so(settings: dict[str, Any], host: str, limited: bool) -> None:
    """Nobody abuses an engine that only this machine reaches."""
    assert Config(**settings).limits_calls(host) is limited


async def test_limits_are_those_of_the_contract_by_default() -> None:
    """What users know."""
    config = Config()

    assert (config.RATE_LIMIT_LIMIT, config.RATE_LIMIT_PERIOD) == (100, 60)
    assert (config.RATE_LIMIT_HEARTBEAT_LIMIT, config.RATE_LIMIT_POLL_LIMIT) == (120, 60)


async def test_storage_that_does_not_count_refuses_nobody(start_api: StartApi, monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit is no reason to be unreachable."""
    api = await start_api(RATE_LIMIT_LIMIT=1)

    async def count(*_args: Any, **_options: Any) -> Count:
        raise StorageError("away")

    monkeypatch.setattr(api.engine.app[STORAGE_KEY], "count", count)

    assert {(await api.get("/api/v1/jobs")).status for _ in range(3)} == {200}


# --- workers ---


async def test_worker_with_tasks_is_never_refused(start_api: StartApi) -> None:
    """Neither polls that bring tasks count, nor results, however many there are."""
    api = await start_api(RATE_LIMIT_LIMIT=30, RATE_LIMIT_POLL_LIMIT=2)
    for _ in range(12):
        await api.submit("/api/v2/shop/orders", {})
    await api.register("w1")

    for _ in range(12):
        answer = await api.call("GET", "/_worker/workers/w1/tasks/next", token=WORKER, headers={"X-Worker-ID": "w1"})
        assert answer.status == 200
        assert (await api.result(answer.body)).status == 200

    assert await blocked(api, "poll") == await blocked(api, "worker") == 0


@pytest.mark.parametrize(("query", "status", "known"), [("", 204, "w1"), ("&quiet=5f0c", 200, "w2")])
async def test_empty_polls_beyond_the_limit_are_refused_to_workers_that_wait(
    start_api: StartApi, monkeypatch: pytest.MonkeyPatch, query: str, status: int, known: str
) -> None:
    """SDK 1.0b16 and later keep to ``Retry-After``; those that say that a worker was forgotten are empty as well."""
    api = await start_api(RATE_LIMIT_POLL_LIMIT=2)
    await api.register(known)
    path, headers = f"/_worker/workers/w1/tasks/next?timeout=0{query}", {"X-Worker-ID": "w1"}

    monkeypatch.setattr(api.engine.app[WORKERS_KEY], "pause", at_once)

    answers = [await api.call("GET", path, token=WORKER, headers=headers) for _ in range(4)]

    assert [answer.status for answer in answers[:3]] == [status] * 3
    refused(answers[3])
    assert await blocked(api, "poll") == 1


@pytest.mark.parametrize("headers", [{}, {"X-RXON-Version": "1.0b12"}, {"X-RXON-Version": "1.0b2"}])
async def test_older_worker_that_polls_too_often_is_held_and_still_gets_tasks(
    start_api: StartApi, headers: dict[str, str]
) -> None:
    """A refusal would make it ask a hundred times a second, or would leave it without work."""
    api = await start_api(RATE_LIMIT_POLL_LIMIT=1)
    await api.register("w1")
    path = "/_worker/workers/w1/tasks/next?timeout=0"
    for _ in range(2):
        assert (await api.call("GET", path, token=WORKER, headers=headers)).status == 204

    held = asyncio.create_task(api.call("GET", path, token=WORKER, headers=headers))
    await api.until_parked()
    await api.submit("/api/v2/shop/orders", {})

    assert (await held).status == 200
    assert await blocked(api, "poll") == 1


async def test_worker_with_a_flood_of_open_polls_is_refused(
    start_api: StartApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Held polls take memory; nobody needs many."""
    api = await start_api(RATE_LIMIT_POLL_LIMIT=2)
    await api.register("w1")
    polls = [asyncio.create_task(api.poll("w1")) for _ in range(2)]
    await api.until_parked(2)

    monkeypatch.setattr(api.engine.app[WORKERS_KEY], "pause", at_once)

    refused(await api.poll("w1"))
    await api.clock.advance(30)
    assert [(await poll).status for poll in polls] == [204, 204]


async def test_heartbeats_beyond_the_limit_still_keep_their_tasks(start_api: StartApi) -> None:
    """The worker is told to come back soon, and loses no task by it."""
    api = await start_api(RATE_LIMIT_HEARTBEAT_LIMIT=2, RATE_LIMIT_PERIOD=1000)
    await api.submit("/api/v2/shop/orders", {})
    task = await api.take("w1")
    for _ in range(2):
        assert (await api.beat("w1", current_tasks=[task["task_id"]])).status == 200

    for _ in range(4):
        await api.clock.advance(25)
        assert refused(await api.beat("w1", current_tasks=[task["task_id"]])) <= 5

    assert (await api.result(task)).body == {"status": "accepted"}
    assert await blocked(api, "heartbeat") == 4


async def test_registrations_and_events_share_the_general_limit(start_api: StartApi) -> None:
    """Each worker for itself."""
    api = await start_api(RATE_LIMIT_LIMIT=2)
    await api.register("w1")
    event = {"worker_id": "w1", "event_type": "x", "payload": {}, "event_id": "e"}

    answers = [await api.post("/_worker/events", event, token=WORKER) for _ in range(2)]

    assert answers[0].status == 200
    refused(answers[1])
    await api.register("w2")


async def test_events_of_a_task_have_ten_times_the_general_limit(start_api: StartApi) -> None:
    """Work brings many of them; without an end they are refused all the same, and the worker's other calls go on."""
    api = await start_api(RATE_LIMIT_LIMIT=3)
    job_id = await api.submit("/api/v2/shop/orders", {"params": {}})
    await api.until(job_id, "waiting_for_worker")
    task = await api.take()
    event = {"worker_id": "w1", "event_type": "progress", "target_task_id": task["task_id"]}

    answers = [
        await api.post("/_worker/events", {**event, "payload": {"progress": number / 31}}, token=WORKER)
        for number in range(31)
    ]

    assert {answer.status for answer in answers[:-1]} == {200}
    refused(answers[-1])
    await api.register("w1")


# --- quotas ---


@pytest.fixture(params=["memory", "sqlite", "redis"])
def backend(request: pytest.FixtureRequest) -> str:
    """Each storage: what is counted and what is used up is decided there."""
    return str(request.param)


@pytest.fixture
def clients(tmp_path: Path) -> str:
    """A file with a client that may create two jobs a month."""
    path = tmp_path / "clients.toml"
    path.write_text(f'[acme]\ntoken = "{ACME}"\nmonthly_attempts = 2\n')
    return str(path)


async def test_quota_ends_with_429_until_the_next_month(start_api: StartApi, clients: str, clock: FakeClock) -> None:
    """The answer says how many, and when it begins anew; other clients are not concerned."""
    clock._now = datetime.datetime(2023, 11, 30, 23, 59, 30, tzinfo=datetime.UTC).timestamp()
    api = await start_api(CLIENTS_CONFIG_PATH=clients)
    for _ in range(2):
        await api.submit(token=ACME)

    seconds = refused(await api.post("/api/v1/quick", {}, token=ACME), "quota_exceeded")

    assert seconds == 30
    assert (await api.get("/api/v1/jobs", token=ACME)).status == 200
    await api.submit(token=CLIENT)
    assert await blocked(api, "quota") == 1
    await api.clock.advance(seconds)
    await api.submit(token=ACME)


async def test_quota_counts_jobs_not_requests(start_api: StartApi, clients: str) -> None:
    """A repeated request, and one that was refused, cost nothing."""
    api = await start_api(CLIENTS_CONFIG_PATH=clients)
    for _ in range(3):
        await api.submit(token=ACME, headers={"Idempotency-Key": "one"})
    assert (await api.post("/api/v1/quick", data=b"{", token=ACME)).status == 400
    assert (await api.post("/api/v1/nowhere", {}, token=ACME)).status == 404
    assert (await api.post("/api/v1/quick", {"initial_data": {"n": "\ud800"}}, token=ACME)).status == 400

    await api.submit(token=ACME)
    refused(await api.post("/api/v1/quick", {}, token=ACME), "quota_exceeded")


async def test_quota_is_not_exceeded_by_requests_at_once(start_api: StartApi, clients: str) -> None:
    """Twenty at the same time create two."""
    api = await start_api(CLIENTS_CONFIG_PATH=clients)

    answers = await asyncio.gather(*(api.post("/api/v1/quick", {}, token=ACME) for _ in range(20)))

    assert sorted(answer.status for answer in answers) == [202] * 2 + [429] * 18


@pytest.mark.parametrize(
    ("moment", "zone", "month", "ends_at"),
    [
        ("2026-01-31T23:59:59+00:00", "UTC", "2026-01", "2026-02-01T00:00:00+00:00"),
        ("2026-01-31T23:30:00+00:00", "Europe/Riga", "2026-02", "2026-02-28T22:00:00+00:00"),
        ("2024-02-29T12:00:00+00:00", "UTC", "2024-02", "2024-03-01T00:00:00+00:00"),
        ("2026-12-31T00:00:00+00:00", "UTC", "2026-12", "2027-01-01T00:00:00+00:00"),
        ("2026-10-25T00:30:00+00:00", "Europe/Riga", "2026-10", "2026-10-31T22:00:00+00:00"),
    ],
)
def test_month_is_that_of_the_zone(moment: str, zone: str, month: str, ends_at: str) -> None:
    """Also where it ends in another month, at leap years, and when clocks change."""
    at = datetime.datetime.fromisoformat(moment).timestamp()

    assert month_of(at, zoneinfo.ZoneInfo(zone)) == (month, datetime.datetime.fromisoformat(ends_at).timestamp())


async def test_rates_are_off_where_nothing_is_set(api: Api) -> None:
    """The engine of these tests serves loopback only."""
    assert api.engine.app[LIMITER_KEY].rates is None
