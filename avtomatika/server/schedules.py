"""Schedules over HTTP: what runs when, and what ran last."""

from __future__ import annotations

import itertools
from typing import Any

from aiohttp import web

from avtomatika.core.schedule import Schedule
from avtomatika.runtime.scheduler import Due
from avtomatika.server.bodies import answer
from avtomatika.server.keys import CLIENT_KEY, SCHEDULER_KEY, STORAGE_KEY

_UPCOMING = 5


async def list_(request: web.Request) -> web.Response:
    """``GET /api/v1/schedules``: the schedules whose jobs are the caller's."""
    scheduler, client = request.app[SCHEDULER_KEY], request[CLIENT_KEY]
    now = await request.app[STORAGE_KEY].now()
    own = [schedule for schedule in scheduler.schedules if schedule.client == client.name]
    return answer([_view(schedule, await scheduler.due(schedule), now) for schedule in own])


def _view(schedule: Schedule, due: Due | None, now: float) -> dict[str, Any]:
    following = [due.next_at] if due is not None else []
    if schedule.enabled:
        following += itertools.islice(schedule.instants(following[0] if following else now), _UPCOMING - len(following))
    return {
        "name": schedule.name,
        "blueprint_name": schedule.blueprint,
        "rule": str(schedule.rule),
        "timezone": str(schedule.zone),
        "enabled": schedule.enabled,
        "overlap": schedule.overlap,
        "catch_up": schedule.catch_up,
        "next_at": following,
        "last_at": due.last_at if due is not None else None,
        "last_job_id": due.last_job_id or None if due is not None else None,
    }
