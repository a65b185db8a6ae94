"""Limits and reputations of several engines on one storage, each over connections of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from avtomatika.core.effects import Decision, RecordHistory
from avtomatika.core.job import Job, Task, job_fields
from avtomatika.core.states import JobStatus, TaskStatus
from avtomatika.runtime.reputations import Reputations
from avtomatika.storage.base import Batch, Storage
from avtomatika.testing import FakeClock

START = FakeClock().now()
JOB = Job("j1", "orders", "v1", JobStatus.WAITING_FOR_PARALLEL_TASKS, "start", START, START, version=1)


@pytest.fixture(params=["sqlite", "redis"])
def backend(request: pytest.FixtureRequest) -> str:
    """Those that several engines can share over connections of their own."""
    return str(request.param)


@pytest.fixture
async def engines(connect: Callable[[], Awaitable[Storage]]) -> list[Storage]:
    """Returns one storage as three engines have it."""
    return [await connect() for _ in range(3)]


async def test_engines_together_claim_no_more_than_a_limit(engines: list[Storage]) -> None:
    """Whichever of them hands the tasks out."""
    limits = {"type:render": 4}
    tasks = [
        Task(f"t{number}", "j1", "render", "render#4", TaskStatus.QUEUED, START, limits=limits) for number in range(12)
    ]
    await engines[0].commit(Batch(JOB, frozenset(job_fields()), START, queue_tasks=tasks))

    taken = await asyncio.gather(
        *(engines[number % 3].claim_task(f"w{number}", ["render#4"], 20) for number in range(12))
    )

    assert len({task.id for task in taken if task is not None}) == 4
    assert len([task for task in taken if task is not None]) == 4


async def test_marks_of_several_engines_add_up(engines: list[Storage], clock: FakeClock) -> None:
    """None is lost, however close together they come, and each engine reads the sum."""
    known = [Reputations(storage, clock) for storage in engines]
    lost = RecordHistory("task_failed", "start", worker_id="w1", details={"code": "CONTRACT_VIOLATION_ERROR"})

    await asyncio.gather(*(one.learn(Decision(JOB, (lost,))) for one in known))

    for one in known:
        await one.refresh()
        await clock.advance(6)
        await one.refresh()
        assert one.score("w1") == pytest.approx(0.4, abs=0.001)
