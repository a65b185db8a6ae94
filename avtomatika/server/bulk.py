"""Many jobs at once: cancel or requeue those that are named, or those that a filter finds; never more than 1000."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

from aiohttp import web

from avtomatika.core.job import Job
from avtomatika.core.states import REQUEUABLE, JobStatus
from avtomatika.errors import AvtomatikaError, suggest
from avtomatika.server.bodies import RequestError, answer, read_object
from avtomatika.server.keys import CLIENT_KEY, JOBS_KEY, SETTINGS_KEY, STORAGE_KEY
from avtomatika.server.queries import read_moment
from avtomatika.storage.base import JobQuery

MAX_JOBS = 1000
"""How many jobs one call may concern."""
_DEFAULT_LIMIT = 100
# So many are changed at a time: one after another would take long, all at once would hold everybody else up.
_AT_ONCE = 20
_CANCELLABLE = tuple(status for status in JobStatus if not status.is_terminal)
_REQUEUABLE = tuple(sorted(REQUEUABLE))

Act = Callable[[str, str], Awaitable[Job]]


async def cancel(request: web.Request) -> web.Response:
    """``POST /api/v1/jobs/cancel``: ends jobs."""
    return await _change(request, "cancelled", _CANCELLABLE, request.app[JOBS_KEY].cancel)


async def requeue(request: web.Request) -> web.Response:
    """``POST /api/v1/jobs/requeue``: lets failed and quarantined jobs go on where they stopped."""
    return await _change(request, "requeued", _REQUEUABLE, request.app[JOBS_KEY].requeue)


async def _change(request: web.Request, done: str, statuses: Sequence[JobStatus], act: Act) -> web.Response:
    """Changes the jobs that the body means, and says of each what came of it.

    Args:
        request: its client's jobs are meant.
        done: the member of the answer in which the ids of changed jobs stand.
        statuses: which a filter may ask for, and asks for when it names none.
        act: changes one.
    """
    client = request[CLIENT_KEY].name
    body = await read_object(request, request.app[SETTINGS_KEY].max_body)
    _check_members(body, "a body", ("ids", "filter", "limit"))
    if ("ids" in body) == ("filter" in body):
        raise _wrong(f"needs either 'ids' or 'filter'; {{\"filter\": {{}}}} means all {', '.join(statuses)} jobs")
    if "ids" in body:
        ids, more = _read_ids(body["ids"]), False
    else:
        queries = _read_filter(body["filter"], client, statuses)
        ids, more = await _find(request, queries, _read_limit(body.get("limit", _DEFAULT_LIMIT)))
    changed: list[str] = []
    refused: list[dict[str, Any]] = []

    async def change(job_id: str) -> None:
        try:
            await request.app[JOBS_KEY].get(job_id, client)
            await act(job_id, client)
        except AvtomatikaError as error:
            refused.append({"job_id": job_id, "code": error.code, "error": str(error)})
        else:
            changed.append(job_id)

    for first in range(0, len(ids), _AT_ONCE):
        await asyncio.gather(*map(change, ids[first : first + _AT_ONCE]))
    return answer({"matched": len(ids), done: changed, "refused": refused, "more": more})


async def _find(request: web.Request, queries: Iterable[dict[str, Any]], limit: int) -> tuple[list[str], bool]:
    """Returns the ids of the jobs that the queries find, and whether there are more."""
    found: list[str] = []
    for query in queries:
        jobs = await request.app[STORAGE_KEY].list_jobs(JobQuery(**query, limit=limit + 1 - len(found)))
        found += [job.id for job in jobs]
        if len(found) > limit:
            return found[:limit], True
    return found, False


# --- reading the body ---


def _read_ids(value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(job_id, str) for job_id in value):
        raise _wrong("needs 'ids' to be an array of job ids")
    if len(value) > MAX_JOBS:
        raise _wrong(f"has {len(value)} ids, and {MAX_JOBS} are allowed at a time; make several calls")
    return list(dict.fromkeys(value))


def _read_filter(value: Any, client: str, statuses: Sequence[JobStatus]) -> list[dict[str, Any]]:
    """Returns what to ask the storage: one query for each status."""
    if not isinstance(value, dict):
        raise _wrong("needs 'filter' to be an object")
    _check_members(value, "a filter", ("status", "blueprint", "since"))
    status, blueprint, since = value.get("status"), value.get("blueprint"), value.get("since")
    if status is not None and status not in statuses:
        raise _wrong(f"has the status {str(status)[:80]!r}, but only these can be meant: {', '.join(statuses)}")
    if blueprint is not None and not isinstance(blueprint, str):
        raise _wrong("needs 'blueprint' to be the name of a blueprint")
    if isinstance(since, bool) or since == "" or not isinstance(since, str | int | float | None):
        raise _wrong("needs 'since' to be Unix seconds or an ISO 8601 date")
    facts = {
        "client": client,
        "blueprint": blueprint,
        "since": read_moment(None if since is None else str(since), "invalid_body"),
    }
    return [{**facts, "status": one} for one in statuses if status in {None, one}]


def _read_limit(value: Any) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # JSON does not tell 5.0 from 5
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_JOBS:
        raise _wrong(f"needs 'limit' to be a whole number from 1 to {MAX_JOBS}")
    return value


def _check_members(value: Mapping[str, Any], what: str, known: Sequence[str]) -> None:
    for name in value:
        if name not in known:
            raise _wrong(f"has '{name[:80]}', but {what} has: {', '.join(known)}.{suggest(name, known)}")


def _wrong(problem: str) -> RequestError:
    return RequestError(400, "invalid_body", f"the body {problem}".rstrip(".") + ".")
