"""Blueprints over HTTP: what is registered, and its graph."""

from __future__ import annotations

from aiohttp import web

from avtomatika.blueprints import dot, graph_dict, mermaid
from avtomatika.blueprints.drawing import svg
from avtomatika.errors import suggest
from avtomatika.server.bodies import RequestError, answer
from avtomatika.server.headers import FOR_DRAWINGS
from avtomatika.server.keys import REGISTRY_KEY, SETTINGS_KEY
from avtomatika.server.views import blueprint_view

_FORMATS = ("dot", "svg", "json", "mermaid")


async def list_(request: web.Request) -> web.Response:
    """``GET /api/v1/blueprints``: the latest version of each registered blueprint."""
    prefix = request.app[SETTINGS_KEY].api_prefix
    return answer([blueprint_view(blueprint, prefix) for blueprint in request.app[REGISTRY_KEY]])


async def graph(request: web.Request) -> web.Response:
    """``GET /api/v1/blueprints/{name}/graph?format=``: DOT unless another format is asked for."""
    drawn = request.app[REGISTRY_KEY].get(request.match_info["name"]).graph
    match request.query.get("format", "dot"):
        case "dot":
            return web.Response(text=dot(drawn), content_type="text/vnd.graphviz")
        case "svg":
            return web.Response(text=svg(drawn), content_type="image/svg+xml", headers=FOR_DRAWINGS)
        case "mermaid":
            return web.Response(text=mermaid(drawn), content_type="text/vnd.mermaid")
        case "json":
            return answer(graph_dict(drawn))
        case other:
            raise RequestError(
                400,
                "invalid_query",
                f"format '{other}' is unknown; known: {', '.join(_FORMATS)}.{suggest(other, _FORMATS)}",
            )
