"""Results of one job that come together are one commit, and none of them suffers by the others."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from avtomatika.blueprints import ActionFactory, StateMachineBlueprint
from avtomatika.core.decide import IllegalTransitionError, decide
from avtomatika.core.effects import Decision, RecordHistory
from avtomatika.core.job import Job, Task
from avtomatika.core.states import JobStatus, TaskStatus
from avtomatika.errors import StorageError
from avtomatika.observability.base import Meter
from avtomatika.runtime.reputations import SPACE, Reputations
from avtomatika.storage.base import Batch, Outcome, Stale
from avtomatika.storage.memory import MemoryStorage
from avtomatika.testing import FakeClock

from .conftest import MakeSystem, System

BRANCHES = 6
ACCEPTED = {"status": "accepted"}


class NotedStorage(MemoryStorage):
    """Keeps what is committed, and may fail at some commit of several results, before or after it has happened."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.batches: list[Batch] = []
        self.outcomes: list[Outcome] = []
        self.looks = 0
        self.fails = self.refuses = ""
        self.reached = asyncio.Event()

    async def find_job_and_task(self, job_id: str, task_id: str) -> tuple[Job | None, Task | None]:
        """Counts the looks."""
        self.looks += 1
        return await super().find_job_and_task(job_id, task_id)

    async def commit(self, batch: Batch) -> Outcome:
        """Notes the step and what came of it."""
        fails = self.fails if len(batch.task_claims) > 1 else ""
        if fails:
            self.reached.set()
        if fails == "hangs":
            await asyncio.Event().wait()
        if fails == "before" or any(claim.task_id == self.refuses for claim in batch.task_claims):
            raise StorageError("gone")
        self.batches.append(batch)
        self.outcomes.append(await super().commit(batch))
        if fails == "after":
            raise StorageError("gone")
        return self.outcomes[-1]

    def results(self) -> list[int]:
        """Returns how many results each commit took."""
        return [len(batch.task_claims) for batch in self.batches if batch.task_claims]


class Witness(Meter):
    """Keeps the decisions that it is told of."""

    def __init__(self) -> None:
        self.told: list[tuple[Job, Decision]] = []

    def committed(self, old: Job, decision: Decision) -> None:
        """Keeps it."""
        self.told.append((old, decision))


@pytest.fixture
def noted(clock: FakeClock) -> NotedStorage:
    """Returns the storage."""
    return NotedStorage(clock)


@pytest.fixture
async def system(make_system: MakeSystem, noted: NotedStorage) -> System:
    """A system that runs on it."""
    system = make_system(noted)
    await system.start()
    return system


async def fan_out(system: System, policy: str | None = None, at_least: int | None = None) -> list[Task]:
    """Creates a job whose tasks are with workers, one each."""
    flow = StateMachineBlueprint("flow")

    @flow.handler_for("send", is_start=True)
    async def send(actions: ActionFactory) -> None:
        actions.dispatch_parallel([{"task_type": "work"}] * BRANCHES, "join", policy, at_least)

    @flow.aggregator_for("join", is_end=True)
    async def join(aggregation_results: dict[str, Any], state_history: dict[str, Any]) -> None:
        state_history["seen"] = sorted(one["data"]["n"] for one in aggregation_results.values() if one["data"])

    system.add(flow)
    await system.waiting(await system.create(), JobStatus.WAITING_FOR_PARALLEL_TASKS)
    return [await system.take(f"w{number}") for number in range(BRANCHES)]


async def answer_all(system: System, tasks: list[Task]) -> list[dict[str, Any]]:
    """Sends a result of each task at once and returns the answers."""
    return await asyncio.gather(*(system.answer(task, data={"n": n}) for n, task in enumerate(tasks)))


async def test_results_that_come_together_are_one_commit(system: System, noted: NotedStorage) -> None:
    """Each counts, and the version rises by one; what is remembered afterwards is what was written."""
    tasks = await fan_out(system)
    version = (await system.jobs.get(tasks[0].job_id)).version

    assert await answer_all(system, tasks[:4]) == [ACCEPTED] * 4

    job = await system.jobs.get(tasks[0].job_id)
    assert (job.version, noted.results()) == (version + 1, [4])
    assert job.fan_out is not None
    assert job.fan_out.open == BRANCHES - 4

    assert await answer_all(system, tasks[4:]) == [ACCEPTED] * 2

    job = await system.ended(job.id)
    assert job.state_history.value()["seen"] == [0, 0, 1, 1, 2, 3]
    assert (noted.results(), noted.looks) == ([4, 2], 0)
    assert not [outcome for outcome in noted.outcomes if isinstance(outcome, Stale)]
    assert (await system.rows(job.id)).count("task_finished") == BRANCHES


