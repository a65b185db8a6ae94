"""Links in answers of an engine that others reach at another address than its own."""

from __future__ import annotations

import pytest

from avtomatika import ActionFactory, Config, OrchestratorEngine, StateMachineBlueprint
from avtomatika.client import AsyncClient
from avtomatika.errors import ConfigError
from avtomatika.server.openapi.document import make_document


async def test_links_lead_through_the_proxy() -> None:
    """The address of an approval, and where the API's page sends its calls, have the proxy's host and path."""
    bp = StateMachineBlueprint("ask", api_endpoint="/ask")

    @bp.handler_for("start", is_start=True)
    async def start(actions: ActionFactory) -> None:
        actions.await_human_approval("Now?", transitions={"approved": "end"})

    @bp.handler_for("end", is_end=True)
    async def end() -> None: ...

    config = Config.plain(API_HOST="127.0.0.1", API_PORT=0, PUBLIC_URL="https://example.org:8443/flows/")
    engine = OrchestratorEngine(config=config)
    engine.register_blueprint(bp)
    async with engine, AsyncClient(engine.url, config.CLIENT_TOKEN) as client:
        job_id = await client.submit("/ask", {})
        job = await client.job(job_id)
        while job["status"] != "waiting_for_human":
            job = await client.job(job_id, wait=30, version=job["version"])
        url = job["approval"]["url"]

    assert url.startswith(f"https://example.org:8443/flows/_public/webhooks/approval/{job_id}?token=")
    document = make_document(engine.app)
    assert document["servers"] == [{"url": "https://example.org:8443/flows"}]


@pytest.mark.parametrize(
    "url", ["example.org", "ftp://example.org", "https://a/b?c", "https://a/#b", "https://user:pw@a/"]
)
def test_address_that_no_link_can_begin_with_is_refused(url: str) -> None:
    """The sentence shows what an address looks like."""
    with pytest.raises(ConfigError, match="PUBLIC_URL"):
        Config(PUBLIC_URL=url)
