"""An engine behind real HTTP, with a clock that stands still, and checks that hold for every answer."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import ClientResponse, ClientSession, web

from avtomatika import ActionFactory, Config, OrchestratorEngine, StateMachineBlueprint
from avtomatika.core.job import Client
from avtomatika.server.keys import CLIENT_TOKENS_KEY, DISPATCHER_KEY, JOBS_KEY
from avtomatika.storage.base import Storage
from avtomatika.testing import FakeClock

CLIENT = "the-token-of-our-client"
OTHER = "the-token-of-another-client"
WORKER = "the-token-of-all-workers"
SECRETS = (CLIENT, OTHER, WORKER)


@dataclass(frozen=True)
class Answer:
    """An answer of the server.

    Args:
        status: of HTTP.
        body: decoded JSON, or the text of anything else.
        headers: of the answer.
    """

    status: int
    body: Any
    headers: dict[str, str] = field(default_factory=dict)


class Api:
    """A running engine and the requests that a test makes.

    Args:
        engine: what answers.
        clock: moves it.
        http: sends the requests.
    """

    def __init__(self, engine: OrchestratorEngine, clock: FakeClock, http: ClientSession) -> None:
        self.engine = engine
        self.clock = clock
        self.http = http
        self.origin = engine.url

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = CLIENT,
        headers: dict[str, str] | None = None,
        data: Any = None,
    ) -> Answer:
        """Sends a request of a client, or of a worker below ``/_worker``, and checks what holds for all answers.

        Args:
            method: of HTTP.
            path: with the query string.
            body: sent as JSON.
            token: the client's or worker's; None for none.
            headers: further ones.
            data: sent as it is.
        """
        sent = dict(headers or {})
        if token is not None:
            is_worker = path.lstrip("/").startswith("_worker")
            sent.setdefault("X-Worker-Token" if is_worker else "X-Client-Token", token)
        raw = data if body is None else json.dumps(body)
        async with self.http.request(method, f"{self.origin}{path}", data=raw, headers=sent) as response:
            answer = await read(response)
        check(answer)
        return answer

    async def get(self, path: str, **options: Any) -> Answer:
        """Sends a GET."""
        return await self.call("GET", path, **options)

    async def post(self, path: str, body: Any = None, **options: Any) -> Answer:
        """Sends a POST."""
        return await self.call("POST", path, body, **options)

    async def submit(self, path: str = "/api/v1/quick", body: Any = None, **options: Any) -> str:
        """Creates a job and returns its id."""
        answer = await self.post(path, {"n": 21} if body is None else body, **options)
        assert answer.status == 202, answer
        return str(answer.body["job_id"])

    async def job(self, job_id: str) -> dict[str, Any]:
        """Looks a job up."""
        answer = await self.get(f"/api/v1/jobs/{job_id}")
        assert answer.status == 200, answer
        return dict(answer.body)

    async def until(self, job_id: str, status: str) -> dict[str, Any]:
        """Returns the job when it has that status."""
        job = await self.engine.app[JOBS_KEY].get(job_id)
        while job.status != status:
            assert not job.is_terminal, job
            job = await self.engine.app[JOBS_KEY].wait(job_id, job.version, 1e9)
        return await self.job(job_id)

    async def until_parked(self, count: int = 1) -> None:
        """Returns when so many polls are held."""
        await until(lambda: self.engine.app[DISPATCHER_KEY].parked == count)

    async def register(self, worker_id: str = "w1", *skills: str, **members: Any) -> None:
        """Registers a worker of today's kind; it can ``work`` unless other skills are given."""
        named = [{"name": name, "type": name} for name in skills or ("work",)]
        body = {"worker_id": worker_id, "supported_skills": named, **members}
        assert (await self.post("/_worker/workers/register", body, token=WORKER)).status == 200

    async def poll(self, worker_id: str = "w1", query: str = "") -> Answer:
        """Asks for a task."""
        return await self.get(f"/_worker/workers/{worker_id}/tasks/next{query}", token=WORKER)

    async def take(self, worker_id: str = "w1") -> dict[str, Any]:
        """Registers a worker and returns the task that waits for it."""
        await self.register(worker_id)
        answer = await self.poll(worker_id)
        assert answer.status == 200, answer
        return dict(answer.body)

    async def result(self, task: dict[str, Any], worker_id: str = "w1", **members: Any) -> Answer:
        """Sends the result of a task as today's workers do."""
        body = {"job_id": task["job_id"], "task_id": task["task_id"], "worker_id": worker_id, **members}
        return await self.post("/_worker/tasks/result", body, token=WORKER)

    async def beat(self, worker_id: str = "w1", **members: Any) -> Answer:
        """Sends a heartbeat of today's kind."""
        body = {"worker_id": worker_id, "status": "idle", "timestamp": 1_700_000_000, **members}
        return await self.call("PATCH", f"/_worker/workers/{worker_id}", body, token=WORKER)


async def read(response: ClientResponse) -> Answer:
    """Reads an answer to its end."""
    is_json = response.content_type == "application/json"
    body = await response.json() if is_json else await response.text()
    return Answer(response.status, body, dict(response.headers))


