"""Many tasks and results at a time, for the SDK of this engine."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import ClientError

from avtomatika.errors import StorageError
from avtomatika.protocol.tasks import parse_task
from avtomatika.server.keys import WORKERS_KEY

from .conftest import Answer, Api, hung_up
from .worker_wire import golden, order, result_of, send, skills_of


async def poll_many(api: Api, limit: object, seconds: float = 1) -> Answer:
    """Asks for tasks as a worker that knows of batches."""
    path = f"/_worker/workers/w1/tasks/next?timeout={seconds}&available_skills=work&batch={limit}"
    return await send(api, "GET", path)


async def test_poll_for_many_brings_them_in_one_answer(api: Api) -> None:
    """Up to the number that was asked for; each is what it would be alone."""
    await send(api, "POST", "/_worker/workers/register", golden("g4_register", worker_id="w1", **skills_of("g4")))
    jobs = [await order(api, n=number) for number in range(3)]

    two, one = await poll_many(api, 2), await poll_many(api, 64)

    assert [(task["job_id"], task["params"]) for task in two.body["tasks"]] == [
        (jobs[0], {"n": 0}),
        (jobs[1], {"n": 1}),
    ]
    assert [parse_task(task).job_id for task in one.body["tasks"]] == jobs[2:]


@pytest.mark.parametrize("limit", ["0", "-1", "x", "1.5", ""])
async def test_poll_with_an_odd_number_is_a_poll_for_one(api: Api, limit: str) -> None:
    """What cannot be read counts as not said, as everywhere in a poll."""
    job_id = await order(api)

    assert (await poll_many(api, limit)).body["job_id"] == job_id


async def test_many_results_are_answered_one_by_one(api: Api) -> None:
    """What is wrong with one of them is no matter of the others; sent again, they are accepted again."""
    jobs = [await order(api, n=number) for number in range(2)]
    tasks = (await poll_many(api, 5)).body["tasks"]
    results = [
        result_of("g4", tasks[0], "w1"),
        {"job_id": "j", "status": "success"},
        result_of("g4", {"job_id": "j", "task_id": "t-1"}, "w1"),
        result_of("g4", tasks[1], "w2"),
        result_of("g4", tasks[1], "w1"),
    ]
    body = {"worker_id": "w1", "results": results}

    first = await send(api, "POST", "/_worker/tasks/results", body)
    second = await send(api, "POST", "/_worker/tasks/results", body)

    statuses = ["accepted", "refused", "ignored", "ignored", "accepted"]
    assert [answer["status"] for answer in first.body["answers"]] == statuses
    assert [answer["status"] for answer in second.body["answers"]] == statuses
    assert first.body["answers"][3]["reason"] == "worker_mismatch"
    for job_id in jobs:
        assert (await api.until(job_id, "finished"))["status"] == "finished"


async def test_result_of_many_that_cannot_be_written_is_asked_for_again(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others count meanwhile."""
    jobs = [await order(api, n=number) for number in range(2)]
    tasks = (await poll_many(api, 5)).body["tasks"]
    workers = api.engine.app[WORKERS_KEY]
    real = workers.result

    async def fail_once(result: Any, worker_id: str) -> Any:
        if result.task_id == tasks[0]["task_id"]:
            raise StorageError("gone for a moment")
        return await real(result, worker_id)

    monkeypatch.setattr(workers, "result", fail_once)
    body = {"worker_id": "w1", "results": [result_of("g4", task, "w1") for task in tasks]}
    first = await send(api, "POST", "/_worker/tasks/results", body)
    monkeypatch.setattr(workers, "result", real)
    second = await send(api, "POST", "/_worker/tasks/results", body)

    assert [answer["status"] for answer in first.body["answers"]] == ["again", "accepted"]
    assert [answer["status"] for answer in second.body["answers"]] == ["accepted", "accepted"]
    await api.until(jobs[0], "finished")


@pytest.mark.parametrize("results", [None, {}, [{}] * 65], ids=["none", "object", "too many"])
async def test_many_results_that_are_no_list_are_refused(api: Api, results: Any) -> None:
    """An error of the sender, which only our own SDK can be."""
    answer = await send(api, "POST", "/_worker/tasks/results", {"worker_id": "w1", "results": results})

    assert (answer.status, "must be a list" in answer.body["error"]) == (400, True)


async def test_many_tasks_go_back_when_the_worker_hangs_up(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """None of them waits for the end of its lease."""
    for number in range(2):
        await order(api, n=number)

    with hung_up(monkeypatch, b"tasks"), pytest.raises(ClientError):
        await poll_many(api, 5)

    assert len((await poll_many(api, 5)).body["tasks"]) == 2
