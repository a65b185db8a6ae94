"""Both clients against the engine itself: the answers have the shapes that the client relies on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from msgspec.structs import replace

from avtomatika import ActionFactory, Config, OrchestratorEngine, StateMachineBlueprint
from avtomatika.client import Client, asynchronous, synchronous
from avtomatika.core.document import EMPTY
from avtomatika.errors import AuthError, BlueprintError, ClientError, JobNotFoundError
from avtomatika.server.keys import STORAGE_KEY
from avtomatika.storage.base import Batch, Message


@pytest.fixture
async def engine() -> AsyncIterator[OrchestratorEngine]:
    """An engine with a blueprint that ends at once, and one that waits for a worker."""
    config = Config(API_HOST="127.0.0.1", API_PORT=0, CLIENT_TOKEN="a-client-secret", GLOBAL_WORKER_TOKEN="w")
    engine = OrchestratorEngine(config=config)
    quick = StateMachineBlueprint("quick", api_endpoint="/quick")
    patient = StateMachineBlueprint("patient", api_endpoint="/for/worker", api_version="v2")
    hidden = StateMachineBlueprint("hidden")

    @quick.handler_for("start", is_start=True)
    async def start(actions: ActionFactory) -> None:
        actions.transition_to("done")

    @quick.handler_for("done", is_end=True)
    async def done(number: int) -> dict[str, Any]:
        return {"double": 2 * number}

    @patient.handler_for("send", is_start=True)
    async def send(actions: ActionFactory) -> None:
        actions.dispatch_task("nobody_can", transitions={"success": "end"})

    @patient.handler_for("end", is_end=True)
    async def end() -> None: ...

    @hidden.handler_for("only", is_start=True, is_end=True)
    async def only() -> None: ...

    asking = StateMachineBlueprint("asking", api_endpoint="/asking")

    @asking.handler_for("ask", is_start=True)
    async def ask(actions: ActionFactory) -> None:
        actions.await_human_approval("Ship it?", {"approved": "shipped"})

    @asking.handler_for("shipped", is_end=True)
    async def shipped(approval: dict[str, Any]) -> dict[str, Any]:
        return approval

    for blueprint in (quick, patient, hidden, asking):
        engine.register_blueprint(blueprint)
    async with engine:
        yield engine


@pytest.fixture
def address(engine: OrchestratorEngine) -> tuple[str, str]:
    """The engine, for both clients."""
    return engine.url, "a-client-secret"


async def test_job_is_submitted_followed_and_looked_up(call: Any) -> None:
    """From the name of a blueprint to the result, the events and the history."""
    job_id = await call("submit", "quick", {"number": 21})

    job = await call("wait", job_id, timeout=30)
    changes = await call.events(job_id)
    history = await call("history", job_id)

    assert (job["status"], job["result"]) == ("finished", {"double": 42})
    assert [change["status"] for change in changes] == ["finished"]
    assert history[0]["event_type"] == "job_created"
    assert [row["id"] for row in await call("jobs", status="finished", blueprint="quick")] == [job_id]
    assert await call("jobs", status="failed") == []


async def test_events_tell_of_a_cancel_while_they_are_read(call: Any) -> None:
    """A change reaches whoever follows the job, and the end ends the following."""
    job_id = await call("submit", "/for/worker", version="v2")
    following = asyncio.create_task(call.events(job_id))
    while (await call("job", job_id))["status"] != "waiting_for_worker":
        await call("job", job_id, wait=1)

    assert await call("cancel", job_id) == "cancellation_request_accepted"

    async with asyncio.timeout(4):  # less than the wait for one change: the change itself must have woken us
        changes = await following
    assert changes[-1]["status"] == "cancelled"
    with pytest.raises(ClientError) as caught:
        await call("cancel", job_id)
    assert caught.value.status == 409


async def test_same_idempotency_key_gives_the_same_job(call: Any) -> None:
    """A repeated call makes no second job; other data under the key are refused."""
    first = await call("submit", "quick", {"number": 1}, idempotency_key="k-1")

    assert await call("submit", "quick", {"number": 1}, idempotency_key="k-1") == first
    with pytest.raises(ClientError) as caught:
        await call("submit", "quick", {"number": 2}, idempotency_key="k-1")
    assert caught.value.status == 409


async def test_job_that_waits_for_a_person_is_approved(call: Any) -> None:
    """The owner decides, under the client's name."""
    job_id = await call("submit", "asking", {})
    seen = await call("job", job_id)
    while seen["status"] != "waiting_for_human":
        seen = await call("job", job_id, 30, seen["version"])

    await call("approve", job_id, "approved", comment="go")

    result = (await call("wait", job_id))["result"]
    assert (result["by"], result["comment"]) == ("default", "go")


