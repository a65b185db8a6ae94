"""Events that tasks tell by words of their own."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest

from avtomatika import ActionFactory, Config, OrchestratorEngine, StateMachineBlueprint
from avtomatika.client import AsyncClient
from avtomatika.errors import ConfigError
from avtomatika.protocol.registration import parse_register
from avtomatika.protocol.worker_events import parse_event
from avtomatika.worker import Context, Worker
from avtomatika.worker.testing import TaskHarness

from .conftest import PATIENCE, FakeEngine


@dataclass
class Page:
    """What an event of the tests tells."""

    number: int


def kinds(engine: FakeEngine) -> list[str]:
    """The order in which events and results came."""
    return [heard.kind for heard in engine.heard if heard.kind in {"event", "result"}]


@pytest.fixture
def reader(worker: Worker) -> Worker:
    """A worker whose task tells of two pages."""

    @worker.task(events={"page": Page})
    async def read(context: Context) -> None:
        context.event("page", Page(1))
        await context.event("page", {"number": 2})

    return worker


async def test_events_reach_the_engine_before_the_result(engine: FakeEngine, reader: Worker) -> None:
    """Each of them, in order, with what the protocol wants to know."""
    async with reader:
        engine.put("read")
        await engine.result()

    first, second = (parse_event(heard.body) for heard in engine.of("event"))
    assert (first.event_type, first.payload, second.payload) == ("page", {"number": 1}, {"number": 2})
    assert (first.worker_id, first.job_id, first.task_id) == ("w", "j", "t-1")
    assert first.event_id != second.event_id
    assert kinds(engine) == ["event", "event", "result"]


async def test_plain_function_tells_events_from_its_thread(engine: FakeEngine, worker: Worker) -> None:
    """The last one, too, comes before the result."""

    @worker.task(events=["done"])
    def work(context: Context) -> None:
        context.event("done")

    async with worker:
        engine.put("work")
        await engine.result()

    assert kinds(engine) == ["event", "result"]
    assert parse_event(engine.of("event")[0].body).payload == {}


async def test_event_is_repeated_until_it_is_taken(engine: FakeEngine, reader: Worker) -> None:
    """Under its own id, so that the engine counts it once; what is refused for good holds up nothing."""
    engine.script["event"] = [None, (503, {"error": "later"}, {"Retry-After": "0"}), (400, {"error": "odd"})]

    async with reader:
        engine.put("read")
        await engine.result()

    ids = [heard.body["event_id"] for heard in engine.of("event")]
    assert len(set(ids[:3])) == 1
    assert len(set(ids)) == 2
    assert kinds(engine)[-1] == "result"


async def test_events_are_posted_although_a_socket_is_open(engine: FakeEngine, reader: Worker) -> None:
    """Nobody says of what goes over a socket whether it has come."""
    reader.configure(websockets=True)

    async with reader:
        async with asyncio.timeout(PATIENCE), engine.news:
            await engine.news.wait_for(lambda: engine.sockets)
        engine.put("read")
        await engine.result()

    assert (len(engine.of("event")), engine.of("frame")) == (2, [])


async def test_worker_that_stops_does_not_wait_for_its_events(engine: FakeEngine, reader: Worker) -> None:
    """A result is worth more."""
    engine.script["event"] = [(429, {"error": "too many"}, {"Retry-After": "60"})]

    async with reader:
        engine.put("read")
        await engine.wait_for("event")
        reader.request_stop(drain=False)

    assert kinds(engine) == ["event", "result"]


async def test_registration_tells_which_events_there_are(engine: FakeEngine, worker: Worker) -> None:
    """Those of the task and those of the whole worker, with their schemas."""
    other = Worker("w", url=engine.url, token="token", events=["warning"])
    other.add_task(lambda: None, "read", events={"page": Page})

    async with other:
        heard = await engine.wait_for("register")

    (skill,) = parse_register(heard.body, 1.0).skills
    assert skill.events_schema is not None
    assert skill.events_schema["warning"] == {"type": "object"}
    assert skill.events_schema["page"]["properties"] == {"number": {"type": "integer"}}


@pytest.mark.parametrize(
    ("word", "payload", "message"),
    [
        ("pag", {}, "event 'pag', which it does not declare; declared: page. Did you mean 'page'? Name it in"),
        ("page", {"number": "one"}, "event 'page'.number: Expected `int`, got `str`"),
        ("any", [1], "payload of event 'any' is a list"),
        ("any", {"x": object()}, "event 'any'"),
        ("any", {"x": "y" * 70_000}, "at most 65,536 are kept"),
        ("progress", {}, "context.progress"),
        ("no words", {}, "an event is called 'no words'"),
    ],
)
async def test_event_that_was_not_promised_fails_the_task(word: str, payload: Any, message: str) -> None:
    """Strictly, as all promises of a function are kept."""
    worker = Worker(events=["any"] if word == "any" else None)

    def read(context: Context) -> None:
        context.event(word, payload)

    worker.add_task(read, events={"page": Page})

    ended = await TaskHarness(worker).run("read")

    assert (ended.error_code, message in ended.error_message, ended.events) == ("CONTRACT_VIOLATION_ERROR", True, ())


async def test_setting_lets_undeclared_events_through(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was declared is checked all the same."""
    monkeypatch.setenv("STRICT_EVENT_VALIDATION", "false")
    worker = Worker()

    @worker.task(events={"page": Page})
    def read(context: Context, number: Any) -> None:
        context.event("line", {"n": 1})
        context.event("page", {"number": number})

    harness = TaskHarness(worker)
    good, bad = [await harness.run("read", {"number": number}) for number in (1, "one")]

    assert (good.status, good.events) == ("success", (("line", {"n": 1}), ("page", {"number": 1})))
    assert (bad.error_code, bad.events) == ("CONTRACT_VIOLATION_ERROR", (("line", {"n": 1}),))


@pytest.mark.parametrize("events", ["page", ["no word!"], {"progress": Any}, {"page": type}])
def test_events_that_cannot_be_are_refused_at_their_definition(events: Any) -> None:
    """Before a task tells one."""
    with pytest.raises(ConfigError):
        Worker().add_task(lambda: None, "read", events=events)
    with pytest.raises(ConfigError):
        Worker(events=events)


async def test_event_joins_the_history_of_its_job(reader: Worker) -> None:
    """Of our own engine, between the start and the end of its task."""
    blueprint = StateMachineBlueprint("reading", api_endpoint="/read")

    @blueprint.handler_for("start", is_start=True)
    async def start(actions: ActionFactory) -> None:
        actions.dispatch_task("read", {}, {"success": "end"})

    @blueprint.handler_for("end", is_end=True)
    async def end() -> None: ...

    engine = OrchestratorEngine(config=Config(API_PORT=0, API_HOST="127.0.0.1"))
    engine.register_blueprint(blueprint)
    async with engine:
        reader.configure(url=engine.url, token=engine.config.GLOBAL_WORKER_TOKEN)
        async with reader, AsyncClient(engine.url, engine.config.CLIENT_TOKEN) as client:
            job = await client.wait(await client.submit("/read", {}), timeout=PATIENCE)
            rows = await client.history(job["id"])
            catalog = (await client.workers())[0]

    told = [row["event_type"] for row in rows if row["task_id"]]
    assert told == ["task_dispatched", "task_started", "task_event", "task_event", "task_finished"]
    events = [row["context_snapshot"] for row in rows if row["event_type"] == "task_event"]
    assert [(one["type"], one["payload"]) for one in events] == [("page", {"number": 1}), ("page", {"number": 2})]
    assert catalog["worker_id"] == "w"
