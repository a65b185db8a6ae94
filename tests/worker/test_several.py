"""A worker of several engines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from avtomatika.errors import AuthError
from avtomatika.worker import Context, Worker

from .conftest import FakeEngine, Heard


@pytest.fixture
async def other() -> AsyncIterator[FakeEngine]:
    """A second scripted engine."""
    fake = FakeEngine()
    await fake.server.start_server()
    yield fake
    await fake.server.close()


@pytest.fixture
def shared(engine: FakeEngine, other: FakeEngine, worker: Worker) -> Worker:
    """A worker of both, whose task ``echo`` returns what it got."""
    worker.configure(
        engines=[{"url": engine.url, "token": "first"}, {"url": other.url, "token": "second", "priority": 20}],
        poll_timeout=0.1,
        mode="WATERFALL",
    )

    @worker.task
    async def echo(n: int, context: Context) -> int:
        context.progress(0.5)
        return n

    return worker


def names(heard: Heard) -> list[str]:
    """The tasks that a heartbeat names."""
    ids: list[str] = heard.body["current_tasks"]
    return ids


async def test_worker_registers_at_all_with_the_token_of_each(
    engine: FakeEngine, other: FakeEngine, shared: Worker
) -> None:
    """Each engine knows it, by a token of its own, and hears its signs of life."""
    async with shared:
        first, second = await engine.wait_for("register"), await other.wait_for("register")
        await engine.wait_for("heartbeat")
        await other.wait_for("heartbeat")

    assert (first.headers["X-Worker-Token"], second.headers["X-Worker-Token"]) == ("first", "second")
    assert first.body["worker_id"] == second.body["worker_id"] == "w"


async def test_task_goes_back_where_it_came_from(engine: FakeEngine, other: FakeEngine, shared: Worker) -> None:
    """Its progress and its result reach the engine that sent it, and no other."""
    async with shared:
        engine.put("echo", "t-1", n=1)
        other.put("echo", "t-2", n=2)
        first, second = await engine.result("t-1"), await other.result("t-2")

    assert (first["data"], second["data"]) == (1, 2)
    assert [heard.body["task_id"] for heard in engine.of("result")] == ["t-1"]
    assert [heard.body["target_task_id"] for heard in other.of("event")] == ["t-2"]


async def test_all_engines_hear_of_all_tasks(engine: FakeEngine, other: FakeEngine, shared: Worker) -> None:
    """Two engines on one storage: while one is away, the other keeps the lease. Each may cancel."""

    @shared.task
    async def wait() -> None:
        await asyncio.Event().wait()

    async with shared:
        engine.put("wait")
        await other.wait_for("heartbeat", names)
        other.script["heartbeat"] = [(200, {"status": "ok", "cancel_task_ids": ["t-1"]})]
        result = await engine.result()

    assert result["status"] == "cancelled"


async def test_failover_leaves_the_second_alone_while_the_first_answers(
    engine: FakeEngine, other: FakeEngine, shared: Worker
) -> None:
    """And turns to it when the first one fails."""
    shared.configure(mode="FAILOVER")

    async with shared:
        await engine.wait_for("poll", count=3)
        before = len(other.of("poll"))
        engine.script["poll"] = [(500, {"error": "x"})] * 3
        other.put("echo", n=2)
        result = await other.result()

    assert (before, result["data"]) == (0, 2)


async def test_round_robin_asks_all(engine: FakeEngine, other: FakeEngine, shared: Worker) -> None:
    """Both are asked again and again."""
    shared.configure(mode="ROUND_ROBIN")

    async with shared:
        await engine.wait_for("poll", count=2)
        await other.wait_for("poll", count=2)


async def test_engine_that_is_away_stops_nobody(engine: FakeEngine, other: FakeEngine, shared: Worker) -> None:
    """The worker works for the one that answers, and registers at the other when it comes."""
    engine.script["register"] = [None] * 3

    async with shared:
        await shared.wait_until_registered()
        other.put("echo", n=1)
        await other.result()
        await engine.wait_for("register", count=4)
        engine.put("echo", "t-2", n=2)
        await engine.result("t-2")


async def test_result_takes_the_other_way_while_its_engine_is_away(
    engine: FakeEngine, other: FakeEngine, shared: Worker
) -> None:
    """An engine on the same storage takes it; one that does not know the job does not count."""
    engine.script["result"] = [None] * 2
    other.script["result"] = [(200, {"status": "ignored", "reason": "job_not_found"}), (200, {"status": "accepted"})]

    async with shared:
        engine.put("echo", n=1)
        await other.wait_for("result", count=2)

    assert len(engine.of("result")) == 2


async def test_refused_token_at_one_of_several_is_no_end(
    engine: FakeEngine, other: FakeEngine, shared: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told, and the other engine is worked for; a single engine ends the worker."""
    engine.script["register"] = [(403, {"error": "wrong token"})]

    async with shared:
        other.put("echo", n=1)
        await other.result()

    assert "refuses worker 'w'" in caplog.text
    engine.script["register"] = [(403, {"error": "wrong token"})]
    shared.configure(engines=[engine.url])
    async with shared:
        with pytest.raises(AuthError, match="refuses worker 'w'"):
            await shared.wait()
