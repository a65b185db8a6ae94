"""The overview over HTTP: status, workers, skills and counts."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from avtomatika import __version__
from avtomatika.errors import StorageError
from avtomatika.runtime import health
from avtomatika.server.keys import HEALTH_KEY, REGISTRY_KEY, STORAGE_KEY

from .conftest import WORKER, Api


async def test_status_tells_that_the_engine_serves(api: Api) -> None:
    """``ok``, with the version."""
    answer = await api.get("/_public/status", token=None)

    assert answer.status == 200
    assert answer.body["status"] == "ok"
    assert answer.body["version"] == __version__
    assert answer.body["blueprints"] == len(api.engine.app[REGISTRY_KEY]) > 0


async def test_workers_are_listed_with_what_they_told(api: Api) -> None:
    """Identity, skills, costs, resources and when they were last heard of."""
    assert (await api.get("/api/v1/workers")).body == []
    await api.register(
        "w1",
        "work",
        "paint",
        resources={"properties": {"cpu_cores": 4}},
        capabilities={"cost_per_skill": {"work": 0.5}, "hostname": "node-1"},
        hot_skills=["paint"],
        available_skills=["work", "paint"],
    )
    await api.register("w0")

    workers = (await api.get("/api/v1/workers")).body

    assert [worker["worker_id"] for worker in workers] == ["w0", "w1"]
    worker = workers[1]
    assert (worker["skills"], worker["hot_skills"]) == (["work", "paint"], ["paint"])
    assert (worker["cost_per_skill"], worker["hostname"]) == ({"work": 0.5}, "node-1")
    assert worker["resources"]["cpu_cores"] == 4
    assert worker["last_seen_at"] == api.clock.now()


async def test_silent_worker_leaves_the_list(api: Api) -> None:
    """Live workers only."""
    await api.register("w1")
    await api.clock.advance(100)
    await api.register("w2")
    await api.clock.advance(20)

    assert [worker["worker_id"] for worker in (await api.get("/api/v1/workers")).body] == ["w2"]


async def test_catalog_lists_each_skill_once_with_its_workers(api: Api) -> None:
    """What is on offer, with its schemas, and by whom."""
    schema = {"type": "object"}
    skills = [{"name": "work", "type": "work", "description": "does it", "input_schema": schema}]
    body = {"worker_id": "w1", "supported_skills": skills}
    await api.post("/_worker/workers/register", body, token=WORKER)
    await api.register("w2", "work", "paint")

    catalog = (await api.get("/api/v1/workers/catalog")).body

    assert [(skill["name"], skill["workers"]) for skill in catalog] == [("paint", ["w2"]), ("work", ["w1", "w2"])]
    assert (catalog[1]["description"], catalog[1]["input_schema"]) == ("does it", schema)


async def test_dashboard_counts_workers_jobs_and_tasks(api: Api) -> None:
    """How many there are of each, at one look."""
    empty = (await api.get("/api/v1/dashboard")).body
    assert (empty["workers"]["total"], empty["jobs"]) == (0, {"queued": 0})
    await api.register("w1", "paint")
    poll = asyncio.create_task(api.poll("w1"))
    await api.until_parked()
    await api.until(await api.submit(), "finished")
    await api.until(await api.submit("/api/v2/shop/orders", {}), "waiting_for_worker")

    board = (await api.get("/api/v1/dashboard")).body

    assert board["workers"] == {"total": 1, "polling": 1, "idle": 1}
    assert board["jobs"] == {"queued": 0, "finished": 1, "waiting_for_worker": 1}
    assert board["tasks"] == {"waiting": 1, "queues": {"work": {"waiting": 1, "oldest_at": api.clock.now()}}}
    await api.clock.advance(30)
    assert (await poll).status == 204


@pytest.mark.parametrize("broken", ["count", "next_wake_at"])
async def test_status_of_an_engine_in_trouble_is_503(
    api: Api, broken: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A storage that does not take or answer anything degrades the engine; where it is, strangers are not told."""

    async def fail(*_: object) -> None:
        raise StorageError("Redis at 10.0.0.7:6379 does not answer.")

    monkeypatch.setattr(health, "_FRESH_SECONDS", 0.0)
    monkeypatch.setattr(api.engine.app[STORAGE_KEY], broken, fail)
    answer = await api.get("/_public/status", token=None)
    ready = await api.get("/_public/health/ready", token=None)
    live = await api.get("/_public/health/live", token=None)

    assert (ready.status, ready.headers["Retry-After"]) == (503, "5")
    assert (live.status, live.body) == (200, {"status": "ok"})  # starting again would not bring the storage back
    assert (answer.status, answer.body["status"], answer.body["code"]) == (503, "degraded", "degraded")
    assert "the storage does not" in answer.body["error"]
    assert "10.0.0.7" not in str(answer.body)
    assert "10.0.0.7" in caplog.text
    assert answer.headers["Retry-After"] == "5"
    monkeypatch.undo()
    monkeypatch.setattr(health, "_FRESH_SECONDS", 0.0)
    assert (await api.get("/_public/status", token=None)).status == 200
    assert (await api.get("/_public/health/ready", token=None)).status == 200


async def test_status_of_a_storage_that_hangs_is_503(
    api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Who asks gets an answer, and soon."""
    monkeypatch.setattr(health, "_ANSWER_SECONDS", 0.01)
    monkeypatch.setattr(api.engine.app[STORAGE_KEY], "count", lambda *_: asyncio.Event().wait())

    assert (await api.get("/_public/status", token=None)).status == 503
    assert "the storage is in trouble: TimeoutError" in caplog.text


async def test_status_asked_often_tries_the_storage_once(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Strangers cannot make the storage work."""
    asked: list[object] = []
    count = api.engine.app[STORAGE_KEY].count

    async def counted(*args: Any) -> Any:
        asked.append(args)
        return await count(*args)

    monkeypatch.setattr(api.engine.app[STORAGE_KEY], "count", counted)
    monkeypatch.setattr(health, "_FRESH_SECONDS", 1e9)

    answers = await asyncio.gather(*(api.get("/_public/status", token=None) for _ in range(20)))

    assert {answer.status for answer in answers} == {200}
    assert len(asked) == 1


async def test_status_of_an_engine_that_stops_is_503(api: Api) -> None:
    """A balancer is told before the port closes."""
    api.engine.app[HEALTH_KEY].stop()

    answer = await api.get("/_public/status", token=None)

    assert (answer.status, answer.body["error"]) == (503, "the engine is stopping.")
