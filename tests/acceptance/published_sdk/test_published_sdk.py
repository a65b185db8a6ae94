"""Unmodified workers of the published SDK do the engine's tasks."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from avtomatika import ActionFactory, Config, OrchestratorEngine, StateMachineBlueprint
from avtomatika.client import AsyncClient
from avtomatika.storage import MemoryStorage

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]  # the first run installs the SDK

WORKER_TOKEN = "a-worker-secret"
CLIENT_TOKEN = "a-client-secret"
SKILLS = {"echo", "fail", "custom_status", "slow"}
RETRIES = 2
# Contract, section 3: what becomes of the job by the code of the failure, and after how many attempts.
OUTCOMES = {
    None: ("quarantined", 1 + RETRIES),
    "TRANSIENT_ERROR": ("quarantined", 1 + RETRIES),
    "RESOURCE_EXHAUSTED_ERROR": ("quarantined", 1 + RETRIES),
    "TIMEOUT_ERROR": ("quarantined", 1 + RETRIES),
    "INTERNAL_ERROR": ("quarantined", 1 + RETRIES),
    "SOME_CODE_OF_MINE": ("quarantined", 1 + RETRIES),
    "PERMANENT_ERROR": ("quarantined", 1),
    "SECURITY_ERROR": ("quarantined", 1),
    "DEPENDENCY_ERROR": ("quarantined", 1),
    "INVALID_INPUT_ERROR": ("failed", 1),
    "INTEGRITY_MISMATCH_ERROR": ("failed", 1),
    "CONTRACT_VIOLATION_ERROR": ("failed", 1),
}


def work() -> StateMachineBlueprint:
    """Returns a blueprint that sends the task it is told to send."""
    blueprint = StateMachineBlueprint("work", api_endpoint="/work")

    @blueprint.handler_for("start", is_start=True)
    async def start(initial_data: dict[str, Any], actions: ActionFactory) -> None:
        actions.dispatch_task(
            initial_data["task"],
            initial_data.get("params", {}),
            transitions={"success": "done", "needs_review": "review"},
        )

    @blueprint.handler_for("done", is_end=True)
    async def done(state_history: dict[str, Any]) -> dict[str, Any]:
        return {"answer": state_history}

    @blueprint.handler_for("review", is_end=True)
    async def review() -> dict[str, Any]:
        return {"answer": "a person must look"}

    return blueprint


def guarded() -> StateMachineBlueprint:
    """Returns a blueprint that has a way on for a task that failed for good."""
    blueprint = StateMachineBlueprint("guarded", api_endpoint="/guarded")

    @blueprint.handler_for("start", is_start=True)
    async def start(initial_data: dict[str, Any], actions: ActionFactory) -> None:
        actions.dispatch_task("fail", initial_data, transitions={"success": "done", "failure": "amends"})

    @blueprint.handler_for("done", is_end=True)
    async def done() -> None: ...

    @blueprint.handler_for("amends", is_end=True, outcome="finished")
    async def amends(last_error: dict[str, Any]) -> dict[str, Any]:
        return {"code": last_error["code"], "attempt": last_error["attempt"]}

    return blueprint


@contextlib.asynccontextmanager
async def running_engine(storage: MemoryStorage, port: int = 0) -> AsyncIterator[OrchestratorEngine]:
    """An engine with both blueprints, stopped at the end."""
    config = Config(
        API_HOST="127.0.0.1",
        API_PORT=port,
        CLIENT_TOKEN=CLIENT_TOKEN,
        GLOBAL_WORKER_TOKEN=WORKER_TOKEN,
        JOB_MAX_RETRIES=RETRIES,
        RETRY_DELAY_SECONDS=0.01,
        RETRY_MAX_DELAY_SECONDS=0.05,
    )
    engine = OrchestratorEngine(storage, config)
    engine.register_blueprint(work())
    engine.register_blueprint(guarded())
    async with engine:
        yield engine


@pytest.fixture
async def engine() -> AsyncIterator[OrchestratorEngine]:
    """A running engine on a free port."""
    async with running_engine(MemoryStorage()) as engine:
        yield engine


@pytest.fixture
async def client(engine: OrchestratorEngine) -> AsyncIterator[AsyncClient]:
    """A client of the engine."""
    async with AsyncClient(engine.url, CLIENT_TOKEN) as client:
        yield client


async def ended(client: AsyncClient, task: str, **params: Any) -> dict[str, Any]:
    """Returns a job that sent the task, when it has ended."""
    return await client.wait(await client.submit("/work", {"task": task, "params": params}), timeout=60)


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Returns when the condition holds; for what another process does and nobody announces."""
    async with asyncio.timeout(30):
        while not await holds():  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.02)


