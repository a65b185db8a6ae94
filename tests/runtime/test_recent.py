"""What an engine remembers of handed-out tasks saves a look at the storage, and is never trusted."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from avtomatika.blueprints import ActionFactory, StateMachineBlueprint
from avtomatika.core.document import Document
from avtomatika.core.job import Job, Task
from avtomatika.core.states import JobStatus, TaskStatus
from avtomatika.runtime.recent import REMEMBERED_BYTES, Recent
from avtomatika.storage.base import TaskClaim

from .conftest import LEASE, MakeSystem, System, task_flow


def fan_out_flow() -> StateMachineBlueprint:
    """Returns a blueprint that sends ``n`` tasks at once and ends with them."""
    flow = StateMachineBlueprint("flow")

    @flow.handler_for("send", is_start=True)
    async def send(initial_data: dict[str, Any], actions: ActionFactory) -> None:
        actions.dispatch_parallel([{"task_type": "work"}] * initial_data["n"], aggregate_into="join")

    @flow.aggregator_for("join", is_end=True)
    async def join() -> None: ...

    return flow


def a_job(job_id: str = "j1", version: int = 1, **facts: Any) -> Job:
    """Returns a job that waits for a worker."""
    return Job(job_id, "flow", "v1", JobStatus.WAITING_FOR_WORKER, "send", 0.0, 0.0, version=version, **facts)


def a_task(task_id: str = "t1", job_id: str = "j1", **facts: Any) -> Task:
    """Returns a task that a worker has."""
    return Task(task_id, job_id, "work", "work", TaskStatus.CLAIMED, 0.0, worker_id="w1", **facts)


def test_task_is_remembered_until_its_result() -> None:
    """A task has one result; the others of its job stay."""
    recent = Recent()
    for name in ("t1", "t2"):
        recent.hand_out(a_task(name), a_job())

    assert recent.take("j1", "t1") == (a_job(), a_task("t1"))
    assert recent.take("j1", "t1") is None
    assert recent.take("j1", "t2") == (a_job(), a_task("t2"))
    assert recent.take("j1", "t2") is None


def test_newer_version_of_a_job_takes_the_place_of_the_older() -> None:
    """Whatever is heard of it in whichever order; an ended one is forgotten."""
    recent = Recent()
    recent.hand_out(a_task("t1"), a_job(version=3))
    recent.note(a_job(version=2))
    recent.hand_out(a_task("t2"), a_job(version=1))
    recent.note(a_job("another", version=9))
    assert recent.take("j1", "t1") == (a_job(version=3), a_task("t1"))

    recent.note(a_job(version=4))
    assert recent.take("j1", "t2") == (a_job(version=4), a_task("t2"))

    recent.hand_out(a_task("t3"), a_job(version=4))
    recent.note(Job("j1", "flow", "v1", JobStatus.CANCELLED, "send", 0.0, 0.0, version=5))
    assert recent.take("j1", "t3") is None


def test_large_job_is_not_remembered() -> None:
    """Thousands of jobs may be with workers at a time: what is kept of them is bounded."""
    recent = Recent()
    recent.hand_out(a_task("t1"), a_job())
    recent.hand_out(a_task("t2"), a_job(version=2, state_history=Document.of("x" * REMEMBERED_BYTES)))

    assert recent.take("j1", "t1") is recent.take("j1", "t2") is None


def test_oldest_are_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers that never answer fill no memory."""
    monkeypatch.setattr("avtomatika.runtime.recent._MOST_TASKS", 3)
    recent = Recent()
    for number in range(5):
        recent.hand_out(a_task(f"t{number}", f"j{number}"), a_job(f"j{number}"))

    assert [recent.take(f"j{number}", f"t{number}") is not None for number in range(5)] == [False] * 2 + [True] * 3


def count_looks(system: System, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Returns what counts the looks at jobs and tasks from now on."""
    looks: Counter[str] = Counter()
    find = system.storage.find_job_and_task

    async def counted(job_id: str, task_id: str) -> tuple[Job | None, Task | None]:
        looks[job_id] += 1
        return await find(job_id, task_id)

    monkeypatch.setattr(system.storage, "find_job_and_task", counted)
    return looks


async def test_results_of_handed_out_tasks_need_no_look(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step is decided on what the engine wrote itself, also where many results count down one job."""
    system.add(fan_out_flow())
    job_id = await system.create({"n": 5})
    await system.waiting(job_id, JobStatus.WAITING_FOR_PARALLEL_TASKS)
    tasks = [await system.take() for _ in range(5)]
    looks = count_looks(system, monkeypatch)

    for task in tasks:
        assert await system.answer(task) == {"status": "accepted"}

    assert (await system.ended(job_id)).status is JobStatus.FINISHED
    assert not looks


async def test_result_is_decided_anew_where_another_engine_was_faster(
    make_system: MakeSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an engine remembers is compared with what is stored, and read again where it is old."""
    system = make_system()
    other = make_system(system.storage, owner="e2")
    for one in (system, other):
        one.add(fan_out_flow())
        await one.start()
    job_id = await system.create({"n": 2})
    await system.waiting(job_id, JobStatus.WAITING_FOR_PARALLEL_TASKS)
    mine, others = await system.take(), await other.take()
    await other.answer(others)
    looks = count_looks(system, monkeypatch)

    assert await system.answer(mine) == {"status": "accepted"}

    assert (await system.ended(job_id)).status is JobStatus.FINISHED
    assert looks == {job_id: 1}


async def test_result_is_not_ignored_because_of_what_is_remembered(make_system: MakeSystem) -> None:
    """An engine that has not heard of a task's next attempt asks before it turns a result away."""
    system = make_system()
    other = make_system(system.storage, owner="e2")
    for one in (system, other):
        one.add(task_flow())
        await one.start()
    job_id = await system.create()
    await system.waiting(job_id)
    await other.answer(await system.take(), "failure", error_code="TRANSIENT_ERROR")
    await system.clock.advance(60)
    again = await other.take()
    assert again.attempt == 2

    assert await system.answer(again) == {"status": "accepted"}


async def test_result_of_a_task_that_was_taken_over_is_ignored_though_remembered(make_system: MakeSystem) -> None:
    """The claim is compared by the storage: an engine that remembers an older one writes nothing."""
    system = make_system()
    system.add(task_flow())
    await system.start()
    job_id = await system.create()
    await system.waiting(job_id)
    task = await system.take()
    await system.storage.release_task(TaskClaim(task.id, task.attempt, "w1"))
    assert (await system.storage.claim_task("w2", ["work"], 60.0)) is not None

    assert (await system.answer(task))["reason"] == "worker_mismatch"

    assert (await system.jobs.get(job_id)).status is JobStatus.WAITING_FOR_WORKER


async def test_late_failure_of_an_attempt_that_was_given_up_is_ignored_though_remembered(system: System) -> None:
    """The job is remembered as it is now, the task as it was handed out: the two do not belong together any more."""
    system.add(task_flow())
    job_id = await system.create()
    await system.waiting(job_id)
    await system.register()
    task = await system.take()
    await system.beat("w1", task.wire_id)
    await system.clock.advance(LEASE)
    assert (await system.jobs.get(job_id)).status is JobStatus.AWAITING_RETRY

    answer = await system.answer(task, "failure", error_code="TRANSIENT_ERROR")

    assert answer["reason"] == "stale_task"
    assert (await system.jobs.get(job_id)).status is JobStatus.AWAITING_RETRY
