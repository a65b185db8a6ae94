"""Headers that every answer carries: what a browser may do with it, who may read it, and who made it."""

from __future__ import annotations

from aiohttp import hdrs, web

from avtomatika.server.keys import SETTINGS_KEY

_FOR_BROWSERS = {
    hdrs.CACHE_CONTROL: "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
}
FOR_DRAWINGS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; sandbox"
}
"""What goes with a drawing: opened by itself it needs its styles, and no more."""
# What a page of another origin may read of an answer, besides its body.
_EXPOSED = "Allow, Retry-After"


def is_named_origin(request: web.Request) -> bool:
    """Whether the request comes from a page of an origin that ``CORS_ORIGINS`` names, for what it may use."""
    settings = request.app[SETTINGS_KEY]
    is_open = request.path.startswith((f"/{settings.api_prefix}/", "/_public/"))
    return is_open and request.headers.get(hdrs.ORIGIN, "") in settings.cors_origins


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Adds them to an answer that is about to be sent; what its handler has set stays."""
    headers = response.headers
    headers[hdrs.SERVER] = "avtomatika"
    headers["X-Content-Type-Options"] = "nosniff"
    if request.path.startswith(("/_worker/", "//_worker/")):
        return  # workers are no browsers, and poll often
    for name, value in _FOR_BROWSERS.items():
        headers.setdefault(name, value)
    if request.app[SETTINGS_KEY].cors_origins:
        headers[hdrs.VARY] = ", ".join([*headers.getall(hdrs.VARY, []), hdrs.ORIGIN])
        if is_named_origin(request):
            headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = request.headers[hdrs.ORIGIN]
            headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = _EXPOSED
