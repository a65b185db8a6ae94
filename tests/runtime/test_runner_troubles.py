"""The runner when the storage fails: a job pays neither for it nor for an engine that was only slow."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from avtomatika.blueprints import ActionFactory, StateMachineBlueprint
from avtomatika.core.job import Task
from avtomatika.core.states import JobStatus
from avtomatika.errors import StorageError
from avtomatika.storage.base import Batch, Outcome
from avtomatika.storage.memory import MemoryStorage
from avtomatika.testing import FakeClock

from .conftest import MakeSystem, System, chain

LEASE = 10.0


class FailingStorage(MemoryStorage):
    """A storage whose commits or lists of tasks fail as often as a test says."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.failing_commits = 0
        self.failing_lists = 0

    async def commit(self, batch: Batch) -> Outcome:
        """Fails before anything is written; creations succeed."""
        if self.failing_commits and batch.job.version > 1:
            self.failing_commits -= 1
            raise StorageError("the disk is full")
        return await super().commit(batch)

    async def list_tasks(self, job_id: str, fan_out: str | None = None) -> list[Task]:
        """Fails, or returns the tasks."""
        if self.failing_lists:
            self.failing_lists -= 1
            raise StorageError("no answer")
        return await super().list_tasks(job_id, fan_out)


@pytest.fixture
def storage(clock: FakeClock) -> FailingStorage:
    """A storage that fails when told to."""
    return FailingStorage(clock)


@pytest.fixture
async def system(make_system: MakeSystem, storage: FailingStorage) -> System:
    """A running system on that storage."""
    system = make_system(storage)
    await system.start()
    return system


def join_nothing() -> StateMachineBlueprint:
    """Returns a blueprint whose fan-out is empty: its aggregator has to look for tasks at once."""
    flow = StateMachineBlueprint("flow")

    @flow.handler_for("split", is_start=True)
    async def split(actions: ActionFactory) -> None:
        actions.dispatch_parallel([], "join")

    @flow.aggregator_for("join")
    async def join(actions: ActionFactory) -> None:
        actions.transition_to("done")

    @flow.handler_for("done", is_end=True)
    async def done() -> None: ...

    return flow


async def test_storage_that_fails_before_a_handler_is_no_failure_of_the_handler(
    system: System, storage: FailingStorage
) -> None:
    """A handler that was never called has used up none of its attempts."""
    system.add(join_nothing())
    storage.failing_lists = 1

    job_id = await system.create()
    await system.clock.advance(3 * LEASE)

    job = await system.ended(job_id)
    assert (job.status, job.attempt, job.failure) == (JobStatus.FINISHED, 1, None)
    assert "state_failed" not in await system.rows(job_id)


async def test_storage_that_refuses_steps_for_long_quarantines_no_job(system: System, storage: FailingStorage) -> None:
    """An engine that lives gives a job back whose step it could not write: only one that vanished leaves a trace."""
    system.add(chain(2))
    storage.failing_commits = 20

    job_id = await system.create()
    await system.clock.advance(30 * LEASE)

    assert (await system.ended(job_id)).status is JobStatus.FINISHED


async def test_job_that_an_engine_took_over_from_itself_is_still_looked_after(
    clock: FakeClock, storage: FailingStorage, make_system: MakeSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When an engine was too slow to keep a claim and takes the job again, the old run ends and the new one is kept."""
    begun: list[asyncio.Event] = []
    extend = storage.extend_claims

    async def hang(state: str) -> None:
        begun.append(asyncio.Event())
        await begun[-1].wait()

    async def too_slow(*_: Any) -> list[str]:
        raise StorageError("no answer")

    system = make_system(storage)
    system.add(chain(1, on_state=hang))
    await system.start()
    job_id = await system.create()
    await system.settle()
    monkeypatch.setattr(storage, "extend_claims", too_slow)
    await clock.advance(1.5 * LEASE)
    monkeypatch.setattr(storage, "extend_claims", extend)
    assert (len(begun), system.runner.active) == (2, 1)

    begun[0].set()
    await clock.advance(3 * LEASE)

    assert (len(begun), system.runner.active) == (2, 1)
    begun[1].set()
    assert (await system.ended(job_id)).status is JobStatus.FINISHED