def check(answer: Answer) -> None:
    """Holds for every answer: no token in it, and every error has a sentence and a stable word."""
    told = json.dumps([answer.body, answer.headers])
    assert not any(secret in told for secret in SECRETS), "a token came out"
    if answer.status >= 400:
        assert isinstance(answer.body, dict), answer
        assert len(answer.body["error"]) > 10
        assert answer.body["code"].replace("_", "").isalnum()
        assert "Traceback" not in told


@contextlib.contextmanager
def hung_up(monkeypatch: pytest.MonkeyPatch, mark: bytes) -> Iterator[None]:
    """Lets whoever is to get an answer with ``mark`` in it hang up before it is written."""
    write = web.Response.write_eof

    async def hang_up(response: web.Response, data: bytes = b"") -> None:
        if mark not in (response.body or b""):
            await write(response, data)
            return
        response._req.transport.abort()
        raise ConnectionResetError

    with monkeypatch.context() as patch:
        patch.setattr(web.Response, "write_eof", hang_up)
        yield


async def until(reached: Callable[[], bool]) -> None:
    """Returns when something that other connections bring about has come true."""
    async with asyncio.timeout(30):
        while not reached():  # noqa: ASYNC110 - the server's side has no event for it
            await asyncio.sleep(0.001)


def blueprints() -> list[StateMachineBlueprint]:
    """Returns blueprints: one ends at once, others need a worker, have branches, two tasks in turn, or no endpoint."""
    quick = StateMachineBlueprint("quick", api_endpoint="quick")
    orders = StateMachineBlueprint("orders", api_endpoint="/shop/orders", api_version="v2")
    fan = StateMachineBlueprint("fan", api_endpoint="/fan")
    hidden = StateMachineBlueprint("hidden")
    relay = StateMachineBlueprint("relay", api_endpoint="/relay")

    ask = StateMachineBlueprint("ask", api_endpoint="/ask")

    @ask.handler_for("draft", is_start=True)
    async def draft(actions: ActionFactory) -> None:
        ways = {"approved": "published", "rejected": "dropped", "expired": "dropped"}
        actions.await_human_approval("Publish <it>?", ways, timeout_seconds=3600)

    @ask.handler_for("published", is_end=True)
    @ask.handler_for("dropped", is_end=True)
    async def decided(state_history: dict[str, Any]) -> Any:
        return state_history.get("approval")

    @quick.handler_for("start", is_start=True)
    async def start(actions: ActionFactory) -> None:
        actions.transition_to("done")

    @quick.handler_for("done", is_end=True)
    async def done(n: int = 0) -> dict[str, Any]:
        return {"double": 2 * n}

    @orders.handler_for("send", is_start=True)
    async def send(initial_data: dict[str, Any], actions: ActionFactory) -> None:
        transitions = {"success": "sent", "failure": "sending_failed", "later": "postponed"}
        actions.dispatch_task("work", initial_data.get("params", {}), transitions)

    for name in ("sent", "sending_failed", "postponed"):

        @orders.handler_for(name, is_end=True)
        async def end() -> None: ...

    @relay.handler_for("first", is_start=True)
    async def first(actions: ActionFactory) -> None:
        actions.dispatch_task("work", {"leg": 1}, {"success": "second"})

    @relay.handler_for("second")
    async def second(actions: ActionFactory) -> None:
        actions.dispatch_task("work", {"leg": 2}, {"success": "there"})

    @relay.handler_for("there", is_end=True)
    async def there() -> None: ...

    @fan.handler_for("split", is_start=True)
    async def split(actions: ActionFactory) -> None:
        actions.dispatch_parallel([{"type": "work", "params": {"n": n}} for n in range(2)], "join")

    @fan.aggregator_for("join")
    async def join(actions: ActionFactory) -> None:
        actions.transition_to("joined")

    @fan.handler_for("joined", is_end=True)
    async def joined() -> None: ...

    @hidden.handler_for("only", is_start=True, is_end=True)
    async def only() -> None: ...

    return [quick, orders, fan, hidden, ask, relay]


StartApi = Callable[..., Any]


@pytest.fixture
async def start_api(clock: FakeClock, connect: Callable[[], Awaitable[Storage]]) -> AsyncIterator[StartApi]:
    """Returns the function that starts an engine with settings; the storage is checked when the test ends."""
    running: list[Api] = []

    async def start(**settings: Any) -> Api:
        # Started as users start it: aiohttp's TestServer would cancel handlers of clients that hang up.
        config = Config(API_HOST="127.0.0.1", API_PORT=0, CLIENT_TOKEN=CLIENT, GLOBAL_WORKER_TOKEN=WORKER, **settings)
        engine = OrchestratorEngine(await connect(), config, clock=clock)
        for blueprint in blueprints():
            engine.register_blueprint(blueprint)
        engine.app[CLIENT_TOKENS_KEY].add(OTHER, Client("other"))
        await engine.start()
        running.append(Api(engine, clock, ClientSession()))
        return running[-1]

    yield start

    for api in running:
        await api.http.close()
        await api.engine.stop()
    assert await (await connect()).audit() == []


@pytest.fixture
async def api(start_api: StartApi) -> Api:
    """A running engine with a few blueprints."""
    api: Api = await start_api()
    return api
