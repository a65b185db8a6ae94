"""Server-sent events: what happens to the caller's jobs, as it happens."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from aiohttp import web

from avtomatika.errors import StorageError
from avtomatika.protocol.codec import dumps
from avtomatika.runtime.feed import Choice, Follower, Missed, Progressed, Told
from avtomatika.server.bodies import RequestError
from avtomatika.server.keys import CLIENT_KEY, FEED_KEY, SETTINGS_KEY
from avtomatika.server.views import change_view
from avtomatika.storage.base import Change

log = logging.getLogger(__name__)

KEEP_ALIVE_SECONDS = 15.0
"""How long a stream is silent at most: proxies cut connections that are idle for 30 to 60 seconds."""
_MAX_STREAMS = 100  # of one client at one engine
_MAX_JOB_IDS = 100
# A consumer that takes nothing for so long is gone, or will not catch up; it may come back and go on.
_STUCK_SECONDS = 60.0
_RETRY_MS = 2000
_MAX_MESSAGE = 1000  # characters: readers limit the length of a line
_TYPE = "text/event-stream"


async def stream(request: web.Request) -> web.StreamResponse:
    """``GET /api/v1/events``: a stream that ends only when one of the two sides hangs up."""
    feed, client = request.app[FEED_KEY], request[CLIENT_KEY]
    after = _last_event_id(request)
    choice = Choice(client.name, _job_ids(request), request.query.get("blueprint", ""))
    if request.method == "HEAD":
        return web.Response(content_type=_TYPE, charset="utf-8")
    if feed.count(client.name) >= _MAX_STREAMS:
        raise RequestError(
            429,
            "too_many_streams",
            f"this client has {_MAX_STREAMS} streams of events open at this engine; close one, or follow several jobs "
            "with one stream.",
            retry_after=KEEP_ALIVE_SECONDS,
        )
    follower = await feed.follow(choice, after)
    try:
        return await _tell(request, follower)
    finally:
        feed.leave(follower)


async def _tell(request: web.Request, follower: Follower) -> web.StreamResponse:
    response = web.StreamResponse(
        headers={"Content-Type": f"{_TYPE}; charset=utf-8", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    )
    await response.prepare(request)
    hello = {"instance_id": request.app[SETTINGS_KEY].instance_id}
    text = f"retry: {_RETRY_MS}\n" + _event("hello", hello, follower.position)
    try:
        while True:
            async with asyncio.timeout(_STUCK_SECONDS):
                await response.write(text.encode())
            told = await follower.next(KEEP_ALIVE_SECONDS)
            if follower.is_closed:
                break
            # An id without data is no event, but is remembered by whoever reads: so a stream on which nothing happens
            # does not fall out of the log.
            text = "".join(map(_text, told)) or f": keep-alive\nid: {follower.position}\n\n"
    except TimeoutError:
        log.info("a reader of events takes nothing; it is cut off", extra={"action": "events_stuck"})
        if request.transport is not None:
            request.transport.abort()
    except StorageError as error:
        # Whoever reads comes back and goes on, here or at another engine.
        log.warning("a stream of events ends early: %s", error, extra={"action": "events_failed"})
    except ConnectionError:
        pass  # it hung up
    return response


def _text(told: Told) -> str:
    match told:
        case Change():
            return _event("job", change_view(told), told.position)
        case Progressed(job_id, progress):
            data = {
                "job_id": job_id,
                "progress": progress.value,
                "progress_message": progress.message[:_MAX_MESSAGE] or None,
            }
            return _event("progress", data)
        case Missed(position):
            reason = "events are missing here: they are kept for an hour at most. Look at the jobs anew."
            return _event("reset", {"reason": reason}, position)


def _event(kind: str, data: dict[str, Any], position: int | None = None) -> str:
    number = "" if position is None else f"id: {position}\n"
    return f"{number}event: {kind}\ndata: {dumps(data)}\n\n"


def _last_event_id(request: web.Request) -> int | None:
    """Returns where to go on; the header is what browsers send, the parameter is for whoever cannot send one."""
    text = request.headers.get("Last-Event-ID") or request.query.get("last_event_id")
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 20):
        raise RequestError(
            400, "invalid_header", "Last-Event-ID must be the id of an event of this stream; leave it out to begin now."
        )
    return int(text)


def _job_ids(request: web.Request) -> frozenset[str]:
    ids = frozenset(request.query.getall("job_id", []))
    if len(ids) > _MAX_JOB_IDS:
        raise RequestError(
            400,
            "invalid_query",
            f"{len(ids)} job_ids are given; at most {_MAX_JOB_IDS} are allowed. Without any, all jobs are told.",
        )
    return ids
