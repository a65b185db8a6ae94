"""The workers' side: what they report counts once, and they hear what to stop."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from avtomatika.blueprints import StateMachineBlueprint
from avtomatika.core.job import Job, Task
from avtomatika.core.states import JobStatus, TaskStatus
from avtomatika.errors import StorageError
from avtomatika.protocol.messages import Heartbeat, Result, Skill, WorkerEventMessage
from avtomatika.protocol.polls import Poll
from avtomatika.runtime.stop_orders import StopOrders
from avtomatika.storage.base import TaskClaim

from .conftest import System, task_flow

WORDS = {"success": "done", "failure": "broken"}


@pytest.fixture
async def system(system: System) -> System:
    """A running system whose flow sends one task, and whose worker ``w1`` is known."""
    system.add(task_flow())
    await system.register("w1")
    return system


async def begin(system: System, worker_id: str = "w1", **options: Any) -> tuple[Job, Task]:
    """Creates a job and lets a worker take its task."""
    job = await system.waiting(await system.create({"options": options}))
    return job, await system.take(worker_id)


# --- results ---


async def test_success_merges_its_data_into_the_job(system: System) -> None:
    """A dict's members become the job's data, which the next handler sees."""
    job, task = await begin(system)

    assert await system.answer(task, data={"path": "/x", "n": 2}) == {"status": "accepted"}

    ended = await system.ended(job.id)
    assert ended.result.value() == {"path": "/x", "n": 2}


@pytest.mark.parametrize("data", [[1, 2], "text", 7, False])
async def test_data_that_are_no_dict_stand_under_the_type_of_the_task(system: System, data: Any) -> None:
    """Workers may return any JSON value."""
    job, task = await begin(system)

    await system.answer(task, data=data)

    assert (await system.ended(job.id)).result.value() == {"work": data}


@pytest.mark.parametrize(
    ("code", "status", "task_status"),
    [
        ("PERMANENT_ERROR", JobStatus.QUARANTINED, TaskStatus.QUARANTINED),
        ("INVALID_INPUT_ERROR", JobStatus.FAILED, TaskStatus.FAILED),
        ("", JobStatus.AWAITING_RETRY, TaskStatus.DELAYED),
        ("MY_OWN_ERROR", JobStatus.AWAITING_RETRY, TaskStatus.DELAYED),
    ],
)
async def test_failure_is_judged_by_its_code(
    system: System, code: str, status: JobStatus, task_status: TaskStatus
) -> None:
    """The contract's table decides; an unknown code and none at all are transient."""
    job, task = await begin(system)

    assert await system.answer(task, "failure", error_code=code, error_message="no luck") == {"status": "accepted"}

    stored = await system.storage.find_task(task.id)
    job = await system.jobs.get(job.id)
    assert stored is not None
    assert (job.status, stored.status) == (status, task_status)
    assert job.failure.message == "no luck"
    assert job.failure.worker_id == "w1"


async def test_word_that_nobody_knows_fails_the_job(system: System) -> None:
    """The message names the word and the known ones."""
    job, task = await begin(system, transitions=WORDS)

    await system.answer(task, "perhaps")

    ended = await system.ended(job.id)
    assert ended.status is JobStatus.FAILED
    assert "'perhaps'" in ended.failure.message
    assert "known: 'success', 'failure'" in ended.failure.message


async def test_repeated_result_is_accepted_and_counts_once(system: System) -> None:
    """A worker whose answer was lost sends again and is content."""
    job, task = await begin(system)

    answers = [await system.answer(task, data={"n": 1}) for _ in range(3)]

    assert answers == [{"status": "accepted"}] * 3
    assert (await system.rows(job.id)).count("task_finished") == 1


async def test_many_results_at_once_count_once(system: System) -> None:
    """However they race, the job goes on once."""
    job, task = await begin(system)

    answers = await asyncio.gather(*(system.answer(task, data={"n": n}) for n in range(20)))

    assert answers == [{"status": "accepted"}] * 20
    assert (await system.ended(job.id)).result.value() == {"n": 0}
    assert (await system.rows(job.id)).count("task_finished") == 1


