"""Jobs over HTTP: create, look up, wait, list, cancel, history."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from avtomatika.blueprints import CompiledBlueprint
from avtomatika.core.job import Job
from avtomatika.core.states import TaskStatus
from avtomatika.core.waits import ChildWait
from avtomatika.errors import suggest
from avtomatika.runtime.explain import explain
from avtomatika.runtime.registry import Registry
from avtomatika.server.approvals import approval_url
from avtomatika.server.bodies import RequestError, answer, read_object
from avtomatika.server.keys import (
    ACCESS_KEY,
    CLIENT_KEY,
    HISTORIAN_KEY,
    HISTORY_KEY,
    JOBS_KEY,
    QUOTAS_KEY,
    REGISTRY_KEY,
    REPUTATIONS_KEY,
    SETTINGS_KEY,
    SOCKETS_KEY,
    STORAGE_KEY,
    TARGETS_KEY,
)
from avtomatika.server.middleware.tracing import trace_context
from avtomatika.server.queries import encode_cursor, job_query, known_version, wait_seconds
from avtomatika.server.repetition import dedupe_of, refuse_conflict
from avtomatika.server.views import job_view

_TIMEOUTS = ("dispatch_timeout", "result_timeout")
_OPTIONS = frozenset({"initial_data", "webhook_url", *_TIMEOUTS})


async def create(request: web.Request) -> web.Response:
    """``POST /api/{version}{endpoint}``: creates a job of the blueprint that has this endpoint."""
    app, client = request.app, request[CLIENT_KEY]
    blueprint = _find_blueprint(request, app[REGISTRY_KEY])
    if blueprint is None:
        if allowed := await _allowed_elsewhere(request):
            raise web.HTTPMethodNotAllowed(request.method, allowed)
        raise _no_endpoint(request, app[REGISTRY_KEY])
    body = await read_object(request, app[SETTINGS_KEY].max_body)
    initial_data, options = _split(body)
    if "initial_data" in body and body.get("webhook_url"):
        options["webhook_url"] = await app[TARGETS_KEY].check(body["webhook_url"])
    quotas = app[QUOTAS_KEY]
    taken = await quotas.take(client.name, app[ACCESS_KEY].monthly_attempts(client.name))
    try:
        job_id, earlier = await app[JOBS_KEY].create(
            blueprint,
            initial_data,
            client=client,
            source="api",
            dedupe=dedupe_of(request, client.name, blueprint.name, body),
            tracing_context=trace_context(request),
            **options,
        )
    except Exception:
        await quotas.give_back(taken)
        raise
    if earlier is not None:
        await quotas.give_back(taken)
        refuse_conflict(job_id, earlier, blueprint.name, body)
    return answer({"status": "accepted", "job_id": job_id}, 202)


async def elsewhere(request: web.Request) -> web.Response:
    """Any other method below the API: not found, unless the path exists for another method.

    Endpoints of blueprints may be anywhere, so the router alone would call every misspelt path a wrong method.
    """
    allowed = {"POST"} if _find_blueprint(request, request.app[REGISTRY_KEY]) else set()
    allowed |= await _allowed_elsewhere(request)
    if allowed:
        raise web.HTTPMethodNotAllowed(request.method, allowed)
    raise web.HTTPNotFound


async def _allowed_elsewhere(request: web.Request) -> set[str]:
    """Returns the methods that the path has outside the pattern that stands for the blueprints' endpoints."""
    allowed: set[str] = set()
    for resource in request.app.router.resources():
        if resource.canonical != request.match_info.route.resource.canonical:  # type: ignore[union-attr]
            allowed |= (await resource.resolve(request))[1]
    return allowed


async def get(request: web.Request) -> web.Response:
    """``GET /api/v1/jobs/{id}?wait=&version=``: a job, with ``wait`` as soon as it changes."""
    jobs, client = request.app[JOBS_KEY], request[CLIENT_KEY]
    seconds, version = wait_seconds(request), known_version(request)
    job = await jobs.get(request.match_info["job_id"], client.name)
    if seconds and not job.is_terminal:
        job = await jobs.wait(job.id, job.version if version is None else version, seconds)
    return answer(await _view(request, await jobs.depot.fetch_job(job)))


async def list_(request: web.Request) -> web.Response:
    """``GET /api/v1/jobs``: the caller's jobs, newest first."""
    query = job_query(request, request[CLIENT_KEY].name)
    jobs = await request.app[JOBS_KEY].depot.fetch_jobs(await request.app[STORAGE_KEY].list_jobs(query))
    views = [await _view(request, job) for job in jobs]
    if "cursor" not in request.query:
        return answer(views)
    last = jobs[-1] if len(jobs) == query.limit else None
    cursor = encode_cursor(last.created_at, last.id) if last else None
    return answer({"jobs": views, "next_cursor": cursor})


