"""What every storage promises about its audit."""

from __future__ import annotations

import pytest

from avtomatika.core.effects import RecordHistory
from avtomatika.core.events import TimerKind
from avtomatika.core.job import FanOut, Job
from avtomatika.core.states import JobStatus, TaskStatus
from avtomatika.core.waits import ApprovalWait
from avtomatika.storage.base import Fault, Ready, Storage, Timer

from .builders import START, a_batch, a_job, a_task, create


async def test_audit_of_a_healthy_storage_is_empty(storage: Storage) -> None:
    """Each way of waiting is a way to go on."""
    await create(storage, a_job("ready"), ready=Ready(START + 9))
    await create(storage, a_job("timer"), set_timers=[Timer("timer", TimerKind.JOB, START)])
    await create(storage, a_job("task"), queue_tasks=[a_task("t1", "task")])
    asked = ApprovalWait(1, "Really?", {"approved": "end"}, START)
    await create(
        storage, a_job("human", status=JobStatus.WAITING_FOR_HUMAN, wait=asked), events=[RecordHistory("a", "start")]
    )
    await create(storage, a_job("parent", status=JobStatus.WAITING_FOR_SUB_JOB), events=[RecordHistory("a", "start")])
    await create(storage, a_job("child", parent_job_id="parent"))
    await create(storage, a_job("end", status=JobStatus.FAILED), finish=True)
    await storage.claim_task("w1", ["render"], 10)
    await storage.ack_events(["human:1"])

    assert await storage.audit() == []


@pytest.mark.parametrize(
    ("invariant", "job", "facts"),
    [
        ("W", a_job(), {}),
        ("W", a_job(status=JobStatus.WAITING_FOR_SUB_JOB), {}),
        ("W", a_job(), {"save_tasks": [a_task(status=TaskStatus.DELAYED)]}),
        ("W", a_job(), {"ready": Ready(START), "save_tasks": [a_task(status=TaskStatus.QUEUED)]}),
        ("W", a_job(), {"ready": Ready(START), "save_tasks": [a_task(status=TaskStatus.CLAIMED)]}),
        ("T", a_job(status=JobStatus.FINISHED), {"ready": Ready(START)}),
        ("T", a_job(status=JobStatus.FINISHED), {"set_timers": [Timer("j1", TimerKind.JOB, START)]}),
        ("T", a_job(status=JobStatus.FINISHED), {"queue_tasks": [a_task()], "finish": True}),
        ("F", a_job(fan_out=FanOut("f", "join", 2, 2)), {"queue_tasks": [a_task(fan_out="f")]}),
        ("F", a_job(fan_out=FanOut("f", "join", 2, 0)), {"queue_tasks": [a_task(fan_out="f")]}),
    ],
)
async def test_audit_of_a_broken_job_names_the_invariant(
    bare_storage: Storage, invariant: str, job: Job, facts: dict
) -> None:
    """A job that breaks an invariant is found, with its letter and a sentence."""
    await bare_storage.commit(a_batch(job, **facts))

    faults = await bare_storage.audit()

    assert [(fault.invariant, fault.job_id) for fault in faults] == [(invariant, "j1")]
    assert all(isinstance(fault, Fault) and fault.message for fault in faults)
