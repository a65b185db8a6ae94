"""Holons: an engine as a worker of another one. What goes down, what comes up, and what a restart in between costs."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from avtomatika import ActionFactory, Config, OrchestratorEngine, StateMachineBlueprint
from avtomatika.app_keys import HISTORIAN_KEY, HISTORY_KEY, JOBS_KEY, STORAGE_KEY
from avtomatika.core.job import Job
from avtomatika.errors import ConfigError
from avtomatika.storage import MemoryStorage, SQLiteStorage
from avtomatika.storage.base import JobQuery, Storage
from avtomatika.worker import Context, TaskError, Worker
from tests.engine_jobs import ended

TOKEN = "a-worker-secret"


def order(name: str, skill: str, **options: Any) -> StateMachineBlueprint:
    """Returns a blueprint that sends one task and ends with the data that came back, or in ``failed``."""
    blueprint = StateMachineBlueprint(name, api_endpoint=f"/{name}")

    @blueprint.handler_for("start", is_start=True)
    async def start(initial_data: dict[str, Any], actions: ActionFactory) -> None:
        actions.dispatch_task(skill, initial_data, {"success": "done", "failure": "failed"}, **options)

    @blueprint.handler_for("done", is_end=True)
    async def done(state_history: dict[str, Any]) -> dict[str, Any]:
        return {name: state_history}

    @blueprint.handler_for("failed", is_end=True)
    async def failed() -> None: ...

    return blueprint


@contextlib.asynccontextmanager
async def engine(
    storage: Storage, *blueprints: StateMachineBlueprint, port: int = 0, **settings: Any
) -> AsyncIterator[OrchestratorEngine]:
    """An engine, from its start to its end."""
    config = Config(
        API_HOST="127.0.0.1",
        API_PORT=port,
        GLOBAL_WORKER_TOKEN=TOKEN,
        PARENT_TOKEN=TOKEN,
        TASK_LEASE_SECONDS=30.0,
        RETRY_DELAY_SECONDS=0.01,
        **settings,
    )
    made = OrchestratorEngine(storage, config)
    for blueprint in blueprints:
        made.register_blueprint(blueprint)
    async with made:
        yield made


class Leaf:
    """A worker at the bottom whose work the test steers.

    Args:
        url: of its engine.
    """

    def __init__(self, url: str) -> None:
        self.worker = Worker("leaf", url=url, token=TOKEN, heartbeat_interval=0.2)
        self.begun, self.may_end = asyncio.Event(), asyncio.Event()
        self.interrupted = asyncio.Event()
        self.calls = 0
        self.worker.add_task(self.work, "leaf")

    async def work(self, params: dict[str, Any], context: Context) -> dict[str, Any]:
        """Counts its calls, reports half of it, and waits for the test."""
        self.calls += 1
        context.progress(0.5, "half")
        self.begun.set()
        try:
            await self.may_end.wait()
        except asyncio.CancelledError:
            self.interrupted.set()
            raise
        return {"leaf": params["n"]}


async def until(holds: Callable[[], Any]) -> None:
    """Returns when something has come true that nobody announces."""
    async with asyncio.timeout(30):
        while not await holds():  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)


async def jobs_of(made: OrchestratorEngine) -> list[Job]:
    """Returns the jobs of an engine."""
    return await made.app[STORAGE_KEY].list_jobs(JobQuery())


async def test_task_of_the_parent_is_done_by_a_blueprint_of_the_holon() -> None:
    """Params go down as initial data, the result comes up as data, three levels deep, over one job each."""
    leaf_bp = StateMachineBlueprint("bottom")

    @leaf_bp.handler_for("only", is_start=True, is_end=True)
    async def only(n: int) -> dict[str, Any]:
        return {"double": 2 * n}

    async with (
        engine(MemoryStorage(), order("top", "middle")) as top,
        engine(MemoryStorage(), order("middle", "bottom"), PARENT_URL=top.url, HOLON_ID="m") as middle,
        engine(MemoryStorage(), leaf_bp, PARENT_URL=middle.url, HOLON_ID="b", ENABLE_CLIENT_API=False) as bottom,
    ):
        job = await ended(top, await top.create_background_job("top", {"n": 21}))

        (below,) = await jobs_of(bottom)
        workers = await top.app[STORAGE_KEY].list_workers()

    assert job.result.value() == {"top": {"middle": {"double": 42}}}
    assert (below.source, below.initial_data.value()) == ("holon", {"n": 21})
    assert [(worker.worker_id, worker.type, worker.skill_names) for worker in workers] == [("m", "holon", ("middle",))]


async def test_progress_cancellation_and_deadline_pass_between_parent_and_leaf() -> None:
    """Progress comes up while the leaf works, the deadline is the job's, and a cancellation interrupts the leaf."""
    async with (
        engine(MemoryStorage(), order("top", "middle", result_timeout=500)) as top,
        engine(MemoryStorage(), order("middle", "leaf"), PARENT_URL=top.url, HOLON_ID="m") as middle,
    ):
        leaf = Leaf(middle.url)
        async with leaf.worker:
            job_id = await top.create_background_job("top", {"n": 1})
            await leaf.begun.wait()

            async def is_half() -> bool:
                progress = await top.app[STORAGE_KEY].find_progress(job_id)
                return progress is not None and (progress.value, progress.message) == (0.5, "half")

            await until(is_half)
            (below,) = await jobs_of(middle)
            (task,) = await top.app[STORAGE_KEY].list_tasks(job_id)
            await top.app[JOBS_KEY].cancel(job_id)
            await leaf.interrupted.wait()
            status = (await ended(middle, below.id)).status

    assert status == "cancelled"
    assert task.deadline_at is not None
    assert below.deadline_at == pytest.approx(int(task.deadline_at), abs=0.01)


