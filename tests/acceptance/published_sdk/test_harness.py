"""The harness itself: published workers start, register and work, whatever the engine does."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]  # the first run installs the SDK


async def received(queue: asyncio.Queue[dict[str, Any]]) -> dict[str, Any]:
    """Returns what the worker sent next."""
    return await asyncio.wait_for(queue.get(), 30)


async def test_worker_registers_all_its_tasks(tiny_server: Any, sdk_worker: Any, release: str) -> None:
    """A worker of each release introduces itself with its id, its token and its four tasks, and then lives."""
    sdk_worker(release, tiny_server.url, "a-worker-secret", "w-1")

    body = await received(tiny_server.registered)
    heartbeat = await received(tiny_server.heartbeats)

    skills = body.get("supported_skills") or body["supported_tasks"]
    names = {skill["name"] if isinstance(skill, dict) else skill for skill in skills}
    assert (body["worker_id"], heartbeat["worker_id"]) == ("w-1", "w-1")
    assert names == {"echo", "fail", "custom_status", "slow"}
    assert tiny_server.tokens == {"a-worker-secret"}


async def test_worker_does_its_tasks(tiny_server: Any, sdk_worker: Any, release: str, tmp_path: Path) -> None:
    """Each task of the script does what the acceptance tests rely on."""
    started, until = tmp_path / "started", tmp_path / "until"
    tiny_server.give("echo", {"n": 1})
    tiny_server.give("fail", {"code": "SECURITY_ERROR"})
    tiny_server.give("custom_status", {"status": "needs_review"})
    tiny_server.give("slow", {"started": str(started), "until": str(until)})
    sdk_worker(release, tiny_server.url, "a-worker-secret")

    first = [await received(tiny_server.results) for _ in range(3)]
    assert tiny_server.results.empty()
    until.touch()
    slow = await received(tiny_server.results)

    by_task = {body["task_id"]: body for body in [*first, slow]}
    assert by_task["t-echo"].get("status", "success") == "success"
    assert by_task["t-echo"]["data"] == {"echo": {"n": 1}}
    assert (by_task["t-fail"]["status"], by_task["t-fail"]["error"]["code"]) == ("failure", "SECURITY_ERROR")
    assert by_task["t-custom_status"]["status"] == "needs_review"
    assert slow["task_id"] == "t-slow"
    assert started.exists()


async def test_failing_task_succeeds_after_the_given_times(tiny_server: Any, sdk_worker: Any, release: str) -> None:
    """A retry can be tested: the same job fails a number of times, then succeeds."""
    sdk_worker(release, tiny_server.url, "a-worker-secret")

    statuses = []
    for _ in range(2):
        tiny_server.give("fail", {"times": 1})
        statuses.append((await received(tiny_server.results)).get("status", "success"))

    assert statuses == ["failure", "success"]


async def test_stopped_worker_is_gone(tiny_server: Any, sdk_worker: Any, release: str) -> None:
    """A worker ends when it is told, and leaves its log."""
    worker = sdk_worker(release, tiny_server.url, "a-worker-secret")
    await received(tiny_server.registered)

    await asyncio.to_thread(worker.stop)

    assert worker.process.poll() is not None
    assert "echo" in worker.log
