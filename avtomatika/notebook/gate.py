"""The gate: lets a live view in the browser ask the engine directly, so that its buttons work while a cell blocks.

A view proves itself by a capability: a secret that the kernel hands it over the notebook's own connection, good for one
minute and for this view alone. The browser names the page's origin with every request; the first origin that brings a
view's capability is the notebook's, and no other is served for that view. Only then does an answer carry the header
that lets the page read it (CORS). Requests are plain enough to need no preflight, so nothing is ever said to a page
that has no capability.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from avtomatika.errors import AuthError, AvtomatikaError

GATE_PATH = "/_public/workbench/ask"
"""Where the gate is; outside of the client API, as it has capabilities instead of tokens."""
LIFETIME = 60.0
"""Seconds that a capability is good for."""
_MAX_BODY = 16 * 1024

Ask = Callable[[Mapping[str, Any]], Awaitable[dict[str, Any]]]
"""Answers what one view asks."""

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _View:
    """What the gate knows of a view: how to ask, its secrets with their ends, and the page that it lives in."""

    ask: Ask
    secrets: dict[str, float] = field(default_factory=dict)
    origin: str = ""


class Gate:
    """Answers live views over HTTP.

    Args:
        now: a clock that does not jump, seconds.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._views: dict[str, _View] = {}

    def open(self, view_id: str, ask: Ask) -> None:
        """Lets a view ask."""
        self._views[view_id] = _View(ask)

    def close(self, view_id: str) -> None:
        """Refuses the view from now on. Idempotent."""
        self._views.pop(view_id, None)

    def issue(self, view_id: str) -> str:
        """Returns a new capability of the view; earlier ones stay good until their minute is over.

        Raises:
            AuthError: there is no such view.
        """
        view = self._views.get(view_id)
        if view is None:
            raise AuthError("this view was closed and gets no capability any more; run its cell again.")
        now = self._now()
        view.secrets = {secret: ends_at for secret, ends_at in view.secrets.items() if ends_at > now}
        secret = secrets.token_urlsafe(24)
        view.secrets[secret] = now + LIFETIME
        return secret

    def check(self, view_id: str, secret: str, origin: str) -> Ask:
        """Returns what answers the view.

        Args:
            view_id: which view asks.
            secret: the capability that it brings.
            origin: of the page that it is in, as the browser says.

        Raises:
            AuthError: the capability is wrong or old, or the page is another one.
        """
        view = self._views.get(view_id)
        now = self._now()
        good = [
            known
            for known, ends_at in (view.secrets.items() if view is not None else ())
            if ends_at > now and hmac.compare_digest(known.encode(), secret.encode("utf-8", "replace"))
        ]
        if view is None or not good:
            raise AuthError("the capability of this view is wrong or over; a live view gets a new one by itself.")
        if not origin or (view.origin and view.origin != origin):
            raise AuthError("this view belongs to a page of another origin.")
        view.origin = origin
        return view.ask

    async def handle(self, request: web.Request) -> web.Response:
        """``POST /_public/workbench/ask``: ``{"view", "capability", "ask": {...}}`` as plain text."""
        origin = request.headers.get("Origin", "")
        try:
            view_id, secret, question = await _read(request)
            ask = self.check(view_id, secret, origin)
        except AuthError as error:
            return web.json_response({"error": str(error), "code": error.code}, status=403)
        except ValueError as error:
            return web.json_response({"error": str(error), "code": "invalid_body"}, status=400)
        readable = {"Access-Control-Allow-Origin": origin, "Vary": "Origin", "Cache-Control": "no-store"}
        return web.json_response(await answer(ask, question), headers=readable, dumps=_dumps)


async def answer(ask: Ask, question: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what the view is told: its answer, or ``{"error": sentence}``, as an error must never be swallowed."""
    try:
        return await ask(question)
    except (AvtomatikaError, ValueError, TimeoutError) as error:
        return {"error": str(error)}
    except Exception as error:
        log.exception("a live view could not be answered", extra={"action": "view_failed"})
        return {"error": f"{type(error).__name__}: {error} (wb.logs() has more)"}


async def _read(request: web.Request) -> tuple[str, str, Mapping[str, Any]]:
    body = bytearray()
    async for chunk in request.content.iter_any():
        body += chunk
        if len(body) > _MAX_BODY:
            raise ValueError(f"the question is larger than {_MAX_BODY:,} bytes.")
    value = None
    with contextlib.suppress(ValueError):
        value = json.loads(bytes(body))
    if not isinstance(value, dict) or not isinstance(value.get("ask"), dict):
        raise ValueError(  # noqa: TRY004 - the caller turns one kind of error into an answer
            'the body is {"view": ..., "capability": ..., "ask": {...}} as JSON.'
        )
    return str(value.get("view") or ""), str(value.get("capability") or ""), value["ask"]


def _dumps(value: Any) -> str:
    return json.dumps(value, default=str)
