"""Results of workers over HTTP, one or many; whoever sends one may ask for tasks with it.

They are always answered 200, since workers lose a result that is refused.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Sequence
from typing import Any

from aiohttp import web
from msgspec.structs import replace

from avtomatika.core.job import Task
from avtomatika.errors import ProtocolError
from avtomatika.log_context import log_context
from avtomatika.protocol.answers import IgnoredReason, accepted, ignored
from avtomatika.protocol.batches import MOST, again, encode_answers, encode_tasks, parse_results, parse_trace, refused
from avtomatika.protocol.identity import claimed_worker_id
from avtomatika.protocol.messages import Result
from avtomatika.protocol.polls import Poll, parse_wish
from avtomatika.protocol.results import parse_result
from avtomatika.protocol.skimming import Skim
from avtomatika.security.signatures import Kind
from avtomatika.server.bodies import RequestError, answer, decode_json, read_bytes
from avtomatika.server.handing_out import hand_out, is_gone, written
from avtomatika.server.keys import DISPATCHER_KEY, LIMITER_KEY, SETTINGS_KEY, WORKERS_KEY
from avtomatika.server.middleware.tracing import followed
from avtomatika.server.oversized import read_result, refuse_result
from avtomatika.server.senders import sender
from avtomatika.server.signed import refused_signature, require_signature

log = logging.getLogger(__name__)

# An answer to a result is held so long for a task: the next step of a job is there by then, if its handler is a quick
# one. That its result is safe, a worker may learn a moment later.
_HELD_SECONDS = 0.01


async def result(request: web.Request) -> web.Response:
    """``POST /_worker/tasks/result``: always 200, since workers lose a result that is refused."""
    limit = request.app[SETTINGS_KEY].max_result
    raw = await read_result(request, limit)
    if isinstance(raw, Skim):
        return answer(await _taken(request, raw.result(), refuse_result(request, raw, limit)))
    body = decode_json(raw)
    told = parse_result(body)
    worker_id = sender(request, told.worker_id)
    refusal = await refused_signature(request, Kind.RESULT, raw, body, worker_id)
    if refusal:
        return answer(ignored(IgnoredReason.WORKER_MISMATCH, refusal))
    taking = request.app[WORKERS_KEY].result(told, worker_id)
    taken = await _taken(request, replace(told, worker_id=worker_id), taking)
    return await _with_tasks(request, worker_id, taken, is_taken=taken == accepted())


async def _taken(request: web.Request, told: Result, taking: Awaitable[dict[str, Any]]) -> dict[str, Any]:
    """Returns what comes of taking a result."""
    try:
        with log_context(job_id=told.job_id, task_id=told.task_id, worker_id=told.worker_id):
            return await taking
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
    raw = await read_bytes(request, request.app[SETTINGS_KEY].max_result)
    body = decode_json(raw)
    told = parse_results(body)
    worker_id = sender(request, claimed_worker_id(body))
    await require_signature(request, Kind.RESULT, raw, body, worker_id)
    answers = await asyncio.gather(*(_one_of_many(request, one, worker_id) for one in told))
    return await _with_tasks(request, worker_id, encode_answers(answers), is_taken=accepted() in answers)


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


async def _with_tasks(request: web.Request, worker_id: str, body: dict[str, Any], *, is_taken: bool) -> web.Response:
    """Answers results, with tasks that wait or come at once if some are wanted; who has done nothing gets none here."""
    wish = parse_wish(request.rel_url.raw_query_string) if is_taken else None
    if wish is None:
        return answer(body)
    try:
        tasks = await _waiting_tasks(request, worker_id, wish)
    except Exception:
        # The results are written whatever happens here, and its next poll finds what waits.
        log.exception("no task could go with an answer", extra={"action": "wish_failed", "worker_id": worker_id})
        tasks = ()
    if not tasks:
        return answer(body)
    return await hand_out(request, body | encode_tasks(written(request, task) for task in tasks), tasks)


async def _waiting_tasks(request: web.Request, worker_id: str, wish: Poll) -> Sequence[Task]:
    if await request.app[LIMITER_KEY].polls_too_often(worker_id):
        return ()
    worker = await request.app[WORKERS_KEY].poller(worker_id, wish, 0.0)
    if worker is None:
        return ()
    limit = min(wish.limit or 1, MOST)
    return await request.app[DISPATCHER_KEY].next_tasks(
        worker, _HELD_SECONDS, limit, skills=wish.available, is_gone=lambda: is_gone(request)
    )
