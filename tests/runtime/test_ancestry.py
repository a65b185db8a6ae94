"""What workers tell of a job concerns those that wait for it: jobs above it, and a parent engine."""

from __future__ import annotations

from unittest.mock import AsyncMock

import pytest

from avtomatika.blueprints import ActionFactory, StateMachineBlueprint
from avtomatika.core.job import HOLON, Task
from avtomatika.core.states import JobStatus
from avtomatika.core.waits import ChildWait
from avtomatika.protocol.messages import WorkerEventMessage
from avtomatika.runtime.ancestry import Ancestry
from avtomatika.runtime.recent import Recent

from .conftest import System, task_flow


def running(child: str, name: str) -> StateMachineBlueprint:
    """Returns a blueprint that runs another one."""
    flow = StateMachineBlueprint(name)

    @flow.handler_for("start", is_start=True)
    async def start(actions: ActionFactory) -> None:
        actions.run_blueprint(child, {}, {"success": "done"})

    @flow.handler_for("done", is_end=True)
    async def done() -> None: ...

    return flow


async def begin(system: System, source: str = "internal") -> tuple[list[str], Task]:
    """Creates a job that runs one that runs one; returns their ids, the lowest first, and the task at work."""
    system.add(running("middle", "top"))
    system.add(running("flow", "middle"))
    system.add(task_flow())
    job_id = await system.create(name="top", source=source)
    ids = [job_id]
    for _ in range(2):
        job = await system.waiting(ids[0], JobStatus.WAITING_FOR_SUB_JOB)
        assert isinstance(job.wait, ChildWait)
        ids.insert(0, job.wait.child_id)
        while await system.storage.find_job(ids[0]) is None:
            await system.settle()
    await system.waiting(ids[0])
    return ids, await system.take()


def event(task: Task, word: str = "page_found", number: int = 1, **payload: object) -> WorkerEventMessage:
    """Returns what the worker of a task says."""
    return WorkerEventMessage(word, payload, f"e-{number}", "w1", task.job_id, task.wire_id)


async def test_progress_of_a_child_is_that_of_the_jobs_that_wait_for_it(system: System) -> None:
    """Each says what it is the progress of."""
    ids, task = await begin(system)

    await system.workers.events.take(event(task, "progress", progress=0.5, message="half"), "w1")

    found = [await system.storage.find_progress(job_id) for job_id in ids]
    assert [(one.value, one.message) for one in found if one] == [(0.5, "half")] * 3
    assert [one.task_id for one in found if one] == [task.wire_id, *ids[:2]]


async def test_event_of_a_child_waits_for_the_parent_engine_under_the_job_that_it_asked_for(system: System) -> None:
    """In order, once for each id, and with the worker that said it."""
    ids, task = await begin(system, HOLON)
    told: list[str] = []
    upward = system.workers.events.upward
    upward.listener = told.append

    for number in (1, 2, 2):
        await system.workers.events.take(event(task, number=number, page=number), "w1")

    assert (await upward.job_ids(), told) == ([ids[-1]], [ids[-1]] * 2)
    for number in (1, 2):
        found = await upward.first(ids[-1])
        assert found is not None
        record, passed = found
        assert (passed.event_id, passed.payload, passed.worker_id) == (f"e-{number}", {"page": number}, "w1")
        await upward.forget(record)
    assert await upward.first(ids[-1]) is None


@pytest.mark.parametrize(
    ("source", "worker"), [("internal", "w1"), (HOLON, "w2")], ids=["not asked for", "not its own"]
)
async def test_event_that_the_parent_engine_has_no_part_in_does_not_go_up(
    system: System, source: str, worker: str
) -> None:
    """Neither of a job of this engine's own, nor of a worker that does not hold the task."""
    _, task = await begin(system, source)

    await system.workers.events.take(event(task), worker)

    assert await system.workers.events.upward.job_ids() == []


async def test_line_of_a_job_is_looked_up_once(system: System) -> None:
    """Reports come often; who waits for a job never changes."""
    ids, _ = await begin(system)
    ancestry = Ancestry(system.storage, Recent())
    line = await ancestry.of(ids[0])
    system.storage.find_job = AsyncMock()  # type: ignore[method-assign]

    assert await ancestry.of(ids[0]) == line
    assert (line.job_ids, line.root, line.source) == (tuple(ids), ids[2], "internal")


async def test_line_of_an_unknown_job_is_itself(system: System) -> None:
    """It may be created later, so nothing is remembered of it."""
    line = await Ancestry(system.storage, Recent()).of("nothing")

    assert (line.root, line.source) == ("nothing", "")
