"""The documentation over HTTP: a page that shows the OpenAPI document and tries the calls."""

from __future__ import annotations

import hashlib
import importlib.util
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from aiohttp import web

from avtomatika.server.bodies import RequestError

# Nothing from elsewhere: scripts are files of ours, and calls go to this engine. Swagger UI styles its parts in place
# and draws its icons as data.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_TYPES = {"html": "text/html", "js": "text/javascript", "css": "text/css"}
_OWN = ("docs.html", "docs.js", "docs.css")
_SWAGGER = ("swagger-ui-bundle.js", "swagger-ui.css")
_PACKAGE = "flask_swagger_ui"


async def page(request: web.Request) -> web.Response:
    """``GET /_public/docs``: a page on which every call can be tried."""
    return _file("docs.html", request)


async def asset(request: web.Request) -> web.Response:
    """``GET /_public/docs/{file}``: what the page is made of."""
    name = request.match_info["file"]
    if name not in {*_OWN, *_SWAGGER}:
        raise web.HTTPNotFound
    return _file(name, request)


def _file(name: str, request: web.Request) -> web.Response:
    content, tag = _load(name)
    headers = {"Content-Security-Policy": _POLICY, "Cache-Control": "no-cache", "ETag": tag}
    if request.headers.get("If-None-Match") == tag:
        return web.Response(status=304, headers=headers)
    return web.Response(body=content, content_type=_TYPES[name.rpartition(".")[2]], charset="utf-8", headers=headers)


@cache
def _load(name: str) -> tuple[bytes, str]:
    """Returns a file and what names its content.

    Raises:
        RequestError: it was not put into this installation.
    """
    place: Any = resources.files("avtomatika.server") / "static" / name
    if not place.is_file():
        place = _find_in_package(name)
    if place is None:
        raise RequestError(
            501,
            "docs_unavailable",
            "Swagger UI is not in this installation: it is put into the package when that is built. Install avtomatika "
            "from a wheel or with pip install -e ., or run: pip install flask-swagger-ui",
        )
    content = place.read_bytes()
    return content, f'"{hashlib.sha256(content).hexdigest()[:32]}"'


def _find_in_package(name: str) -> Path | None:
    """Returns a file of Swagger UI where only the package is installed that the build takes it from."""
    found = importlib.util.find_spec(_PACKAGE)
    for folder in (found.submodule_search_locations or ()) if found is not None else ():
        path = Path(folder) / "dist" / name
        if path.is_file():
            return path
    return None
