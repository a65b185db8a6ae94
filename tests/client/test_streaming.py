"""Following a stream of events: how it is read, and what both clients do when it breaks."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from avtomatika.client import AsyncClient, Client, Event
from avtomatika.client.streaming import Reader, Reconnecting
from avtomatika.errors import AuthError, ClientError, ConnectionFailedError

STREAM = "GET /api/v1/events"


def read(text: str, reader: Reader | None = None) -> list[Event]:
    """Returns the events in a text."""
    reader = reader or Reader()
    return [event for line in text.encode().splitlines(keepends=True) if (event := reader.read(line))]


def test_event_is_read_with_type_data_and_id() -> None:
    """The three fields of an event, in any order, ended by an empty line."""
    assert read('data: {"n": 1}\nevent: job\nid: 7\n\n') == [Event("job", {"n": 1}, "7")]
    assert read('id:7\nevent:job\r\ndata:{"n":\r\ndata:1}\r\n\r\n') == [Event("job", {"n": 1}, "7")]


def test_event_without_id_keeps_the_last_one() -> None:
    """Progress has no place of its own: whoever goes on after it goes on after the last change."""
    events = read("id: 7\nevent: job\ndata: {}\n\nevent: progress\ndata: {}\n\n")

    assert [event.id for event in events] == ["7", "7"]


def test_comment_is_no_event_and_an_id_without_data_is_remembered() -> None:
    """A keep-alive moves the place on from which the stream is resumed."""
    reader = Reader("3")

    assert read(": keep-alive\nid: 9\n\nretry: 2000\n", reader) == []
    assert reader.last_id == "9"


def test_id_of_a_broken_event_is_not_remembered() -> None:
    """An event that did not arrive whole is asked for again."""
    reader = Reader("3")

    assert read('id: 9\nevent: job\ndata: {"n"', reader) == []
    assert reader.last_id == "3"


@pytest.mark.parametrize("data", ["no json", "[1]"])
def test_event_that_makes_no_sense_is_an_error(data: str) -> None:
    """What answers is no engine; it is said."""
    with pytest.raises(ClientError):
        read(f"data: {data}\n\n")


def test_pause_grows_until_a_connection_stands() -> None:
    """An engine that is away is not stormed, one that ended the stream is asked again at once."""
    again, error = Reconnecting(60), ConnectionFailedError("http://x", "gone")
    again.stands()

    pauses = [again.next_pause(100.0 + n, error) for n in range(7)]
    again.stands()

    assert pauses == sorted(pauses)
    assert pauses[-1] == 5.0
    assert again.next_pause(200.0, None) == pauses[0]


def test_patience_ends() -> None:
    """Without any engine for so long, the last error is raised."""
    again, error = Reconnecting(60), ConnectionFailedError("http://x", "gone")
    again.stands()
    again.next_pause(100.0, error)
    again.next_pause(159.0, error)

    with pytest.raises(ConnectionFailedError):
        again.next_pause(160.0, error)


def test_no_engine_from_the_start_is_not_waited_for() -> None:
    """A wrong address is said at once."""
    with pytest.raises(ConnectionFailedError):
        Reconnecting(60).next_pause(0.0, ConnectionFailedError("http://x", "nobody"))


def tells(*parts: str, breaks: bool = False) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Returns an answer that is a stream, and ends or breaks after its last part."""

    async def respond(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        for part in parts:
            await response.write(part.encode())
        if breaks:
            assert request.transport is not None
            request.transport.abort()
        return response

    return respond


async def test_stream_that_breaks_goes_on_where_it_broke(api: Any, call: Any) -> None:
    """The next connection names the last event that was seen, whoever ended the one before."""
    api.responds(
        STREAM, tells('id: 1\nevent: hello\ndata: {}\n\nid: 2\nevent: job\ndata: {"n": 2}\n\nid: 3\nda', breaks=True)
    )
    api.responds(STREAM, tells('id: 3\nevent: job\ndata: {"n": 3}\n\n', ": keep-alive\nid: 8\n\n"))
    api.responds(STREAM, tells('id: 9\nevent: job\ndata: {"n": 9}\n\n'))

    events = await call.changes(4, "0", job_ids=["a b", "c"], blueprint="orders")

    assert [(event.type, event.id) for event in events] == [("hello", "1"), ("job", "2"), ("job", "3"), ("job", "9")]
    assert [seen.headers["Last-Event-ID"] for seen in api.seen] == ["0", "2", "8"]
    assert all(seen.query["blueprint"] == "orders" for seen in api.seen)


async def test_stream_begins_now_without_an_id(api: Any, call: Any) -> None:
    """Nothing is claimed to have been seen."""
    api.responds(STREAM, tells("id: 1\nevent: hello\ndata: {}\n\n"))

    await call.changes(1)

    assert "Last-Event-ID" not in api.seen[0].headers


async def test_refusal_is_an_error_like_any_other(api: Any, call: Any) -> None:
    """A wrong token, a wrong question and something that is no stream are not tried again."""
    api.answers(STREAM, {"error": "the token is wrong", "code": "unauthorized"}, 401)
    api.answers(STREAM, {"error": "too many", "code": "too_many_streams"}, 429)
    api.answers(STREAM, {"hello": "world"})

    with pytest.raises(AuthError, match="the token is wrong"):
        await call.changes(1)
    with pytest.raises(ClientError, match="too many"):
        await call.changes(1)
    with pytest.raises(ClientError, match="is this an avtomatika engine"):
        await call.changes(1)
    assert len(api.seen) == 3


@pytest.mark.parametrize("kind", [AsyncClient, Client])
async def test_no_engine_at_all_is_said_at_once(kind: Any, both_clients: Any) -> None:
    """The address is wrong: waiting would not help."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    client = kind(f"http://127.0.0.1:{port}", "t")
    with pytest.raises(ConnectionFailedError):
        await both_clients(client).changes(1)
    if isinstance(client, AsyncClient):
        await client.close()


async def test_left_loop_closes_the_connection(api: Any) -> None:
    """Who breaks the loop leaves nothing open behind it."""
    gone = asyncio.Event()

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        try:
            while True:
                await response.write(b"id: 1\nevent: job\ndata: {}\n\n")
                await asyncio.sleep(0)
        finally:
            gone.set()

    api.responds(STREAM, endless)

    async with AsyncClient(api.url, "t") as client:
        events = client.changes()
        async for _ in events:
            break
        await events.aclose()
        async with asyncio.timeout(30):
            await gone.wait()
