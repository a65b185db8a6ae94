"""A job's past over HTTP: start the same job again from there, or a sibling with other data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from avtomatika.errors import suggest
from avtomatika.server.bodies import RequestError, answer, read_object
from avtomatika.server.keys import ACCESS_KEY, CLIENT_KEY, JOBS_KEY, PASTS_KEY, QUOTAS_KEY, SETTINGS_KEY
from avtomatika.server.repetition import dedupe_of, refuse_conflict

_MOMENT = frozenset({"state", "sequence"})
_FORK = _MOMENT | {"initial_data", "state_history"}


async def rewind(request: web.Request) -> web.Response:
    """``POST /api/v1/jobs/{id}/rewind``: starts the job again from a state that it was in."""
    client = request[CLIENT_KEY]
    job = await request.app[JOBS_KEY].get(request.match_info["job_id"], client.name)
    body = await read_object(request, request.app[SETTINGS_KEY].max_body)
    state, sequence = _moment(body, _MOMENT)
    rewound = await request.app[PASTS_KEY].rewind(job, state, sequence, client.name)
    return answer({"status": "rewound", "job_id": job.id, "current_state": rewound.state})


async def fork(request: web.Request) -> web.Response:
    """``POST /api/v1/jobs/{id}/fork``: creates a job that begins where this one once was, with other data."""
    client = request[CLIENT_KEY]
    job = await request.app[JOBS_KEY].get(request.match_info["job_id"], client.name)
    body = await read_object(request, request.app[SETTINGS_KEY].max_body)
    state, sequence = _moment(body, _FORK)
    what = f"fork {job.id}"
    quotas = request.app[QUOTAS_KEY]
    taken = await quotas.take(client.name, request.app[ACCESS_KEY].monthly_attempts(client.name))
    try:
        job_id, earlier = await request.app[PASTS_KEY].fork(
            job,
            state,
            sequence,
            client=client,
            initial_data=_object(body, "initial_data"),
            state_history=_object(body, "state_history"),
            dedupe=dedupe_of(request, client.name, what, body),
        )
    except Exception:
        await quotas.give_back(taken)
        raise
    if earlier is not None:
        await quotas.give_back(taken)
        refuse_conflict(job_id, earlier, what, body)
    return answer({"status": "accepted", "job_id": job_id, "forked_from": job.id}, 202)


def _moment(body: Mapping[str, Any], known: frozenset[str]) -> tuple[str, int | None]:
    """Reads which moment of the past is meant."""
    unknown = [name for name in body if name not in known]
    if unknown:
        raise RequestError(
            400,
            "invalid_body",
            f"'{unknown[0]}' is unknown here; known: {', '.join(sorted(known))}.{suggest(unknown[0], known)}",
        )
    state, sequence = body.get("state"), body.get("sequence")
    is_state = isinstance(state, str) and bool(state)
    is_sequence = isinstance(sequence, int) and not isinstance(sequence, bool)
    if is_state == is_sequence or (state is not None) == (sequence is not None):
        raise RequestError(
            400,
            "invalid_body",
            "send either 'state', for the last time that the job entered it, or 'sequence', the number of a row "
            "'state_started' of its history.",
        )
    return (state or "", sequence)


def _object(body: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = body.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise RequestError(400, "invalid_body", f"'{name}' must be a JSON object: members to change.")
    return value
