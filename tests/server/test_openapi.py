"""The OpenAPI document: valid, complete, and true of what the server answers."""

from __future__ import annotations

import re
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from avtomatika import ActionFactory, StateMachineBlueprint
from avtomatika.server.openapi import operations

from .conftest import WORKER, Api


async def get_document(api: Api) -> dict[str, Any]:
    """Returns the document."""
    answer = await api.get("/_public/openapi.json", token=None)
    assert answer.status == 200
    return dict(answer.body)


async def test_document_is_valid(api: Api) -> None:
    """As the specification of OpenAPI 3.1 says."""
    document = await get_document(api)

    validate(document)

    assert document["openapi"] == "3.1.0"


async def test_document_has_every_route(api: Api) -> None:
    """Each call that the server routes is described, with a summary, a section and the token that it needs."""
    document = await get_document(api)
    routed = {
        (route.method.lower(), route.resource.canonical)
        for route in api.engine.app.router.routes()
        if route.resource is not None and route.method not in {"HEAD", "*"}
    }
    left_out = {path for _, path in routed if path.startswith("//") or "/_worker/ws" in path} | {"/api/{path}", "/"}
    described = {
        (method, path): call for path, methods in document["paths"].items() for method, call in methods.items()
    }

    assert {call for call in routed if call[1] not in left_out} <= set(described)
    assert len({call["operationId"] for call in described.values()}) == len(described)
    for (_, path), call in described.items():
        assert call["summary"], path
        assert call["tags"], path
        needed = {"/_public": [], "/_worker": [{"workerToken": []}]}.get(path[:8], [{"clientToken": []}])
        assert call["security"] == needed, path


async def test_document_follows_the_registered_blueprints(api: Api) -> None:
    """Each endpoint is a call of its own; one that is registered later is there as well, with its input schema."""
    schema = {"type": "object", "properties": {"kg": {"type": "number"}}, "required": ["kg"]}
    late = StateMachineBlueprint("late", api_endpoint="/late", api_version="v3", input_schema=schema)

    @late.handler_for("begin", is_start=True)
    async def begin(actions: ActionFactory) -> None:
        actions.transition_to("end")

    @late.handler_for("end", is_end=True)
    async def end() -> None: ...

    before = (await get_document(api))["paths"]
    api.engine.register_blueprint(late)
    document = await get_document(api)

    assert {"/api/v1/quick", "/api/v2/shop/orders", "/api/v1/fan"} < set(before)
    assert "/api/v3/late" not in before
    validate(document)
    call = document["paths"]["/api/v3/late"]["post"]
    validator = body_validator(document, call)
    assert validator.is_valid({"kg": 3})
    assert validator.is_valid({"initial_data": {"kg": 3}, "result_timeout": 5})
    assert not validator.is_valid({"kg": "three"})
    assert not validator.is_valid({"initial_data": {}, "result_timeout": 5})


def body_validator(document: dict[str, Any], call: dict[str, Any]) -> Draft202012Validator:
    """Returns what checks a body against its description, with the rest of the document to refer to."""
    schema = call["requestBody"]["content"]["application/json"]["schema"]
    return Draft202012Validator({**schema, "components": document["components"]})


async def test_options_of_a_new_job_may_be_null(api: Api) -> None:
    """Null says nothing, as leaving it out does; the document says so."""
    document = await get_document(api)
    body = {"initial_data": None, "webhook_url": None, "dispatch_timeout": None, "result_timeout": None}

    assert body_validator(document, document["paths"]["/api/v1/quick"]["post"]).is_valid(body)
    assert (await api.post("/api/v1/quick", body)).status == 202


async def test_document_keeps_the_references_of_an_input_schema(api: Api) -> None:
    """``$ref`` into ``$defs``, to an anchor and to the root lead to the same place inside the document."""
    parcel = {
        "type": "object",
        "properties": {
            "to": {"$ref": "#/$defs/address"},
            "from": {"$ref": "#place"},
            "inside": {"type": "array", "items": {"$ref": "#"}},
        },
        "required": ["to"],
        "$defs": {
            "address": {"type": "object", "properties": {"zip": {"$ref": "#/$defs/a~1b"}}, "required": ["zip"]},
            "a/b": {"type": "string", "pattern": "^[0-9]{5}$"},
            "town": {"$anchor": "place", "type": "string"},
        },
    }
    bp = StateMachineBlueprint("parcels", api_endpoint="/parcels", input_schema=parcel)

    @bp.handler_for("end", is_start=True, is_end=True)
    async def end() -> None: ...

    api.engine.register_blueprint(bp)
    document = await get_document(api)

    validate(document)
    validator = body_validator(document, document["paths"]["/api/v1/parcels"]["post"])
    good: dict[str, Any] = {"to": {"zip": "12345"}, "from": "Rome", "inside": [{"to": {"zip": "54321"}}]}
    assert validator.is_valid(good)
    for wrong in ({"to": {"zip": "x"}}, {"from": 5}, {"inside": [{}]}):
        assert not validator.is_valid({**good, **wrong}), wrong
        assert not validator.is_valid({"initial_data": {**good, **wrong}}), wrong
        assert (await api.post("/api/v1/parcels", {**good, **wrong})).status == 400


