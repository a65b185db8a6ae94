"""The worker protocol over HTTP: register, heartbeat, poll, result, many results, events.

How each answer affects published workers stands in the protocol notes; the rules followed here: results are always
answered 200, a poll is held rather than answered with an error, and a bad token is 403.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from typing import Any

from aiohttp import web
from msgspec.structs import replace

from avtomatika.core.job import Task, message_of
from avtomatika.errors import ProtocolError
from avtomatika.log_context import log_context
from avtomatika.protocol.answers import IgnoredReason, event_accepted, ignored
from avtomatika.protocol.batches import MOST, again, encode_answers, encode_tasks, parse_results, parse_trace, refused
from avtomatika.protocol.heartbeats import parse_heartbeat
from avtomatika.protocol.identity import claimed_worker_id
from avtomatika.protocol.messages import Result
from avtomatika.protocol.polls import POLL_GRACE, Poll, parse_poll, waits_when_refused
from avtomatika.protocol.registration import parse_register
from avtomatika.protocol.results import parse_result
from avtomatika.protocol.skimming import Skim
from avtomatika.protocol.tasks import encode_task
from avtomatika.protocol.worker_events import parse_event
from avtomatika.security.signatures import Kind
from avtomatika.server.bodies import RequestError, answer, decode_json, read_bytes
from avtomatika.server.encoding import compress
from avtomatika.server.keys import (
    DISPATCHER_KEY,
    LIMITER_KEY,
    RAW_KEY,
    SETTINGS_KEY,
    SIGNATURES_KEY,
    STORAGE_KEY,
    TRACER_KEY,
    WORKERS_KEY,
)
from avtomatika.server.middleware.calm import HELD_SECONDS
from avtomatika.server.middleware.tracing import followed
from avtomatika.server.oversized import read_result, refuse_result
from avtomatika.server.senders import sender
from avtomatika.server.signed import refused_signature, require_signature

log = logging.getLogger(__name__)

NO_CONTENT = 204


async def register(request: web.Request) -> web.Response:
    """``POST /_worker/workers/register``: introduces a worker."""
    body = await _body(request)
    profile = parse_register(body, await request.app[STORAGE_KEY].now())
    await request.app[LIMITER_KEY].worker(sender(request, profile.worker_id))
    await require_signature(request, Kind.REGISTER, request[RAW_KEY], body, profile.worker_id)
    return answer(await request.app[WORKERS_KEY].register(profile))


async def heartbeat(request: web.Request) -> web.Response:
    """``PATCH /_worker/workers/{worker_id}``: a heartbeat; it renews the leases of the tasks that it names."""
    body = await _body(request)
    worker_id = sender(request, claimed_worker_id(body))
    try:
        await request.app[LIMITER_KEY].heartbeat(worker_id)
    except RequestError as error:
        raise await _without_harm(request, worker_id, body, error) from None
    await require_signature(request, Kind.HEARTBEAT, request[RAW_KEY], body, worker_id)
    return answer(await request.app[WORKERS_KEY].heartbeat(parse_heartbeat(worker_id, body)))


async def next_task(request: web.Request) -> web.StreamResponse:
    """``GET /_worker/workers/{worker_id}/tasks/next``: a task, or 204 after the poll's time."""
    worker_id = sender(request)
    poll = parse_poll(request.query)
    seconds = request.app[SETTINGS_KEY].poll_timeout
    if poll.timeout is not None:
        seconds = min(seconds, poll.timeout)
    try:
        with log_context(worker_id=worker_id), request.app[LIMITER_KEY].poll(worker_id):
            seconds = await _held_off(request, worker_id, seconds, poll.timeout)
            response = await _hold(request, worker_id, poll, seconds)
            if response.status == NO_CONTENT:
                await request.app[LIMITER_KEY].empty_poll(worker_id)
            return response
    except (RequestError, web.HTTPException):
        raise
    except Exception:
        log.exception("a poll failed", extra={"action": "poll_failed", "worker_id": worker_id})
        await request.app[WORKERS_KEY].pause(min(seconds, HELD_SECONDS))
        return web.Response(status=204)


