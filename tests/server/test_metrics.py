"""Metrics over HTTP: every number comes from what really happened."""

from __future__ import annotations

import asyncio
import sys

import pytest

from .conftest import Api, StartApi


async def numbers(api: Api) -> dict[str, float]:
    """Returns the engine's own numbers, by name and labels."""
    answer = await api.get("/_public/metrics", token=None)
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    lines = [line for line in answer.body.splitlines() if line.startswith("orchestrator_")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


async def test_metrics_follow_a_task_from_queue_to_result(api: Api) -> None:
    """Waiting, handed out after 30 s, answered, answered again, and answered for nothing."""
    job_id = await api.submit("/api/v2/shop/orders", {})
    await api.until(job_id, "waiting_for_worker")
    await api.clock.advance(30)
    waiting = await numbers(api)
    task = await api.take("w1")
    await api.result(task)
    await api.result(task)
    await api.result({**task, "task_id": f"{task['task_id']}9"})
    await api.until(job_id, "finished")

    done = await numbers(api)

    assert waiting['orchestrator_task_queue_length{task_type="work"}'] == 1
    assert waiting['orchestrator_task_oldest_waiting_seconds{task_type="work"}'] == 30
    assert waiting['orchestrator_jobs_present{status="waiting_for_worker"}'] == 1
    assert waiting["orchestrator_active_workers"] == 0
    assert 'orchestrator_task_queue_length{task_type="work"}' not in done
    assert done["orchestrator_active_workers"] == 1
    assert done['orchestrator_task_schedule_to_start_seconds_sum{task_type="work"}'] == 30
    assert done['orchestrator_jobs_total{blueprint="orders"}'] == 1
    assert done['orchestrator_job_duration_seconds_sum{blueprint="orders",status="finished"}'] == 30
    assert done['orchestrator_results_total{outcome="accepted"}'] == 1
    assert done["orchestrator_results_duplicate_total"] == 1
    assert done["orchestrator_results_stale_total"] == 1
    assert done["orchestrator_jobs_without_wakeup"] == 0
    called = 'orchestrator_handler_duration_seconds_count{blueprint="orders",outcome="returned",state="send"}'
    assert done[called] == 1


async def test_metrics_count_a_lease_that_ended(api: Api) -> None:
    """A worker that vanished with its task shows."""
    await api.submit("/api/v2/shop/orders", {})
    await api.take("w1")

    await api.clock.advance(60)
    found: dict[str, float] = {}
    async with asyncio.timeout(30):
        while not (told := found.get('orchestrator_lease_expiries_total{task_type="work"}')):
            found = await numbers(api)

    assert told == 1


async def test_metrics_without_their_package_say_what_to_install(
    monkeypatch: pytest.MonkeyPatch, start_api: StartApi
) -> None:
    """The engine serves all the same, and the page says what is missing."""
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    monkeypatch.delitem(sys.modules, "avtomatika.observability.metrics", raising=False)
    api = await start_api()

    answer = await api.get("/_public/metrics", token=None)

    assert (answer.status, answer.body["code"]) == (501, "metrics_unavailable")
    assert "pip install 'avtomatika[telemetry]'" in answer.body["error"]
    assert (await api.get("/_public/status", token=None)).status == 200
