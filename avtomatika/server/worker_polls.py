"""The long poll of workers: held until there is a task, and answered with an error only where that does no harm."""

from __future__ import annotations

import logging

from aiohttp import web

from avtomatika.log_context import log_context
from avtomatika.protocol.batches import MOST, encode_tasks
from avtomatika.protocol.polls import POLL_GRACE, Poll, parse_poll, waits_when_refused
from avtomatika.protocol.quiet import forgotten
from avtomatika.server.bodies import RequestError, answer
from avtomatika.server.handing_out import hand_out, is_gone, written
from avtomatika.server.keys import DISPATCHER_KEY, LIMITER_KEY, SETTINGS_KEY, STORAGE_KEY, WORKERS_KEY
from avtomatika.server.middleware.calm import HELD_SECONDS
from avtomatika.server.senders import sender

log = logging.getLogger(__name__)


async def next_task(request: web.Request) -> web.StreamResponse:
    """``GET /_worker/workers/{worker_id}/tasks/next``: a task, or 204 after the poll's time."""
    worker_id = sender(request)
    poll = parse_poll(request.rel_url.raw_query_string)
    seconds = request.app[SETTINGS_KEY].poll_timeout
    if poll.timeout is not None:
        seconds = min(seconds, poll.timeout)
    try:
        with log_context(worker_id=worker_id), request.app[LIMITER_KEY].poll(worker_id):
            seconds = await _held_off(request, worker_id, seconds, poll.timeout)
            return await _hold(request, worker_id, poll, seconds)
    except (RequestError, web.HTTPException):
        raise
    except Exception:
        log.exception("a poll failed", extra={"action": "poll_failed", "worker_id": worker_id})
        await request.app[WORKERS_KEY].pause(min(seconds, HELD_SECONDS))
        return web.Response(status=204)


async def _held_off(request: web.Request, worker_id: str, seconds: float, told: float | None) -> float:
    """Returns how long to hold a poll: as long as the worker waits if it has asked too often for nothing.

    Raises:
        RequestError: it has, and it waits when it is told to (429); the others would ask a hundred times a second.
    """
    limiter = request.app[LIMITER_KEY]
    if not await limiter.polls_too_often(worker_id):
        return seconds
    if waits_when_refused(request.headers):
        raise await limiter.refuse_poll(worker_id)
    limiter.note_held()
    if told is None:
        return seconds
    return min(told + POLL_GRACE, request.app[SETTINGS_KEY].poll_timeout)


async def _hold(request: web.Request, worker_id: str, poll: Poll, seconds: float) -> web.StreamResponse:
    workers, dispatcher = request.app[WORKERS_KEY], request.app[DISPATCHER_KEY]
    began = await request.app[STORAGE_KEY].now()
    worker = await workers.poller(worker_id, poll, seconds)
    if worker is None:
        return await _nothing(request, worker_id, poll)
    # What was spent on finding out who asks is not granted twice: the worker hangs up when its own time is over.
    seconds -= await request.app[STORAGE_KEY].now() - began
    limit = min(poll.limit or 1, MOST)
    tasks = await dispatcher.next_tasks(worker, seconds, limit, skills=poll.available, is_gone=lambda: is_gone(request))
    if not tasks:
        return await _nothing(request, worker_id, poll)
    bodies = [written(request, task) for task in tasks]
    return await hand_out(request, bodies[0] if poll.limit is None else encode_tasks(bodies), tasks)


async def _nothing(request: web.Request, worker_id: str, poll: Poll) -> web.Response:
    """Answers a poll that brought no task."""
    await request.app[LIMITER_KEY].empty_poll(worker_id)
    if poll.quiet and await request.app[WORKERS_KEY].is_forgotten(worker_id):
        return answer(forgotten())
    return web.Response(status=204)