async def cancel(request: web.Request) -> web.Response:
    """``POST /api/v1/jobs/{id}/cancel``: ends a job."""
    jobs, client = request.app[JOBS_KEY], request[CLIENT_KEY]
    job = await jobs.get(request.match_info["job_id"], client.name)
    tasks = await request.app[STORAGE_KEY].list_tasks(job.id)
    await jobs.cancel(job.id, client.name)
    holders = {task.worker_id for task in tasks if task.status is TaskStatus.CLAIMED}
    is_sent = any([await _is_connected(request, worker_id) for worker_id in holders])
    return answer({"status": f"cancellation_request_{'sent' if is_sent else 'accepted'}", "job_id": job.id})


async def requeue(request: web.Request) -> web.Response:
    """``POST /api/v1/jobs/{id}/requeue``: lets a failed or quarantined job go on in the state where it stopped."""
    jobs, client = request.app[JOBS_KEY], request[CLIENT_KEY]
    job = await jobs.get(request.match_info["job_id"], client.name)
    await jobs.requeue(job.id, client.name)
    return answer({"status": "requeued", "job_id": job.id})


async def explanation(request: web.Request) -> web.Response:
    """``GET /api/v1/jobs/{id}/explain``: what the job waits for, who holds it and until when."""
    storage = request.app[STORAGE_KEY]
    job = await request.app[JOBS_KEY].get(request.match_info["job_id"], request[CLIENT_KEY].name)
    wake_up = await storage.find_wake_up(job.id)
    child = await storage.find_job(job.wait.child_id) if isinstance(job.wait, ChildWait) else None
    reasons = explain(
        job, wake_up, await storage.list_workers(), await storage.now(), child, request.app[REPUTATIONS_KEY].is_barred
    )
    return answer({"job_id": job.id, "status": job.status, "current_state": job.state, "reasons": reasons})


async def history(request: web.Request) -> web.Response:
    """``GET /api/v1/jobs/{id}/history``: what happened, as an array of events."""
    job = await request.app[JOBS_KEY].get(request.match_info["job_id"], request[CLIENT_KEY].name)
    # What was committed a moment ago may still be on its way.
    await request.app[HISTORIAN_KEY].flush()
    zone = request.app[SETTINGS_KEY].zone
    rows = await request.app[HISTORY_KEY].job_events(job.id)
    return answer([{**row, "timestamp": _in_zone(row["timestamp"], zone)} for row in rows])


async def _is_connected(request: web.Request, worker_id: str) -> bool:
    """Whether a worker hears at once that it shall stop: over a socket to this engine, or to another one."""
    if request.app[SOCKETS_KEY].reaches(worker_id):
        return True
    worker = await request.app[STORAGE_KEY].find_worker(worker_id)
    return worker is not None and worker.extra.get("websockets") is True


async def _view(request: web.Request, job: Job) -> dict[str, Any]:
    storage = request.app[STORAGE_KEY]
    if isinstance(job.wait, ChildWait):
        return job_view(job, progress=await storage.find_progress(job.id))
    if not job.task_id:
        return job_view(job, approval_url=await approval_url(request, job))
    return job_view(job, await storage.find_task(job.task_id), await storage.find_progress(job.id))


def _split(body: Mapping[str, Any]) -> tuple[Mapping[str, Any], dict[str, Any]]:
    """Separates the initial data from the options of a creation.

    A body without ``initial_data`` is itself the initial data.
    """
    if "initial_data" not in body:
        return body, {}
    unknown = [name for name in body if name not in _OPTIONS]
    if unknown:
        raise RequestError(
            400,
            "invalid_body",
            f"'{unknown[0]}' is not an option of a new job; known: {', '.join(sorted(_OPTIONS))}."
            f"{suggest(unknown[0], _OPTIONS)}",
        )
    initial_data = body["initial_data"]
    if initial_data is None:
        initial_data = {}
    if not isinstance(initial_data, dict):
        raise RequestError(400, "invalid_body", "'initial_data' must be a JSON object.")
    return initial_data, {name: _seconds(body, name) for name in _TIMEOUTS if name in body}


def _seconds(body: Mapping[str, Any], name: str) -> float | None:
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise RequestError(400, "invalid_body", f"'{name}' must be a positive number of seconds; got {value!r}.")
    return float(value)


def _in_zone(timestamp: str, zone: datetime.tzinfo) -> str:
    return datetime.datetime.fromisoformat(timestamp).astimezone(zone).isoformat()


def _find_blueprint(request: web.Request, registry: Registry) -> CompiledBlueprint | None:
    """Returns the blueprint whose jobs are created at the request's path."""
    path = "/" + request.match_info["path"].strip("/")
    version, _, rest = path[1:].partition("/")
    return registry.find_endpoint(version, f"/{rest}") or registry.find_endpoint("", path)


def _no_endpoint(request: web.Request, registry: Registry) -> RequestError:
    prefix = request.app[SETTINGS_KEY].api_prefix
    known = [
        f"/{prefix}/{blueprint.api_version or 'v1'}{blueprint.api_endpoint}"
        for blueprint in registry
        if blueprint.api_endpoint
    ]
    listed = ", ".join(known) or "none; register a blueprint with an api_endpoint"
    return RequestError(
        404,
        "blueprint_not_found",
        f"no blueprint creates jobs at {request.path}; known: {listed}.{suggest(request.path, known)}",
    )
