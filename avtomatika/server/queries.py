"""Query strings: read with a clear sentence when a value is wrong."""

from __future__ import annotations

import base64
import binascii
import contextlib
import datetime
import math

from aiohttp import web

from avtomatika.core.states import JobStatus
from avtomatika.errors import suggest
from avtomatika.server.bodies import RequestError
from avtomatika.storage.base import JobQuery

_MAX_LIMIT = 1000
MAX_WAIT = 60.0
"""Longest time that ``?wait=`` holds an answer, seconds; proxies commonly cut connections at 60."""


def job_query(request: web.Request, client: str) -> JobQuery:
    """Reads which jobs to list.

    Raises:
        RequestError: a value is wrong.
    """
    query = request.query
    status = query.get("status") or None
    if status is not None and status not in set(JobStatus):
        known = ", ".join(JobStatus)
        raise _wrong("status", status, f"one of {known}", suggest(status, list(JobStatus)))
    limit, before = read_page(request)
    return JobQuery(
        client=client,
        status=JobStatus(status) if status else None,
        blueprint=query.get("blueprint") or None,
        since=read_moment(query.get("since")),
        limit=limit,
        offset=_whole(query.get("offset"), "offset", 0, 0, 10**9),
        before=before,
    )


def read_page(request: web.Request) -> tuple[int, tuple[float, str] | None]:
    """Reads how much to list at most, and what it is to begin behind: moment and id, or None for the beginning.

    Raises:
        RequestError: a value is wrong.
    """
    query = request.query
    cursor = query.get("cursor")
    limit = _whole(query.get("limit"), "limit", 100, 1, _MAX_LIMIT)
    return limit, decode_cursor(cursor) if cursor else None


def read_limit(request: web.Request) -> int:
    """Reads how much to list at most.

    Raises:
        RequestError: it is no whole number from 1 to 1000.
    """
    return _whole(request.query.get("limit"), "limit", 100, 1, _MAX_LIMIT)


def expiry_seconds(request: web.Request, default: float, longest: float) -> float:
    """Reads ``?expires=``: how long an address shall be good.

    Raises:
        RequestError: it is no number from 1 to ``longest``.
    """
    text = request.query.get("expires")
    if not text:
        return default
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 1 <= seconds <= longest:
        raise _wrong("expires", text[:80], f"a number of seconds from 1 to {longest:g}")
    return seconds


def wait_seconds(request: web.Request) -> float:
    """Reads ``?wait=``, at most 60 seconds.

    Raises:
        RequestError: it is not a number, or negative.
    """
    text = request.query.get("wait")
    if text is None:
        return 0.0
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not seconds >= 0:
        raise _wrong("wait", text, "a number of seconds, at least 0")
    return min(seconds, MAX_WAIT)


def known_version(request: web.Request) -> int | None:
    """Reads ``?version=``: the version of the job that the caller has seen; None if it is not given.

    Raises:
        RequestError: it is no whole number.
    """
    text = request.query.get("version")
    return _whole(text, "version", 0, 0, 10**18) if text else None


def encode_cursor(at: float, name: str) -> str:
    """Returns the cursor that continues behind a moment, and the id of what is listed under it."""
    return base64.urlsafe_b64encode(f"{at!r} {name}".encode()).decode().rstrip("=")


def decode_cursor(cursor: str) -> tuple[float, str]:
    """Returns the moment and the id that the cursor stands behind.

    Raises:
        RequestError: it was not made by ``encode_cursor``.
    """
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        at, name = text.split(" ")
        return float(at), name
    except (binascii.Error, UnicodeDecodeError, ValueError):
        raise _wrong("cursor", cursor, "the next_cursor of the page before, or empty for the first page") from None


def read_moment(text: str | None, code: str = "invalid_query") -> float | None:
    """Reads ``since``: Unix seconds or ISO 8601.

    Raises:
        RequestError: it is neither; with that code.
    """
    if not text:
        return None
    with contextlib.suppress(ValueError):
        if math.isfinite(seconds := float(text)):
            return seconds
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        expected = "Unix seconds or an ISO 8601 date, such as 2026-01-31T12:00:00Z"
        raise RequestError(400, code, f"'since' is '{text[:80]}'; expected {expected}.") from None
    return moment.replace(tzinfo=moment.tzinfo or datetime.UTC).timestamp()


def _whole(text: str | None, name: str, default: int, least: int, most: int) -> int:
    if not text:
        return default
    # Compared by length first: Python refuses to read numbers of more than 4300 digits.
    number = int(text) if text.isdecimal() and len(text) < 20 else -1
    if not least <= number <= most:
        raise _wrong(name, text[:80], f"a whole number from {least} to {most}")
    return number


def _wrong(name: str, value: str, expected: str, guess: str = "") -> RequestError:
    return RequestError(400, "invalid_query", f"'{name}' is '{value}'; expected {expected}.{guess}")
