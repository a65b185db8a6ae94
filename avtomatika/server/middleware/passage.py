"""What every request passes through: it is let in and served, and whatever comes of that becomes an answer."""

from __future__ import annotations

from aiohttp import web
from aiohttp.typedefs import Handler

from avtomatika.server.encoding import compress
from avtomatika.server.middleware.auth import let_in
from avtomatika.server.middleware.calm import hold_back
from avtomatika.server.middleware.errors import answer_to


# One for all of this, and not one each: every layer around a handler costs each request its share.
@web.middleware
async def passage(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Lets a request in and serves it; answers errors in the contract's form, and compresses what is large."""
    try:
        await let_in(request)
        response = await handler(request)
    except Exception as error:
        await hold_back(request, error)
        response = answer_to(request, error)
    await compress(request, response)
    return response
