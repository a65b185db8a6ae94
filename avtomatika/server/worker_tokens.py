"""Short-lived tokens over HTTP: workers ask for them when they use TLS, and after an answer of 401."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from avtomatika.errors import AuthError
from avtomatika.protocol.identity import is_identifier
from avtomatika.server.bodies import RequestError, answer, read_object
from avtomatika.server.keys import ACCESS_KEY, LIMITER_KEY, SETTINGS_KEY, STS_KEY, WORKER_KEY
from avtomatika.server.remote import remote_address
from avtomatika.server.senders import claimed_sender
from avtomatika.server.sts import Issued


async def issue(request: web.Request) -> web.Response:
    """``POST /_worker/auth/token``: a pair of tokens for whoever proves to be a worker."""
    proof = request[WORKER_KEY]
    worker_id = claimed_sender(request)
    await request.app[LIMITER_KEY].worker(worker_id)
    # Whoever says its id is bound to it; the others keep what they have proven.
    names = (worker_id,) if is_identifier(worker_id) else proof.names
    return _told(await request.app[STS_KEY].issue(names, proof.origin), worker_id)


async def refresh(request: web.Request) -> web.Response:
    """``POST /_worker/auth/token/refresh``: the next pair; the refresh token is the proof."""
    body: dict[str, Any] = await read_object(request, request.app[SETTINGS_KEY].max_body)
    token = body.get("refresh_token")
    if not isinstance(token, str) or not token:
        raise RequestError(400, "invalid_body", "the body has no 'refresh_token'; send the one that came last.")
    try:
        issued = await request.app[STS_KEY].refresh(token)
        request.app[ACCESS_KEY].require_origin(issued.granted.origin)
    except AuthError as error:
        await request.app[LIMITER_KEY].wrong_token(remote_address(request))
        raise RequestError(403, "forbidden", str(error)) from None
    worker_id = issued.granted.names[0]
    await request.app[LIMITER_KEY].worker(worker_id)
    return _told(issued, worker_id)


def _told(issued: Issued, worker_id: str) -> web.Response:
    return answer(
        {
            "access_token": issued.access_token,
            # A whole number: SDK 1.0b18 and later check it.
            "expires_in": issued.expires_in,
            "worker_id": worker_id,
            "refresh_token": issued.refresh_token,
        }
    )
