"""Results whose answer brings the tasks that wait, for the SDK of this engine."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import ClientError

from avtomatika.errors import StorageError
from avtomatika.protocol.tasks import parse_task
from avtomatika.server.keys import DISPATCHER_KEY

from .conftest import WORKER, Answer, Api, hung_up

WISH = "?batch=1&available_skills=work&hot_skills="


async def order(api: Api, **params: Any) -> str:
    """Creates a job and returns its id when its task waits."""
    job_id = await api.submit("/api/v2/shop/orders", {"params": params})
    await api.until(job_id, "waiting_for_worker")
    return job_id


def success(task: dict[str, Any]) -> dict[str, Any]:
    """The result of a task."""
    return {"job_id": task["job_id"], "task_id": task["task_id"], "worker_id": "w1", "status": "success", "data": {}}


async def tell(api: Api, task: dict[str, Any], wish: str = WISH) -> Answer:
    """Sends the result of a task with a wish that is fulfilled at once."""
    return await api.call("POST", f"/_worker/tasks/result{wish}", success(task), token=WORKER)


async def tell_in_vain(api: Api, task: dict[str, Any], wish: str = WISH) -> Answer:
    """Sends the result of a task with a wish for which nothing comes."""
    answer = asyncio.create_task(tell(api, task, wish))
    await api.until_parked()
    await api.clock.advance(0.01)
    return await answer


async def tell_many(api: Api, tasks: list[dict[str, Any]], wish: str) -> Answer:
    """Sends the results of tasks with a wish."""
    body = {"worker_id": "w1", "results": [success(task) for task in tasks]}
    return await api.call("POST", f"/_worker/tasks/results{wish}", body, token=WORKER)


async def test_answer_to_a_result_brings_the_task_that_waits(api: Api) -> None:
    """It is what a poll would have brought, and its result counts."""
    jobs = [await order(api, n=number) for number in range(2)]
    first = await api.take()

    answer = await tell(api, first)
    (second,) = answer.body["tasks"]
    last = await tell_in_vain(api, second)

    assert answer.body["status"] == "accepted"
    assert (parse_task(second).job_id, second["params"]) == (jobs[1], {"n": 1})
    assert last.body == {"status": "accepted"}
    for job_id in jobs:
        await api.until(job_id, "finished")


async def test_answer_brings_no_more_than_was_asked_for(api: Api) -> None:
    """The others are there for the next one."""
    for number in range(4):
        await order(api, n=number)
    first = await api.take()

    two = (await tell(api, first, "?batch=2&available_skills=work")).body["tasks"]
    rest = (await tell_many(api, two, "?batch=9&available_skills=work")).body

    assert [answer["status"] for answer in rest["answers"]] == ["accepted", "accepted"]
    assert [task["params"] for task in two + rest["tasks"]] == [{"n": number} for number in (1, 2, 3)]


@pytest.mark.parametrize(
    "wish",
    ["", "?batch=0", "?batch=x", "?available_skills=work"],
    ids=["none", "no number", "odd", "no number at all"],
)
async def test_result_without_a_wish_brings_nothing(api: Api, wish: str) -> None:
    """Published workers ask for nothing, and would lose what came."""
    await order(api)
    await order(api)
    first = await api.take()

    answer = await tell(api, first, wish)

    assert answer.body == {"status": "accepted"}
    assert (await api.take())["type"] == "work"


async def test_wish_brings_only_what_the_worker_can_start(api: Api) -> None:
    """As in a poll."""
    await order(api)
    await order(api)
    first = await api.take()

    answer = await tell_in_vain(api, first, "?batch=1&available_skills=other")

    assert answer.body == {"status": "accepted"}
    assert (await api.take())["type"] == "work"


async def test_next_step_of_a_job_comes_with_the_answer_to_its_result(api: Api) -> None:
    """The handler between two tasks is quick: the worker need not ask again."""
    job_id = await api.submit("/api/v1/relay")
    first = await api.take()

    answer = await tell(api, first)

    (second,) = answer.body["tasks"]
    assert (second["job_id"], second["params"]) == (job_id, {"leg": 2})


async def test_result_that_changes_nothing_brings_nothing(api: Api) -> None:
    """Only work that was done is worth a look for more, or anybody could ask without end."""
    await order(api)
    invented = {"job_id": "j", "task_id": "t-1", "type": "work"}

    alone = await tell(api, invented)
    together = await tell_many(api, [invented], WISH)

    assert alone.body["status"] == "ignored"
    assert set(alone.body) == {"status", "reason", "message"}
    assert list(together.body) == ["answers"]


async def test_result_counts_though_no_task_can_go_with_its_answer(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker would send it again for ever."""
    await order(api)
    await order(api)
    first = await api.take()

    async def fail(*_args: Any, **_options: Any) -> Any:
        raise StorageError("down")

    with monkeypatch.context() as patch:
        patch.setattr(api.engine.app[DISPATCHER_KEY], "next_tasks", fail)
        answer = await tell(api, first)

    assert (answer.status, answer.body) == (200, {"status": "accepted"})
    assert (await api.take())["type"] == "work"


async def test_task_goes_back_when_the_worker_hangs_up_at_its_result(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not wait for the end of its lease, and the result counts."""
    done = await order(api)
    await order(api)
    first = await api.take()
    with hung_up(monkeypatch, b'"tasks"'), pytest.raises(ClientError):
        await tell(api, first)

    await api.until(done, "finished")
    assert (await api.take())["type"] == "work"


async def test_worker_that_asks_too_often_gets_nothing_with_its_result(start_api: Any) -> None:
    """The limit of its empty polls holds here as well, and the result counts all the same."""
    api = await start_api(RATE_LIMIT_POLL_LIMIT=1)
    await order(api)
    first = await api.take()
    for _ in range(2):
        await api.poll(query="?timeout=0&available_skills=other")
    await order(api)

    answer = await tell(api, first)

    assert answer.body == {"status": "accepted"}