async def test_results_that_come_together_are_told_of_one_by_one(system: System, noted: NotedStorage) -> None:
    """Numbers, traces and reputations see each of them, with the job as it was before it."""
    system.performer._meter = witness = Witness()
    system.performer._reputations = Reputations(noted, system.clock)
    tasks = await fan_out(system)
    witness.told.clear()

    await asyncio.gather(*(system.answer(task, "failure", error_code="PERMANENT_ERROR") for task in tasks[:3]))

    assert noted.results() == [3]
    assert [old.fan_out.failed for old, _ in witness.told if old.fan_out] == [0, 1, 2]
    rows = [effect for _, decision in witness.told for effect in decision.effects if isinstance(effect, RecordHistory)]
    assert [row.task_id for row in rows] == [task.id for task in tasks[:3]]
    assert [record.key for record in await noted.list_records(SPACE)] == ["w0", "w1", "w2"]


async def test_result_that_came_with_a_void_one_counts(system: System, noted: NotedStorage) -> None:
    """One task of several has another worker by now: its result alone is turned away."""
    tasks = await fan_out(system)
    await hand_on(system, noted, tasks[1])

    answers = await answer_all(system, tasks[:4])

    assert [answer["status"] for answer in answers] == ["accepted", "ignored", "accepted", "accepted"]
    assert Stale in map(type, noted.outcomes)
    assert (await noted.find_task(tasks[1].id)).worker_id == "w9"


async def hand_on(system: System, storage: NotedStorage, task: Task) -> None:
    """Lets another worker have a task, without the engine's knowledge."""
    job = await system.jobs.get(task.job_id)
    job, queued = replace(job, version=job.version + 1), replace(task, status=TaskStatus.QUEUED)
    batch = Batch(job, frozenset(), system.clock.now(), queue_tasks=[queued])
    await MemoryStorage.commit(storage, batch)
    system.performer.recent.note(job)
    assert await storage.claim_task("w9", [task.queue], 60.0) is not None


async def test_result_behind_the_one_that_decides_is_late(system: System, noted: NotedStorage) -> None:
    """Once a branch has sent the job on, no other changes it, though it came in the same moment."""
    tasks = await fan_out(system, "fail_fast")

    answers = await asyncio.gather(
        system.answer(tasks[0], data={"n": 0}),
        system.answer(tasks[1], "failure", error_code="PERMANENT_ERROR"),
        system.answer(tasks[2], data={"n": 2}),
    )

    assert [answer["status"] for answer in answers] == ["accepted", "accepted", "ignored"]
    assert noted.results() == [2]
    assert (await system.ended(tasks[0].job_id)).status is JobStatus.QUARANTINED
    assert (await noted.find_task(tasks[2].id)).status is TaskStatus.CANCELLED


async def test_failure_that_ends_a_job_leaves_no_task_of_one_before_it_open(
    system: System, noted: NotedStorage
) -> None:
    """A task that is to be tried again is closed with the others when a failure behind it ends the job."""
    tasks = await fan_out(system, "fail_fast")

    await asyncio.gather(
        system.answer(tasks[0], "failure", error_code="TRANSIENT_ERROR"),
        system.answer(tasks[1], "failure", error_code="PERMANENT_ERROR"),
    )

    job = await system.ended(tasks[0].job_id)
    assert job.status is JobStatus.QUARANTINED
    assert (await noted.find_wake_up(job.id)).tasks == ()
    assert (await noted.find_wake_up(job.id)).timers == ()
    assert (await noted.find_task(tasks[0].id)).status is TaskStatus.CANCELLED


