"""Clients never see each other: neither jobs, nor that there are any."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession

from avtomatika import ActionFactory, Config, OrchestratorEngine, StateMachineBlueprint
from avtomatika.core.job import Client
from avtomatika.server.keys import CLIENT_TOKENS_KEY

TOKENS = {"anna": "the-token-of-anna", "boris": "the-token-of-boris"}


class Twins:
    """An engine and two clients of it.

    Args:
        engine: that both use.
        http: sends the requests.
    """

    def __init__(self, engine: OrchestratorEngine, http: ClientSession) -> None:
        self.engine = engine
        self.http = http

    async def call(self, client: str, method: str, path: str, **options: object) -> tuple[int, str]:
        """Returns status and text of an answer."""
        headers = {"X-Client-Token": TOKENS[client], **options.pop("headers", {})}  # type: ignore[dict-item]
        async with self.http.request(method, self.engine.url + path, headers=headers, **options) as answer:  # type: ignore[arg-type]
            return answer.status, await answer.text()

    async def submit(self, client: str, **options: object) -> str:
        """Creates a job that waits, and returns its id."""
        headers = {"X-Client-Token": TOKENS[client], **options}
        async with self.http.post(f"{self.engine.url}/api/v1/waits", json={"of": client}, headers=headers) as answer:  # type: ignore[arg-type]
            assert answer.status == 202
            return str((await answer.json())["job_id"])


@pytest.fixture
async def twins() -> AsyncIterator[Twins]:
    """An engine whose jobs wait for a worker that never comes."""
    bp = StateMachineBlueprint("waits", api_endpoint="/waits")

    @bp.handler_for("start", is_start=True)
    async def start(actions: ActionFactory) -> None:
        actions.dispatch_task("never", {}, {"success": "end"})

    @bp.handler_for("end", is_end=True)
    async def end() -> None: ...

    config = Config(API_HOST="127.0.0.1", API_PORT=0, CLIENT_TOKEN="own", GLOBAL_WORKER_TOKEN="own")
    engine = OrchestratorEngine(config=config)
    engine.register_blueprint(bp)
    for name, token in TOKENS.items():
        engine.app[CLIENT_TOKENS_KEY].add(token, Client(name))
    async with engine, ClientSession() as http:
        yield Twins(engine, http)


async def test_every_path_of_a_job_is_closed_to_other_clients(twins: Twins) -> None:
    """Each route that names a job answers another client as if there were none, and changes nothing.

    The routes are asked of the server, so that one that is added later is tried as well.
    """
    job_id = await twins.submit("anna")
    before = await twins.call("anna", "GET", f"/api/v1/jobs/{job_id}")
    tried = set()

    for route in twins.engine.app.router.routes():
        resource = route.resource
        if resource is None or "{job_id}" not in resource.canonical or not resource.canonical.startswith("/api/"):
            continue
        path = (
            resource.canonical.replace("{job_id}", job_id).replace("{path}", "some.txt").replace("{name}", "some.txt")
        )
        tried.add((route.method, resource.canonical))
        mine = await twins.call("boris", route.method, path)
        nobodys = await twins.call("boris", route.method, path.replace(job_id, "no-such-job"))
        assert mine[0] == nobodys[0] == 404, (route.method, path, mine)
        assert mine[1].replace(job_id, "no-such-job") == nobodys[1], (route.method, path)

    assert ("POST", "/api/v1/jobs/{job_id}/cancel") in tried
    assert await twins.call("anna", "GET", f"/api/v1/jobs/{job_id}") == before


async def test_lists_hold_own_jobs_only_in_every_form(twins: Twins) -> None:
    """Whatever is asked for, and however the page is turned."""
    anna = [await twins.submit("anna") for _ in range(3)]
    boris = await twins.submit("boris")

    for query in (
        "",
        "?limit=1000",
        "?cursor=",
        "?status=waiting_for_worker",
        "?blueprint=waits",
        "?since=0",
        "?offset=0",
    ):
        _, text = await twins.call("boris", "GET", f"/api/v1/jobs{query}")
        assert not any(job_id in text for job_id in anna), query
    assert boris in (await twins.call("boris", "GET", "/api/v1/jobs"))[1]


async def test_idempotency_keys_of_clients_are_apart(twins: Twins) -> None:
    """The same key of another client is another key."""
    first, again, other = [
        await twins.submit(client, **{"Idempotency-Key": "one"}) for client in ("anna", "anna", "boris")
    ]

    assert first == again != other


async def test_clients_that_hammer_random_calls_never_meet(twins: Twins) -> None:
    """Each names the jobs of the other all the time, and never gets anything of them."""
    jobs = {client: [await twins.submit(client)] for client in TOKENS}
    leaks: list[str] = []

    async def hammer(me: str, other: str) -> None:
        dice = random.Random(me)
        for _ in range(150):
            job_id = dice.choice(jobs[other])
            method, path = dice.choice(
                [
                    ("GET", f"/api/v1/jobs/{job_id}"),
                    ("GET", f"/api/v1/jobs/{job_id}/history"),
                    ("GET", f"/api/v1/jobs/{job_id}/explain"),
                    ("POST", f"/api/v1/jobs/{job_id}/cancel"),
                    ("POST", f"/api/v1/jobs/{job_id}/requeue"),
                    ("GET", f"/api/v1/jobs?limit={dice.randint(1, 50)}"),
                    ("POST", "/api/v1/waits"),
                ]
            )
            if path.endswith("waits"):
                jobs[me].append(await twins.submit(me))
                continue
            status, text = await twins.call(me, method, path)
            if f'"of":"{other}"' in text.replace(" ", "") or (job_id in path and status != 404):
                leaks.append(f"{me}: {method} {path} -> {status}")

    await asyncio.gather(hammer("anna", "boris"), hammer("boris", "anna"))

    assert leaks == []