async def test_ended_job_is_rewound_and_forked(call: Any) -> None:
    """A fork with a key is made once."""
    job_id = await call("submit", "quick", {"number": 1})
    ended = await call("wait", job_id)

    await call("rewind", job_id, "start")
    first = await call("fork", job_id, "done", initial_data={"number": 5}, idempotency_key="f-1")
    again = await call("fork", job_id, "done", initial_data={"number": 5}, idempotency_key="f-1")

    assert first == again
    assert (await call("wait", first))["result"] == {"double": 10}
    assert (await call("job", job_id))["version"] > ended["version"]
    assert await call("tasks", job_id) == []


async def test_overviews_have_their_shapes(call: Any) -> None:
    """Blueprints, graphs, workers, dashboard and status come as promised."""
    assert {row["name"] for row in await call("blueprints")} == {"quick", "patient", "hidden", "asking"}
    assert (await call("graph", "quick")).startswith("digraph")
    assert {state["name"] for state in (await call("graph", "quick", "json"))["states"]} == {"start", "done"}
    assert "start" in await call("graph", "quick", "mermaid")
    assert await call("workers") == []
    assert (await call("dashboard"))["workers"]["total"] == 0
    assert (await call("status"))["status"] == "ok"


async def test_wrong_questions_get_their_own_errors(call: Any, engine: OrchestratorEngine) -> None:
    """Each mistake has the error that a program would handle."""
    with pytest.raises(JobNotFoundError):
        await call("job", "no-such-job")
    with pytest.raises(BlueprintError, match="has no api_endpoint"):
        await call("submit", "hidden")
    with pytest.raises(BlueprintError, match="Did you mean 'quick'"):
        await call("submit", "quik")
    with pytest.raises(ClientError, match="known: /api/v1/quick"):
        await call("submit", "/quik")
    with pytest.raises(AuthError):
        await asyncio.to_thread(Client(engine.url, "another").jobs)


async def test_changes_of_all_jobs_are_told_as_they_happen(call: Any) -> None:
    """From the moment of ``hello`` on, each step of each own job; later on, from the last event that was seen."""
    hello = (await call.changes(1))[0]
    job_id = await call("submit", "quick", {"number": 1})
    job = await call("wait", job_id, timeout=30)

    told = await call.changes(job["version"] + 1, hello.id)
    rest = await call.changes(2, told[1].id)

    assert (hello.type, [event.type for event in told[1:]]) == ("hello", ["job"] * job["version"])
    assert told[-1].data["job_id"] == job_id
    assert told[-1].data["status"] == "finished"
    assert rest[1] == told[2]


async def test_dead_letters_are_listed_and_sent_again(
    call: Any, engine: OrchestratorEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over as many pages as it takes, up to the limit."""
    for module in (asynchronous, synchronous):
        monkeypatch.setattr(module, "PAGE", 2)
    job_id = await call("submit", "quick", {"number": 1})
    await call("wait", job_id, timeout=30)
    storage = engine.app[STORAGE_KEY]
    job = await storage.find_job(job_id)
    job = replace(job, version=job.version + 1)
    letters = [Message(f"{job_id}:x:{n}", "webhook", job_id, "", EMPTY, 1.0, 1.0) for n in range(5)]
    await storage.commit(Batch(job, frozenset(), 1.0, messages=letters))
    for letter in letters:
        await storage.bury_message(letter.id, "no answer")

    listed = [letter["id"] for letter in await call("dead_letters", topic="webhook")]

    assert sorted(listed) == [letter.id for letter in letters]
    assert [letter["id"] for letter in await call("dead_letters", limit=3)] == listed[:3]
    assert await call("dead_letters", topic="child") == []
    assert await call("replay", [listed[1], "unknown"]) == [listed[1]]
    assert [letter["id"] for letter in await call("dead_letters")] == [listed[0], *listed[2:]]


async def test_many_jobs_are_changed_at_once(call: Any) -> None:
    """By name or by filter; what cannot be changed is told, and both ways at once are refused."""
    first, second, third = [await call("submit", "/for/worker", version="v2") for _ in range(3)]

    named = await call("cancel_jobs", [first, "unknown"])
    found = await call("cancel_jobs", blueprint="patient", limit=1)
    requeued = await call("requeue_jobs", since=0)

    assert (named["cancelled"], named["refused"][0]["job_id"]) == ([first], "unknown")
    assert (len(found["cancelled"]), found["more"]) == (1, True)
    assert set(found["cancelled"]) < {second, third}
    assert (requeued["matched"], requeued["requeued"]) == (0, [])
    with pytest.raises(ValueError, match="not both"):
        await call("cancel_jobs", [first], status="running")
