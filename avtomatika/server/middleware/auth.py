"""Every path but the public ones needs a token: a client's under the API, a worker's under the worker protocol."""

from __future__ import annotations

import ipaddress

from aiohttp import web

from avtomatika.errors import AuthError
from avtomatika.server.access import TokenExpiredError, certificate_of
from avtomatika.server.bodies import RequestError
from avtomatika.server.keys import (
    ACCESS_KEY,
    CLIENT_KEY,
    CLIENT_TOKENS_KEY,
    EXPOSURE_KEY,
    LIMITER_KEY,
    SETTINGS_KEY,
    WORKER_KEY,
)
from avtomatika.server.remote import remote_address, was_forwarded

CLIENT_HEADER = "X-Client-Token"
TOKEN_PATH, REFRESH_PATH = "/_worker/auth/token", "/_worker/auth/token/refresh"
WORKER_HEADER = "X-Worker-Token"


async def let_in(request: web.Request) -> None:
    """Checks the token of a request, and keeps whose it is.

    Raises:
        RequestError: it is refused, or whoever sent it calls too often.
        AuthError: it has no token that a client has.
    """
    path, app = request.path, request.app
    refusal = app[EXPOSURE_KEY].refusal
    if refusal and (was_forwarded(request) or not _came_by_loopback(request)):
        raise RequestError(403, "default_token", refusal)
    if path == "/" or path.startswith("/_public/"):
        return
    if path.startswith(("/_worker/", "//_worker/")):
        await _let_worker_in(request, path.removeprefix("/") if path.startswith("//") else path)
    elif app[SETTINGS_KEY].client_api:
        await _let_client_in(request)


async def _let_client_in(request: web.Request) -> None:
    try:
        client = request.app[CLIENT_TOKENS_KEY].require(request.headers.get(CLIENT_HEADER))
    except AuthError:
        await request.app[LIMITER_KEY].wrong_token(remote_address(request))
        raise
    request[CLIENT_KEY] = client
    await request.app[LIMITER_KEY].client(client.name)


async def _let_worker_in(request: web.Request, path: str) -> None:
    if path == REFRESH_PATH:
        return  # the token in the body is the proof
    try:
        request[WORKER_KEY] = await request.app[ACCESS_KEY].prove_worker(
            request.headers.get(WORKER_HEADER), certificate_of(request), renews=path == TOKEN_PATH
        )
    except TokenExpiredError as error:
        # The only 401: its worker asks for the next token, and repeats the call.
        raise RequestError(401, "token_expired", str(error)) from error
    except AuthError as error:
        await request.app[LIMITER_KEY].wrong_token(remote_address(request))
        # 403 on purpose: a 401 makes published workers give up their token for good (protocol, section 5.1).
        raise RequestError(403, "forbidden", str(error)) from None


def _came_by_loopback(request: web.Request) -> bool:
    """Whether the request reached the server at an address that only this machine has, or at a socket file."""
    address = request.transport.get_extra_info("sockname") if request.transport is not None else None
    return not isinstance(address, tuple) or ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback
