"""Sleeping jobs in a running engine."""

from __future__ import annotations

from pathlib import Path

from avtomatika.blueprints import ActionFactory, StateMachineBlueprint
from avtomatika.core.states import JobStatus
from avtomatika.storage.sqlite import SQLiteStorage
from avtomatika.testing import FakeClock

from .conftest import MakeSystem, System


def sleeper() -> StateMachineBlueprint:
    """Returns a blueprint that sleeps for an hour."""
    flow = StateMachineBlueprint("flow")

    @flow.handler_for("start", is_start=True)
    async def start(actions: ActionFactory) -> None:
        actions.sleep(3600, "end")

    @flow.handler_for("end", is_end=True)
    async def end() -> None: ...

    return flow


async def test_sleeping_job_goes_on_at_its_moment(system: System) -> None:
    """Not a moment before, and no engine is busy meanwhile."""
    system.add(sleeper())
    job_id = await system.create()
    await system.until(job_id, lambda job: job.wait is not None)

    await system.clock.advance(3599)
    assert (await system.jobs.get(job_id)).status is JobStatus.PENDING
    assert system.runner.active == 0

    await system.clock.advance(1)
    assert (await system.ended(job_id)).status is JobStatus.FINISHED
    assert (await system.rows(job_id)).count("sleep_started") == 1


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