async def test_task_is_done_and_its_data_reach_the_job(
    engine: OrchestratorEngine, client: AsyncClient, sdk_worker: Any, release: str
) -> None:
    """Params go out, data come back and are merged into the job."""
    sdk_worker(release, engine.url, WORKER_TOKEN)

    job = await ended(client, "echo", text="ключ", number=1.5, nested={"list": [1, None, True]})

    assert (job["status"], job["current_state"]) == ("finished", "done")
    assert job["result"]["answer"]["echo"]["text"] == "ключ"
    assert job["result"]["answer"]["echo"]["number"] == 1.5


async def test_worker_is_listed_with_its_skills(
    engine: OrchestratorEngine, client: AsyncClient, sdk_worker: Any, release: str
) -> None:
    """Who looks at the engine sees the worker under its id, with what it can do."""
    sdk_worker(release, engine.url, WORKER_TOKEN, "w-of-mine")
    await ended(client, "echo")

    (worker,) = await client.workers()

    assert worker["worker_id"] == "w-of-mine"
    assert set(worker["skills"]) == SKILLS


async def test_task_waits_until_a_worker_comes(
    engine: OrchestratorEngine, client: AsyncClient, sdk_worker: Any, release: str
) -> None:
    """A job that was created before any worker was there is done by the first that comes."""
    job_id = await client.submit("work", {"task": "echo"})

    sdk_worker(release, engine.url, WORKER_TOKEN)

    assert (await client.wait(job_id, timeout=60))["status"] == "finished"


async def test_status_word_of_the_worker_chooses_the_state(
    engine: OrchestratorEngine, client: AsyncClient, sdk_worker: Any, release: str
) -> None:
    """A word of the worker's own follows its transition; an unknown one fails the job and is named."""
    sdk_worker(release, engine.url, WORKER_TOKEN)

    known = await ended(client, "custom_status", status="needs_review")
    unknown = await ended(client, "custom_status", status="needs_coffee")

    assert (known["status"], known["current_state"]) == ("finished", "review")
    assert unknown["status"] == "failed"
    assert "needs_coffee" in unknown["error_message"]
    assert "needs_review" in unknown["error_message"]


async def test_each_kind_of_failure_ends_the_job_as_promised(
    engine: OrchestratorEngine, client: AsyncClient, sdk_worker: Any, release: str
) -> None:
    """The code of a failure decides between retry, quarantine and failure, for every code of the contract."""
    sdk_worker(release, engine.url, WORKER_TOKEN)

    async def outcome(code: str | None) -> tuple[str, int]:
        job = await ended(client, "fail", **({} if code is None else {"code": code}))
        attempts = [row for row in await client.history(job["id"]) if row["event_type"] == "task_started"]
        return job["status"], len(attempts)

    outcomes = await asyncio.gather(*map(outcome, OUTCOMES))

    assert dict(zip(OUTCOMES, outcomes, strict=True)) == OUTCOMES


async def test_failure_that_passes_is_retried_to_success(
    engine: OrchestratorEngine, client: AsyncClient, sdk_worker: Any, release: str
) -> None:
    """A worker that fails once and then succeeds leaves a finished job."""
    sdk_worker(release, engine.url, WORKER_TOKEN)

    job = await ended(client, "fail", code="TRANSIENT_ERROR", times=1)

    assert job["status"] == "finished"
    assert job["result"]["answer"]["failures"] == 1


