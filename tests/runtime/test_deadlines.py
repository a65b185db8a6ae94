"""Deadlines of tasks and jobs over a restart."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from avtomatika.core.states import JobStatus
from avtomatika.storage.sqlite import SQLiteStorage
from avtomatika.testing import FakeClock

from .conftest import MakeSystem, System, task_flow

Restart = Callable[[System, float], Awaitable[System]]


@pytest.fixture
async def first(make_system: MakeSystem, clock: FakeClock, tmp_path: Path) -> System:
    """An engine on a file, with a blueprint that sends one task."""
    storage = SQLiteStorage(str(tmp_path / "jobs.db"), clock)
    await storage.open()
    system = make_system(storage)
    system.add(task_flow())
    await system.start()
    return system


@pytest.fixture
def restart(make_system: MakeSystem, clock: FakeClock) -> Restart:
    """Returns what stops an engine, lets time pass, and starts another one on the same file."""

    async def again(system: System, seconds: float) -> System:
        await system.stop()
        await system.storage.close()
        await clock.advance(seconds)
        await system.storage.open()
        successor = make_system(system.storage, owner="e2")
        successor.add(task_flow())
        await successor.start()
        return successor

    return again


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"dispatch_timeout": 60.0}, "DISPATCH_TIMEOUT"),
        ({"result_timeout": 60.0}, "RESULT_TIMEOUT"),
    ],
)
async def test_deadline_of_a_task_passes_while_no_engine_runs(
    first: System, restart: Restart, options: dict[str, float], code: str
) -> None:
    """The next engine deals with it at once, and takes the way of its code."""
    job_id = await first.create({"options": {**options, "transitions": {"success": "done", code: "broken"}}})
    await first.waiting(job_id)

    second = await restart(first, 61.0)

    ended = await second.ended(job_id)
    assert (ended.status, ended.state) == (JobStatus.FAILED, "broken")
    assert ended.state_history.value()["last_error"]["code"] == code


async def test_deadline_of_a_job_is_not_moved_by_a_restart(first: System, restart: Restart, clock: FakeClock) -> None:
    """It counts from the creation, not from the start of the engine."""
    job_id = await first.create(result_timeout=100.0)
    await first.waiting(job_id)

    second = await restart(first, 60.0)
    await clock.advance(39.0)
    assert not (await second.jobs.get(job_id)).is_terminal
    await clock.advance(1.0)

    ended = await second.ended(job_id)
    assert (ended.status, ended.failure.code if ended.failure else "") == (JobStatus.FAILED, "RESULT_TIMEOUT")


async def test_time_of_a_task_goes_on_over_a_restart(first: System, restart: Restart, clock: FakeClock) -> None:
    """A worker that was given 50 seconds has no more of them because the engine was away."""
    options = {"timeout_seconds": 50.0, "retry": {"attempts": 1}, "transitions": {"TIMEOUT_ERROR": "broken"}}
    job_id = await first.create({"options": options})
    await first.waiting(job_id)
    task = await first.take()
    await first.beat("w1", task.wire_id)

    second = await restart(first, 30.0)
    await second.beat("w1", task.wire_id)
    await clock.advance(20.0)

    assert (await second.ended(job_id)).state == "broken"
