"""Blueprints over HTTP: the list, and the graph in every format."""

from __future__ import annotations

import pytest

from avtomatika import ActionFactory, StateMachineBlueprint
from avtomatika.server.keys import REGISTRY_KEY

from .conftest import Api


async def test_list_tells_what_can_be_created_and_where(api: Api) -> None:
    """Name, version, address, states; no address for a blueprint without an endpoint."""
    answer = await api.get("/api/v1/blueprints")

    by_name = {blueprint["name"]: blueprint for blueprint in answer.body}
    assert list(by_name) == [blueprint.name for blueprint in api.engine.app[REGISTRY_KEY]]
    assert {"quick", "orders", "hidden"} <= by_name.keys()
    assert by_name["orders"] == {
        "name": "orders",
        "version": by_name["orders"]["version"],
        "url": "/api/v2/shop/orders",
        "states": ["send", "sent", "sending_failed", "postponed"],
        "start": "send",
        "ends": ["sent", "sending_failed", "postponed"],
    }
    assert (by_name["quick"]["url"], by_name["hidden"]["url"]) == ("/api/v1/quick", None)


async def test_every_address_in_the_list_creates_a_job(api: Api) -> None:
    """What the list says is true."""
    for blueprint in (await api.get("/api/v1/blueprints")).body:
        if blueprint["url"]:
            assert (await api.post(blueprint["url"], {})).status == 202


@pytest.mark.parametrize(
    ("query", "content_type", "beginning"),
    [
        ("", "text/vnd.graphviz", 'digraph "orders" {'),
        ("?format=dot", "text/vnd.graphviz", 'digraph "orders" {'),
        ("?format=mermaid", "text/vnd.mermaid", "stateDiagram-v2"),
        ("?format=svg", "image/svg+xml", "<svg"),
    ],
)
async def test_graph_is_written_in_each_format(api: Api, query: str, content_type: str, beginning: str) -> None:
    """DOT unless another format is asked for; the states stand in each."""
    answer = await api.get(f"/api/v1/blueprints/orders/graph{query}")

    assert answer.status == 200
    assert answer.headers["Content-Type"].split(";")[0] == content_type
    assert answer.body.startswith(beginning)
    assert "postponed" in answer.body


async def test_graph_as_json_has_states_and_edges(api: Api) -> None:
    """For programs that draw it themselves."""
    graph = (await api.get("/api/v1/blueprints/orders/graph?format=json")).body

    assert graph["name"] == "orders"
    assert [state["name"] for state in graph["states"] if state["is_start"]] == ["send"]
    assert {(edge["source"], edge["label"], edge["target"]) for edge in graph["edges"]} == {
        ("send", "success", "sent"),
        ("send", "failure", "sending_failed"),
        ("send", "later", "postponed"),
    }


async def test_unknown_format_is_refused_with_a_guess(api: Api) -> None:
    """The sentence lists the formats."""
    answer = await api.get("/api/v1/blueprints/orders/graph?format=svgg")

    assert (answer.status, answer.body["code"]) == (400, "invalid_query")
    assert "known: dot, svg, json, mermaid. Did you mean 'svg'?" in answer.body["error"]


async def test_graph_of_an_unknown_blueprint_is_not_found(api: Api) -> None:
    """The sentence lists the blueprints."""
    answer = await api.get("/api/v1/blueprints/order/graph")

    assert answer.status == 404
    assert "Did you mean 'orders'?" in answer.body["error"]


async def test_blueprint_registered_while_the_engine_runs_is_served(api: Api) -> None:
    """As in a notebook: defined a moment ago, callable now; registered again, the new version runs."""

    def version(word: str) -> StateMachineBlueprint:
        late = StateMachineBlueprint("late", api_endpoint="/late")

        @late.handler_for("begin", is_start=True, transitions=[f"end_{word}"])
        async def begin(actions: ActionFactory) -> None:
            actions.transition_to(f"end_{word}")

        @late.handler_for(f"end_{word}", is_end=True)
        async def end() -> dict[str, str]:
            return {"word": word}

        return late

    for word in ("one", "two"):
        api.engine.register_blueprint(version(word))

        job = await api.until(await api.submit("/api/v1/late"), "finished")

        assert job["result"] == {"word": word}