async def test_result_of_another_worker_is_ignored(system: System) -> None:
    """Only who holds the task may answer it."""
    job, task = await begin(system)
    result = Result(job.id, task.wire_id, "w2")

    answer = await system.workers.result(result, "w2")

    assert (answer["status"], answer["reason"]) == ("ignored", "worker_mismatch")
    assert not (await system.jobs.get(job.id)).is_terminal


@pytest.mark.parametrize(
    ("job_id", "task_id", "reason"),
    [
        ("nothing", "TASK", "job_not_found"),
        ("JOB", "nothing-1", "stale_task"),
        ("JOB", "", "stale_task"),
        ("JOB", "TASK-99", "stale_task"),
        ("OTHER", "TASK", "stale_task"),
    ],
)
async def test_result_with_wrong_ids_is_ignored(system: System, job_id: str, task_id: str, reason: str) -> None:
    """A result that belongs nowhere is answered so that the worker forgets it, and changes nothing."""
    job, task = await begin(system)
    other, _ = await begin(system, "w2")
    job_id = {"JOB": job.id, "OTHER": other.id}.get(job_id, job_id)
    task_id = task_id.replace("TASK-99", f"{task.id}-99").replace("TASK", task.wire_id)

    answer = await system.workers.result(Result(job_id, task_id, "w1"), "w1")

    assert (answer["status"], answer["reason"]) == ("ignored", reason)
    assert not (await system.jobs.get(job.id)).is_terminal
    assert not (await system.jobs.get(other.id)).is_terminal


async def test_result_of_a_cancelled_job_is_ignored_with_the_reason(system: System) -> None:
    """The worker learns why its work was in vain."""
    job, task = await begin(system)
    await system.jobs.cancel(job.id)

    answer = await system.answer(task)

    assert (answer["status"], answer["reason"]) == ("ignored", "job_cancelled")


async def test_late_result_counts_while_nobody_has_taken_over(system: System) -> None:
    """Work that is done is not done again, though the lease has ended."""
    job, task = await begin(system)
    await system.clock.advance(25)

    assert await system.answer(task, data={"n": 1}) == {"status": "accepted"}

    assert (await system.ended(job.id)).result.value() == {"n": 1}
    assert await system.dispatcher.next_task(await system.register("w2"), 0) is None


async def test_late_result_is_ignored_when_another_worker_has_taken_over(system: System) -> None:
    """The one who holds the task now decides."""
    job, task = await begin(system)
    await system.clock.advance(25)
    again = await system.take("w2")

    late = await system.answer(task, data={"by": "w1"})
    await system.answer(again, data={"by": "w2"})

    assert (late["status"], late["reason"]) == ("ignored", "worker_mismatch")
    assert (await system.ended(job.id)).result.value() == {"by": "w2"}


async def test_data_that_cannot_be_stored_fail_the_job_with_their_path(system: System) -> None:
    """An integer beyond 64 bits breaks neither the engine nor the worker."""
    job, task = await begin(system)

    assert await system.answer(task, data={"n": 2**70}) == {"status": "accepted"}

    ended = await system.ended(job.id)
    assert ended.status is JobStatus.FAILED
    assert "data.n cannot be stored" in ended.failure.message


