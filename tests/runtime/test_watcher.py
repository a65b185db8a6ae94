"""The watcher: retries, timeouts and the end of leases come true by the clock alone."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from avtomatika.blueprints.retries import RetryPolicy
from avtomatika.core.job import Job
from avtomatika.core.states import JobStatus, TaskStatus
from avtomatika.core.steps import Limits
from avtomatika.errors import StorageError
from avtomatika.runtime.watcher import CHANGES_SECONDS
from avtomatika.storage.base import Batch, Outcome
from avtomatika.storage.memory import MemoryStorage
from avtomatika.testing import FakeClock

from .conftest import MakeSystem, System, task_flow, with_waiting_tasks


@pytest.fixture
async def system(make_system: MakeSystem) -> System:
    """A running system with two retries at most, and a flow that sends one task."""
    system = make_system(limits=Limits(retry=RetryPolicy(attempts=3, delay=8.0), task_timeout=100.0))
    system.add(task_flow())
    await system.start()
    return system


async def queue(system: System, **options: Any) -> Job:
    """Creates a job and returns it when its task waits."""
    return await system.waiting(await system.create({"options": options}))


async def test_failed_task_is_sent_again_after_its_pause(system: System) -> None:
    """A transient failure costs one attempt; the next one begins when the pause is over."""
    job = await queue(system)
    await system.answer(await system.take(), "failure", error_code="TRANSIENT_ERROR", error_message="flaky")
    assert (await system.jobs.get(job.id)).status is JobStatus.AWAITING_RETRY

    await system.clock.advance(8)
    again = await system.take("w2")
    await system.answer(again)

    assert again.attempt == 2
    assert (await system.ended(job.id)).status is JobStatus.FINISHED


async def test_task_without_retries_left_quarantines_the_job(system: System) -> None:
    """After three attempts in all the job waits for people."""
    job = await queue(system)
    for _ in range(3):
        await system.answer(await system.take(), "failure", error_message="flaky")
        await system.clock.advance(20)

    ended = await system.ended(job.id)

    assert ended.status is JobStatus.QUARANTINED
    assert (ended.failure.message, ended.failure.attempt) == ("flaky", 3)


async def test_unconfirmed_claim_is_handed_on_without_costing_an_attempt(system: System) -> None:
    """A lost answer to a poll costs twenty seconds and nothing else."""
    await queue(system)
    await system.take("w1")
    await system.clock.advance(19)
    assert await system.dispatcher.next_task(await system.register("w2"), 0) is None

    await system.clock.advance(1)
    again = await system.take("w2")

    assert (again.attempt, again.deliveries) == (1, 2)


async def test_confirmed_claim_lasts_while_heartbeats_name_it(system: System) -> None:
    """A task stays with its worker as long as that worker says so."""
    job = await queue(system)
    await system.register("w1")
    task = await system.take("w1")
    for _ in range(9):
        assert await system.beat("w1", task.wire_id) == {"status": "ok"}
        await system.clock.advance(10)

    await system.answer(task)

    ended = await system.ended(job.id)
    assert ended.status is JobStatus.FINISHED
    assert (await system.rows(job.id)).count("task_started") == 1


async def test_task_of_a_worker_that_vanished_is_tried_by_another(system: System) -> None:
    """Silence for the length of a lease ends an attempt; the next worker gets the task."""
    job = await queue(system)
    await system.register("w1")
    task = await system.take("w1")
    await system.beat("w1", task.wire_id)

    await system.clock.advance(60)
    waiting = await system.jobs.get(job.id)
    await system.clock.advance(8)
    again = await system.take("w2")

    assert waiting.status is JobStatus.AWAITING_RETRY
    assert waiting.failure.code == "WORKER_LOST"
    assert again.attempt == 2


async def test_task_that_takes_too_long_fails_its_attempt(system: System) -> None:
    """A worker that heartbeats for ever and never answers does not hold the job for ever."""
    job = await queue(system, timeout_seconds=30)
    await system.register("w1")
    task = await system.take("w1")
    for _ in range(3):
        await system.beat("w1", task.wire_id)
        await system.clock.advance(10)

    waiting = await system.jobs.get(job.id)

    assert waiting.failure.code == "TIMEOUT_ERROR"
    assert "no result within 30 s" in waiting.failure.message


async def test_dispatch_timeout_fails_a_task_that_nobody_took(system: System) -> None:
    """A task with a limit does not wait for a worker for ever; the job says what was missing."""
    job = await queue(system, dispatch_timeout=45)
    await system.clock.advance(44)
    assert not (await system.jobs.get(job.id)).is_terminal

    await system.clock.advance(1)

    ended = await system.ended(job.id)
    assert (ended.status, ended.failure.code) == (JobStatus.FAILED, "DISPATCH_TIMEOUT")
    assert "no qualified worker took the task within 45 s" in ended.failure.message


async def test_dispatch_timeout_follows_the_failure_transition(system: System) -> None:
    """A blueprint that has a way for failures takes it."""
    job = await queue(system, dispatch_timeout=45, transitions={"success": "done", "failure": "broken"})

    await system.clock.advance(45)

    ended = await system.ended(job.id)
    assert (ended.status, ended.state) == (JobStatus.FAILED, "broken")
    assert ended.state_history.value()["last_error"]["code"] == "DISPATCH_TIMEOUT"


async def test_result_timeout_ends_a_task_that_was_taken(system: System) -> None:
    """The time to the result counts from the dispatch, whoever works on it."""
    job = await queue(system, result_timeout=50)
    await system.clock.advance(40)
    task = await system.take()

    await system.clock.advance(10)

    ended = await system.ended(job.id)
    assert (ended.status, ended.failure.code) == (JobStatus.FAILED, "RESULT_TIMEOUT")
    assert (await system.answer(task))["reason"] == "deadline_exceeded"


async def test_job_with_a_result_timeout_ends_by_then(system: System) -> None:
    """The whole job has a deadline, too."""
    job_id = await system.create(result_timeout=90)
    await system.waiting(job_id)

    await system.clock.advance(90)

    job = await system.ended(job_id)
    assert (job.status, job.failure.code) == (JobStatus.FAILED, "RESULT_TIMEOUT")


async def test_task_without_limits_waits_for_hours(system: System) -> None:
    """That no worker is there never fails a task."""
    job = await queue(system)

    await system.clock.advance(3 * 3600)
    await system.answer(await system.take())

    assert (await system.ended(job.id)).status is JobStatus.FINISHED


async def test_watcher_of_another_engine_takes_over(system: System, make_system: MakeSystem) -> None:
    """Timers belong to the storage, not to the engine that set them."""
    job = await queue(system, dispatch_timeout=45)
    await system.stop()
    other = make_system(system.storage, owner="e2")
    other.add(task_flow())
    await other.start()

    await system.clock.advance(45)

    assert (await other.ended(job.id)).status is JobStatus.FAILED


class _CountingStorage(MemoryStorage):
    """Counts how often it is asked for ended leases, and takes no commit while it is told not to."""

    looks = 0
    refuses = False

    async def commit(self, batch: Batch) -> Outcome:
        """Refuses or commits."""
        if self.refuses:
            raise StorageError("full")
        return await super().commit(batch)

    async def expired_tasks(self, limit: int) -> list[Any]:
        """Counts and answers."""
        self.looks += 1
        return await super().expired_tasks(limit)


async def test_lease_that_cannot_be_dealt_with_is_tried_again_in_peace(
    make_system: MakeSystem, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The trouble of one job (what follows cannot be written) costs a look a second, and no more."""
    storage = _CountingStorage(clock)
    first = make_system(storage)
    first.add(task_flow())
    await first.start()
    job = await queue(first)
    await first.take()
    await first.stop()
    other = make_system(storage, owner="e2")
    other.add(task_flow())
    storage.refuses = True
    await other.start()

    with caplog.at_level(logging.CRITICAL, "avtomatika"):
        await clock.advance(20)
        storage.looks = 0
        await clock.advance(10)
    assert 5 <= storage.looks <= 15
    storage.refuses = False
    await clock.advance(1)

    (task,) = await storage.list_tasks(job.id)
    assert task.status is TaskStatus.QUEUED


class _TellingStorage(MemoryStorage):
    """Lets a test act between the watcher's last look and its going to sleep."""

    in_between: Any = None
    looks = 0

    async def next_wake_at(self) -> float | None:
        """Answers, and then lets something happen."""
        self.looks += 1
        due = await super().next_wake_at()
        if self.in_between is not None:
            act, self.in_between = self.in_between, None
            await act()
        return due


async def test_timer_set_while_the_watcher_looks_is_not_missed(make_system: MakeSystem, clock: FakeClock) -> None:
    """A signal that comes between the look and the sleep shortens the sleep."""
    storage = _TellingStorage(clock)
    system = make_system(storage)
    system.add(task_flow())
    system.watcher.start()
    await system.settle()
    ids: list[str] = []

    async def create() -> None:
        ids.append(await system.create(result_timeout=5))

    storage.in_between = create
    await clock.advance(20)
    await clock.advance(5)

    assert (await system.jobs.get(ids[0])).status is JobStatus.FAILED
    await system.watcher.stop()


async def test_tasks_handed_out_while_the_watcher_looks_cost_no_look_each(
    make_system: MakeSystem, clock: FakeClock
) -> None:
    """An engine that hands out tasks without a pause does not look at timers without a pause."""
    storage = _TellingStorage(clock)
    system = await with_waiting_tasks(make_system(storage), 3)
    taken = 0

    async def hand_out() -> None:
        nonlocal taken
        taken += 1
        storage.in_between = hand_out if taken < 3 else None
        await system.take(f"w{taken}")

    storage.in_between, storage.looks = hand_out, 0
    await clock.advance(20)

    assert (storage.looks, taken) == (1, 1)


async def test_changes_that_nobody_goes_on_from_are_forgotten(idle: System, clock: FakeClock) -> None:
    """The log of changes goes back an hour, whatever the retention of jobs."""
    idle.add(task_flow())
    begin = (await idle.storage.read_changes(None, 1)).end
    await idle.create()
    await clock.advance(CHANGES_SECONDS + 1)
    later = await idle.create()

    await idle.watcher.look()

    assert [change.job_id for change in (await idle.storage.read_changes(begin, 10)).entries] == [later]
