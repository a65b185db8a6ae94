"""Puts the document together: OpenAPI 3.1, https://spec.openapis.org/oas/v3.1.0."""

from __future__ import annotations

import inspect
import re
from typing import Any

from aiohttp import web

from avtomatika.blueprints import CompiledBlueprint
from avtomatika.server.bodies import answer
from avtomatika.server.keys import REGISTRY_KEY, SETTINGS_KEY
from avtomatika.server.openapi.operations import CREATION, JSON, OPERATIONS, Operation
from avtomatika.server.openapi.placing import place
from avtomatika.server.openapi.schemas import SCHEMAS, Schema, creation_body, ref
from avtomatika.version import __version__

_CLIENT, _WORKER = "clientToken", "workerToken"
_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})
_TAGS = (
    "Create jobs",
    "Jobs",
    "Files",
    "Approvals",
    "Blueprints",
    "Workers",
    "Dead letters",
    "Engine",
    "Worker protocol",
)
_UNDESCRIBED = Operation("Engine")
_DESCRIPTION = """\
Durable workflows as state machines. Enter your tokens under **Authorize**, then try any call.

Errors are one object with a sentence, `error`, and a stable word, `code`."""


async def document(request: web.Request) -> web.Response:
    """``GET /_public/openapi.json``: this document."""
    return answer(make_document(request.app))


def make_document(app: web.Application) -> dict[str, Any]:
    """Returns the document of what the application serves now, with the endpoints of the registered blueprints."""
    settings = app[SETTINGS_KEY]
    paths: dict[str, dict[str, Any]] = {}
    schemas = dict(SCHEMAS)
    for route in app.router.routes():
        path = route.resource.canonical if route.resource is not None else ""
        if route.method not in _METHODS or not _is_described(path):
            continue
        operation = OPERATIONS.get(route.handler, _UNDESCRIBED)
        facts = _operation(route.method, path, operation, *_told(inspect.getdoc(route.handler) or ""))
        paths.setdefault(path, {})[route.method.lower()] = facts
    if settings.client_api:
        for blueprint in app[REGISTRY_KEY]:
            if blueprint.api_endpoint:
                path = f"/{settings.api_prefix}/{blueprint.api_version or 'v1'}{blueprint.api_endpoint}"
                paths.setdefault(path, {})["post"] = _creation(path, blueprint, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "avtomatika", "version": __version__, "description": _DESCRIPTION},
        # Else a page behind a proxy's path would call the proxy's root.
        **({"servers": [{"url": settings.public_url}]} if settings.public_url else {}),
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                _CLIENT: {"type": "apiKey", "in": "header", "name": "X-Client-Token", "description": "of a client"},
                _WORKER: {"type": "apiKey", "in": "header", "name": "X-Worker-Token", "description": "of a worker"},
            },
        },
        "tags": [{"name": name} for name in _TAGS],
    }


def _is_described(path: str) -> bool:
    """Whether a path is a call of its own that OpenAPI knows."""
    # Not the pattern behind the blueprints' endpoints, nor old workers' two slashes, nor a WebSocket, nor what only
    # leads people on.
    return not (path == "/" or path.endswith("{path}") or path.startswith("//") or "/_worker/ws" in path)


def _told(docstring: str) -> tuple[str, str]:
    """Returns summary and description out of a handler's docstring, which begins with its call."""
    first, _, rest = docstring.partition("\n\n")
    summary = re.sub(r"^``.*?``:? *", "", " ".join(first.split())).rstrip(".")
    summary = summary.replace("``", "")
    return summary[:1].upper() + summary[1:], rest.partition("Args:")[0].partition("Raises:")[0].strip()


def _creation(path: str, blueprint: CompiledBlueprint, schemas: dict[str, Schema]) -> dict[str, Any]:
    """Returns the call that creates a job; what its initial data must look like is put among the schemas."""
    data: Schema | None = None
    if blueprint.input_schema is not None:
        name = f"{blueprint.name}.initial_data"
        data = ref(name)
        schemas[name] = place(blueprint.input_schema, data["$ref"])
    states = ", ".join(state.name for state in blueprint.graph)
    summary = f"Create a job of blueprint '{blueprint.name}'"
    operation = _operation("POST", path, CREATION, summary, f"Its states: {states}.")
    operation["requestBody"] = {"required": False, "content": {JSON: {"schema": creation_body(data)}}}
    return operation


def _operation(method: str, path: str, operation: Operation, summary: str, description: str) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "operationId": f"{method.lower()}_{re.sub(r'[^A-Za-z0-9]+', '_', path).strip('_')}",
        "summary": summary,
        "tags": [operation.tag] if operation.tag else [],
        "parameters": _parameters(path, operation),
        "responses": _responses(path, operation),
        "security": _security(path),
    }
    if operation is _UNDESCRIBED:
        facts["x-undescribed"] = True
    if description:
        facts["description"] = description
    if operation.body is not None:
        facts["requestBody"] = {"required": True, "content": {operation.body_media: {"schema": operation.body}}}
    return facts


def _security(path: str) -> list[dict[str, list[str]]]:
    if path.startswith("/_public/"):
        return []
    return [{_WORKER if path.startswith("/_worker/") else _CLIENT: []}]


def _parameters(path: str, operation: Operation) -> list[dict[str, Any]]:
    named = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"\{(\w+)\}", path)
    ]
    for part, schemas in (("query", operation.query), ("header", operation.headers)):
        for name, schema in schemas.items():
            parameter: dict[str, Any] = {"name": name, "in": part, "required": False, "schema": schema}
            if "description" in schema:
                parameter["description"] = schema["description"]
            named.append(parameter)
    return named


def _responses(path: str, operation: Operation) -> dict[str, Any]:
    refusals = dict(operation.errors)
    if path.startswith("/_worker/"):
        refusals |= {400: "the message cannot be understood", 403: "the worker token is missing or wrong"}
    elif not path.startswith("/_public/"):
        refusals |= {401: "the client token is missing or wrong"}
        refusals.setdefault(400, "a parameter, a header or the body is wrong")
    if "{" in path:
        refusals[404] = "there is none, or it is another client's"
    error = {operation.error_media: {"schema": ref("Error") if operation.error_media == JSON else {}}}
    good: dict[str, Any] = {"description": "as asked for"}
    if operation.answer is not None:
        good["content"] = {media: {"schema": operation.answer if media == JSON else {}} for media in operation.media}
    responses = {str(operation.status): good}
    if path.endswith("/tasks/next"):
        responses["204"] = {"description": "no task came in time"}
    responses |= {str(status): {"description": why} for status, why in sorted(operation.redirects.items())}
    responses |= {str(status): {"description": why, "content": error} for status, why in sorted(refusals.items())}
    # What is no valid HTTP never reaches a handler: the framework refuses it with a line of text.
    refusals.setdefault(400, "no valid HTTP")
    responses["400"] = {"description": refusals[400], "content": {**error, "text/plain": {}}}
    responses["default"] = {"description": "any other error", "content": error}
    return responses
