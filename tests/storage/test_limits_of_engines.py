"""Limits and reputations of several engines on one storage, each over connections of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from avtomatika.core.effects import Decision, RecordHistory
from avtomatika.core.states import JobStatus
from avtomatika.runtime.reputations import Reputations
from avtomatika.storage.base import Storage
from avtomatika.testing import FakeClock

from .builders import a_batch, a_job, a_task

JOB = a_job(status=JobStatus.WAITING_FOR_PARALLEL_TASKS)


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
    tasks = [a_task(f"t{number}", queue="render#4", limits=limits) for number in range(12)]
    await engines[0].commit(a_batch(JOB, queue_tasks=tasks))

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
