"""Sub-blueprints in running engines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from avtomatika.blueprints import ActionFactory, StateMachineBlueprint
from avtomatika.core.document import Document
from avtomatika.core.job import Job
from avtomatika.core.states import JobStatus
from avtomatika.core.steps import CHILD_TOPIC, Limits
from avtomatika.core.waits import ChildWait
from avtomatika.errors import BlueprintError
from avtomatika.runtime.children import ChildCarrier
from avtomatika.storage.base import JobQuery, Message
from avtomatika.storage.sqlite import SQLiteStorage
from avtomatika.testing import FakeClock

from .conftest import MakeSystem, System, task_flow


def parent(child: str = "child", **ways: str) -> StateMachineBlueprint:
    """Returns a blueprint that runs another one with its own data."""
    flow = StateMachineBlueprint("flow")

    @flow.handler_for("start", is_start=True, transitions=["done", "repaired"])
    async def start(initial_data: dict[str, Any], actions: ActionFactory) -> None:
        actions.run_blueprint(child, initial_data, ways or {"success": "done", "failure": "repaired"})

    @flow.handler_for("done", is_end=True)
    @flow.handler_for("repaired", is_end=True)
    async def done(state_history: dict[str, Any]) -> Any:
        return state_history.get(child)

    return flow


def quick(name: str = "child") -> StateMachineBlueprint:
    """Returns a blueprint that ends at once, or fails if its data say so."""
    flow = StateMachineBlueprint(name)

    @flow.handler_for("only", is_start=True)
    async def only(n: int, actions: ActionFactory) -> None:
        actions.transition_to("failed" if n < 0 else "done")

    @flow.handler_for("done", is_end=True)
    @flow.handler_for("failed", is_end=True)
    async def done(n: int) -> dict[str, int]:
        return {"double": 2 * n}

    return flow


async def child_of(system: System, job_id: str) -> Job:
    """Returns the child of a job when it exists."""
    job = await system.waiting(job_id, JobStatus.WAITING_FOR_SUB_JOB)
    assert isinstance(job.wait, ChildWait)
    while (child := await system.storage.find_job(job.wait.child_id)) is None:
        await system.settle()
    return child


@pytest.mark.parametrize(("n", "state", "status"), [(21, "done", "finished"), (-1, "repaired", "failed")])
async def test_parent_goes_on_by_how_its_child_ended(system: System, n: int, state: str, status: str) -> None:
    """Outcome and result come back."""
    system.add(parent())
    system.add(quick())
    job_id = await system.create({"n": n})

    ended = await system.ended(job_id)

    result = ended.result.value()
    assert (ended.status, ended.state) == (JobStatus.FINISHED, state)
    assert (result["status"], result["result"]) == (status, {"double": 2 * n})
    child = await system.jobs.get(result["job_id"])
    assert (child.parent_job_id, child.source, child.depth, child.client) == (job_id, "blueprint", 1, ended.client)
    rows = await system.rows(job_id)
    assert (rows.count("sub_blueprint_started"), rows.count("sub_blueprint_finished")) == (1, 1)


async def test_cancelled_parent_ends_its_child_and_that_childs_tasks(system: System) -> None:
    """Down to the worker: its result counts no more."""
    system.add(parent("middle"))
    system.add(_middle())
    system.add(task_flow("leaf"))
    job_id = await system.create()
    middle = await child_of(system, job_id)
    leaf = await child_of(system, middle.id)
    await system.waiting(leaf.id)
    task = await system.take()

    await system.jobs.cancel(job_id)

    assert (await system.ended(middle.id)).status is JobStatus.CANCELLED
    assert (await system.ended(leaf.id)).status is JobStatus.CANCELLED
    assert (await system.answer(task))["reason"] == "job_cancelled"


def _middle() -> StateMachineBlueprint:
    flow = StateMachineBlueprint("middle")

    @flow.handler_for("start", is_start=True)
    async def start(actions: ActionFactory) -> None:
        actions.run_blueprint("leaf", {}, {"success": "done"})

    @flow.handler_for("done", is_end=True)
    async def done() -> None: ...

    return flow


async def test_unknown_blueprint_is_told_at_once(system: System) -> None:
    """With the names that there are; no child is waited for."""
    system.add(parent("chidl"))
    system.add(quick())
    job_id = await system.create({"n": 1})

    ended = await system.ended(job_id)

    assert ended.status is JobStatus.QUARANTINED
    assert ended.failure is not None
    assert "Did you mean 'child'" in ended.failure.message


async def test_start_that_comes_twice_makes_one_child(idle: System) -> None:
    """A message is delivered at least once."""
    idle.add(parent())
    idle.add(quick())
    carrier = ChildCarrier(idle.storage, idle.performer, idle.registry)
    message = await _asked(idle)

    await carrier.carry(message)
    await carrier.carry(message)

    children = [job for job in await idle.storage.list_jobs(JobQuery()) if job.parent_job_id]
    assert [child.version for child in children] == [1]


async def test_start_after_the_parent_has_ended_makes_no_child(idle: System) -> None:
    """The message was on its way when the parent was cancelled."""
    idle.add(parent())
    idle.add(quick())
    message = await _asked(idle)
    await idle.jobs.cancel(message.job_id)

    await ChildCarrier(idle.storage, idle.performer, idle.registry).carry(message)

    assert [job for job in await idle.storage.list_jobs(JobQuery()) if job.parent_job_id] == []


async def test_parent_that_ends_while_its_child_is_created_ends_it(idle: System) -> None:
    """Between the look at the parent and the child's creation: nobody is left that runs for nobody."""
    idle.add(parent())
    idle.add(quick())
    message = await _asked(idle)
    submit = idle.performer.submit

    async def slowly(job: Job, *rest: Any) -> Any:
        await idle.jobs.cancel(message.job_id)
        return await submit(job, *rest)

    idle.performer.submit = slowly  # type: ignore[method-assign]
    await ChildCarrier(idle.storage, idle.performer, idle.registry).carry(message)

    (child,) = [job for job in await idle.storage.list_jobs(JobQuery()) if job.parent_job_id]
    assert child.status is JobStatus.CANCELLED


