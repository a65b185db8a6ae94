"""Sleeping jobs in a running engine."""

from __future__ import annotations

from pathlib import Path

from avtomatika.app_keys import RUNNER_KEY
from avtomatika.blueprints import ActionFactory, StateMachineBlueprint
from avtomatika.core.states import JobStatus
from avtomatika.storage.sqlite import SQLiteStorage
from avtomatika.testing import BlueprintTester, FakeClock

from .conftest import MakeSystem


def sleeper() -> StateMachineBlueprint:
    """Returns a blueprint that sleeps for an hour."""
    flow = StateMachineBlueprint("flow")

    @flow.handler_for("start", is_start=True)
    async def start(actions: ActionFactory) -> None:
        actions.sleep(3600, "end")

    @flow.handler_for("end", is_end=True)
    async def end() -> None: ...

    return flow


async def test_sleeping_job_goes_on_at_its_moment() -> None:
    """Not a moment before, and no engine is busy meanwhile."""
    async with BlueprintTester(sleeper()) as t:
        job = await t.submit()

        await t.advance(3599)
        assert job.status == "pending"
        assert t.engine.app[RUNNER_KEY].active == 0

        await t.advance(1)
        assert job.status == "finished"
        assert (await job.events()).count("sleep_started") == 1


async def test_sleep_outlives_the_engine(make_system: MakeSystem, clock: FakeClock, tmp_path: Path) -> None:
    """The moment passes while nothing runs; the next engine on the same file goes on at once."""
    storage = SQLiteStorage(str(tmp_path / "jobs.db"), clock=clock)
    await storage.open()
    before = make_system(storage)
    before.add(sleeper())
    await before.start()
    job_id = await before.create()
    await before.until(job_id, lambda job: job.wait is not None)
    await before.stop()
    await storage.close()

    await clock.advance(7200)
    await storage.open()
    after = make_system(storage, owner="e2")
    after.add(sleeper())
    await after.start()

    assert (await after.ended(job_id)).status is JobStatus.FINISHED
