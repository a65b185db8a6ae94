"""Every path but the public ones needs a token: a client's under the API, a worker's under the worker protocol."""

from __future__ import annotations

import ipaddress

from aiohttp import web
from aiohttp.typedefs import Handler

from avtomatika.errors import AuthError
from avtomatika.server.access import certificate_of
from avtomatika.server.bodies import RequestError
from avtomatika.server.keys import (
    ACCESS_KEY,
    CLIENT_KEY,
    CLIENT_TOKENS_KEY,
    EXPOSURE_KEY,
    SETTINGS_KEY,
    WORKER_KEY,
)

CLIENT_HEADER = "X-Client-Token"
WORKER_HEADER = "X-Worker-Token"


@web.middleware
async def auth(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Lets a request through to its handler if its token is right."""
    path = request.path
    refusal = request.app[EXPOSURE_KEY].refusal
    if refusal and not _came_by_loopback(request):
        raise RequestError(403, "default_token", refusal)
    if path.startswith("/_public/"):
        return await handler(request)
    if path.startswith(("/_worker/", "//_worker/")):
        try:
            request[WORKER_KEY] = request.app[ACCESS_KEY].prove_worker(
                request.headers.get(WORKER_HEADER), certificate_of(request)
            )
        except AuthError as error:
            # 403 on purpose: a 401 makes published workers give up their token for good (protocol, section 5.1).
            raise RequestError(403, "forbidden", str(error)) from None
        return await handler(request)
    if not request.app[SETTINGS_KEY].client_api:
        return await handler(request)
    request[CLIENT_KEY] = request.app[CLIENT_TOKENS_KEY].require(request.headers.get(CLIENT_HEADER))
    return await handler(request)


def _came_by_loopback(request: web.Request) -> bool:
    """Whether the request reached the server at an address that only this machine has, or at a socket file."""
    address = request.transport.get_extra_info("sockname") if request.transport is not None else None
    return not isinstance(address, tuple) or ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback
