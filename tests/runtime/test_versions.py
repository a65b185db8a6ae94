"""Jobs keep the version of their blueprint that they started with, and find another one when it is gone."""

from __future__ import annotations

import pytest

from avtomatika.blueprints import ActionFactory, StateMachineBlueprint
from avtomatika.core.states import JobStatus
from avtomatika.errors import ValidationError

from .conftest import MakeSystem, System

PAUSE = 5.0


def flow_of(middle: str, end: str = "end", *, word: str = "") -> StateMachineBlueprint:
    """Returns a blueprint start -> (task) -> middle -> end; ``word`` is what the middle leaves in the data."""
    flow = StateMachineBlueprint("flow")

    @flow.handler_for("start", is_start=True, transitions=[middle])
    async def start(actions: ActionFactory) -> None:
        actions.dispatch_task("work", transitions={"success": middle})

    @flow.handler_for(middle, transitions=[end])
    async def go_on(state_history: dict[str, str], actions: ActionFactory) -> None:
        state_history["word"] = word
        actions.transition_to(end)

    @flow.handler_for(end, is_end=True)
    async def done() -> None: ...

    return flow


async def stopped_with_a_job(make_system: MakeSystem, flow: StateMachineBlueprint) -> tuple[System, str]:
    """Returns an engine that was stopped, and the id of its job that waits for a worker in ``start``."""
    system = make_system(owner="before")
    system.add(flow)
    await system.start()
    job_id = await system.create()
    await system.waiting(job_id)
    await system.stop()
    return system, job_id


async def test_running_job_keeps_its_version_while_that_is_loaded(system: System) -> None:
    """A new version is for new jobs."""
    system.add(flow_of("middle", word="old"))
    await system.start()
    job_id = await system.create()
    await system.waiting(job_id)

    system.add(flow_of("other", word="new"))
    await system.answer(await system.take())

    assert (await system.ended(job_id)).state_history.value()["word"] == "old"


async def test_job_of_a_version_that_is_gone_goes_on_with_the_new_one(make_system: MakeSystem) -> None:
    """After a deployment whose graph still has its state, a job goes on there, and its history says so."""
    before, job_id = await stopped_with_a_job(make_system, flow_of("middle", word="old"))
    after = make_system(before.storage, owner="after")
    after.add(flow_of("middle", "finish", word="new"))
    await after.start()

    await after.answer(await after.take())

    job = await after.ended(job_id)
    assert (job.status, job.state, job.state_history.value()["word"]) == (JobStatus.FINISHED, "finish", "new")
    assert job.blueprint_version == flow_of("middle", "finish").compile().graph.version
    assert "version_changed" in await after.rows(job_id)


async def test_job_whose_state_is_gone_pauses_with_a_reason(make_system: MakeSystem) -> None:
    """It loses no attempt, says what to do, and goes on when its version is loaded again."""
    before, job_id = await stopped_with_a_job(make_system, flow_of("middle"))
    after = make_system(before.storage, owner="after")
    after.add(flow_of("other"))
    await after.start()

    await after.answer(await after.take())
    await after.settle()

    job = await after.jobs.get(job_id)
    assert (job.status, job.state, job.attempt) == (JobStatus.AWAITING_RETRY, "middle", 1)
    assert "bp.migrate_states({'middle': ...})" in job.failure.message
    await after.clock.advance(3 * PAUSE)
    assert (await after.rows(job_id)).count("job_paused") == 1

    after.add(flow_of("middle"))
    await after.clock.advance(PAUSE)
    assert (await after.jobs.get(job_id)).status is JobStatus.FINISHED


async def test_migration_map_moves_a_job_whose_state_is_gone(make_system: MakeSystem) -> None:
    """The new version says where the jobs of the old state go on."""
    before, job_id = await stopped_with_a_job(make_system, flow_of("middle"))
    after = make_system(before.storage, owner="after")
    moved = flow_of("other", word="moved")
    moved.migrate_states({"middle": "other"})
    after.add(moved)
    await after.start()

    await after.answer(await after.take())

    job = await after.ended(job_id)
    assert (job.status, job.state_history.value()["word"]) == (JobStatus.FINISHED, "moved")


async def test_job_of_an_unknown_blueprint_waits_for_it(make_system: MakeSystem) -> None:
    """An engine that does not know the blueprint harms no job of it."""
    before = make_system(owner="before")
    before.add(flow_of("middle"))
    job_id = await before.create()
    after = make_system(before.storage, owner="after")
    await after.start()
    await after.settle()

    job = await after.jobs.get(job_id)
    assert job.status is JobStatus.AWAITING_RETRY
    assert "blueprint 'flow' is not registered with this engine" in job.failure.message

    after.add(flow_of("middle"))
    await after.clock.advance(PAUSE)
    assert (await after.jobs.get(job_id)).status is JobStatus.WAITING_FOR_WORKER


def test_migration_to_an_unknown_state_is_a_fault() -> None:
    """It is told when the blueprint is registered, not when a job needs it."""
    flow = flow_of("middle")
    flow.migrate_states({"old": "midle"})

    with pytest.raises(ValidationError, match="'midle', which is no state; known: start, middle, end"):
        flow.compile()