async def test_result_that_cannot_be_written_raises(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shell must know, to close the connection: only then the worker sends it again."""
    job, task = await begin(system)

    async def fail(batch: Any) -> None:
        raise StorageError("down")

    monkeypatch.setattr(system.storage, "commit", fail)
    with pytest.raises(StorageError):
        await system.answer(task)
    monkeypatch.undo()

    assert await system.answer(task) == {"status": "accepted"}
    assert (await system.ended(job.id)).status is JobStatus.FINISHED


async def test_cancelled_of_a_worker_that_leaves_is_done_by_another(system: System) -> None:
    """A worker that shuts down cancels its tasks by itself; that is no wish of the client."""
    job, task = await begin(system)
    await system.beat("w1", task.wire_id, status="offline")

    assert await system.answer(task, "cancelled") == {"status": "accepted"}
    again = await system.take("w2")
    await system.answer(again)

    assert (await system.ended(job.id)).status is JobStatus.FINISHED
    assert again.attempt == 1


async def test_heartbeat_that_a_goodbye_overtook_does_not_call_the_worker_back(system: System) -> None:
    """A worker that is told to stop just after it began a task sends both, and then cancels the task by itself."""
    job, task = await begin(system)
    await system.beat("w1", task.wire_id, status="offline")
    await system.beat("w1", task.wire_id, status="idle")

    await system.answer(task, "cancelled")

    assert (await system.waiting(job.id)).task_id == task.id


async def test_worker_that_said_goodbye_is_back_when_it_polls(system: System) -> None:
    """The oldest workers do not register again; a poll is proof enough, and a cancellation is meant as one again."""
    await system.register("w1")
    await system.beat("w1", status="offline")

    back = await system.workers.poller("w1", Poll(), 1.0)

    stored = await system.storage.find_worker("w1")
    assert back is not None
    assert stored is not None
    assert (back.status, back.available, stored.status) == ("idle", None, "idle")


async def test_cancelled_of_a_worker_that_stays_ends_the_job(system: System) -> None:
    """Without a transition for it, ``cancelled`` cancels."""
    job, task = await begin(system)

    await system.answer(task, "cancelled")

    assert (await system.ended(job.id)).status is JobStatus.CANCELLED


# --- fan-out ---


async def test_aggregator_gets_the_results_of_all_branches(system: System) -> None:
    """Task ids, statuses, data, params and workers arrive where the branches join, whatever their order."""
    seen: list[dict[str, Any]] = []
    flow = fan_out_flow(seen)
    system.add(flow)
    job_id = await system.create({"files": ["a", "b", "c"]}, name="fan")
    await system.waiting(job_id, JobStatus.WAITING_FOR_PARALLEL_TASKS)
    tasks = [await system.take("w1", "analyse") for _ in range(3)]

    for task in reversed(tasks):
        assert (await system.jobs.get(job_id)).status is JobStatus.WAITING_FOR_PARALLEL_TASKS
        await system.answer(task, data={"size": task.index})

    job = await system.ended(job_id)
    assert job.status is JobStatus.FINISHED
    assert job.result.value() == {"sizes": [0, 1, 2]}
    (results,) = seen
    assert list(results) == [task.id for task in tasks]
    assert results[tasks[1].id] == {
        "status": "success",
        "data": {"size": 1},
        "task_type": "analyse",
        "params": {"file": "b"},
        "worker_id": "w1",
        "attempt": 1,
    }


async def test_last_branches_at_once_start_the_aggregator_once(system: System) -> None:
    """However the results race, the branches join once."""
    seen: list[dict[str, Any]] = []
    system.add(fan_out_flow(seen))
    job_id = await system.create({"files": list("abcdefgh")}, name="fan")
    await system.waiting(job_id, JobStatus.WAITING_FOR_PARALLEL_TASKS)
    tasks = [await system.take("w1", "analyse") for _ in range(8)]

    await asyncio.gather(*(system.answer(task, data={"size": 1}) for task in tasks))

    assert (await system.ended(job_id)).result.value() == {"sizes": [1] * 8}
    assert len(seen) == 1


async def test_fan_out_of_nothing_goes_straight_on(system: System) -> None:
    """An empty list of tasks is joined at once."""
    seen: list[dict[str, Any]] = []
    system.add(fan_out_flow(seen))

    job = await system.ended(await system.create({"files": []}, name="fan"))

    assert (seen, job.result.value()) == ([{}], {"sizes": []})


async def test_branch_that_fails_for_good_quarantines_the_job_when_all_have_ended(system: System) -> None:
    """The other branches may finish; then the failure decides."""
    seen: list[dict[str, Any]] = []
    system.add(fan_out_flow(seen))
    job_id = await system.create({"files": ["a", "b"]}, name="fan")
    await system.waiting(job_id, JobStatus.WAITING_FOR_PARALLEL_TASKS)
    bad, good = [await system.take("w1", "analyse") for _ in range(2)]
    await system.answer(bad, "failure", error_code="PERMANENT_ERROR", error_message="unreadable")
    assert not (await system.jobs.get(job_id)).is_terminal

    await system.answer(good, data={"size": 1})

    job = await system.ended(job_id)
    assert (job.status, job.failure.message, seen) == (JobStatus.QUARANTINED, "unreadable", [])


def fan_out_flow(seen: list[dict[str, Any]]) -> StateMachineBlueprint:
    """Returns a blueprint that analyses each file in a task of its own."""
    flow = StateMachineBlueprint("fan")

    @flow.handler_for("split", is_start=True)
    async def split(files: list[str], actions: Any) -> None:
        tasks = [{"type": "analyse", "params": {"file": file}} for file in files]
        actions.dispatch_parallel(tasks, aggregate_into="join")

    @flow.aggregator_for("join")
    async def join(aggregation_results: dict[str, Any], state_history: dict[str, Any], actions: Any) -> None:
        seen.append(aggregation_results)
        state_history["sizes"] = [result["data"]["size"] for result in aggregation_results.values()]
        actions.transition_to("end")

    @flow.handler_for("end", is_end=True)
    async def end() -> None: ...

    return flow


# --- heartbeats ---


async def test_worker_is_told_to_stop_the_task_of_a_cancelled_job(system: System) -> None:
    """The next heartbeat's answer names the task by the id that the worker knows."""
    job, task = await begin(system)
    await system.beat("w1", task.wire_id)
    await system.jobs.cancel(job.id)

    answer = await system.beat("w1", task.wire_id)

    assert answer == {"status": "ok", "cancel_task_ids": [task.wire_id]}


@pytest.mark.parametrize(
    ("status", "code"), [("success", ""), ("failure", "PERMANENT_ERROR"), ("failure", "TRANSIENT_ERROR")]
)
async def test_worker_that_waits_for_the_answer_to_its_result_is_not_told_to_stop(
    system: System, status: str, code: str
) -> None:
    """To stop it while it sends the result again costs published workers a slot."""
    _, task = await begin(system)
    await system.answer(task, status, error_code=code)

    answer = await system.beat("w1", task.wire_id)

    assert answer == {"status": "ok"}


async def test_worker_that_was_given_up_for_good_is_told_to_stop(system: System) -> None:
    """What the engine ended by its clock is no result of the worker, though it reads like a failure."""
    _, task = await begin(system, timeout_seconds=10)
    while task.attempt < 4:
        await system.clock.advance(200)
        task = await system.take("w1")
    await system.clock.advance(200)

    answer = await system.beat("w1", task.wire_id)

    assert answer["cancel_task_ids"] == [task.wire_id]


async def test_worker_that_obeys_is_not_told_again(system: System) -> None:
    """Told twice, published workers stop the sending of their last result, too; after ten seconds it was not heard."""
    job, task = await begin(system)
    await system.jobs.cancel(job.id)

    answers = [await system.beat("w1", task.wire_id)]
    for seconds in (0, 5, 4.9, 0.1, 5):
        await system.clock.advance(seconds)
        answers.append(await system.beat("w1", task.wire_id))

    assert ["cancel_task_ids" in answer for answer in answers] == [True, False, False, False, True, False]


async def test_worker_with_a_socket_is_told_there_first(system: System) -> None:
    """Whichever engine holds the socket; the heartbeat says it again if the worker is at it ten seconds later."""
    await system.register("w1", extra={"websockets": True})
    job, task = await begin(system)
    await system.jobs.cancel(job.id)

    first = await system.beat("w1", task.wire_id)
    await system.clock.advance(10)
    later = await system.beat("w1", task.wire_id)

    assert first == {"status": "ok"}
    assert later["cancel_task_ids"] == [task.wire_id]


def test_orders_that_were_given_are_not_remembered_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest are forgotten first."""
    monkeypatch.setattr("avtomatika.runtime.stop_orders._REMEMBERED", 2)
    orders = StopOrders()
    task = Task("t", "j", "work", "work", TaskStatus.CANCELLED, 0.0, attempt=9)

    told = [orders.is_due(task, TaskClaim("t", attempt, "w1"), 1.0, has_socket=False) for attempt in (1, 2, 3, 3, 1)]

    assert told == [True, True, True, False, True]


async def test_workers_that_come_in_a_crowd_are_told_to_come_apart(system: System) -> None:
    """Each waits a different while, once; a few workers, and those that come later, are not bothered."""
    few = [await system.beat(f"few-{n}") for n in range(3)]
    await system.clock.advance(3)
    names = [f"many-{n}" for n in range(40)]
    for name in names:
        await system.register(name)
    first = [await system.beat(name) for name in names]
    second = [await system.beat(name) for name in names]

    jitters = [answer["next_heartbeat_jitter_ms"] for answer in first if "next_heartbeat_jitter_ms" in answer]
    assert not any("next_heartbeat_jitter_ms" in answer for answer in [*few, *second])
    assert (len(jitters), len(set(jitters))) == (20, 20)
    assert all(0 < jitter <= 4000 for jitter in jitters)


async def test_tasks_of_other_engines_are_never_stopped(system: System) -> None:
    """A worker that serves several engines names the tasks of all of them."""
    _, task = await begin(system)

    answer = await system.beat("w1", task.wire_id, "a-task-of-somebody-else-1", "weird", "")

    assert answer == {"status": "ok"}


async def test_worker_is_told_to_stop_a_task_that_another_took_over(system: System) -> None:
    """Two workers shall not do the same task for longer than needed."""
    _, task = await begin(system)
    await system.clock.advance(25)
    await system.take("w2")

    answer = await system.beat("w1", task.wire_id)

    assert answer["cancel_task_ids"] == [task.wire_id]


async def test_unknown_worker_is_adopted_from_a_heartbeat_with_skills(system: System) -> None:
    """The oldest workers never register twice; after a restart their heartbeat must do."""
    heartbeat = Heartbeat("old", skills=(Skill("paint"),), available=frozenset({"paint"}), dialect="G1")

    answer = await system.workers.heartbeat(heartbeat)

    known = await system.storage.find_worker("old")
    assert answer == {"status": "ok"}
    assert known is not None
    assert known.skill_names == ("paint",)


async def test_unknown_worker_without_skills_is_asked_for_everything(system: System) -> None:
    """Newer workers send their skills when they are asked to; nothing is guessed before."""
    answer = await system.workers.heartbeat(Heartbeat("new", current_tasks=(), dialect="G4"))

    assert answer == {"status": "ok", "require_full_sync": True}
    assert await system.storage.find_worker("new") is None


async def test_unknown_worker_keeps_the_tasks_it_names(system: System) -> None:
    """An engine that forgot the worker does not take its work away."""
    _, task = await begin(system)
    await system.storage.remove_worker("w1")
    await system.clock.advance(15)

    await system.beat("w1", task.wire_id)
    await system.clock.advance(30)

    stored = await system.storage.find_task(task.id)
    assert stored is not None
    assert (stored.status, stored.confirmed) == (TaskStatus.CLAIMED, True)


async def test_heartbeat_without_tasks_keeps_all_claims_of_the_worker(system: System) -> None:
    """The first generation never says what it runs; its sign of life stands for all of it, and for nobody else's."""
    job, task = await begin(system)
    _, foreign = await begin(system, "w2")
    for _ in range(6):
        await system.clock.advance(15)
        await system.workers.heartbeat(Heartbeat("w1", "busy", skills=(Skill("work"),), dialect="G0"))

    stored = [await system.storage.find_task(one.id) for one in (task, foreign)]

    assert [one.status for one in stored if one] == [TaskStatus.CLAIMED, TaskStatus.QUEUED]
    await system.answer(task)
    assert (await system.ended(job.id)).status is JobStatus.FINISHED


async def test_empty_heartbeat_keeps_worker_and_tasks_alive(system: System) -> None:
    """Foreign clients may send no body at all."""
    _, task = await begin(system)
    for _ in range(10):
        await system.clock.advance(15)
        assert await system.workers.heartbeat(Heartbeat("w1")) == {"status": "ttl_refreshed"}

    stored = await system.storage.find_task(task.id)
    assert await system.storage.find_worker("w1") is not None
    assert stored is not None
    assert stored.status is TaskStatus.CLAIMED


async def test_silent_worker_is_forgotten(system: System) -> None:
    """Ids are random per start, so what is silent must go."""
    await system.clock.advance(120)

    assert await system.storage.list_workers() == []


# --- polls ---


async def test_poll_of_an_unknown_worker_waits_for_its_heartbeat(system: System) -> None:
    """A worker that the engine forgot is served as soon as it is known again, and not refused before."""
    poll = asyncio.create_task(system.workers.poller("w9", Poll(), 30))
    await system.settle()
    assert not poll.done()

    await system.workers.heartbeat(Heartbeat("w9", skills=(Skill("work"),), dialect="G1"))

    profile = await poll
    assert profile is not None
    assert profile.skill_names == ("work",)


async def test_poll_of_a_stranger_ends_when_its_time_is_over(system: System) -> None:
    """An immediate answer would make old workers poll a hundred times a second."""
    poll = asyncio.create_task(system.workers.poller("w9", Poll(), 30))
    await system.clock.advance(29)
    assert not poll.done()

    await system.clock.advance(1)

    assert await poll is None


async def test_poll_that_names_skills_introduces_the_worker(system: System) -> None:
    """What stands in the poll is enough to be given a task."""
    profile = await system.workers.poller("w9", Poll(available=frozenset({"work"}), hot=frozenset({"work"})), 30)

    assert profile is not None
    assert (profile.skill_names, profile.hot) == (("work",), {"work"})


# --- progress ---


async def test_progress_of_the_holder_becomes_the_jobs(system: System) -> None:
    """A worker's progress stands at the job, and wakes whoever waits for the job."""
    job, task = await begin(system)
    waiting = asyncio.create_task(system.jobs.wait(job.id, job.version, 1e9))
    await system.settle()

    await system.workers.events.take(progress(task, 0.25, "one quarter"), "w1")

    told = await system.storage.find_progress(job.id)
    assert told is not None
    assert (told.value, told.message, told.task_id) == (0.25, "one quarter", task.wire_id)
    assert (await waiting).version == job.version


async def test_progress_of_a_stranger_is_ignored(system: System) -> None:
    """Neither another worker nor another kind of event changes a job's progress."""
    job, task = await begin(system)

    await system.workers.events.take(progress(task, 0.9), "w2")
    await system.workers.events.take(WorkerEventMessage("other", {"progress": 0.9}, task_id=task.wire_id), "w1")
    await system.workers.events.take(WorkerEventMessage("progress", {"progress": 0.9}, task_id="nothing-1"), "w1")

    assert await system.storage.find_progress(job.id) is None


def progress(task: Task, value: float, message: str = "") -> WorkerEventMessage:
    """Returns the event that tells of progress."""
    return WorkerEventMessage("progress", {"progress": value, "message": message}, task_id=task.wire_id)
