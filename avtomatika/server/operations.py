"""The operations page: jobs, workers, queues, schedules and approvals for people, over the same API as programs."""

from __future__ import annotations

import hashlib
from functools import cache
from html import escape
from importlib import resources

from aiohttp import web

from avtomatika.blueprints.drawing import svg
from avtomatika.server.headers import FOR_DRAWINGS
from avtomatika.server.keys import (
    CLIENT_KEY,
    HISTORIAN_KEY,
    HISTORY_KEY,
    JOBS_KEY,
    REGISTRY_KEY,
    SETTINGS_KEY,
)

# Scripts are files of ours, and calls go to this engine; the drawing of a job brings its styles along.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_TYPES = {"ui.js": "text/javascript", "ui.css": "text/css"}


async def front(request: web.Request) -> web.Response:
    """``GET /``: leads whoever opens the engine's address to the page, or where there is none to the documentation."""
    place = "_public/ui" if request.app[SETTINGS_KEY].client_api else "_public/docs"
    return web.Response(status=302, headers={"Location": place})


async def page(request: web.Request) -> web.Response:
    """``GET /_public/ui``: the page; it asks the API with the token that its user enters."""
    prefix = request.app[SETTINGS_KEY].api_prefix
    text = _load("ui.html")[0].decode().replace("{api}", escape(prefix))
    headers = {"Content-Security-Policy": _POLICY, "Cache-Control": "no-cache"}
    return web.Response(text=text, content_type="text/html", headers=headers)


async def asset(request: web.Request) -> web.Response:
    """``GET /_public/ui/{file}``: what the page is made of."""
    name = request.match_info["file"]
    if name not in _TYPES:
        raise web.HTTPNotFound
    content, tag = _load(name)
    headers = {"Content-Security-Policy": _POLICY, "Cache-Control": "no-cache", "ETag": tag}
    if request.headers.get("If-None-Match") == tag:
        return web.Response(status=304, headers=headers)
    return web.Response(body=content, content_type=_TYPES[name], charset="utf-8", headers=headers)


async def job_graph(request: web.Request) -> web.Response:
    """``GET /api/v1/jobs/{job_id}/graph``: the graph of the job's blueprint, with its way through it, as SVG."""
    job = await request.app[JOBS_KEY].get(request.match_info["job_id"], request[CLIENT_KEY].name)
    graph = request.app[REGISTRY_KEY].graph_of(job.blueprint, job.blueprint_version)
    await request.app[HISTORIAN_KEY].flush()
    counts: dict[tuple[str, str], int] = {}
    visited, failed = {job.state}, set()
    for row in await request.app[HISTORY_KEY].job_events(job.id):
        state, following = row["state"] or "", row["next_state"] or ""
        visited.add(state)
        if row["event_type"] in {"state_failed", "task_failed", "job_failed", "job_quarantined"}:
            failed.add(state)
        if following:
            counts[state, following] = counts.get((state, following), 0) + 1
    drawing = svg(
        graph, current=None if job.is_terminal else job.state, visited=visited, failed=failed, edge_counts=counts
    )
    return web.Response(text=drawing, content_type="image/svg+xml", headers=FOR_DRAWINGS)


@cache
def _load(name: str) -> tuple[bytes, str]:
    """Returns a file of the page and what names its content."""
    content = (resources.files("avtomatika.server") / "static" / name).read_bytes()
    return content, f'"{hashlib.sha256(content).hexdigest()[:32]}"'
