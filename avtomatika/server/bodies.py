"""Bodies: read within a limit, decoded with a clear sentence when they are wrong; and JSON answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import msgspec
from aiohttp import hdrs, web
from aiohttp.http_exceptions import BadHttpMessage

from avtomatika.core.document import MAX_DEPTH, check_depth
from avtomatika.errors import ProtocolError
from avtomatika.protocol.codec import dumps, loads
from avtomatika.server.encoding import ENCODINGS

# A body of which nothing comes for so long is given up: nobody holds a connection for ever by sending slowly.
_SILENCE_SECONDS = 30.0
_encode_quickly = msgspec.json.Encoder().encode
_JSON = {hdrs.CONTENT_TYPE: "application/json; charset=utf-8"}


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
    return web.Response(body=_encode(value), status=status, headers=_JSON)


def _encode(value: Any) -> bytes:
    # Most answers are small and plain, and this is ten times as fast. What it writes otherwise than ``dumps`` (letters
    # beyond ASCII) or not at all is left to that.
    try:
        written = _encode_quickly(value)
    except (TypeError, ValueError, OverflowError, RecursionError):
        return dumps(value).encode()
    return written if written.isascii() else dumps(value).encode()


async def read_bytes(request: web.Request, limit: int) -> bytes:
    """Returns the body.

    Args:
        request: the request.
        limit: largest size, bytes, after decompression.

    Raises:
        RequestError: it is larger (413; noticed while reading, before it fills the memory), it is compressed in an
            unknown way (415) or badly (400), or nothing more of it comes (408).
    """
    whole = read_at_once(request, limit)
    if whole is not None:
        return whole
    if (request.content_length or 0) > limit:
        raise too_large(request.content_length or 0, limit)
    body = bytearray()
    async for chunk in read_chunks(request):
        body += chunk
        if len(body) > limit:
            raise too_large(len(body), limit)
    return bytes(body)


def read_at_once(request: web.Request, limit: int) -> bytes | None:
    """Returns the body if it came with its head, as small ones do; None if it must be read piece by piece.

    Args:
        request: of which nothing has been read yet.
        limit: largest size, bytes.
    """
    content = request.content
    size = request.content_length
    if size is None or size > limit or hdrs.CONTENT_ENCODING in request.headers or not content.is_eof():
        return None
    return content.read_nowait()


async def read_chunks(request: web.Request) -> AsyncGenerator[bytes, None]:
    """Gives the body piece by piece, decompressed.

    Raises:
        RequestError: it is compressed in an unknown way (415) or badly (400), or nothing more of it comes (408).
    """
    _check_encoding(request)
    size = 0
    try:
        while chunk := await _read_some(request):
            size += len(chunk)
            yield chunk
    except (web.RequestPayloadError, BadHttpMessage):
        raise _badly_encoded(request) from None
    if not size and request.content_length and request.headers.get("Content-Encoding"):
        raise _badly_encoded(request)  # cut off so early that nothing came out


def _badly_encoded(request: web.Request) -> RequestError:
    return RequestError(
        400,
        "invalid_encoding",
        f"the body is not what its headers say (Content-Encoding: {request.headers.get('Content-Encoding', 'none')}"
        "). Compress it whole, and send all of it.",
    )


async def _read_some(request: web.Request) -> bytes:
    if request.content.is_eof():
        # Small bodies come with their heads. Two time limits that nobody needs took a twentieth of a creation's time.
        return request.content.read_nowait()
    try:
        # The machine's clock on purpose: this is about the network, not about jobs.
        async with asyncio.timeout(_SILENCE_SECONDS):
            return await request.content.readany()
    except TimeoutError:
        raise RequestError(
            408, "body_timeout", f"nothing of the body came for {_SILENCE_SECONDS:g} s. Send the request again."
        ) from None


def _check_encoding(request: web.Request) -> None:
    used = request.headers.get("Content-Encoding", "").strip().lower()
    if used not in {"", "identity", *ENCODINGS}:
        raise RequestError(
            415,
            "unknown_encoding",
            f"the body has Content-Encoding '{used[:80]}'; understood: {', '.join(ENCODINGS)}, each once.",
        )


def decode_json(body: bytes) -> Any:
    """Returns the decoded JSON, or None if there is nothing.

    Raises:
        RequestError: it is no JSON (400).
    """
    if not body:
        return None
    try:
        return loads(body)
    except ProtocolError as error:
        raise RequestError(400, "invalid_json", str(error)) from None


async def read_object(request: web.Request, limit: int) -> dict[str, Any]:
    """Returns the body, a JSON object; an empty body is an empty object.

    Raises:
        RequestError: it is something else, or too large (413).
        DocumentError: it is nested too deep.
    """
    return decode_object(await read_bytes(request, limit))


def decode_object(sent: bytes) -> dict[str, Any]:
    """Returns the decoded JSON object; of nothing an empty one.

    Raises:
        RequestError: it is something else (400).
        DocumentError: it is nested too deep.
    """
    body = decode_json(sent)
    if body is None:
        return {}
    if not isinstance(body, dict):
        raise RequestError(
            400,
            "invalid_body",
            f'the body is a JSON {_kind(body)}; expected an object, such as {{"initial_data": {{}}}}.',
        )
    # With fewer brackets it cannot be nested deeper.
    if sent.count(b"{") + sent.count(b"[") > MAX_DEPTH:
        check_depth(body, "the body")
    return body


def too_large(size: int, limit: int) -> RequestError:
    """Returns the refusal of a body above the limit."""
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
