"""Jobs that go on at once: a step that wakes a job is the claim of the engine that writes it, if there is room."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from avtomatika.blueprints import ActionFactory, StateMachineBlueprint
from avtomatika.core.job import Client
from avtomatika.core.states import JobStatus
from avtomatika.errors import StorageError
from avtomatika.storage.base import Batch, JobClaim, Outcome, Signal
from avtomatika.storage.memory import MemoryStorage
from avtomatika.testing import FakeClock

from .conftest import MakeSystem, System, task_flow


def one_state(handler: Any) -> StateMachineBlueprint:
    """Returns a blueprint that is one handler."""
    flow = StateMachineBlueprint("flow")
    flow.handler_for("only", is_start=True, is_end=True)(handler)
    return flow


def wake_ups(system: System) -> list[Signal]:
    """Returns the list to which each wake-up is added that is queued from now on."""
    heard: list[Signal] = []
    system.storage.subscribe(heard.append, "ready")
    return heard


async def test_new_job_and_result_go_on_without_the_queue(system: System) -> None:
    """While there is room, nothing is queued only to be claimed: creation, task and end are three commits."""
    system.add(task_flow())
    queued = wake_ups(system)

    job_id = await system.create()
    await system.waiting(job_id)
    await system.answer(await system.take())
    job = await system.ended(job_id)

    assert queued == []
    assert job.version == 4


async def test_job_without_room_queues_up(make_system: MakeSystem) -> None:
    """An engine whose handlers are all busy leaves the job to whoever has room first."""
    system, other, door = make_system(max_jobs=1), None, asyncio.Event()
    system.add(one_state(door.wait))
    await system.start()
    await system.create()
    queued = wake_ups(system)

    second = await system.create()

    assert len(queued) == 1
    other = make_system(system.storage, owner="e2")
    other.add(one_state(door.wait))
    await other.start()
    await other.waiting(second, JobStatus.RUNNING)
    assert other.runner.active == 1
    door.set()
    await system.ended(second)


async def test_new_job_does_not_overtake_those_that_wait(make_system: MakeSystem) -> None:
    """As long as the queue may hold more than there was room for, a job lines up behind it."""
    system, doors, begun = make_system(max_jobs=1), asyncio.Semaphore(0), []

    async def handler(job_id: str) -> None:
        begun.append(job_id)
        await doors.acquire()

    system.add(one_state(handler))
    await system.start()
    jobs = [await system.create() for _ in range(3)]
    await system.settle()
    doors.release()
    # Then there is room, and nobody has looked at the queue yet; no event tells of that moment.
    while system.runner.active:  # noqa: ASYNC110
        await asyncio.sleep(0)
    jobs.append(await system.create())

    for _ in range(3):
        doors.release()
    await system.ended(jobs[-1])

    assert begun == jobs


async def test_handler_that_takes_a_while_is_seen_to_run(system: System) -> None:
    """The start of a handler is written down unless it returns in a moment; its return is a step of its own then."""
    door = asyncio.Event()
    system.add(one_state(door.wait))

    job_id = await system.create()
    seen = await system.waiting(job_id, JobStatus.RUNNING)
    door.set()

    assert seen.version == 2
    assert (await system.ended(job_id)).version == 3


async def test_job_cancelled_before_its_handler_is_seen_to_run_stays_cancelled(system: System) -> None:
    """Whoever comes first counts, and the room of the job is free again."""
    door = asyncio.Event()
    system.add(one_state(door.wait))
    for _ in range(20):
        job_id = await system.create()
        await system.jobs.cancel(job_id)

        assert (await system.ended(job_id)).status is JobStatus.CANCELLED
    await system.settle()
    assert system.runner.active == 0


class UnclearStorage(MemoryStorage):
    """A storage whose first commit of a job is applied, and not answered."""

    async def commit(self, batch: Batch) -> Outcome:
        """Applies the batch."""
        outcome = await super().commit(batch)
        if batch.job.version == 1:
            raise StorageError("the answer is lost")
        return outcome


async def test_job_of_an_unclear_commit_is_given_back(make_system: MakeSystem, clock: FakeClock) -> None:
    """An engine that does not know whether it holds a job lets go of it: no lease has to end, no delivery counts."""
    system = make_system(UnclearStorage(clock), max_jobs=1)
    claims: list[JobClaim] = []
    claim_jobs = system.storage.claim_jobs

    async def watched(owner: str, limit: int, lease: float) -> list[JobClaim]:
        claims.extend(found := await claim_jobs(owner, limit, lease))
        return found

    system.storage.claim_jobs = watched  # type: ignore[method-assign]
    system.add(task_flow())
    await system.start()

    with pytest.raises(StorageError):
        await system.create()
    while not claims:
        await system.settle()

    assert [claim.deliveries for claim in claims] == [1]
    assert (await system.waiting(claims[0].job.id)).version == 2


class SlowStorage(MemoryStorage):
    """A storage whose commits wait for a door."""

    door: asyncio.Event

    async def commit(self, batch: Batch) -> Outcome:
        """Applies the batch, and answers later."""
        outcome = await super().commit(batch)
        await self.door.wait()
        return outcome


async def test_job_held_by_an_engine_that_stops_is_handed_back(make_system: MakeSystem, clock: FakeClock) -> None:
    """A step that was being written when the drain began leaves its job to the other engines at once."""
    storage = SlowStorage(clock)
    storage.door = asyncio.Event()
    system = make_system(storage)
    system.add(task_flow())
    await system.start()
    creation = asyncio.create_task(system.create())
    await system.settle()

    await system.stop()
    storage.door.set()
    job_id = await creation
    await system.settle()

    (claim,) = await storage.claim_jobs("e2", 10, 10.0)
    assert (claim.job.id, claim.deliveries) == (job_id, 1)
    await storage.release_claims([claim.token])


async def test_handler_that_changes_its_client_changes_nobody_elses(system: System) -> None:
    """What a handler gets is its own, though the job has not been through the storage."""
    client, seen = Client("c", params={"tags": ["a"]}), []

    async def handler(client: Client, actions: ActionFactory) -> None:
        seen.append(list(client.params["tags"]))
        client.params["tags"].append("b")

    system.add(one_state(handler))
    for _ in range(2):
        await system.ended(await system.create(client=client))

    assert seen == [["a"], ["a"]]
