"""Preflights: a browser asks whether a page of another origin may use the API, before it sends a token."""

from __future__ import annotations

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from avtomatika.server.headers import is_named_origin

_ALLOWED = {
    hdrs.ACCESS_CONTROL_ALLOW_METHODS: "GET, HEAD, POST, PUT, DELETE",
    # Tokens travel in a header that only a script sets, never in a cookie: so no credentials are allowed.
    hdrs.ACCESS_CONTROL_ALLOW_HEADERS: (
        "Content-Encoding, Content-Type, Idempotency-Key, Last-Event-ID, traceparent, tracestate, X-Client-Token"
    ),
    hdrs.ACCESS_CONTROL_MAX_AGE: "600",
}


@web.middleware
async def cors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answers the preflights of named origins; others are answered like any OPTIONS, which allows nothing."""
    is_preflight = request.method == "OPTIONS" and hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers
    if is_preflight and is_named_origin(request):
        return web.Response(status=204, headers=_ALLOWED)
    return await handler(request)