def run(name: str, child: str) -> StateMachineBlueprint:
    """Returns a blueprint that runs another one of its engine and ends with its result."""
    blueprint = StateMachineBlueprint(name)

    @blueprint.handler_for("start", is_start=True)
    async def start(initial_data: dict[str, Any], actions: ActionFactory) -> None:
        actions.run_blueprint(child, initial_data, {"success": "done"})

    @blueprint.handler_for("done", is_end=True)
    async def done() -> None: ...

    return blueprint


def teller(url: str) -> Worker:
    """Returns a worker ``leaf`` whose task tells three events."""
    worker = Worker("leaf", url=url, token=TOKEN)

    @worker.task("leaf", events=["page"])
    async def leaf(params: dict[str, Any], context: Context) -> None:
        for number in range(3):
            context.event("page", {"number": number})

    return worker


async def events_of(made: OrchestratorEngine, job_id: str) -> tuple[list[str], list[dict[str, Any]]]:
    """Returns the types of the rows of a job that are about its task, and its events."""
    await made.app[HISTORIAN_KEY].flush()
    rows = [row for row in await made.app[HISTORY_KEY].job_events(job_id) if row["task_id"]]
    snapshots = [row["context_snapshot"] for row in rows if row["event_type"] == "task_event"]
    return [row["event_type"] for row in rows], snapshots


TOLD = ["task_dispatched", "task_started", "task_event", "task_event", "task_event", "task_finished"]


async def test_events_of_workers_come_up_in_order_and_before_the_result() -> None:
    """Through three levels and out of a child of the lowest job; each says who told it and which way it came."""
    async with (
        engine(MemoryStorage(), order("top", "middle")) as top,
        engine(MemoryStorage(), order("middle", "bottom"), PARENT_URL=top.url, HOLON_ID="m") as middle,
        engine(
            MemoryStorage(), run("bottom", "deep"), order("deep", "leaf"), PARENT_URL=middle.url, HOLON_ID="b"
        ) as bottom,
        teller(bottom.url),
    ):
        job_id = await top.create_background_job("top", {})
        await ended(top, job_id)
        rows, events = await events_of(top, job_id)
        left = [await made.app[STORAGE_KEY].list_records("event-upward") for made in (middle, bottom)]

    assert rows == TOLD
    assert [(event["type"], event["payload"]) for event in events] == [("page", {"number": n}) for n in range(3)]
    assert {(event["origin"], *event["via"]) for event in events} == {("leaf", "b", "m")}
    assert left == [[], []]


async def test_events_wait_for_a_parent_that_is_away() -> None:
    """They were told while the parent was down, and are there before the outcome."""
    storage = MemoryStorage()
    async with engine(storage, order("top", "middle")) as top:
        port = top.port
        holon = engine(MemoryStorage(), order("middle", "leaf"), PARENT_URL=top.url, HOLON_ID="m")
        middle = await holon.__aenter__()
        job_id = await top.create_background_job("top", {})
        await until(lambda: jobs_of(middle))
    async with teller(middle.url):
        (job,) = await jobs_of(middle)
        await ended(middle, job.id)

    async with engine(storage, order("top", "middle"), port=port) as top:
        await ended(top, job_id)
        rows, events = await events_of(top, job_id)
        await holon.__aexit__(None, None, None)

    assert [event["payload"] for event in events] == [{"number": n} for n in range(3)]
    # What came before stood in the first engine's history, which was in memory.
    assert rows == TOLD[2:]


