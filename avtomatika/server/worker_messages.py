"""What workers tell of themselves over HTTP: register, heartbeat, events."""

from __future__ import annotations

import logging
from typing import Any

from aiohttp import web

from avtomatika.protocol.answers import event_accepted
from avtomatika.protocol.heartbeats import parse_heartbeat
from avtomatika.protocol.identity import claimed_worker_id
from avtomatika.protocol.registration import parse_register
from avtomatika.protocol.worker_events import parse_event
from avtomatika.security.signatures import Kind
from avtomatika.server.bodies import RequestError, answer, decode_json, read_bytes
from avtomatika.server.keys import (
    LIMITER_KEY,
    RAW_KEY,
    SETTINGS_KEY,
    STORAGE_KEY,
    WORKERS_KEY,
)
from avtomatika.server.middleware.calm import HELD_SECONDS
from avtomatika.server.senders import sender
from avtomatika.server.signed import require_signature

log = logging.getLogger(__name__)


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


async def _without_harm(request: web.Request, worker_id: str, body: Any, refusal: RequestError) -> RequestError:
    """Keeps the tasks of a worker whose heartbeat is refused, and has it come back soon.

    A worker that waits as long as it is told, up to a minute, would lose its leases meanwhile.
    """
    told = parse_heartbeat(worker_id, body)
    if told.current_tasks:
        await request.app[WORKERS_KEY].keep(told)
    seconds = min(refusal.facts["retry_after"], HELD_SECONDS)
    return RequestError(refusal.status, refusal.code, refusal.message, retry_after=seconds)


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