@pytest.mark.parametrize(("code", "attempt"), [("PERMANENT_ERROR", 1), ("TRANSIENT_ERROR", 1 + RETRIES)])
async def test_failure_for_good_takes_the_way_of_the_blueprint(
    engine: OrchestratorEngine, client: AsyncClient, sdk_worker: Any, release: str, code: str, attempt: int
) -> None:
    """A transition for ``failure`` is taken instead of quarantine, and its handler learns what happened."""
    sdk_worker(release, engine.url, WORKER_TOKEN)

    job = await client.wait(await client.submit("guarded", {"code": code}), timeout=60)

    assert (job["status"], job["result"]) == ("finished", {"code": code, "attempt": attempt})


async def test_many_jobs_at_once_are_all_done_once(
    engine: OrchestratorEngine, client: AsyncClient, sdk_worker: Any, release: str
) -> None:
    """Two workers share sixty tasks: none is lost, none is done twice."""
    for name in ("w-1", "w-2"):
        sdk_worker(release, engine.url, WORKER_TOKEN, name)

    jobs = await asyncio.gather(*(ended(client, "echo", n=n) for n in range(60)))

    assert [job["result"]["answer"]["echo"]["n"] for job in jobs] == list(range(60))
    starts = [sum(row["event_type"] == "task_started" for row in await client.history(job["id"])) for job in jobs[::10]]
    assert set(starts) == {1}


async def test_worker_with_a_wrong_token_gets_nothing(
    engine: OrchestratorEngine, client: AsyncClient, sdk_worker: Any, release: str
) -> None:
    """A refused worker is not listed and takes no task; the one with the right token does."""
    refused = sdk_worker(release, engine.url, "not-the-token", "refused")
    job_id = await client.submit("/work", {"task": "echo"})

    async def was_told() -> bool:
        return "403" in refused.log

    await until(was_told)

    assert await client.workers() == []
    sdk_worker(release, engine.url, WORKER_TOKEN, "welcome")

    job = await client.wait(job_id, timeout=60)
    starts = [row["worker_id"] for row in await client.history(job_id) if row["event_type"] == "task_started"]
    assert (job["status"], starts) == ("finished", ["welcome"])


async def test_worker_works_on_after_the_engine_forgot_everything(
    sdk_worker: Any, release: str, unused_tcp_port: int
) -> None:
    """An engine that comes back with an empty memory knows its workers again without their restart."""
    async with (
        running_engine(MemoryStorage(), unused_tcp_port) as engine,
        AsyncClient(engine.url, CLIENT_TOKEN) as client,
    ):
        sdk_worker(release, engine.url, WORKER_TOKEN)
        await ended(client, "echo")

    async with (
        running_engine(MemoryStorage(), unused_tcp_port) as engine,
        AsyncClient(engine.url, CLIENT_TOKEN) as client,
    ):
        job = await ended(client, "echo", n=2)

        async def is_known() -> bool:  # its poll may come before the heartbeat that introduces it again
            workers = await client.workers()
            return [(worker["worker_id"], set(worker["skills"])) for worker in workers] == [("sdk-worker", SKILLS)]

        await until(is_known)

    assert job["result"]["answer"]["echo"] == {"n": 2}


async def test_task_that_runs_over_a_restart_is_done_once(
    sdk_worker: Any, release: str, unused_tcp_port: int, tmp_path: Path
) -> None:
    """The engine stops while a worker works; the result reaches the engine that comes back, and counts."""
    storage, begun, may_end = MemoryStorage(), tmp_path / "begun", tmp_path / "may_end"
    async with (
        running_engine(storage, unused_tcp_port) as engine,
        AsyncClient(engine.url, CLIENT_TOKEN) as client,
    ):
        sdk_worker(release, engine.url, WORKER_TOKEN)
        params = {"started": str(begun), "until": str(may_end)}
        job_id = await client.submit("/work", {"task": "slow", "params": params})

        async def has_begun() -> bool:
            return await asyncio.to_thread(begun.exists)

        await until(has_begun)

    may_end.touch()
    async with (
        running_engine(storage, unused_tcp_port) as engine,
        AsyncClient(engine.url, CLIENT_TOKEN) as client,
    ):
        job = await client.wait(job_id, timeout=60)
        attempts = [task.attempt for task in await storage.list_tasks(job_id)]
        deliveries = [task.deliveries for task in await storage.list_tasks(job_id)]

    assert (job["status"], job["result"]["answer"]["waited"]) == ("finished", True)
    assert (attempts, deliveries) == ([1], [1])
