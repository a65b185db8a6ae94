"""Requests of clients, and of workers that send a trace context, are followed."""

from __future__ import annotations

from aiohttp import web
from aiohttp.typedefs import Handler

from avtomatika.server.keys import TRACER_KEY


@web.middleware
async def tracing(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Lets the tracer follow a request."""
    carrier = trace_context(request)
    path = request.path
    # A published worker sends no context with its heartbeats and polls: each would be a trace of its own.
    if path.startswith("/_public/") or (not carrier and path.lstrip("/").startswith("_worker/")):
        return await handler(request)
    resource = request.match_info.route.resource
    name = f"{request.method} {resource.canonical if resource is not None else '(nothing)'}"
    with request.app[TRACER_KEY].request(name, path, carrier) as answered:
        response = await handler(request)
        answered(response.status)
        return response


def trace_context(request: web.Request) -> dict[str, str]:
    """Returns the W3C trace context of a request; empty if it has none."""
    return {name: request.headers[name] for name in ("traceparent", "tracestate") if name in request.headers}