async def test_result_that_nobody_waits_for_any_more_is_not_decided_on(
    system: System, noted: NotedStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job has gone on with as many as it needs; the core is asked for nothing that cannot be."""
    tasks = await fan_out(system, at_least=2)
    faults = []

    def watched(*facts: Any) -> Decision:
        try:
            return decide(*facts)
        except IllegalTransitionError as fault:
            faults.append(fault)
            raise

    monkeypatch.setattr("avtomatika.runtime.performer.decide", watched)

    answers = await answer_all(system, tasks[:4])

    assert [answer["status"] for answer in answers] == ["accepted", "accepted", "ignored", "ignored"]
    assert (await system.ended(tasks[0].job_id)).state_history.value()["seen"] == [0, 1]
    assert (noted.results(), faults) == ([2], [])


async def test_result_does_not_suffer_by_one_that_came_later(system: System, noted: NotedStorage) -> None:
    """Who was taken along in vain goes alone, whatever waits by then."""
    first, second, third = (await fan_out(system))[:3]
    noted.fails, noted.refuses = "before", third.id

    async def come_later() -> None:
        await noted.reached.wait()
        with pytest.raises(StorageError):
            await system.answer(third)

    answers = await asyncio.gather(system.answer(first), system.answer(second), come_later())

    assert answers == [ACCEPTED, ACCEPTED, None]


async def test_result_that_comes_twice_at_once_counts_once(system: System, noted: NotedStorage) -> None:
    """Both are thanked for; the branch is counted down once."""
    tasks = await fan_out(system)

    answers = await asyncio.gather(*(system.answer(task) for task in (tasks[0], tasks[0], tasks[1])))

    job = await system.jobs.get(tasks[0].job_id)
    assert answers == [ACCEPTED] * 3
    assert noted.results() == [2]
    assert job.fan_out is not None
    assert job.fan_out.open == BRANCHES - 2


@pytest.mark.parametrize("when", ["before", "after"])
async def test_results_whose_common_commit_fails_count_one_by_one(
    system: System, noted: NotedStorage, when: str
) -> None:
    """Whether it happened or not."""
    tasks = await fan_out(system)
    noted.fails = when

    assert await answer_all(system, tasks[:4]) == [ACCEPTED] * 4

    job = await system.jobs.get(tasks[0].job_id)
    assert job.fan_out is not None
    assert job.fan_out.open == BRANCHES - 4
    assert noted.results() == ([1] * 4 if when == "before" else [4])


async def test_result_outlives_the_request_that_took_it_along(system: System, noted: NotedStorage) -> None:
    """Whose turn it is may be cancelled; the others have their own."""
    tasks = await fan_out(system)
    noted.fails = "hangs"
    first, *others = [asyncio.create_task(system.answer(task)) for task in tasks[:3]]
    await noted.reached.wait()

    first.cancel()

    assert await asyncio.gather(*others) == [ACCEPTED] * 2
    assert noted.results() == [1, 1]
    assert first.cancelled()


async def test_results_of_tasks_that_are_not_remembered_share_a_commit(system: System, noted: NotedStorage) -> None:
    """Those that another engine handed out, or an earlier life of this one, are read."""
    tasks = await fan_out(system)
    for task in tasks[:2]:
        system.performer.recent.take(task.job_id, task.id)

    assert await answer_all(system, tasks[:4]) == [ACCEPTED] * 4

    assert (noted.results(), noted.looks) == ([4], 2)


async def test_many_results_are_some_commits(
    system: System, noted: NotedStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one is made, nothing else happens in the engine: so it takes only so many."""
    monkeypatch.setattr("avtomatika.runtime.turns._MOST", 4)
    tasks = await fan_out(system)

    assert await answer_all(system, tasks) == [ACCEPTED] * BRANCHES

    assert noted.results() == [4, 2]
    await system.ended(tasks[0].job_id)


async def test_batch_of_claimed_tasks_needs_no_look(system: System, noted: NotedStorage) -> None:
    """Tasks that were claimed together are remembered with their job, as single ones are."""
    tasks = await fan_out(system)
    job_id = await system.create()
    await system.waiting(job_id, JobStatus.WAITING_FOR_PARALLEL_TASKS)
    worker = await system.register("w1", "work")
    tasks = list(await system.dispatcher.next_tasks(worker, 0, BRANCHES))

    assert await answer_all(system, tasks) == [ACCEPTED] * BRANCHES

    assert (noted.results()[-1], noted.looks) == (BRANCHES, 0)
    assert (await system.ended(job_id)).status is JobStatus.FINISHED
