"""What happens to one job at the same time takes turns; a look for tasks asks no more than it must."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from avtomatika.blueprints import ActionFactory, StateMachineBlueprint
from avtomatika.core.job import Job, Task
from avtomatika.core.states import JobStatus
from avtomatika.storage.base import Batch, Outcome, Queue, Stale
from avtomatika.storage.memory import MemoryStorage
from avtomatika.testing import FakeClock

from .conftest import System

BRANCHES = 8


class SlowStorage(MemoryStorage):
    """Answers later, as a storage does that is elsewhere, and counts."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.outcomes: list[Outcome] = []
        self.looks = 0
        self.claims: list[Sequence[str]] = []

    async def find_job(self, job_id: str) -> Job | None:
        """Looks, and answers later."""
        job = await super().find_job(job_id)
        await asyncio.sleep(0)
        return job

    async def commit(self, batch: Batch) -> Outcome:
        """Notes what came of it."""
        self.outcomes.append(await super().commit(batch))
        return self.outcomes[-1]

    async def list_queues(self) -> list[Queue]:
        """Counts the looks."""
        self.looks += 1
        return await super().list_queues()

    async def claim_task(self, worker_id: str, queues: Sequence[str], lease: float) -> Task | None:
        """Notes which queues were tried."""
        self.claims.append(tuple(queues))
        return await super().claim_task(worker_id, queues, lease)


@pytest.fixture
def slow(clock: FakeClock) -> SlowStorage:
    """Returns the storage."""
    return SlowStorage(clock)


def fan_out() -> StateMachineBlueprint:
    """Returns a blueprint that sends tasks and joins them."""
    blueprint = StateMachineBlueprint("flow")

    async def start(actions: ActionFactory) -> None:
        actions.dispatch_parallel([{"task_type": "render"} for _ in range(BRANCHES)], aggregate_into="join")

    async def join() -> None:
        pass

    blueprint.handler_for("start", is_start=True)(start)
    blueprint.aggregator_for("join", is_end=True)(join)
    return blueprint


async def test_results_that_come_at_once_do_not_race_each_other(clock: FakeClock, slow: SlowStorage) -> None:
    """The results of a fan-out are written one after the other, each at the first try."""
    system = System(clock, slow)
    system.add(fan_out())
    await system.start()
    job_id = await system.create()
    await system.waiting(job_id, JobStatus.WAITING_FOR_PARALLEL_TASKS)
    tasks = [await system.take(f"w{number}", "render") for number in range(BRANCHES)]

    await asyncio.gather(*(system.answer(task) for task in tasks))

    assert (await system.ended(job_id)).status is JobStatus.FINISHED
    assert not [outcome for outcome in slow.outcomes if isinstance(outcome, Stale)]
    await system.stop()


async def test_claim_from_a_known_queue_does_not_look_for_others(clock: FakeClock, slow: SlowStorage) -> None:
    """Queues are asked for only when those that are known are empty; one that came by no signal is found then."""
    system = System(clock, slow)
    system.add(fan_out())
    await system.start()
    await system.waiting(await system.create(), JobStatus.WAITING_FOR_PARALLEL_TASKS)

    for number in range(BRANCHES):
        await system.take(f"w{number}", "render")

    assert (slow.looks, slow.claims) == (0, [("render",)] * BRANCHES)
    assert await system.dispatcher.next_task(await system.register("w9", "render"), 0) is None
    assert slow.looks == 1

    late = System(clock, slow, owner="e2")
    await system.waiting(await system.create(), JobStatus.WAITING_FOR_PARALLEL_TASKS)
    late.dispatcher._queues.clear()  # as if the signals had been lost
    assert await late.take("w1", "render")
    await system.stop()
