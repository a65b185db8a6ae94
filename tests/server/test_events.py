"""Server-sent events: what happens to the caller's jobs, as it happens."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass

import aiohttp
import pytest

from avtomatika.client.streaming import Event, Reader
from avtomatika.core.job import Client
from avtomatika.server import events as events_module
from avtomatika.server.events import KEEP_ALIVE_SECONDS
from avtomatika.server.keys import CLIENT_TOKENS_KEY, FEED_KEY, JOBS_KEY, STORAGE_KEY
from avtomatika.storage.base import Progress

from .conftest import CLIENT, OTHER, Api, until


@dataclass
class Stream:
    """An open stream."""

    response: aiohttp.ClientResponse
    reader: Reader

    async def line(self) -> bytes:
        """Returns the next line; empty at the end of the stream."""
        async with asyncio.timeout(30):
            return await self.response.content.readline()

    async def next(self) -> Event:
        """Returns the next event."""
        while line := await self.line():
            if event := self.reader.read(line):
                return event
        raise EOFError

    async def until_end(self) -> list[Event]:
        """Returns the events up to the end of a job."""
        events = [await self.next()]
        while events[-1].data.get("status") not in {"finished", "failed", "cancelled"}:
            events.append(await self.next())
        return events


@contextlib.asynccontextmanager
async def opened(api: Api, query: str = "", *, token: str = CLIENT, last_id: str = "") -> AsyncIterator[Stream]:
    """Opens a stream and reads its first event."""
    headers = {"X-Client-Token": token} | ({"Last-Event-ID": last_id} if last_id else {})
    async with api.http.get(f"{api.origin}/api/v1/events{query}", headers=headers) as response:
        assert (response.status, response.content_type) == (200, "text/event-stream")
        stream = Stream(response, Reader(last_id))
        assert (await stream.next()).type == "hello"
        yield stream


async def test_stream_tells_status_and_state_of_every_step(api: Api) -> None:
    """Each step of a job is one event, in order; the last one is its end."""
    async with opened(api) as stream:
        job_id = await api.submit()
        told = await stream.until_end()

    assert {event.type for event in told} == {"job"}
    assert {event.data["job_id"] for event in told} == {job_id}
    assert [event.data["version"] for event in told] == list(range(1, len(told) + 1))
    job = await api.job(job_id)
    names = ("blueprint_name", "status", "current_state", "progress", "updated_at", "version")
    assert {name: told[-1].data[name] for name in names} == {name: job[name] for name in names}


async def test_stream_tells_progress(api: Api) -> None:
    """What a worker reports comes at once, without an id of its own."""
    job_id = await api.submit("/api/v2/shop/orders")
    task = await api.take()
    async with opened(api, f"?job_id={job_id}") as stream:
        await api.engine.app[STORAGE_KEY].put_progress(
            job_id, Progress(0.4, "m" * 5000, task["task_id"], api.clock.now())
        )
        event = await stream.next()

    assert (event.type, event.data["job_id"], event.data["progress"]) == ("progress", job_id, 0.4)
    assert event.data["progress_message"] == "m" * 1000


async def test_stream_tells_nothing_of_other_clients(api: Api) -> None:
    """A client hears of its own jobs only."""
    async with opened(api) as stream:
        await api.submit(token=OTHER)
        mine = await api.submit()
        told = await stream.until_end()

    assert {event.data["job_id"] for event in told} == {mine}


async def test_stream_goes_on_where_it_broke(api: Api) -> None:
    """With the id of the last event, nothing is missing and nothing comes twice, on a new connection."""
    whole: list[Event] = []
    async with opened(api) as witness:
        first = await api.submit()
        whole += await witness.until_end()
        second = await api.submit()
        whole += await witness.until_end()
    for place in (0, 1, len(whole) - 2):
        async with opened(api, last_id=whole[place].id) as stream:
            rest = [await stream.next() for _ in whole[place + 1 :]]
        assert rest == whole[place + 1 :]
    assert {event.data["job_id"] for event in whole} == {first, second}


async def test_stream_can_go_on_without_a_header(api: Api) -> None:
    """Who cannot send the header says it in the query."""
    async with opened(api) as stream:
        await api.submit()
        told = await stream.until_end()
    async with opened(api, f"?last_event_id={told[0].id}") as stream:
        assert (await stream.next()).id == told[1].id


async def test_stream_from_a_forgotten_place_says_reset(api: Api) -> None:
    """Whoever was away too long is told to look at the jobs anew."""
    async with opened(api) as stream:
        await api.submit()
        told = await stream.until_end()
    await api.clock.advance(7200)

    async with opened(api, last_id=told[0].id) as stream:
        event = await stream.next()
        await api.submit()
        after = await stream.until_end()

    assert event.type == "reset"
    assert "look at the jobs anew" in event.data["reason"].lower()
    assert after[0].data["version"] == 1


async def test_quiet_stream_is_kept_alive_and_moves_on(api: Api) -> None:
    """A comment every 15 seconds, with an id that lets the stream be resumed after hours of silence."""
    async with opened(api, "?blueprint=nothing") as stream:
        begin = stream.reader.last_id
        await api.until(await api.submit(), "finished")
        await until(lambda: api.engine.app[FEED_KEY]._position > int(begin))
        await api.clock.advance(KEEP_ALIVE_SECONDS)
        lines = [await stream.line() for _ in range(3)]

    assert lines[0] == b": keep-alive\n"
    assert int(lines[1].removeprefix(b"id: ")) > int(begin)
    assert lines[2] == b"\n"


async def test_reader_that_takes_nothing_is_cut_off(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that is stuck does not live for ever; what it was told is bounded by the kernel's buffers."""
    monkeypatch.setattr(events_module, "_STUCK_SECONDS", 0.05)
    monkeypatch.setattr(events_module, "_text", lambda told: f"data: {'x' * 1_000_000}\n\n")
    _, writer = await asyncio.open_connection("127.0.0.1", api.engine.port, limit=1024)
    writer.write(f"GET /api/v1/events HTTP/1.1\r\nHost: x\r\nX-Client-Token: {CLIENT}\r\n\r\n".encode())
    await until(lambda: api.engine.app[FEED_KEY].count("default") == 1)

    for _ in range(20):
        await api.submit()

    await until(lambda: api.engine.app[FEED_KEY].count("default") == 0)
    writer.close()


