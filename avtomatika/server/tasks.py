"""Tasks over HTTP: what a job has sent to workers, and what has come of it so far."""

from __future__ import annotations

from aiohttp import web

from avtomatika.core.states import TaskStatus
from avtomatika.errors import suggest
from avtomatika.server.bodies import RequestError, answer
from avtomatika.server.keys import CLIENT_KEY, JOBS_KEY, STORAGE_KEY
from avtomatika.server.views import task_view


async def list_(request: web.Request) -> web.Response:
    """``GET /api/v1/jobs/{id}/tasks?status=``: the tasks of a job, those of a fan-out that still runs among them."""
    job = await request.app[JOBS_KEY].get(request.match_info["job_id"], request[CLIENT_KEY].name)
    status = request.query.get("status") or None
    if status is not None and status not in set(TaskStatus):
        raise RequestError(
            400,
            "invalid_query",
            f"'status' is '{status}'; expected one of {', '.join(TaskStatus)}.{suggest(status, list(TaskStatus))}",
        )
    tasks = await request.app[STORAGE_KEY].list_tasks(job.id)
    asked_for = [task for task in tasks if status in {None, str(task.status)}]
    return answer([task_view(task) for task in await request.app[JOBS_KEY].depot.fetch_tasks(asked_for)])