async def _without_harm(request: web.Request, worker_id: str, body: Any, refusal: RequestError) -> RequestError:
    """Keeps the tasks of a worker whose heartbeat is refused, and has it come back soon.

    A worker that waits as long as it is told, up to a minute, would lose its leases meanwhile.
    """
    told = parse_heartbeat(worker_id, body)
    if told.current_tasks:
        await request.app[WORKERS_KEY].keep(told)
    seconds = min(refusal.facts["retry_after"], HELD_SECONDS)
    return RequestError(refusal.status, refusal.code, refusal.message, retry_after=seconds)


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

    def is_gone() -> bool:
        return request.transport is None or request.transport.is_closing()

    began = await request.app[STORAGE_KEY].now()
    worker = await workers.poller(worker_id, poll, seconds)
    if worker is None:
        return web.Response(status=204)
    # What was spent on finding out who asks is not granted twice: the worker hangs up when its own time is over.
    seconds -= await request.app[STORAGE_KEY].now() - began
    limit = min(poll.limit or 1, MOST)
    tasks = await dispatcher.next_tasks(worker, seconds, limit, skills=poll.available, is_gone=is_gone)
    if not tasks:
        return web.Response(status=204)
    bodies = [_written(request, task) for task in tasks]
    response = answer(bodies[0] if poll.limit is None else encode_tasks(bodies))
    await compress(request, response)
    try:
        await response.prepare(request)
        await response.write_eof()
    except ConnectionError:
        for task in tasks:
            log.info(
                "a worker hung up before it got its task; the task is put back",
                extra={"action": "task_released", "task_id": task.id, "worker_id": worker_id},
            )
            await dispatcher.release(task)
    return response


def _written(request: web.Request, task: Task) -> dict[str, Any]:
    """Returns a task as it goes to its worker."""
    message = replace(message_of(task), tracing_context=request.app[TRACER_KEY].for_worker(task))
    return request.app[SIGNATURES_KEY].sign_task(encode_task(message))


async def result(request: web.Request) -> web.Response:
    """``POST /_worker/tasks/result``: always 200, since workers lose a result that is refused."""
    limit = request.app[SETTINGS_KEY].max_result
    raw = await read_result(request, limit)
    if isinstance(raw, Skim):
        return await _taken(request, raw.result(), refuse_result(request, raw, limit))
    body = decode_json(raw)
    told = parse_result(body)
    worker_id = sender(request, told.worker_id)
    refusal = await refused_signature(request, Kind.RESULT, raw, body, worker_id)
    if refusal:
        return answer(ignored(IgnoredReason.WORKER_MISMATCH, refusal))
    taking = request.app[WORKERS_KEY].result(told, worker_id)
    return await _taken(request, replace(told, worker_id=worker_id), taking)


async def _taken(request: web.Request, told: Result, taking: Awaitable[dict[str, Any]]) -> web.Response:
    """Answers a result with what comes of taking it."""
    try:
        with log_context(job_id=told.job_id, task_id=told.task_id, worker_id=told.worker_id):
            return answer(await taking)
    except RequestError:
        raise
    except Exception:
        # Only a broken connection makes every generation of workers send the result again.
        log.exception(
            "a result could not be written; the connection is closed so that the worker sends it again",
            extra={
                "action": "result_failed",
                "job_id": told.job_id,
                "task_id": told.task_id,
                "worker_id": told.worker_id,
            },
        )
        if request.transport is not None:
            request.transport.abort()
        raise


async def results(request: web.Request) -> web.Response:
    """``POST /_worker/tasks/results``: many results of one worker, from the SDK of this engine."""
    body = await _body(request)
    told = parse_results(body)
    worker_id = sender(request, claimed_worker_id(body))
    await require_signature(request, Kind.RESULT, request[RAW_KEY], body, worker_id)
    answers = await asyncio.gather(*(_one_of_many(request, one, worker_id) for one in told))
    return answer(encode_answers(answers))


async def _one_of_many(request: web.Request, body: Any, worker_id: str) -> dict[str, Any]:
    """Takes one result of many; whatever is wrong with it is the answer for this one alone."""
    try:
        told = parse_result(body)
    except ProtocolError as error:
        return refused(str(error))
    if told.worker_id not in {"", worker_id}:
        return ignored(IgnoredReason.WORKER_MISMATCH)
    try:
        with (
            log_context(job_id=told.job_id, task_id=told.task_id, worker_id=worker_id),
            followed(request, parse_trace(body)) as answered,
        ):
            taken = await request.app[WORKERS_KEY].result(told, worker_id)
            answered(200)
            return taken
    except Exception:
        log.exception(
            "a result could not be written; the worker is asked to send it again",
            extra={"action": "result_failed", "job_id": told.job_id, "task_id": told.task_id, "worker_id": worker_id},
        )
        return again()


async def event(request: web.Request) -> web.Response:
    """``POST /_worker/events``: progress, and what workers invent."""
    body = await _body(request)
    told = parse_event(body)
    worker_id = sender(request, told.worker_id)
    await require_signature(request, Kind.EVENT, request[RAW_KEY], body, worker_id)
    events, limiter = request.app[WORKERS_KEY].events, request.app[LIMITER_KEY]
    if await events.holder(told, worker_id) is None:
        await limiter.worker(worker_id)
    else:
        await limiter.event(worker_id)
    await events.take(told, worker_id)
    return answer(event_accepted())


async def _body(request: web.Request) -> Any:
    """Returns the decoded body, and keeps it as it was sent: signatures are made over that."""
    raw = request[RAW_KEY] = await read_bytes(request, request.app[SETTINGS_KEY].max_result)
    return decode_json(raw)
