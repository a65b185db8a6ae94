"""Dead letters: messages of the caller's jobs that were given up; list them, and send them again."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from avtomatika.server.bodies import RequestError, answer, read_object
from avtomatika.server.keys import CLIENT_KEY, SETTINGS_KEY, STORAGE_KEY
from avtomatika.server.queries import encode_cursor, read_page
from avtomatika.storage.base import Message, Storage

MAX_IDS = 1000
"""How many dead letters one call may send again."""
_PAGE = 200
# One call looks at so many of all clients, so that none takes long; its cursor goes on from there.
_MOST = 2000


async def list_(request: web.Request) -> web.Response:
    """``GET /api/v1/dead-letters``: the caller's, last given up first."""
    limit, before = read_page(request)
    owners = _Owners(request.app[STORAGE_KEY], request[CLIENT_KEY].name)
    found, last = await _find(request.app[STORAGE_KEY], owners, request.query.get("topic") or None, limit, before)
    return answer({"dead_letters": [_view(message) for message in found], "next_cursor": last and encode_cursor(*last)})


async def replay(request: web.Request) -> web.Response:
    """``POST /api/v1/dead-letters/replay``: lets dead letters be carried again, with all their attempts before them."""
    body = await read_object(request, request.app[SETTINGS_KEY].max_body)
    ids = _read_ids(body)
    owners = _Owners(request.app[STORAGE_KEY], request[CLIENT_KEY].name)
    own = [message_id for message_id in ids if await owners.has(message_id.partition(":")[0])]
    replayed = await request.app[STORAGE_KEY].replay_messages(own)
    return answer({"replayed": replayed, "unknown": [one for one in ids if one not in set(replayed)]})


class _Owners:
    """Whose jobs send messages.

    Args:
        storage: where they live.
        client: who asks.
    """

    def __init__(self, storage: Storage, client: str) -> None:
        self._storage = storage
        self._client = client
        self._known: dict[str, bool] = {}

    async def has(self, job_id: str) -> bool:
        """Whether a job is the caller's."""
        if job_id not in self._known:
            job = await self._storage.find_job(job_id)
            self._known[job_id] = job is not None and job.client.name == self._client
        return self._known[job_id]


async def _find(
    storage: Storage, owners: _Owners, topic: str | None, limit: int, before: tuple[float, str] | None
) -> tuple[list[Message], tuple[float, str] | None]:
    """Returns dead letters, and what to go on behind if there may be more."""
    found: list[Message] = []
    for _ in range(_MOST // _PAGE):
        page = await storage.list_dead_messages(topic, _PAGE, before)
        for message in page:
            before = message.buried_at or 0.0, message.id
            if await owners.has(message.job_id):
                found.append(message)
                if len(found) == limit:
                    return found, before
        if len(page) < _PAGE:
            return found, None
    return found, before


def _view(message: Message) -> dict[str, Any]:
    """Returns a message as its client sees it; its body may hold what only its receiver should read."""
    return {
        "id": message.id,
        "topic": message.topic,
        "job_id": message.job_id,
        "key": message.key,
        "created_at": message.created_at,
        "buried_at": message.buried_at,
        "attempts": message.attempts,
        "error": message.error,
    }


def _read_ids(body: dict[str, Any]) -> list[str]:
    ids = body.get("ids")
    if body.keys() != {"ids"} or not isinstance(ids, list) or not all(isinstance(one, str) for one in ids):
        raise RequestError(400, "invalid_body", 'the body needs "ids", an array of ids of dead letters, and no more.')
    if len(ids) > MAX_IDS:
        raise RequestError(
            400,
            "invalid_body",
            f"the body has {len(ids)} ids, and {MAX_IDS} are allowed at a time; make several calls.",
        )
    return list(dict.fromkeys(ids))
