"""The application: which path leads to which handler."""

from __future__ import annotations

from aiohttp import web

from avtomatika.server import (
    admin,
    approvals,
    blueprints,
    bulk,
    dead_letters,
    documentation,
    events,
    files,
    jobs,
    operations,
    overview,
    pasts,
    schedules,
    tasks,
    worker_messages,
    worker_polls,
    worker_results,
    worker_sockets,
    worker_tokens,
)
from avtomatika.server.headers import add_headers
from avtomatika.server.keys import SETTINGS_KEY, Settings
from avtomatika.server.middleware.cors import cors
from avtomatika.server.middleware.passage import passage
from avtomatika.server.middleware.tracing import tracing
from avtomatika.server.openapi.document import document


def build_app(settings: Settings) -> web.Application:
    """Returns the application; the caller puts the parts of the engine under their keys.

    Bodies are limited by the handlers, each with its own limit, so the framework's is off.
    """
    # The outermost first. Nobody passes through what this engine has no use for.
    optional = {tracing: settings.traced, cors: bool(settings.cors_origins)}
    middlewares = [one for one, is_used in optional.items() if is_used]
    app = web.Application(middlewares=[*middlewares, passage], client_max_size=0)
    app[SETTINGS_KEY] = settings
    app.on_response_prepare.append(add_headers)
    app.router.add_get("/", operations.front)
    app.router.add_get("/_public/status", overview.status)
    app.router.add_get("/_public/health/live", overview.live)
    app.router.add_get("/_public/health/ready", overview.ready)
    app.router.add_get("/_public/metrics", overview.metrics)
    app.router.add_get(f"{approvals.PATH}/{{job_id}}", approvals.show)
    app.router.add_post(f"{approvals.PATH}/{{job_id}}", approvals.decide)
    app.router.add_get("/_public/openapi.json", document)
    app.router.add_get("/_public/docs", documentation.page)
    app.router.add_get("/_public/docs/{file}", documentation.asset)
    # SDK 1.0b1 and 1.0b2 put two slashes before the first segment.
    for slashes in ("", "/"):
        _add_worker_routes(app, f"{slashes}/_worker")
    if settings.client_api:
        app.router.add_get("/_public/ui", operations.page)
        app.router.add_get("/_public/ui/{file}", operations.asset)
        _add_client_routes(app, f"/{settings.api_prefix}")
    return app


def _add_worker_routes(app: web.Application, root: str) -> None:
    app.router.add_post(f"{root}/workers/register", worker_messages.register)
    app.router.add_patch(f"{root}/workers/{{worker_id}}", worker_messages.heartbeat)
    # No HEAD: it would take a task and give nothing.
    app.router.add_get(f"{root}/workers/{{worker_id}}/tasks/next", worker_polls.next_task, allow_head=False)
    app.router.add_post(f"{root}/tasks/result", worker_results.result)
    app.router.add_post(f"{root}/tasks/results", worker_results.results)
    app.router.add_post(f"{root}/events", worker_messages.event)
    app.router.add_post(f"{root}/auth/token", worker_tokens.issue)
    app.router.add_post(f"{root}/auth/token/refresh", worker_tokens.refresh)
    app.router.add_get(f"{root}/ws", worker_sockets.connect)
    app.router.add_get(f"{root}/ws/{{worker_id}}", worker_sockets.connect)


def _add_client_routes(app: web.Application, root: str) -> None:
    app.router.add_get(f"{root}/v1/jobs", jobs.list_)
    app.router.add_post(f"{root}/v1/jobs/cancel", bulk.cancel)
    app.router.add_post(f"{root}/v1/jobs/requeue", bulk.requeue)
    app.router.add_get(f"{root}/v1/jobs/{{job_id}}", jobs.get)
    app.router.add_post(f"{root}/v1/jobs/{{job_id}}/cancel", jobs.cancel)
    app.router.add_post(f"{root}/v1/jobs/{{job_id}}/requeue", jobs.requeue)
    app.router.add_post(f"{root}/v1/jobs/{{job_id}}/rewind", pasts.rewind)
    app.router.add_post(f"{root}/v1/jobs/{{job_id}}/fork", pasts.fork)
    app.router.add_get(f"{root}/v1/jobs/{{job_id}}/explain", jobs.explanation)
    app.router.add_get(f"{root}/v1/jobs/{{job_id}}/history", jobs.history)
    app.router.add_get(f"{root}/v1/jobs/{{job_id}}/graph", operations.job_graph)
    app.router.add_get(f"{root}/v1/jobs/{{job_id}}/tasks", tasks.list_)
    app.router.add_get(f"{root}/v1/jobs/{{job_id}}/files", files.list_)
    app.router.add_get(f"{root}/v1/jobs/{{job_id}}/files/{{name:.+}}", files.get)
    app.router.add_put(f"{root}/v1/jobs/{{job_id}}/files/{{name:.+}}", files.put)
    app.router.add_get(f"{root}/v1/events", events.stream)
    app.router.add_get(f"{root}/v1/dead-letters", dead_letters.list_)
    app.router.add_post(f"{root}/v1/dead-letters/replay", dead_letters.replay)
    app.router.add_get(f"{root}/v1/blueprints", blueprints.list_)
    app.router.add_get(f"{root}/v1/blueprints/{{name}}/graph", blueprints.graph)
    app.router.add_get(f"{root}/v1/workers", overview.workers)
    app.router.add_get(f"{root}/v1/workers/catalog", overview.catalog)
    app.router.add_get(f"{root}/v1/dashboard", overview.dashboard)
    app.router.add_get(f"{root}/v1/schedules", schedules.list_)
    app.router.add_post(f"{root}/v1/admin/reload-workers", admin.reload_workers)
    # Last: blueprints can be registered while the engine runs, so their endpoints are looked up, not routed.
    app.router.add_post(f"{root}/{{path:.+}}", jobs.create)
    app.router.add_route("*", f"{root}/{{path:.+}}", jobs.elsewhere)
