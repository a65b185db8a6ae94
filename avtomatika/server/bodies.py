"""Bodies: read within a limit, decoded with a clear sentence when they are wrong; and JSON answers."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from avtomatika.errors import ProtocolError
from avtomatika.protocol.codec import dumps, loads


class RequestError(Exception):
    """A request that cannot be served.

    Args:
        status: HTTP status code.
        code: stable word for programs.
        message: what happened, what was expected, what to do.
        facts: further members of the answer.
    """

    def __init__(self, status: int, code: str, message: str, **facts: Any) -> None:
        self.status = status
        self.code = code
        self.message = message
        self.facts = facts
        super().__init__(message)


def answer(value: Any, status: int = 200) -> web.Response:
    """Returns a JSON answer."""
    return web.Response(text=dumps(value), status=status, content_type="application/json")


async def read_bytes(request: web.Request, limit: int) -> bytes:
    """Returns the body.

    Args:
        request: the request.
        limit: largest size, bytes, after decompression.

    Raises:
        RequestError: it is larger; 413. It is noticed while reading, before it fills the memory.
    """
    if (request.content_length or 0) > limit:
        raise _too_large(request.content_length or 0, limit)
    body = bytearray()
    async for chunk in request.content.iter_any():
        body += chunk
        if len(body) > limit:
            raise _too_large(len(body), limit)
    return bytes(body)


async def read_json(request: web.Request, limit: int) -> Any:
    """Returns the decoded JSON body, or None if there is no body.

    Raises:
        RequestError: it is too large (413) or no JSON (400).
    """
    body = await read_bytes(request, limit)
    if not body.strip():
        return None
    try:
        return loads(body)
    except ProtocolError as error:
        raise RequestError(400, "invalid_json", str(error)) from None


async def read_object(request: web.Request, limit: int) -> dict[str, Any]:
    """Returns the body, a JSON object; an empty body is an empty object.

    Raises:
        RequestError: it is something else.
    """
    body = await read_json(request, limit)
    if body is None:
        return {}
    if not isinstance(body, dict):
        raise RequestError(
            400,
            "invalid_body",
            f'the body is a JSON {_kind(body)}; expected an object, such as {{"initial_data": {{}}}}.',
        )
    return body


def _too_large(size: int, limit: int) -> RequestError:
    return RequestError(
        413,
        "body_too_large",
        f"the body has {size:,} bytes or more, and the limit is {limit:,}. Send less, put large data into files and "
        "pass their addresses, or raise API_MAX_BODY_BYTES.",
        limit=limit,
    )


def _kind(value: Any) -> str:
    match value:
        case list():
            return "array"
        case str():
            return "string"
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case _:
            return "null"
