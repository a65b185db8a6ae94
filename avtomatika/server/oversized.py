"""Results above the limit: published workers lose what is refused, so the task is failed instead, and says why."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from aiohttp import web
from msgspec.structs import replace

from avtomatika.protocol.answers import IgnoredReason, ignored
from avtomatika.protocol.results import FAILURE
from avtomatika.protocol.skimming import Skim
from avtomatika.security.signatures import Kind
from avtomatika.server.bodies import read_at_once, read_chunks, too_large
from avtomatika.server.keys import WORKERS_KEY
from avtomatika.server.senders import sender
from avtomatika.server.signed import refused_signature

log = logging.getLogger(__name__)

_PIECE = 64 * 1024
SKIMMED = 16
"""So many times the limit may go by; a body beyond that is not even looked at, and refused with 413."""


async def read_result(request: web.Request, limit: int) -> bytes | Skim:
    """Returns the body, or if it is too large what can be told of it; then nothing of it stays in memory.

    Args:
        request: the request.
        limit: largest size, bytes, after decompression.

    Raises:
        RequestError: as ``read_bytes``; 413 only far beyond the limit.
    """
    whole = read_at_once(request, limit)
    if whole is not None:
        return whole
    most = limit * SKIMMED
    if (request.content_length or 0) > most:
        raise too_large(request.content_length or 0, limit)
    body, skim = bytearray(), Skim()
    async for chunk in read_chunks(request):
        if skim.size:
            await _skim(skim, chunk)
        else:
            body += chunk
            if len(body) > limit:
                await _skim(skim, body)
                body.clear()
        if skim.size > most:
            raise too_large(skim.size, limit)
    return skim if skim.size else bytes(body)


async def _skim(skim: Skim, passing: bytes | bytearray) -> None:
    """Lets a piece go by in pieces so small that nobody else waits for long."""
    for start in range(0, len(passing), _PIECE):
        skim.feed(bytes(passing[start : start + _PIECE]))
        await asyncio.sleep(0)


async def refuse_result(request: web.Request, skim: Skim, limit: int) -> dict[str, Any]:
    """Fails the task whose result was too large; returns the answer, which is no error.

    A worker that signs where signatures are required is not believed: what was not kept cannot be checked.

    Raises:
        RequestError: the sender is unknown, or contradicts itself.
    """
    told = skim.result()
    worker_id = sender(request, told.worker_id)
    message = (
        f"the result has {skim.size:,} bytes, and the limit is {limit:,} (RESULT_MAX_BODY_BYTES). Let the function put "
        "large data into files and return their names, or raise the limit."
    )
    log.warning(
        "%s",
        message,
        extra={"action": "result_too_large", "job_id": told.job_id, "task_id": told.task_id, "worker_id": worker_id},
    )
    refusal = await refused_signature(request, Kind.RESULT, b"", {}, worker_id)
    if refusal:
        return ignored(IgnoredReason.WORKER_MISMATCH, f"{message} {refusal}")
    if not told.task_id:
        return ignored(IgnoredReason.JOB_NOT_FOUND, message)
    failure = replace(told, status=FAILURE, error_code="CONTRACT_VIOLATION_ERROR", error_message=message)
    return await request.app[WORKERS_KEY].result(failure, worker_id)