async def test_streams_of_one_client_are_limited(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit the answer is 429; another client is not concerned."""
    monkeypatch.setattr(events_module, "_MAX_STREAMS", 1)
    async with opened(api):
        refused = await api.get("/api/v1/events")
        async with opened(api, token=OTHER):
            pass

    assert (refused.status, refused.body["code"]) == (429, "too_many_streams")
    assert refused.headers["Retry-After"] == "15"


async def test_stream_that_was_left_leaves_nothing(api: Api) -> None:
    """A reader that hung up is noticed when it is told something, at the latest with the next keep-alive."""
    async with opened(api):
        assert api.engine.app[FEED_KEY].count("default") == 1
    async with asyncio.timeout(30):
        while api.engine.app[FEED_KEY].count("default"):
            await api.clock.advance(KEEP_ALIVE_SECONDS)


@pytest.mark.parametrize(
    ("query", "headers", "code"),
    [
        ("", {"Last-Event-ID": "abc"}, "invalid_header"),
        ("", {"Last-Event-ID": "1" * 30}, "invalid_header"),
        ("?last_event_id=-1", {}, "invalid_header"),
        ("?" + "&".join(f"job_id={n}" for n in range(101)), {}, "invalid_query"),
    ],
)
async def test_wrong_question_is_refused(api: Api, query: str, headers: dict[str, str], code: str) -> None:
    """Before the stream begins, a mistake is an error like any other."""
    answer = await api.get(f"/api/v1/events{query}", headers=headers)

    assert (answer.status, answer.body["code"]) == (400, code)


async def test_head_opens_no_stream(api: Api) -> None:
    """HEAD answers at once, with the headers of the stream."""
    answer = await api.call("HEAD", "/api/v1/events")

    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    assert api.engine.app[FEED_KEY].count("default") == 0


async def test_stream_ends_when_the_engine_stops(api: Api) -> None:
    """An open stream does not delay the stop; it ends as a stream should."""
    async with opened(api) as stream:
        stopping = asyncio.create_task(api.engine.stop())
        while await stream.line():
            pass
        await stopping


async def test_branches_are_told_as_they_end(api: Api) -> None:
    """Of parallel tasks, the progress is how many have ended."""
    job_id = await api.submit("/api/v1/fan")
    task = await api.take()
    async with opened(api) as stream:
        await api.result(task, status="success")
        event = await stream.next()

    assert event.data["progress"] == 0.5
    assert event.data["progress_message"] == "1 of 2 parallel tasks ended"
    assert json.dumps(dict(event.data)).count(job_id) == 1
    assert (await api.engine.app[JOBS_KEY].get(job_id)).fan_out is not None


async def test_streams_of_two_clients_of_one_name_are_one(api: Api) -> None:
    """A second token of a client sees the same jobs."""
    api.engine.app[CLIENT_TOKENS_KEY].add("second", Client("default"))
    async with opened(api, token="second") as stream:
        job_id = await api.submit()
        assert (await stream.until_end())[-1].data["job_id"] == job_id
