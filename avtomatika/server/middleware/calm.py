"""Refused polls are held for a while: SDK 1.0b3 to 1.0b15 ask again at once, a hundred times a second."""

from __future__ import annotations

from aiohttp import web

from avtomatika.errors import AvtomatikaError
from avtomatika.server.access import TokenExpiredError
from avtomatika.server.bodies import RequestError
from avtomatika.server.keys import ENDED_TOKENS_KEY, SETTINGS_KEY, WORKERS_KEY

HELD_SECONDS = 5.0
"""How long; no longer than any other poll."""


async def hold_back(request: web.Request, error: Exception) -> None:
    """Delays the answer to a poll that is refused, whatever the reason.

    One whose token has ended is told at once: every worker that can have such a token fetches the next one then, and
    repeats its poll with that. If it comes back with an ended one soon, it got none, and is held as well.
    """
    if not request.path.endswith("/tasks/next") or not isinstance(error, AvtomatikaError | RequestError):
        return
    ended = error.__cause__
    if isinstance(ended, TokenExpiredError):
        worker_id = request.match_info.get("worker_id", "")
        if request.app[ENDED_TOKENS_KEY].is_news(worker_id, ended.at):
            return
    await request.app[WORKERS_KEY].pause(min(HELD_SECONDS, request.app[SETTINGS_KEY].poll_timeout))
