"""Refused polls are held for a while: SDK 1.0b3 to 1.0b15 ask again at once, a hundred times a second."""

from __future__ import annotations

from aiohttp import web

from avtomatika.errors import AvtomatikaError
from avtomatika.server.bodies import RequestError
from avtomatika.server.keys import SETTINGS_KEY, WORKERS_KEY

HELD_SECONDS = 5.0
"""How long; no longer than any other poll."""


async def hold_back(request: web.Request, error: Exception) -> None:
    """Delays the answer to a poll that is refused, whatever the reason."""
    if request.path.endswith("/tasks/next") and isinstance(error, AvtomatikaError | RequestError):
        await request.app[WORKERS_KEY].pause(min(HELD_SECONDS, request.app[SETTINGS_KEY].poll_timeout))
