"""Polls over raw HTTP: held until there is a task, and never answered so that a worker asks again at once."""

from __future__ import annotations

import asyncio

import pytest

from avtomatika.errors import StorageError
from avtomatika.protocol.tasks import parse_task
from avtomatika.server.keys import DISPATCHER_KEY, STORAGE_KEY, WORKERS_KEY

from .conftest import Api, until
from .worker_wire import order


async def test_task_has_every_member_in_the_type_that_workers_need(api: Api) -> None:
    """One wrong member would stop some worker for ever."""
    job_id = await order(api, w=64, nested={"list": [1, None]})
    await api.register()

    answer = await api.poll()

    task = answer.body
    assert answer.headers["Content-Type"].startswith("application/json")
    assert task["job_id"] == job_id
    assert task["type"] == "work"
    assert task["params"] == {"w": 64, "nested": {"list": [1, None]}}
    assert task["tracing_context"] == {}
    assert task["task_id"].replace("-", "").replace("_", "").isalnum()
    assert len(task["task_id"]) <= 128
    assert isinstance(task["priority"], int | float)
    assert "deadline" not in task or isinstance(task["deadline"], int)
    assert parse_task(task).task_id == task["task_id"]


async def test_poll_is_held_until_a_task_comes(api: Api) -> None:
    """An open poll is answered at once when there is something to do."""
    await api.register()
    poll = asyncio.create_task(api.poll())
    await api.until_parked()

    job_id = await order(api)

    assert (await poll).body["job_id"] == job_id


async def test_poll_without_a_task_is_answered_204_when_its_time_is_over(api: Api) -> None:
    """Held for the engine's thirty seconds, then nothing: 204 without a body, never null."""
    await api.register()
    poll = asyncio.create_task(api.poll())
    await api.until_parked()
    await api.clock.advance(29)
    await api.until_parked()
    await api.clock.advance(1)

    answer = await poll

    assert (answer.status, answer.body) == (204, "")


async def test_poll_is_held_no_longer_than_the_worker_waits(api: Api) -> None:
    """Newer workers say how long; a longer wish than the engine's is not granted."""
    await api.register()
    short = asyncio.create_task(api.poll(query="?timeout=10&available_skills=work&hot_skills="))
    long = asyncio.create_task(api.poll(query="?timeout=300.0&available_skills=work"))
    await api.until_parked(2)
    await api.clock.advance(10)
    await api.until_parked(1)
    await api.clock.advance(20)

    assert [(await short).status, (await long).status] == [204, 204]


async def test_poll_of_an_unknown_worker_is_held_once(api: Api) -> None:
    """Finding out who asks and waiting for a task share one time: the worker hangs up when it is over."""
    poll = asyncio.create_task(api.poll("w9"))
    await until(lambda: bool(api.engine.app[WORKERS_KEY]._unknown))
    await api.clock.advance(25)
    await api.register("w9")
    await api.until_parked()
    await api.clock.advance(5)

    assert (await asyncio.wait_for(poll, 30)).status == 204


async def test_quiet_worker_hears_in_the_answer_to_its_poll_that_it_was_forgotten(api: Api) -> None:
    """It sends no heartbeat whose answer could say so; one that is known, or not quiet, gets the usual answer."""
    await api.register("w1", skills_hash="5f0c")
    query = "?available_skills=work&quiet="
    asked = (("w1", f"{query}5f0c"), ("w8", query), ("w9", f"{query}5f0c"))
    polls = [asyncio.create_task(api.poll(*one)) for one in asked]
    await api.until_parked(2)
    await until(lambda: bool(api.engine.app[WORKERS_KEY]._unknown))
    await api.clock.advance(30)

    known, loud, unknown = [await poll for poll in polls]

    assert (known.status, loud.status) == (204, 204)
    assert (unknown.status, unknown.body) == (200, {"tasks": [], "require_full_sync": True})


@pytest.mark.parametrize("query", ["?timeout=soon", "?timeout=-5", "?timeout=nan", "?nonsense=1"])
async def test_odd_query_of_a_poll_is_forgiven(api: Api, query: str) -> None:
    """What cannot be read counts as not said; an error would make old workers ask a hundred times a second."""
    await order(api)
    await api.register()

    assert (await api.poll(query=query)).status == 200


async def test_worker_that_hung_up_gets_no_task(api: Api) -> None:
    """The task goes to the next poll, at once and as never handed out."""
    await api.register("w1")
    await api.register("w2")
    gone = asyncio.create_task(api.poll("w1"))
    await api.until_parked()
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    # The server has noticed when its side of the connection is closed.
    await until(lambda: all(poll.is_gone() for poll in api.engine.app[DISPATCHER_KEY]._parked["work"]))
    job_id = await order(api)

    task = (await api.poll("w2")).body

    assert task["job_id"] == job_id
    rows = (await api.get(f"/api/v1/jobs/{job_id}/history")).body
    assert [row["worker_id"] for row in rows if row["event_type"] == "task_started"] == ["w2"]


async def test_poll_in_trouble_is_held_and_answered_204(
    api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A storage that is away must not make old workers ask a hundred times a second."""
    await api.register()

    async def fail() -> None:
        raise StorageError("down")

    monkeypatch.setattr(api.engine.app[STORAGE_KEY], "list_queues", fail)
    poll = asyncio.create_task(api.poll())
    await until(lambda: "a poll failed" in caplog.text)
    assert not poll.done()
    await api.clock.advance(5)

    assert (await poll).status == 204
