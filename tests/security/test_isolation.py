"""Clients never see each other: neither jobs, nor that there are any."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Iterator
from itertools import islice
from typing import NamedTuple

import pytest
from aiohttp import ClientSession

from avtomatika import Config, OrchestratorEngine
from avtomatika.core.job import Client
from avtomatika.server.keys import CLIENT_TOKENS_KEY
from tests.flows import waits

TOKENS = {"anna": "the-token-of-anna", "boris": "the-token-of-boris"}


class Call(NamedTuple):
    """A call that a client makes.

    Args:
        method: of HTTP.
        path: with the query string.
        body: sent as JSON, or None.
        is_foreign: whether its path names a job of the other client.
    """

    method: str
    path: str
    body: object
    is_foreign: bool


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
    config = Config(
        API_HOST="127.0.0.1", API_PORT=0, CLIENT_TOKEN="own", GLOBAL_WORKER_TOKEN="own", RATE_LIMITING_ENABLED=False
    )
    engine = OrchestratorEngine(config=config)
    engine.register_blueprint(waits())
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


async def test_workers_tell_nobody_of_the_jobs_that_they_work_for(twins: Twins) -> None:
    """How many tasks a worker has, but not which: their ids name the jobs of all clients."""
    job_id = await twins.submit("anna")
    worker = {"X-Worker-Token": "own"}
    me = {"worker_id": "w1", "supported_skills": [{"name": "never", "type": "never"}]}
    await twins.call("anna", "POST", "/_worker/workers/register", json=me, headers=worker)
    _, text = await twins.call("anna", "GET", "/_worker/workers/w1/tasks/next", headers=worker)
    beat = {"worker_id": "w1", "status": "busy", "current_tasks": [json.loads(text)["task_id"]]}
    await twins.call("anna", "PATCH", "/_worker/workers/w1", json=beat, headers=worker)

    _, text = await twins.call("boris", "GET", "/api/v1/workers")

    assert job_id not in text
    assert json.loads(text)[0]["running_tasks"] == 1


async def test_idempotency_keys_of_clients_are_apart(twins: Twins) -> None:
    """The same key of another client is another key."""
    first, again, other = [
        await twins.submit(client, **{"Idempotency-Key": "one"}) for client in ("anna", "anna", "boris")
    ]

    assert first == again != other


def random_calls(twins: Twins, dice: random.Random, ids: dict[str, list[str]], me: str) -> Iterator[Call]:
    """Gives calls of every route of the client API without end, that name jobs of both clients."""
    routes = [
        (route.method, route.resource.canonical)
        for route in twins.engine.app.router.routes()
        if route.resource is not None
        and route.resource.canonical.startswith("/api/")
        and not route.resource.canonical.endswith(("/events", "{path}"))
    ]
    assert len(routes) > 20
    values = {"limit": "1000", "cursor": "", "status": "waiting_for_worker", "since": "0", "blueprint": "waits"}
    while True:
        method, path = dice.choice(routes)
        owner = dice.choice(list(ids))
        named = dice.choice(ids[owner])
        query = "&".join(f"{name}={values[name]}" for name in dice.sample(sorted(values), dice.randint(0, 2)))
        body = dice.choice(
            [
                None,
                {},
                {"ids": [dice.choice(ids[one]) for one in ids]},
                {"filter": {}, "limit": 1000},
                {"filter": {"blueprint": "waits"}},
                {"state": "start"},
                {"sequence": 1, "initial_data": {"of": me}},
                {"decision": "approved"},
                {"of": me},
            ]
        )
        where = path.replace("{job_id}", named).replace("{name}", "waits")
        is_foreign = "{job_id}" in path and owner != me
        yield Call(method, f"{where}?{query}", None if method == "GET" else body, is_foreign)


@pytest.mark.parametrize(("me", "other"), [("anna", "boris"), ("boris", "anna")])
async def test_client_that_hammers_random_calls_meets_nothing_of_another(twins: Twins, me: str, other: str) -> None:
    """Whatever is called, by job, by lists of ids, by filters or as a stream, while the other creates jobs.

    A client that changes and cancels all it can leaves the other's jobs as they are, and never reads of them.
    """
    dice = random.Random(me)
    ids = {client: [await twins.submit(client)] for client in TOKENS}
    leaks: list[str] = []
    streamed: list[str] = []

    async def listen() -> None:
        headers = {"X-Client-Token": TOKENS[me], "Last-Event-ID": "0"}
        async with twins.http.get(f"{twins.engine.url}/api/v1/events", headers=headers) as stream:
            async for line in stream.content:
                streamed.append(line.decode())  # noqa: PERF401 - read while it comes

    async def hammer() -> None:
        for call in islice(random_calls(twins, dice, ids, me), 300):
            status, text = await twins.call(me, call.method, call.path, json=call.body)
            foreign = [job_id for job_id in ids[other] if job_id in text and job_id not in call.path]
            if isinstance(call.body, dict):
                foreign = [job_id for job_id in foreign if job_id not in call.body.get("ids", ())]
            if foreign or f'"of":"{other}"' in text.replace(" ", "") or (call.is_foreign and status != 404):
                leaks.append(f"{call} -> {status}: {text[:300]}")

    async def create() -> None:
        for _ in range(40):
            ids[other].append(await twins.submit(other))
            ids[me].append(await twins.submit(me))

    listening = asyncio.create_task(listen())
    await asyncio.gather(hammer(), create())
    cancelled = await twins.call(me, "POST", "/api/v1/jobs/cancel", json={"filter": {}, "limit": 1000})
    _, text = await twins.call(other, "GET", "/api/v1/jobs?limit=1000")
    while not any(ids[me][-1] in line for line in streamed):  # noqa: ASYNC110 - the stream tells
        await asyncio.sleep(0.01)
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)

    assert leaks == []
    assert cancelled[0] == 200
    assert {job["status"] for job in json.loads(text)} == {"waiting_for_worker"}
    assert {job["id"] for job in json.loads(text)} == set(ids[other])
    assert not any(job_id in line for line in streamed for job_id in ids[other])