async def test_failure_comes_up_with_its_reason_and_is_not_tried_again() -> None:
    """What may pass was tried again below, as often as the blueprint wants; tries must not multiply."""
    broken = StateMachineBlueprint("middle")

    @broken.handler_for("only", is_start=True, is_end=True)
    async def only(missing: int) -> None: ...

    async with (
        engine(MemoryStorage(), order("top", "middle")) as top,
        engine(MemoryStorage(), broken, PARENT_URL=top.url, HOLON_ID="m") as middle,
    ):
        job_id = await top.create_background_job("top", {})
        job = await ended(top, job_id)
        attempts = len(await jobs_of(middle))

    assert (job.status, attempts) == ("failed", 1)
    assert job.failure is not None
    assert "missing" in job.failure.message


async def test_params_that_do_not_fit_the_blueprint_of_the_holon_fail_the_job_above() -> None:
    """Other attempts would bring the same params; the path comes up."""
    strict = StateMachineBlueprint("middle", input_schema={"properties": {"n": {"type": "number"}}})

    @strict.handler_for("only", is_start=True, is_end=True)
    async def only() -> None: ...

    async with (
        engine(MemoryStorage(), order("top", "middle")) as top,
        engine(MemoryStorage(), strict, PARENT_URL=top.url, HOLON_ID="m") as middle,
    ):
        job = await ended(top, await top.create_background_job("top", {"n": "one"}))
        below = await jobs_of(middle)

    assert (job.status, below) == ("failed", [])
    assert job.failure is not None
    assert (job.failure.code, job.failure.attempt) == ("INVALID_INPUT_ERROR", 1)
    assert "initial_data.n" in job.failure.message


async def test_message_of_a_final_error_comes_up_two_levels_as_the_worker_wrote_it() -> None:
    """The code stands beside it, so it is not put in front of it once more at each level."""
    refusing = Worker("leaf", token=TOKEN)

    @refusing.task("leaf")
    async def leaf(params: dict[str, Any]) -> None:
        raise TaskError("the width is missing", "INVALID_INPUT_ERROR")

    async with (
        engine(MemoryStorage(), order("top", "middle")) as top,
        engine(MemoryStorage(), order("middle", "leaf"), PARENT_URL=top.url, HOLON_ID="m") as middle,
    ):
        refusing.configure(url=middle.url)
        async with refusing:
            job = await ended(top, await top.create_background_job("top", {}))

    assert job.failure is not None
    assert (job.failure.code, job.failure.message) == ("INVALID_INPUT_ERROR", "the width is missing")


async def test_holon_that_starts_again_goes_on_with_the_same_job(tmp_path: Path) -> None:
    """It gives its task back when it stops; what it gets again is the job that it has, and the leaf works once."""
    file = str(tmp_path / "middle.db")
    async with engine(MemoryStorage(), order("top", "middle")) as top:
        settings: dict[str, Any] = {"PARENT_URL": top.url, "HOLON_ID": "m"}
        async with engine(SQLiteStorage(file), order("middle", "leaf"), **settings) as middle:
            port = middle.port
            leaf = Leaf(middle.url)
            await leaf.worker.start()
            job_id = await top.create_background_job("top", {"n": 7})
            await leaf.begun.wait()
        async with engine(SQLiteStorage(file), order("middle", "leaf"), port=port, **settings) as middle:
            leaf.may_end.set()
            job = await ended(top, job_id)
            jobs = await jobs_of(middle)
            await leaf.worker.stop()

    assert job.result.value() == {"top": {"middle": {"leaf": 7}}}
    assert (len(jobs), leaf.calls) == (1, 1)


async def test_outcome_waits_for_a_parent_that_is_away() -> None:
    """The job ends while the parent is down; the message of its end is carried when the parent is back."""
    storage = MemoryStorage()
    async with engine(storage, order("top", "middle")) as top:
        port, url = top.port, top.url
        middle = engine(MemoryStorage(), order("middle", "leaf"), PARENT_URL=url, HOLON_ID="m")
        below = await middle.__aenter__()
        leaf = Leaf(below.url)
        await leaf.worker.start()
        job_id = await top.create_background_job("top", {"n": 7})
        await leaf.begun.wait()
    leaf.may_end.set()
    (job,) = await jobs_of(below)
    await ended(below, job.id)

    async with engine(storage, order("top", "middle"), port=port) as top:
        done = await ended(top, job_id)
        tasks = await storage.list_tasks(job_id)
        await leaf.worker.stop()
        await middle.__aexit__(None, None, None)

    assert done.result.value() == {"top": {"middle": {"leaf": 7}}}
    assert [task.attempt for task in tasks] == [1]


async def test_holon_without_blueprints_does_not_start() -> None:
    """It would have no skills; the sentence says what to do."""
    with pytest.raises(ConfigError, match="register_blueprint"):
        async with engine(MemoryStorage(), PARENT_URL="http://127.0.0.1:1", HOLON_ID="m"):
            pass