async def test_document_without_the_client_api_has_none_of_it(start_api: Any) -> None:
    """In pure holon mode only the worker protocol and the public paths are described."""
    api = await start_api(ENABLE_CLIENT_API=False)

    paths = (await get_document(api))["paths"]

    assert not [path for path in paths if path.startswith("/api")]
    assert "/_worker/tasks/result" in paths


async def test_document_moves_with_the_prefix(start_api: Any) -> None:
    """``CLIENT_API_PREFIX`` moves the described paths, too."""
    api = await start_api(CLIENT_API_PREFIX="internal/engine")

    paths = (await get_document(api))["paths"]

    assert {"/internal/engine/v1/jobs", "/internal/engine/v1/quick"} < set(paths)
    validate(await get_document(api))


@pytest.fixture
async def busy(api: Api) -> Api:
    """An engine with a job of every kind: finished, waiting, in parallel, failed, and a worker."""
    await api.until(await api.submit(), "finished")
    await api.until(await api.submit("/api/v1/fan"), "waiting_for_parallel_tasks")
    job_id = await api.submit("/api/v2/shop/orders")
    await api.until(job_id, "waiting_for_worker")
    await api.register("w1", "work", resources={"properties": {"cpu_cores": 4}})
    task = (await api.poll()).body
    await api.result(task, status="failure", error={"code": "INVALID_INPUT_ERROR", "message": "no"})
    return api


async def test_answers_are_as_described(busy: Api) -> None:
    """Each GET of each job, and each overview, is valid by the schema of its answer."""
    document = await get_document(busy)
    ids = [job["id"] for job in (await busy.get("/api/v1/jobs")).body]
    tried = 0
    for path, methods in document["paths"].items():
        if (
            "get" not in methods
            or path == "/api/v1/events"
            or path.startswith(("/_worker", "/_public/docs", "/_public/webhooks"))
        ):
            continue
        for job_id in ids if "{job_id}" in path else [""]:
            answer = await busy.get(path.replace("{job_id}", job_id).replace("{name}", "quick"))
            described = methods["get"]["responses"][str(answer.status)].get("content")
            if described is None:
                continue  # a route whose answer nobody has described yet
            kind = answer.headers["Content-Type"].partition(";")[0]
            assert kind in described, path
            if kind == "application/json":
                schema = {**described[kind]["schema"], "components": document["components"]}
                Draft202012Validator(schema).validate(answer.body)
            tried += 1
    assert tried > 15


async def test_refusals_are_as_described(busy: Api) -> None:
    """An error is the object that the document says, wherever it comes from."""
    document = await get_document(busy)
    error = {"$ref": "#/components/schemas/Error", "components": document["components"]}
    for path, methods in document["paths"].items():
        for method, call in methods.items():
            if path.startswith("/_public") or path.endswith("/tasks/next"):
                continue
            place = re.sub(r"\{\w+\}", "x", path)
            answer = await busy.call(method.upper(), place, token="wrong")
            assert str(answer.status) in call["responses"]
            Draft202012Validator(error).validate(answer.body)


async def test_task_is_as_described(busy: Api) -> None:
    """What a worker gets from a poll."""
    document = await get_document(busy)
    schema = {"$ref": "#/components/schemas/TaskMessage", "components": document["components"]}

    answer = await busy.get("/_worker/workers/w1/tasks/next", token=WORKER)

    Draft202012Validator(schema).validate(answer.body)


def test_operations_name_handlers_that_are_routed(api: Api) -> None:
    """A description of a handler that no path leads to is left over."""
    routed = {route.handler for route in api.engine.app.router.routes()}

    assert set(operations.OPERATIONS) <= routed
