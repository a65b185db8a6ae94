"""Answers are compressed for readers that take it."""

from __future__ import annotations

from aiohttp import web
from aiohttp.typedefs import Handler

from avtomatika.server.encoding import compress


@web.middleware
async def encoding(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Compresses the answer, errors included."""
    response = await handler(request)
    await compress(request, response)
    return response
