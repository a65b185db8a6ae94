"""The overview over HTTP: status, live workers, the catalogue of skills, the dashboard."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from avtomatika.core.states import JobStatus
from avtomatika.server.bodies import RequestError, answer
from avtomatika.server.keys import (
    DISPATCHER_KEY,
    HEALTH_KEY,
    METER_KEY,
    REGISTRY_KEY,
    REPUTATIONS_KEY,
    RUNNER_KEY,
    SAMPLER_KEY,
    SETTINGS_KEY,
    STORAGE_KEY,
)
from avtomatika.server.views import worker_view
from avtomatika.version import __version__


async def status(request: web.Request) -> web.Response:
    """``GET /_public/status``: whether the engine serves; 503 while it cannot do its work."""
    trouble = await request.app[HEALTH_KEY].find_trouble()
    facts = {
        "status": "degraded" if trouble else "ok",
        "version": __version__,
        "instance_id": request.app[SETTINGS_KEY].instance_id,
        "blueprints": len(request.app[REGISTRY_KEY]),
    }
    if not trouble:
        return answer(facts)
    response = answer({**facts, "code": "degraded", "error": " ".join(trouble)}, 503)
    response.headers["Retry-After"] = "5"
    return response


async def live(_request: web.Request) -> web.Response:
    """``GET /_public/health/live``: that this process answers; nothing else is looked at.

    For a supervisor that starts the process again when this fails: a storage in trouble is no reason for that.
    """
    return answer({"status": "ok"})


async def ready(request: web.Request) -> web.Response:
    """``GET /_public/health/ready``: whether requests should be sent here; 503 while the engine cannot do its work."""
    return await status(request)


async def metrics(request: web.Request) -> web.Response:
    """``GET /_public/metrics``: the numbers for Prometheus."""
    sample = await request.app[SAMPLER_KEY].sample()
    written = request.app[METER_KEY].write(sample, request.headers.get("Accept", ""))
    if written is None:
        raise RequestError(
            501,
            "metrics_unavailable",
            "metrics need the package prometheus-client, which is not installed here. Run "
            "pip install 'avtomatika[telemetry]' and start the engine again.",
        )
    text, content_type = written
    return web.Response(body=text, headers={"Content-Type": content_type})


async def workers(request: web.Request) -> web.Response:
    """``GET /api/v1/workers``: the workers that were heard of lately."""
    reputations = request.app[REPUTATIONS_KEY]
    await reputations.refresh()
    return answer(
        [
            worker_view(worker, reputations.score(worker.worker_id), request.app[SETTINGS_KEY].file_store)
            for worker in await request.app[STORAGE_KEY].list_workers()
        ]
    )


async def catalog(request: web.Request) -> web.Response:
    """``GET /api/v1/workers/catalog``: the skills on offer, and by whom."""
    skills: dict[str, dict[str, Any]] = {}
    for worker in await request.app[STORAGE_KEY].list_workers():
        for skill in worker.skills:
            entry = skills.setdefault(
                skill.name,
                {
                    "name": skill.name,
                    "description": skill.description,
                    "input_schema": skill.input_schema,
                    "output_schema": skill.output_schema,
                    "events_schema": skill.events_schema,
                    "workers": [],
                },
            )
            entry["workers"].append(worker.worker_id)
    return answer([skills[name] for name in sorted(skills)])


async def dashboard(request: web.Request) -> web.Response:
    """``GET /api/v1/dashboard``: counts of workers, jobs and waiting tasks."""
    storage = request.app[STORAGE_KEY]
    counts = await storage.count_jobs()
    known = await storage.list_workers()
    by_status: dict[str, int] = {}
    for worker in known:
        by_status[worker.status] = by_status.get(worker.status, 0) + 1
    queues = await storage.list_queues()
    return answer(
        {
            "workers": {"total": len(known), "polling": request.app[DISPATCHER_KEY].parked, **by_status},
            "jobs": {"queued": counts.get(JobStatus.PENDING, 0), **{str(name): n for name, n in counts.items()}},
            "tasks": {
                "waiting": sum(queue.length for queue in queues),
                "queues": {queue.name: {"waiting": queue.length, "oldest_at": queue.oldest_at} for queue in queues},
            },
            "engine": {
                "instance_id": request.app[SETTINGS_KEY].instance_id,
                "handlers": request.app[RUNNER_KEY].active,
            },
        }
    )
