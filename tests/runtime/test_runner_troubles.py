"""The runner when the storage fails: a job pays neither for it nor for an engine that was only slow."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from avtomatika.blueprints import ActionFactory, StateMachineBlueprint
from avtomatika.core.decide import IllegalTransitionError, decide
from avtomatika.core.effects import Decision
from avtomatika.core.events import Event, HandlerReturned, HandlerStarted
from avtomatika.core.job import Job, Task
from avtomatika.core.states import JobStatus
from avtomatika.errors import StorageError
from avtomatika.storage.base import Batch, Outcome
from avtomatika.storage.memory import MemoryStorage
from avtomatika.testing import FakeClock

from .conftest import MakeSystem, System, chain

LEASE = 10.0


class FailingStorage(MemoryStorage):
    """A storage whose commits and look-ups fail as often as a test says."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.failing_commits = 0
        self.failing_lists = 0
        self.failing_finds = 0

    async def commit(self, batch: Batch) -> Outcome:
        """Fails before anything is written; creations succeed."""
        if self.failing_commits and batch.job.version > 1:
            self.failing_commits -= 1
            raise StorageError("the disk is full")
        return await super().commit(batch)

    async def find_job(self, job_id: str) -> Job | None:
        """Fails, or returns the job."""
        if self.failing_finds:
            self.failing_finds -= 1
            raise StorageError("no answer")
        return await super().find_job(job_id)

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


def break_on(monkeypatch: pytest.MonkeyPatch, event_type: type[Event], state: str) -> list[Event]:
    """Lets the core raise at these events of jobs in that state, and returns those that it raised at."""
    struck: list[Event] = []

    def break_down(job: Job, event: Event, *rest: Any) -> Decision:
        if isinstance(event, event_type) and job.state == state:
            struck.append(event)
            raise IllegalTransitionError(job, event, JobStatus.RUNNING)
        return decide(job, event, *rest)

    monkeypatch.setattr("avtomatika.runtime.performer.decide", break_down)
    return struck


@pytest.mark.parametrize(("event_type", "state"), [(HandlerStarted, "s0"), (HandlerReturned, "s0")])
async def test_step_that_the_engine_itself_cannot_do_ends_the_job_as_error(
    system: System, monkeypatch: pytest.MonkeyPatch, event_type: type[Event], state: str
) -> None:
    """Its handler is not blamed, the defect is named, and the job goes on from there when that is mended."""
    system.add(chain(2))
    struck = break_on(monkeypatch, event_type, state)
    job_id = await system.create()
    await system.clock.advance(2.5 * LEASE)
    assert (await system.jobs.get(job_id)).is_terminal is False

    await system.clock.advance(LEASE)

    job = await system.jobs.get(job_id)
    assert (job.status, job.state, len(struck)) == (JobStatus.ERROR, state, 4)
    assert job.failure is not None
    assert (job.failure.code, "IllegalTransitionError" in job.failure.message) == ("ENGINE_ERROR", True)
    assert (await system.rows(job_id))[-1] == "job_failed"
    assert await system.storage.audit() == []
    monkeypatch.undo()
    await system.jobs.requeue(job_id)
    assert (await system.ended(job_id)).status is JobStatus.FINISHED


async def test_step_that_fails_once_under_a_late_claim_is_tried_again(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tries are counted for each step: what the step before it needed does not count."""
    system.add(chain(2))
    struck = break_on(monkeypatch, HandlerReturned, "s0")
    job_id = await system.create()
    await system.clock.advance(2.5 * LEASE)
    monkeypatch.undo()
    later = break_on(monkeypatch, HandlerReturned, "s1")

    await system.clock.advance(LEASE)

    job = await system.jobs.get(job_id)
    assert (len(struck), len(later), job.status, job.state) == (3, 1, JobStatus.RUNNING, "s1")
    monkeypatch.undo()
    await system.clock.advance(LEASE)
    assert (await system.ended(job_id)).status is JobStatus.FINISHED


async def test_job_that_cannot_be_given_up_yet_is_given_up_later(
    system: System, storage: FailingStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The storage is away in that moment: the job has its end a little later, and its handler is not blamed for it."""
    system.add(chain(2))
    struck = break_on(monkeypatch, HandlerStarted, "s0")
    job_id = await system.create()
    await system.clock.advance(2.5 * LEASE)
    storage.failing_finds = 1

    await system.clock.advance(LEASE)

    assert (await system.jobs.get(job_id)).status is JobStatus.ERROR
    assert (storage.failing_finds, len(struck)) == (0, 5)
