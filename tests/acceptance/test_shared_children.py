"""Sub-blueprints between two engines on one Redis: the child runs where its parent did not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from avtomatika import ActionFactory, Config, OrchestratorEngine, StateMachineBlueprint
from avtomatika.app_keys import JOBS_KEY, RUNNER_KEY, STORAGE_KEY
from avtomatika.core.job import Job
from avtomatika.core.waits import ChildWait
from avtomatika.storage import RedisStorage
from avtomatika.worker import Worker
from tests.redis_server import RedisServer

pytestmark = pytest.mark.acceptance


class Site:
    """An engine whose handlers say where they ran.

    Args:
        name: of the engine.
        storage: shared with the other one.
    """

    def __init__(self, name: str, storage: RedisStorage) -> None:
        config = Config(
            API_HOST="127.0.0.1", API_PORT=0, INSTANCE_ID=name, CLIENT_TOKEN="client", GLOBAL_WORKER_TOKEN="worker"
        )
        self.door = asyncio.Event()
        self.engine = OrchestratorEngine(storage, config)
        self.jobs = self.engine.app[JOBS_KEY]
        for blueprint in (self._parent(name), self._child(name)):
            self.engine.register_blueprint(blueprint)

    def _parent(self, site: str) -> StateMachineBlueprint:
        flow = StateMachineBlueprint("parent")

        @flow.handler_for("start", is_start=True)
        async def start(initial_data: dict[str, Any], state_history: dict[str, Any], actions: ActionFactory) -> None:
            await self.door.wait()
            state_history["began_at"] = site
            actions.run_blueprint("child", initial_data, {"success": "done", "failure": "repaired"})

        @flow.handler_for("done", is_end=True)
        @flow.handler_for("repaired", is_end=True)
        async def done(began_at: str, child: dict[str, Any]) -> dict[str, Any]:
            return {"began_at": began_at, "child": child["status"], "of": child["result"]}

        return flow

    def _child(self, site: str) -> StateMachineBlueprint:
        flow = StateMachineBlueprint("child")

        @flow.handler_for("send", is_start=True)
        async def send(state_history: dict[str, Any], n: int, actions: ActionFactory) -> None:
            state_history["ran_at"] = site
            actions.dispatch_task("work", {"n": n}, {"success": "done", "failure": "failed"})

        @flow.handler_for("done", is_end=True)
        @flow.handler_for("failed", is_end=True)
        async def done(state_history: dict[str, Any]) -> dict[str, Any]:
            return {"ran_at": state_history["ran_at"], "double": state_history.get("double")}

        return flow

    async def drain(self) -> None:
        """Lets its handlers end and begins no other; requests, messages and timers go on."""
        draining = asyncio.create_task(self.engine.app[RUNNER_KEY].stop(60))
        await asyncio.sleep(0)
        self.door.set()
        await draining

    async def until(self, job_id: str, version: int = -1) -> Job:
        """Returns the job when it has ended, as this engine is told of it."""
        async with asyncio.timeout(60):
            while not (job := await self.jobs.wait(job_id, version, 60)).is_terminal:
                version = job.version
        return job


@asynccontextmanager
async def apart(redis_server: RedisServer, n: int) -> AsyncIterator[tuple[Site, Site, str]]:
    """Gives two engines and the job of a parent that began at the first; only the second one runs handlers now."""
    prefix = redis_server.new_prefix()
    desk, mill = (Site(name, RedisStorage(redis_server.client(), prefix=prefix)) for name in ("desk", "mill"))
    async with desk.engine:
        job_id = await desk.engine.create_background_job("parent", {"n": n})
        async with asyncio.timeout(60):
            while not desk.engine.app[RUNNER_KEY].active:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)
        await desk.drain()
        async with mill.engine:
            yield desk, mill, job_id
            assert await mill.engine.app[STORAGE_KEY].audit() == []


@pytest.mark.parametrize(
    ("n", "state", "status", "double"), [(21, "done", "finished", 42), (-1, "repaired", "failed", None)]
)
async def test_parent_goes_on_with_the_outcome_of_a_child_of_the_other_engine(
    redis_server: RedisServer, n: int, state: str, status: str, double: int | None
) -> None:
    """Outcome and result come back through Redis, and who waits at the first engine is told."""

    def work(n: int) -> dict[str, Any]:
        return {"double": 2 * n} if n > 0 else {"status": "failure", "error": {"code": "PERMANENT_ERROR"}}

    async with apart(redis_server, n) as (desk, mill, job_id):
        worker = Worker("w1", url=mill.engine.url, token="worker")
        worker.add_task(work)
        async with worker:
            job = await desk.until(job_id)

    assert (job.status, job.state) == ("finished", state)
    of = {"ran_at": "mill", "double": double}
    assert job.result.value() == {"began_at": "desk", "child": status, "of": of}


async def test_cancel_of_the_parent_at_one_engine_stops_the_childs_task_at_the_other(redis_server: RedisServer) -> None:
    """Down to the function that a worker of the other engine is running."""
    begun, stopped = asyncio.Event(), asyncio.Event()

    async def work(n: int) -> None:
        del n
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    async with apart(redis_server, 1) as (desk, mill, job_id):
        worker = Worker("w1", url=mill.engine.url, token="worker", heartbeat_interval=0.2)
        worker.add_task(work)
        async with worker, asyncio.timeout(60):
            await begun.wait()
            waiting = (await desk.jobs.get(job_id)).wait
            assert isinstance(waiting, ChildWait)

            await desk.jobs.cancel(job_id)

            child = await desk.until(waiting.child_id)
            await stopped.wait()
        (task,) = await mill.engine.app[STORAGE_KEY].list_tasks(child.id)

    assert (child.status, task.status) == ("cancelled", "cancelled")
    assert child.state_history.value()["ran_at"] == "mill"
