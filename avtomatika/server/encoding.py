"""Compression of answers: zstd or gzip, for whoever takes it and where it pays."""

from __future__ import annotations

import asyncio
import gzip
import sys
from collections.abc import Callable

from aiohttp import hdrs, web

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ENCODINGS = ("zstd", "gzip", "deflate")
"""The encodings of requests that are understood."""

# A packet on the way holds about so much; less gains nothing.
_LEAST = 1024
# Larger ones are compressed beside the event loop: 64 KiB take it about a millisecond.
_LARGE = 64 * 1024
_TYPES = ("text/", "application/json", "application/javascript", "image/svg+xml")
# Levels after which time grows faster than what it saves.
_PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "zstd": lambda raw: zstd.compress(raw, 3),
    "gzip": lambda raw: gzip.compress(raw, 5, mtime=0),
}


async def compress(request: web.Request, response: web.StreamResponse) -> None:
    """Compresses an answer that has not been sent yet, if its reader takes that and it is worth it."""
    if not isinstance(response, web.Response) or response.prepared:
        return
    raw = response.body
    if not isinstance(raw, bytes) or len(raw) < _LEAST:
        return
    if not response.content_type.startswith(_TYPES) or hdrs.CONTENT_ENCODING in response.headers:
        return
    response.headers.add(hdrs.VARY, hdrs.ACCEPT_ENCODING)
    chosen = choose(request.headers.get(hdrs.ACCEPT_ENCODING, ""))
    if not chosen:
        return
    pack = _PACKERS[chosen]
    response.body = await asyncio.to_thread(pack, raw) if len(raw) >= _LARGE else pack(raw)
    response.headers[hdrs.CONTENT_ENCODING] = chosen


def choose(accepted: str) -> str:
    """Returns the encoding to use for a reader, or an empty text for none.

    Args:
        accepted: the header ``Accept-Encoding``, RFC 9110 section 12.5.3; what makes no sense in it is passed over.
    """
    weights: dict[str, float] = {}
    for part in accepted.lower().split(","):
        name, _, weight = part.partition(";")
        weights[name.strip()] = _weight(weight)
    rest = weights.get("*", 0.0)
    # The first of equals: zstd, which is faster and smaller.
    best = max(_PACKERS, key=lambda name: weights.get(name, rest))
    return best if weights.get(best, rest) > 0 else ""


def _weight(parameter: str) -> float:
    name, _, value = parameter.partition("=")
    if name.strip() != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0
