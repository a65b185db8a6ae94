"""Tasks that come with the answer to a result: asked for where the engine gives them, and never too many."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from avtomatika.worker import Worker
from avtomatika.worker.lifecycle import room

from .conftest import FakeEngine, a_task

ANNOUNCED = (200, {"status": "registered", "batch": 64, "tasks_with_results": True})


@pytest.fixture
def giving(engine: FakeEngine) -> FakeEngine:
    """An engine that gives tasks with its answers to results."""
    engine.script["register"] = [ANNOUNCED]
    return engine


@pytest.fixture
def single(worker: Worker) -> Worker:
    """A worker of one task at a time, which returns its param."""
    worker.configure(concurrency=1, batch=1)

    @worker.task
    async def echo(n: int) -> int:
        return n

    return worker


def taken_with(*tasks: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """The answer to a result, with tasks."""
    return 200, {"status": "accepted", "tasks": list(tasks)}


async def test_result_brings_the_next_task(giving: FakeEngine, single: Worker) -> None:
    """One poll is enough for all tasks of a busy time."""
    giving.script["result"] = [taken_with(a_task(2)), taken_with(a_task(3))]
    giving.tasks.put_nowait(a_task(1))

    async with single:
        last = await giving.result("t-3")

    first = giving.of("result")[0]
    assert last["data"] == 3
    assert first.query == {"batch": "1", "available_skills": "echo", "hot_skills": ""}
    polls_before = [heard.kind for heard in giving.heard[: giving.heard.index(giving.of("result")[2])]].count("poll")
    assert polls_before == 1


async def test_result_that_brings_nothing_is_followed_by_a_poll(giving: FakeEngine, single: Worker) -> None:
    """The worker waits for work as ever."""
    giving.tasks.put_nowait(a_task(1))

    async with single:
        await giving.result("t-1")
        giving.tasks.put_nowait(a_task(2))
        assert (await giving.result("t-2"))["data"] == 2


async def test_room_that_a_result_asks_for_is_not_asked_for_twice(giving: FakeEngine, single: Worker) -> None:
    """While the answer is on its way no poll is open, or two tasks could come for one place."""
    giving.gates["result"] = asyncio.Event()
    giving.script["result"] = [taken_with(a_task(2))]
    giving.tasks.put_nowait(a_task(1))
    giving.tasks.put_nowait(a_task(9))

    async with single:
        await giving.wait_for("result")
        await giving.wait_for("heartbeat", lambda heard: heard.body["status"] == "idle", count=3)
        assert len(giving.of("poll")) == 1
        giving.gates.pop("result").set()
        assert (await giving.result("t-2"))["data"] == 2


async def test_result_asks_only_for_room_that_no_poll_has(giving: FakeEngine, worker: Worker) -> None:
    """With three places asked for by the open poll, the place of the task that ended is left."""
    gate = asyncio.Event()

    @worker.task
    async def wait(n: int) -> int:
        await gate.wait()
        return n

    async with worker:
        giving.tasks.put_nowait({"tasks": [a_task(1, "wait")]})
        poll = await giving.wait_for("poll", count=2)
        gate.set()
        result = await giving.wait_for("result")

    assert (poll.query["batch"], result.query["batch"]) == ("3", "1")


async def test_many_results_bring_many_tasks(giving: FakeEngine, worker: Worker) -> None:
    """Results that go together ask for as many tasks as there is room for by then."""
    gate = asyncio.Event()

    @worker.task
    async def wait(n: int) -> int:
        await gate.wait()
        return n

    answers = {"answers": [{"status": "accepted"}] * 4, "tasks": [a_task(number, "wait") for number in range(4, 8)]}
    giving.script["results"] = [(200, answers)]

    async with worker:
        giving.tasks.put_nowait({"tasks": [a_task(number, "wait") for number in range(4)]})
        await giving.wait_for("heartbeat", lambda heard: len(heard.body["current_tasks"]) == 4)
        gate.set()
        first = await giving.wait_for("results")
    told = [heard.body for heard in giving.of("result")]
    told += [result for heard in giving.of("results") for result in heard.body["results"]]

    assert first.query["batch"] == "4"
    assert {one["task_id"] for one in told} == {f"t-{number}" for number in range(8)}


async def test_engine_that_does_not_say_so_is_not_asked(engine: FakeEngine, single: Worker) -> None:
    """Its answers to results bring no tasks, and an address with a query may be strange to it."""
    engine.script["register"] = [(200, {"status": "registered", "batch": 64})]
    engine.tasks.put_nowait(a_task(1))

    async with single:
        await engine.result("t-1")

    assert engine.of("result")[0].query == {}


async def test_worker_of_several_engines_asks_them_in_turn(giving: FakeEngine, single: Worker) -> None:
    """An engine whose task has just ended gets no more of the worker than its share."""
    single.configure(engines=[giving.url, "http://127.0.0.1:9"])
    giving.tasks.put_nowait(a_task(1))

    async with single:
        await giving.result("t-1")

    assert giving.of("result")[0].query == {}


async def test_task_that_cannot_be_understood_leaves_its_place_free(giving: FakeEngine, single: Worker) -> None:
    """Its neighbour is done, and polls go on."""
    giving.script["result"] = [taken_with({"task_id": "t-8"}, a_task(2))]
    giving.tasks.put_nowait(a_task(1))

    async with single:
        await giving.result("t-2")
        giving.tasks.put_nowait(a_task(3))
        assert (await giving.result("t-3"))["data"] == 3


async def test_worker_that_ends_asks_for_nothing(giving: FakeEngine, single: Worker) -> None:
    """The results of its last tasks are only results."""
    started, gate = asyncio.Event(), asyncio.Event()

    @single.task
    async def wait(n: int) -> int:
        started.set()
        await gate.wait()
        return n

    giving.tasks.put_nowait(a_task(1, "wait"))
    async with single:
        await started.wait()
        stopping = asyncio.create_task(single.stop())
        await giving.wait_for("heartbeat", lambda heard: heard.body["status"] == "offline")
        gate.set()
        await stopping

    assert giving.of("result")[0].query == {}


async def test_task_that_comes_while_the_worker_ends_is_done(giving: FakeEngine, single: Worker) -> None:
    """It was asked for before; the engine would have to wait for its lease to end."""
    giving.gates["result"] = asyncio.Event()
    giving.script["result"] = [taken_with(a_task(2))]
    giving.tasks.put_nowait(a_task(1))

    async with single:
        await giving.wait_for("result")
        stopping = asyncio.create_task(single.stop())
        await giving.wait_for("heartbeat", lambda heard: heard.body["status"] == "offline")
        giving.gates.pop("result").set()
        await stopping

    assert [heard.body["task_id"] for heard in giving.of("result")] == ["t-1", "t-2"]


@pytest.mark.parametrize(
    ("limits", "running", "places"),
    [
        ({"a": None}, [], 4),
        ({"a": None}, ["a"] * 4, 0),
        ({"a": 2, "b": None}, ["a"], 1),
        ({"a": 2, "b": None}, ["a", "a"], 2),
        ({"a": 1}, ["a"], 0),
        ({}, [], 0),
    ],
)
def test_room_counts_what_can_be_started(limits: dict[str, int | None], running: list[str], places: int) -> None:
    """Of four places in all; where no skill can be started there is no room, however many places are free."""
    assert room(limits, running, 4) == places
