"""Jobs that start again from their past, and siblings that begin there."""

from __future__ import annotations

from typing import Any

import pytest

from avtomatika.blueprints import ActionFactory, StateMachineBlueprint
from avtomatika.core.job import INTERNAL, Job
from avtomatika.core.states import JobStatus
from avtomatika.errors import DocumentError, PastStateError
from avtomatika.storage.base import Dedupe

from .conftest import System, task_flow


def pricing() -> StateMachineBlueprint:
    """Returns a blueprint that adds up in three steps and remembers the keys that it was given."""
    flow = StateMachineBlueprint("flow")

    @flow.handler_for("start", is_start=True)
    async def start(state_history: dict[str, Any], initial_data: dict[str, Any], actions: ActionFactory) -> None:
        state_history["price"] = initial_data["kg"] * 2
        actions.transition_to("tax")

    @flow.handler_for("tax")
    async def tax(
        state_history: dict[str, Any], initial_data: dict[str, Any], idempotency_key: str, actions: ActionFactory
    ) -> None:
        state_history["price"] += initial_data["tax"]
        state_history["key"] = idempotency_key
        actions.transition_to("done")

    @flow.handler_for("done", is_end=True)
    async def done(price: int, key: str) -> dict[str, Any]:
        return {"price": price, "key": key}

    return flow


async def priced(system: System) -> Job:
    """Returns a job that has finished."""
    system.add(pricing())
    return await system.ended(await system.create({"kg": 3, "tax": 1}))


async def test_finished_job_starts_again_with_the_data_of_then(system: System) -> None:
    """The step is done anew on what it found the first time, as another step."""
    job = await priced(system)

    await system.pasts.rewind(job, "tax", by="alice")

    again = await system.until(job.id, lambda now: now.is_terminal and now.version > job.version)
    assert (again.status, again.result.value()["price"]) == (JobStatus.FINISHED, 7)
    assert again.result.value()["key"] != job.result.value()["key"]
    rows = await system.rows(job.id)
    assert (rows.count("job_rewound"), rows.count("job_completed"), rows.count("state_started")) == (1, 2, 5)


async def test_job_can_be_rewound_again_and_again(system: System) -> None:
    """To a moment before or after the first rewind, by the row of its history."""
    job = await priced(system)
    await system.pasts.rewind(job, "tax")
    job = await system.until(job.id, lambda now: now.is_terminal and now.version > job.version)
    await system.historian.flush()
    entries = [
        row["sequence"] for row in await system.history.job_events(job.id) if row["event_type"] == "state_started"
    ]

    for sequence in (entries[3], entries[0]):
        await system.pasts.rewind(job, sequence=sequence)
        job = await system.until(job.id, lambda now, seen=job.version: now.is_terminal and now.version > seen)

        assert job.result.value()["price"] == 7


async def test_waiting_job_is_rewound_and_its_task_called_off(system: System) -> None:
    """It sends a new one; the old one's result comes too late."""
    system.add(task_flow())
    job_id = await system.create()
    await system.waiting(job_id)
    first = await system.take()

    await system.pasts.rewind(await system.jobs.get(job_id), "send")
    await system.until(job_id, lambda job: bool(job.task_id) and job.task_id != first.id)

    assert (await system.answer(first))["reason"] == "stale_task"
    second = await system.take()
    await system.answer(second)
    assert (await system.ended(job_id)).status is JobStatus.FINISHED


async def test_sibling_begins_where_the_other_was_with_other_data(system: System) -> None:
    """Members are laid over; the other job is as it was."""
    job = await priced(system)

    sibling_id, earlier = await system.pasts.fork(
        job, "tax", client=INTERNAL, initial_data={"tax": 5}, state_history={"price": 100}
    )

    sibling = await system.ended(sibling_id)
    assert earlier is None
    assert sibling.result.value()["price"] == 105
    assert sibling.initial_data.value() == {"kg": 3, "tax": 5}
    assert (sibling.forked_from, sibling.source) == (job.id, "fork")
    assert await system.jobs.get(job.id) == job
    assert (await system.rows(sibling_id))[0] == "job_created"


async def test_fork_that_is_asked_for_twice_happens_once(system: System) -> None:
    """The key of the request decides."""
    job = await priced(system)
    dedupe = Dedupe("k", "the same", 60.0)

    first, _ = await system.pasts.fork(job, "tax", client=INTERNAL, dedupe=dedupe)
    second, earlier = await system.pasts.fork(job, "tax", client=INTERNAL, dedupe=dedupe)

    assert first == second
    assert earlier is not None


def joining() -> StateMachineBlueprint:
    """Returns a blueprint that joins two tasks."""
    flow = StateMachineBlueprint("flow")

    @flow.handler_for("split", is_start=True)
    async def split(actions: ActionFactory) -> None:
        actions.dispatch_parallel([{"type": "work", "params": {"n": n}} for n in (1, 2)], "join")

    @flow.aggregator_for("join", is_end=True)
    async def join(aggregation_results: dict[str, Any], initial_data: dict[str, Any]) -> dict[str, Any]:
        return {"sum": sum(result["data"] for result in aggregation_results.values()) * initial_data["factor"]}

    return flow


async def test_aggregator_joins_the_same_results_again(system: System) -> None:
    """In the same job, and in a sibling that never sent the tasks."""
    system.add(joining())
    job_id = await system.create({"factor": 1})
    for data in (3, 4):
        await system.waiting(job_id, JobStatus.WAITING_FOR_PARALLEL_TASKS)
        await system.answer(await system.take(), data=data)
    job = await system.ended(job_id)

    sibling_id, _ = await system.pasts.fork(job, "join", client=INTERNAL, initial_data={"factor": 10})
    await system.pasts.rewind(job, "join")

    assert (await system.ended(sibling_id)).result.value() == {"sum": 70}
    again = await system.until(job_id, lambda now: now.is_terminal and now.version > job.version)
    assert again.result.value() == {"sum": 7}


async def test_state_that_the_job_never_was_in_is_explained(system: System) -> None:
    """With what there is."""
    job = await priced(system)

    with pytest.raises(PastStateError, match=r"did not enter state 'tx'; .*start \(2\), tax .*Did you mean 'tax'"):
        await system.pasts.rewind(job, "tx")
    with pytest.raises(PastStateError, match="row 1 of its history"):
        await system.pasts.fork(job, sequence=1, client=INTERNAL)
    with pytest.raises(DocumentError):
        await system.pasts.fork(job, "tax", client=INTERNAL, state_history={"x": {1}})


async def test_past_that_is_not_kept_is_explained(system: System) -> None:
    """The newest rows alone do not tell what the data were."""
    job = await priced(system)
    await system.historian.flush()
    await system.history.trim(0)

    with pytest.raises(PastStateError, match="history of that time is not kept"):
        await system.pasts.rewind(job, "tax")
