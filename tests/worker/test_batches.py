"""Many tasks and results at a time, with an engine that can do it and with one that cannot."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from avtomatika.testing import FakeClock
from avtomatika.worker import Worker
from avtomatika.worker.bundles import Bundles
from avtomatika.worker.lifecycle import Reply

from .conftest import FakeEngine, a_task


@pytest.fixture
def batching(engine: FakeEngine) -> FakeEngine:
    """An engine that announces batches."""
    engine.script["register"] = [(200, {"status": "registered", "batch": 64})]
    return engine


def echo_worker(worker: Worker) -> Worker:
    """Gives a worker a task that returns its param."""

    @worker.task
    async def echo(n: int) -> int:
        return n

    return worker


async def results_of(engine: FakeEngine, number: int) -> dict[str, Any]:
    """Returns the results of so many tasks by their ids, however they came."""

    def told() -> dict[str, Any]:
        alone = [heard.body for heard in engine.of("result")]
        together = [result for heard in engine.of("results") for result in heard.body["results"]]
        return {body["task_id"]: body for body in alone + together}

    async with asyncio.timeout(20), engine.news:
        await engine.news.wait_for(lambda: len(told()) >= number)
    return told()


async def test_poll_asks_for_as_many_as_there_is_room(batching: FakeEngine, worker: Worker) -> None:
    """Never for more than can be started at once."""
    async with echo_worker(worker):
        poll = await batching.wait_for("poll")

    assert poll.query["batch"] == "4"


async def test_poll_keeps_to_the_limit_of_a_skill(batching: FakeEngine, worker: Worker) -> None:
    """All tasks of an answer may be of the one skill that has a limit."""
    worker.add_task(lambda: None, "narrow", concurrency=2)
    worker.add_task(lambda: None, "wide")

    async with worker:
        poll = await batching.wait_for("poll")

    assert poll.query["batch"] == "2"


async def together(engine: FakeEngine, worker: Worker, *answers: Any) -> dict[str, Any]:
    """Has four tasks run side by side, and their results sent together.

    Args:
        engine: that gives the tasks in one answer.
        worker: that does them.
        answers: to the requests that bring many results.
    """
    engine.script["results"] = list(answers)
    gate = asyncio.Event()

    @worker.task
    async def wait(n: int) -> int:
        await gate.wait()
        return n

    async with worker:
        engine.tasks.put_nowait({"tasks": [a_task(number, "wait") for number in range(4)]})
        await engine.wait_for("heartbeat", lambda heard: len(heard.body["current_tasks"]) == 4)
        gate.set()
        await results_of(engine, 4)
    # The worker has delivered everything before it ended.
    return await results_of(engine, 4)


async def test_tasks_of_one_answer_run_side_by_side(batching: FakeEngine, worker: Worker) -> None:
    """All of them are started; results that are ready together go together."""
    results = await together(batching, worker)

    assert {task_id: body["data"] for task_id, body in results.items()} == {f"t-{n}": n for n in range(4)}
    assert [len(heard.body["results"]) for heard in batching.of("results")] == [4]
    assert all(heard.body["worker_id"] == "w" for heard in batching.of("results"))


async def test_task_that_cannot_be_understood_spoils_no_other(batching: FakeEngine, worker: Worker) -> None:
    """Its neighbours are done."""
    async with echo_worker(worker):
        batching.tasks.put_nowait({"tasks": [{"task_id": "t-9"}, a_task(1)]})
        results = await results_of(batching, 1)

    assert results["t-1"]["data"] == 1


async def test_result_that_is_asked_for_again_is_sent_again(batching: FakeEngine, worker: Worker) -> None:
    """The others are not."""
    answers = {"answers": [{"status": "accepted"}, {"status": "again"}, *[{"status": "accepted"}] * 2]}

    await together(batching, worker, (200, answers))

    (many,) = batching.of("results")
    alone = [heard.body["task_id"] for heard in batching.of("result")]
    assert alone == [many.body["results"][1]["task_id"]]


async def test_result_that_is_refused_becomes_a_failure(batching: FakeEngine, worker: Worker) -> None:
    """The job learns that this result can never be taken."""
    answers = {"answers": [{"status": "refused", "error": "odd"}, *[{"status": "accepted"}] * 3]}

    await together(batching, worker, (200, answers))

    (alone,) = batching.of("result")
    replaced = alone.body
    assert (replaced["status"], replaced["error"]["code"]) == ("failure", "CONTRACT_VIOLATION_ERROR")


async def test_results_are_kept_when_the_connection_breaks(batching: FakeEngine, worker: Worker) -> None:
    """All of them are sent again."""
    await together(batching, worker, None)

    first, second = batching.of("results")
    assert {one["task_id"] for one in second.body["results"]} == {one["task_id"] for one in first.body["results"]}


@pytest.mark.parametrize("status", [404, 413])
async def test_results_go_alone_where_many_are_not_taken(batching: FakeEngine, worker: Worker, status: int) -> None:
    """An older engine may have taken the place of the one that announced it."""
    results = await together(batching, worker, (status, {"error": "no"}))

    assert len(results) == len(batching.of("result")) == 4


async def test_engine_that_announces_nothing_is_asked_for_one(engine: FakeEngine, worker: Worker) -> None:
    """The protocol's own poll and result, as other engines know them."""
    async with echo_worker(worker):
        for number in range(3):
            engine.tasks.put_nowait(a_task(number))
        await results_of(engine, 3)

    assert all("batch" not in heard.query for heard in engine.of("poll"))
    assert engine.of("results") == []


async def test_setting_turns_batches_off(batching: FakeEngine, worker: Worker) -> None:
    """Each alone, whatever the engine can do."""
    worker.configure(batch=1)

    async with echo_worker(worker):
        batching.tasks.put_nowait(a_task(1))
        await results_of(batching, 1)

    assert all("batch" not in heard.query for heard in batching.of("poll"))


class HeldTransport:
    """A connection to an engine that answers when it is told to."""

    def __init__(self) -> None:
        self.batch = 2
        self.sizes: list[int] = []
        self.gate = asyncio.Event()

    async def result(self, _text: str, _carrier: Any, _query: Any) -> Reply:
        """Takes one result."""
        self.sizes.append(1)
        await self.gate.wait()
        return Reply(200, {"status": "accepted"})

    async def results(self, text: str, _query: Any) -> Reply:
        """Takes many results."""
        number = len(json.loads(text)["results"])
        self.sizes.append(number)
        await self.gate.wait()
        return Reply(200, {"answers": [{"status": "accepted"}] * number})


class NoWishes:
    """Asks for nothing."""

    async def ask(self, send: Any, _number: int) -> Any:
        """Sends results."""
        return await send(None)


async def test_whole_bundle_does_not_wait_for_the_one_before() -> None:
    """Fewer results gather; and what comes when all are sent goes at once."""
    transport = HeldTransport()
    bundles = Bundles(transport, "w", FakeClock(), NoWishes())  # type: ignore[arg-type]
    sending = []
    sizes = []
    for _ in range(4):
        sending.append(asyncio.create_task(bundles.send("{}", {})))
        for _ in range(5):
            await asyncio.sleep(0)
        sizes.append(list(transport.sizes))
    transport.gate.set()
    replies = await asyncio.gather(*sending)
    last = await bundles.send("{}", {})
    await bundles.close()

    assert sizes == [[1], [1], [1, 2], [1, 2]]
    assert [reply.status for reply in (*replies, last)] == [200] * 5
    assert sorted(transport.sizes) == [1, 1, 1, 2]
