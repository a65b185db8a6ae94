"""Explaining why a job stands where it stands."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from avtomatika.core.document import Document
from avtomatika.core.events import TimerKind
from avtomatika.core.job import Failure, Job, Task
from avtomatika.core.states import JobStatus, TaskStatus
from avtomatika.core.waits import ApprovalWait, ChildWait, SleepWait
from avtomatika.protocol.messages import Skill, WorkerProfile
from avtomatika.runtime.explain import explain, is_stuck
from avtomatika.storage.base import Timer, WakeUp

NOW = 1000.0


def a_job(status: JobStatus = JobStatus.WAITING_FOR_WORKER, **facts: Any) -> Job:
    """Returns a job of that status."""
    return Job("j1", "orders", "v1", status, "start", NOW - 60, NOW - 30, **facts)


def a_task(status: TaskStatus = TaskStatus.QUEUED, **facts: Any) -> Task:
    """Returns a task of the job."""
    return Task("t1", "j1", "render", "render", status, NOW - 20, params=Document.of({}), **facts)


def told(job: Job, workers: tuple[WorkerProfile, ...] = (), **wake_up: Any) -> str:
    """Returns the sentences in one text."""
    return "\n".join(explain(job, WakeUp(**wake_up), workers, NOW))


def test_sleep_is_explained() -> None:
    """Until when, and where it goes on."""
    job = a_job(JobStatus.PENDING, wait=SleepWait(NOW + 90, "remind"))

    sentence = told(job, timers=[Timer("j1", TimerKind.SLEEP, NOW + 90)])

    assert sentence == "It sleeps and goes on in state 'remind' in 90 s."


def test_question_to_a_person_is_explained() -> None:
    """Who is waited for, what may be decided, and what happens if nobody does."""
    ways = {"approved": "ship", "rejected": "stop"}
    timers = [Timer("j1", TimerKind.APPROVAL, NOW + 60)]
    plain = a_job(JobStatus.WAITING_FOR_HUMAN, wait=ApprovalWait(3, "Ship it?", ways, NOW - 12))
    limited = a_job(JobStatus.WAITING_FOR_HUMAN, wait=ApprovalWait(3, "Ship it?", ways, NOW - 12, NOW + 60))
    led = a_job(
        JobStatus.WAITING_FOR_HUMAN,
        wait=ApprovalWait(3, "Ship it?", {**ways, "expired": "stop"}, NOW - 12, NOW + 60),
    )
    question = "It waits 12 s for a person to decide (approved, rejected): Ship it?"

    assert told(plain) == question
    assert told(limited, timers=timers) == f"{question}\nUnless somebody decides, it fails in 60 s."
    assert told(led, timers=timers) == f"{question}\nUnless somebody decides, it goes on in state 'stop' in 60 s."
    assert not is_stuck(plain, WakeUp())
    assert is_stuck(a_job(JobStatus.WAITING_FOR_HUMAN), WakeUp())


def test_child_is_explained() -> None:
    """Whether it is there, and what it does."""
    job = a_job(JobStatus.WAITING_FOR_SUB_JOB, wait=ChildWait("c1", "invoices", {"success": "done"}, NOW - 9))
    child = Job("c1", "invoices", "v1", JobStatus.RUNNING, "sum", NOW - 8, NOW - 5)

    def said(child: Job | None) -> str:
        (sentence,) = explain(job, WakeUp(), (), NOW, child)
        return sentence

    assert said(None).endswith("which was asked for 9 s ago and is not created yet.")
    assert said(child) == "It waits for job c1 of blueprint 'invoices', which is running in state 'sum' since 5 s."
    assert said(replace(child, status=JobStatus.FAILED)).endswith("which is failed since 5 s; it hears so soon.")


def test_parent_whose_child_is_silent_for_long_is_a_defect() -> None:
    """Messages take seconds: a parent that has waited for minutes without any is stuck."""
    job = a_job(JobStatus.WAITING_FOR_SUB_JOB, wait=ChildWait("c1", "invoices", {"success": "done"}, NOW))
    child = Job("c1", "invoices", "v1", JobStatus.RUNNING, "sum", NOW, NOW)
    ended = replace(child, status=JobStatus.FINISHED)

    assert not is_stuck(job, WakeUp(), None, NOW + 60)
    assert not is_stuck(job, WakeUp(), ended, NOW + 60)
    assert not is_stuck(job, WakeUp(), child, NOW + 1e6)
    assert is_stuck(job, WakeUp(), None, NOW + 601)
    assert is_stuck(job, WakeUp(), ended, NOW + 601)


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        (TimerKind.DISPATCH, "Task t1 is given up in 5 s: its dispatch_timeout."),
        (TimerKind.RESULT, "Task t1 is given up in 5 s: its result_timeout."),
        (TimerKind.RETRY, "The next attempt of task t1 is due in 5 s."),
    ],
)
def test_timers_of_tasks_are_explained(kind: TimerKind, sentence: str) -> None:
    """Each says what happens when its moment comes."""
    assert told(a_job(), timers=[Timer("j1", kind, NOW + 5, "t1")]) == sentence


def test_deadline_of_the_job_is_explained() -> None:
    """Whatever else it waits for, that is when it ends."""
    timers = [Timer("j1", TimerKind.JOB, NOW + 5)]

    assert told(a_job(), timers=timers) == "Unless it has ended, the job fails in 5 s: its result_timeout."


def test_task_without_a_worker_is_explained() -> None:
    """Nobody has the skill, nobody is good enough, or all are busy."""
    able = WorkerProfile("w1", skills=(Skill("render"),), costs={"render": 9.0})

    assert "no registered worker has the skill 'render'" in told(a_job(), tasks=[a_task()])
    assert "none meets its requirements" in told(a_job(), (able,), tasks=[a_task(max_cost=1.0)])
    assert "w1 can do it, and is busy or about to ask" in told(a_job(), (able,), tasks=[a_task()])


def test_task_at_a_worker_is_explained() -> None:
    """Who has it, and until when without a sign of life."""
    claimed = a_task(TaskStatus.CLAIMED, worker_id="w1", lease_until=NOW + 7, confirmed=True)

    assert "runs at worker w1; without a sign of life it is handed on in 7 s" in told(a_job(), tasks=[claimed])


def test_retry_of_a_handler_is_explained() -> None:
    """When it is tried again, and after what."""
    job = a_job(JobStatus.AWAITING_RETRY, failure=Failure("TRANSIENT_ERROR", "boom"))

    assert told(job, ready_at=NOW + 3) == "Its handler of state 'start' is tried again in 3 s after: boom"


def test_end_is_explained() -> None:
    """Nothing more happens."""
    assert told(a_job(JobStatus.FINISHED)) == "The job is finished since 30 s: nothing more happens to it."


def test_end_in_quarantine_is_explained() -> None:
    """Why it stopped, and what lets it go on."""
    lines = told(a_job(JobStatus.QUARANTINED, failure=Failure("PERMANENT_ERROR", "boom"))).splitlines()

    assert lines[1:] == [
        "The last failure: PERMANENT_ERROR: boom",
        "Once that is mended, it can go on: avtomatika jobs requeue j1",
    ]


def test_job_that_nothing_wakes_is_told_to_be_a_defect() -> None:
    """The auditor finds the same."""
    job = a_job(JobStatus.RUNNING)

    assert "this is a defect of the engine" in told(job)
    assert is_stuck(job, WakeUp())
    assert not is_stuck(job, WakeUp(ready_at=NOW))
    assert not is_stuck(a_job(JobStatus.FINISHED), WakeUp())
