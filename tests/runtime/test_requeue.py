"""Letting jobs go on that stopped."""

from __future__ import annotations

from typing import Any

import pytest

from avtomatika.blueprints import StateMachineBlueprint
from avtomatika.blueprints.retries import RetryPolicy
from avtomatika.core.states import JobStatus
from avtomatika.core.steps import Limits
from avtomatika.errors import JobNotFoundError, JobStateError

from .conftest import MakeSystem, System, task_flow


async def test_requeued_job_goes_on_where_it_stopped(make_system: MakeSystem) -> None:
    """Once what broke is mended, the job runs its handler again, with its attempts counted anew, and finishes."""
    system = make_system(limits=Limits(retry=RetryPolicy(attempts=1)))
    flow = StateMachineBlueprint("flow")
    attempts: list[int] = []

    @flow.handler_for("only", is_start=True, is_end=True)
    async def only(attempt: int) -> dict[str, Any]:
        attempts.append(attempt)
        if len(attempts) == 1:
            raise ConnectionError("down")
        return {"ok": True}

    system.add(flow)
    await system.start()
    job = await system.ended(await system.create())
    assert job.status is JobStatus.QUARANTINED

    requeued = await system.jobs.requeue(job.id, "alice")
    assert (requeued.status, requeued.failure, requeued.has_result) == (JobStatus.PENDING, None, False)

    job = await system.ended(job.id)
    assert (job.status, job.result.value(), attempts) == (JobStatus.FINISHED, {"ok": True}, [1, 1])
    assert "job_requeued" in await system.rows(job.id)


async def test_requeued_job_dispatches_its_task_anew(system: System) -> None:
    """A job whose task was quarantined sends a new task; the old one stays as it ended."""
    system.add(task_flow())
    await system.start()
    job_id = await system.create()
    await system.waiting(job_id)
    first = await system.take()
    await system.answer(first, "failure", error_code="PERMANENT_ERROR", error_message="no")
    assert (await system.ended(job_id)).status is JobStatus.QUARANTINED

    await system.jobs.requeue(job_id)
    await system.waiting(job_id)
    second = await system.take()
    await system.answer(second, "success", {"n": 1})

    assert first.id != second.id
    assert (await system.ended(job_id)).status is JobStatus.FINISHED


@pytest.mark.parametrize("status", ["live", "finished", "cancelled"])
async def test_requeue_of_any_other_job_is_refused(system: System, status: str) -> None:
    """A sentence says which jobs can be requeued."""
    system.add(task_flow())
    await system.start()
    job_id = await system.create()
    await system.waiting(job_id)
    if status == "finished":
        await system.answer(await system.take())
    if status == "cancelled":
        await system.jobs.cancel(job_id)

    with pytest.raises(JobStateError, match="only these can be requeued: error, failed, quarantined"):
        await system.jobs.requeue(job_id)


async def test_requeue_of_an_unknown_job_is_not_found(system: System) -> None:
    """There is nothing to requeue."""
    with pytest.raises(JobNotFoundError):
        await system.jobs.requeue("nope")