async def test_engine_without_the_blueprint_leaves_the_child_to_others(idle: System, make_system: MakeSystem) -> None:
    """It gives the message back and never gives up."""
    idle.add(parent())
    idle.add(quick())
    message = await _asked(idle)
    other = make_system(idle.storage, owner="e2")
    carrier = ChildCarrier(other.storage, other.performer, other.registry)

    with pytest.raises(BlueprintError) as caught:
        await carrier.carry(message)

    delays = [carrier.retry_after(replace(message, attempts=n), caught.value) for n in (1, 2, 50)]
    assert delays == [0.5, 1.0, 30.0]


async def test_child_outlives_a_restart_of_the_engine(
    make_system: MakeSystem, clock: FakeClock, tmp_path: Path
) -> None:
    """The parent waits in the storage, and so does whatever is on its way."""
    storage = SQLiteStorage(str(tmp_path / "jobs.db"), clock=clock)
    await storage.open()
    before = make_system(storage)
    for blueprint in (parent("leaf"), task_flow("leaf")):
        before.add(blueprint)
    await before.start()
    job_id = await before.create()
    leaf = await child_of(before, job_id)
    await before.waiting(leaf.id)
    await before.stop()
    await storage.close()

    await storage.open()
    after = make_system(storage, owner="e2")
    for blueprint in (parent("leaf"), task_flow("leaf")):
        after.add(blueprint)
    await after.start()
    await after.answer(await after.take(), data={"n": 5})

    ended = await after.ended(job_id)
    assert (ended.status, ended.result.value()["result"]) == (JobStatus.FINISHED, {"n": 5})


async def test_blueprint_that_runs_itself_is_stopped(make_system: MakeSystem) -> None:
    """The deepest one fails, and with it all above."""
    system = make_system(limits=Limits(max_depth=3))
    await system.start()
    system.add(parent("flow", success="done"))
    job_id = await system.create()

    ended = await system.ended(job_id)

    assert ended.status is JobStatus.FAILED
    assert ended.failure is not None
    assert "run each other in a circle" in ended.failure.message


async def _asked(system: System) -> Message:
    """Returns the message of a job that asks for a child, without anybody carrying it."""
    job_id = await system.create({"n": 1})
    system.runner.start()
    job = await system.waiting(job_id, JobStatus.WAITING_FOR_SUB_JOB)
    await system.runner.stop(1.0)
    assert isinstance(job.wait, ChildWait)
    (message,) = await system.storage.claim_messages([CHILD_TOPIC], 10, 60.0)
    assert message.body == Document.of(
        {"do": "start", "child": job.wait.child_id, "blueprint": "child", "initial_data": {"n": 1}}
    )
    return message
