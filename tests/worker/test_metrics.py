"""A worker's numbers for Prometheus."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from avtomatika.errors import ConfigError
from avtomatika.worker import PermanentError, Worker
from avtomatika.worker.metrics import PrometheusMeter

from .conftest import FakeEngine, Heard

KIND = re.compile(r"\| (counter|gauge|histogram) \|")
PAGE = Path(__file__).parents[2] / "docs" / "howto" / "run-workers.md"


async def numbers(worker: Worker) -> dict[tuple[str, ...], float]:
    """Returns what a worker tells: name and labels, in the order of their names, to value."""
    url = f"http://127.0.0.1:{worker.health_port}/metrics"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        assert answer.status == 200, await answer.text()
        families = text_string_to_metric_families(await answer.text())
        return {
            (sample.name, *(sample.labels[label] for label in sorted(sample.labels))): sample.value
            for family in families
            for sample in family.samples
        }


def is_idle(heard: Heard) -> bool:
    """Whether a heartbeat names no task."""
    return not heard.body["current_tasks"]


@pytest.fixture
def counted(worker: Worker) -> Worker:
    """A worker that counts, with a task that fails at odd numbers."""
    worker.configure(metrics=True, health_port=0)

    @worker.task
    async def even(n: int) -> None:
        if n % 2:
            raise PermanentError("odd")

    return worker


async def test_tasks_results_and_calls_are_counted(engine: FakeEngine, counted: Worker) -> None:
    """By their types, statuses and outcomes."""
    engine.script |= {
        "register": [(503, {"error": "later"})],
        "result": [(200, {"status": "ignored", "reason": "stale_task"}), (400, {"error": "odd"})],
    }
    async with counted:
        for number in range(3):
            engine.put("even", f"t-{number}", n=number)
            await engine.result(f"t-{number}")
        # The second heartbeat from now that names no task was written after the last result was delivered.
        so_far = len([heard for heard in engine.of("heartbeat") if is_idle(heard)])
        await engine.wait_for("heartbeat", is_idle, so_far + 2)
        told = await numbers(counted)

    assert told["worker_tasks_total", "success", "even"] == 2
    assert told["worker_tasks_total", "failure", "even"] == 1
    assert told["worker_task_failures_total", "PERMANENT_ERROR", "even"] == 1
    assert told["worker_task_duration_seconds_count", "even"] == 3
    assert told["worker_tasks_running", "even"] == 0
    assert [told["worker_results_total", word] for word in ("accepted", "ignored", "refused")] == [1, 1, 1]
    assert told["worker_call_duration_seconds_count", "register", "503"] == 1
    assert told["worker_call_duration_seconds_count", "register", "200"] == 1
    assert told["worker_call_duration_seconds_count", "result", "200"] == 3
    assert {key[1] for key in told if key[0] == "worker_call_duration_seconds_count"} == {
        "register",
        "heartbeat",
        "poll",
        "result",
    }
    assert (told["worker_slots",], told["worker_results_waiting",], told["worker_registered", engine.url]) == (4, 0, 1)
    assert any(key[0] == "process_cpu_seconds_total" for key in told)


async def test_numbers_that_nobody_wants_are_not_counted(engine: FakeEngine, worker: Worker) -> None:
    """Whoever asks for them learns which variable to set."""
    worker.add_task(lambda: None, "nothing")
    worker.configure(health_port=0)

    async with (
        worker,
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{worker.health_port}/metrics") as answer,
    ):
        told = answer.status, await answer.json()

    assert told == (404, {"error": "no metrics are counted here. Set WORKER_ENABLE_METRICS=true."})


def test_metrics_have_a_port_without_being_given_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """That of published workers."""
    monkeypatch.setenv("WORKER_ENABLE_METRICS", "true")

    assert Worker().settings.health_port == 8083
    assert Worker(health_port=9).settings.health_port == 9


async def test_missing_package_is_named(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is started."""
    worker.add_task(lambda: None, "nothing")
    worker.configure(metrics=True, health_port=0)
    monkeypatch.delitem(sys.modules, "avtomatika.worker.metrics")
    monkeypatch.setitem(sys.modules, "prometheus_client", None)

    with pytest.raises(ConfigError, match=r"pip install 'avtomatika\[telemetry\]'"):
        await worker.start()


def test_page_lists_the_metrics() -> None:
    """With their types, labels and meanings, and no others."""
    meter = PrometheusMeter()
    rows = []
    for family in meter.registry.collect():
        if family.name.startswith("worker_"):
            metric: Any = meter.registry._names_to_collectors[family.name]
            name = f"{family.name}_total" if family.type == "counter" else family.name
            labels = ", ".join(f"`{label}`" for label in metric._labelnames) or "none"
            rows.append(f"| `{name}` | {family.type} | {labels} | {family.documentation} |")

    told = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if KIND.search(line)]
    assert told == sorted(rows)
