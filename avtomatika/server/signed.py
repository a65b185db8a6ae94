"""The check of a message's signature, for the handlers of the worker protocol."""

from __future__ import annotations

import logging
from typing import Any

from aiohttp import web

from avtomatika.security.signatures import Kind
from avtomatika.server.bodies import RequestError
from avtomatika.server.keys import SIGNATURES_KEY, STORAGE_KEY, WORKER_TOKENS_KEY

log = logging.getLogger(__name__)


async def require_signature(request: web.Request, kind: Kind, raw: bytes, body: Any, worker_id: str) -> None:
    """Checks the signature of a message.

    Args:
        request: that brought it; its header has the worker's token.
        kind: which message it is.
        raw: as it was sent.
        body: as decoded.
        worker_id: who is known to have sent it.

    Raises:
        RequestError: it is wrong, or missing where it is required.
    """
    refusal = await refused_signature(request, kind, raw, body, worker_id)
    if refusal:
        raise RequestError(403, "wrong_signature", refusal)


async def refused_signature(request: web.Request, kind: Kind, raw: bytes, body: Any, worker_id: str) -> str:
    """Returns why the signature of a message is not taken, or an empty text; arguments as above."""
    token = request.headers.get("X-Worker-Token", "")
    refusal = await request.app[SIGNATURES_KEY].refusal(
        kind,
        raw,
        body,
        worker_id,
        token,
        await request.app[STORAGE_KEY].now(),
        is_issued=lambda: request.app[WORKER_TOKENS_KEY].find(token) is None,
    )
    if refusal:
        log.warning("a message is refused: %s", refusal, extra={"action": "signature_refused", "worker_id": worker_id})
    return refusal
