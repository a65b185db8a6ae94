"""Requests of clients, and of workers that send a trace context, are followed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext

from aiohttp import web
from aiohttp.typedefs import Handler

from avtomatika.server.keys import TRACER_KEY


@web.middleware
async def tracing(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Lets the tracer follow a request."""
    path = request.path
    # Most of what workers send is followed by nobody: it does not pay for finding that out.
    if path.startswith("/_public/") or (path.startswith("/_worker/") and "traceparent" not in request.headers):
        return await handler(request)
    with followed(request, trace_context(request)) as answered:
        response = await handler(request)
        answered(response.status)
        return response


def followed(request: web.Request, carrier: Mapping[str, str]) -> AbstractContextManager[Callable[[int], None]]:
    """Lets the tracer follow a request, or a part of one; returns what yields a function for the answer's status.

    Args:
        request: of a client or a worker.
        carrier: what came along of a trace.
    """
    path = request.path
    # A published worker sends no context with its heartbeats and polls: each would be a trace of its own.
    if not carrier and path.lstrip("/").startswith("_worker/"):
        return nullcontext(lambda _status: None)
    resource = request.match_info.route.resource
    name = f"{request.method} {resource.canonical if resource is not None else '(nothing)'}"
    return request.app[TRACER_KEY].request(name, path, carrier)


def trace_context(request: web.Request) -> dict[str, str]:
    """Returns the W3C trace context of a request; empty if it has none."""
    return {name: request.headers[name] for name in ("traceparent", "tracestate") if name in request.headers}
