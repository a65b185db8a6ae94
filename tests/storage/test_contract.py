"""What every storage promises: one test for each sentence of ``storage/base.py``, over all backends."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from msgspec.structs import replace

from avtomatika.core.document import Document
from avtomatika.core.effects import RecordHistory
from avtomatika.core.events import TimerKind
from avtomatika.core.history import HistoryEvent
from avtomatika.core.job import Client, Failure, FanOut, Job, Task, job_fields
from avtomatika.core.states import JobStatus, TaskStatus
from avtomatika.core.waits import ApprovalWait
from avtomatika.errors import DocumentError
from avtomatika.protocol.messages import Skill, WorkerProfile
from avtomatika.storage.base import (
    Batch,
    Change,
    Committed,
    Dedupe,
    Duplicate,
    Fault,
    Hold,
    JobClaim,
    JobQuery,
    Progress,
    Queue,
    Ready,
    Signal,
    Stale,
    Storage,
    TakenTasks,
    TaskClaim,
    Timer,
    WakeUp,
)
from avtomatika.testing import FakeClock

from .conftest import MakeStorage

START = FakeClock().now()
ALL = frozenset(job_fields())


def a_job(job_id: str = "j1", version: int = 1, **facts: object) -> Job:
    """Returns a job; its other fields are given or plain."""
    plain = {"status": JobStatus.PENDING, "state": "start", "created_at": START, "updated_at": START}
    return Job(job_id, "orders", "v1", version=version, **{**plain, **facts})


def a_task(task_id: str = "t1", job_id: str = "j1", **facts: object) -> Task:
    """Returns a queued task; its other fields are given or plain."""
    plain = {"type": "render", "queue": "render", "status": TaskStatus.QUEUED, "created_at": START}
    return Task(task_id, job_id, **{**plain, **facts})


def a_batch(job: Job, **facts: object) -> Batch:
    """Returns a batch that writes the whole job."""
    return Batch(job, ALL, START, **facts)


async def create(storage: Storage, job: Job | None = None, **facts: object) -> Job:
    """Creates a job, with a wake-up that is due unless something else is given."""
    job = job or a_job()
    facts = facts or {"ready": Ready(START)}
    assert await storage.commit(a_batch(job, **facts)) == Committed(1)
    return job


async def go_on(storage: Storage, job: Job, **facts: object) -> Job:
    """Commits the next version of a job."""
    job = replace(job, version=job.version + 1)
    assert await storage.commit(a_batch(job, **facts)) == Committed(job.version)
    return job


async def claim_one(storage: Storage, owner: str = "e1", lease: float = 10) -> JobClaim:
    """Claims the only due job."""
    (claim,) = await storage.claim_jobs(owner, 10, lease)
    return claim


async def claimed_task(storage: Storage, task: Task | None = None, lease: float = 30) -> Task:
    """Creates a job with a task and lets w1 claim it."""
    task = task or a_task()
    await create(storage, queue_tasks=[task])
    claimed = await storage.claim_task("w1", [task.queue], lease)
    assert claimed is not None
    return claimed


def claim_of(task: Task) -> TaskClaim:
    """Returns the claim that the task says it is under."""
    return TaskClaim(task.id, task.attempt, task.worker_id)


def close(task: Task, status: TaskStatus = TaskStatus.SUCCEEDED) -> Task:
    """Returns the task as ended."""
    return replace(task, status=status, ended_at=START, lease_until=None)


async def event_types(storage: Storage) -> list[str]:
    """Returns the types of what is in the outbox."""
    return [event.type for event in await events_of(storage)]


async def events_of(storage: Storage, limit: int = 1000) -> list[HistoryEvent]:
    """Returns the rows of the oldest steps in the outbox."""
    return [event for step in await storage.read_events(limit) for event in step.decode()]


class Ear:
    """Hears the signals of a storage."""

    def __init__(self, storage: Storage) -> None:
        self.signals: list[Signal] = []
        self.stop = storage.subscribe(self.signals.append)

    def take(self) -> list[Signal]:
        """Returns what was heard since the last time."""
        heard, self.signals[:] = self.signals[:], []
        return heard


# --- opening and time ---


async def test_open_and_close_twice_are_harmless(storage: Storage) -> None:
    """Opening and closing are idempotent."""
    await storage.open()
    await create(storage)
    await storage.open()

    assert await storage.find_job("j1") == a_job()
    await storage.close()
    await storage.close()
    await storage.open()


async def test_now_follows_the_clock(storage: Storage, clock: FakeClock) -> None:
    """Deadlines are measured by one clock."""
    await clock.advance(5)

    assert await storage.now() == START + 5


# --- commit: creation ---


async def test_job_created_is_found_as_committed(storage: Storage) -> None:
    """Every field comes back as it was written."""
    job = a_job(
        initial_data=Document.of({"order": 7}),
        client=Client("shop", "gold", {"region": "eu"}),
        failure=Failure("E", "m"),
        fan_out=FanOut("f", "join", 2, 0, Failure("X", "y")),
        tracing_context={"traceparent": "00-1"},
        dispatch_timeout=5.0,
    )

    await create(storage, job)

    assert await storage.find_job("j1") == job


async def test_unknown_job_is_none(storage: Storage) -> None:
    """A job that was never created is not found, and it waits for nothing."""
    assert await storage.find_job("nobody") is None
    assert await storage.find_wake_up("nobody") == WakeUp()
    assert await storage.list_tasks("nobody") == []


async def test_job_created_twice_is_stale(storage: Storage) -> None:
    """A creation that is repeated after an unclear error changes nothing."""
    await create(storage)

    outcome = await storage.commit(a_batch(a_job(state="other"), ready=Ready(START)))

    assert outcome == Stale(1)
    assert await storage.find_job("j1") == a_job()


async def test_commit_on_a_missing_job_is_stale(storage: Storage) -> None:
    """Only version 1 creates a job."""
    assert await storage.commit(a_batch(a_job(version=2), ready=Ready(START))) == Stale(0)
    assert await storage.find_job("j1") is None


async def test_dedupe_key_known_returns_the_first_creation(storage: Storage) -> None:
    """Of two creations under one key, the first counts, and the second sees its fingerprint."""
    await create(storage, ready=Ready(START), dedupe=Dedupe("shop:k", "print-1", 60))

    outcome = await storage.commit(a_batch(a_job("j2"), ready=Ready(START), dedupe=Dedupe("shop:k", "print-2", 60)))

    assert outcome == Duplicate("j1", "print-1")
    assert await storage.find_job("j2") is None
    assert await storage.count_jobs() == {JobStatus.PENDING: 1}


async def test_dedupe_key_goes_before_the_version(storage: Storage) -> None:
    """A creation that is repeated sees its own key, not a stale version."""
    key = Dedupe("shop:k", "print-1", 60)
    await create(storage, ready=Ready(START), dedupe=key)

    assert await storage.commit(a_batch(a_job(), ready=Ready(START), dedupe=key)) == Duplicate("j1", "print-1")


async def test_dedupe_key_of_a_stale_commit_is_not_remembered(storage: Storage) -> None:
    """What was not written leaves no key."""
    await create(storage)
    key = Dedupe("shop:k", "print-1", 60)

    assert await storage.commit(a_batch(a_job(), ready=Ready(START), dedupe=key)) == Stale(1)

    await create(storage, a_job("j2"), ready=Ready(START), dedupe=key)


async def test_dedupe_key_is_forgotten_after_its_time(storage: Storage, clock: FakeClock) -> None:
    """A key counts for its ttl and not longer."""
    await create(storage, ready=Ready(START), dedupe=Dedupe("k", "p", 60))

    await clock.advance(59.9)
    assert await storage.commit(a_batch(a_job("j2"), ready=Ready(START), dedupe=Dedupe("k", "p", 60))) == Duplicate(
        "j1", "p"
    )
    await clock.advance(0.2)

    await create(storage, a_job("j2"), ready=Ready(START), dedupe=Dedupe("k", "p", 60))


async def test_creations_racing_under_one_key_make_one_job(storage: Storage) -> None:
    """However many creations race, exactly one job is there."""
    batches = [a_batch(a_job(f"j{n}"), ready=Ready(START), dedupe=Dedupe("k", "p", 60)) for n in range(10)]

    outcomes = await asyncio.gather(*map(storage.commit, batches))

    assert outcomes.count(Committed(1)) == 1
    assert sum(isinstance(outcome, Duplicate) for outcome in outcomes) == 9
    assert len(await storage.list_jobs(JobQuery())) == 1


# --- commit: versions ---


async def test_commit_writes_named_fields_only(storage: Storage) -> None:
    """A field that is not named keeps its stored value; the version is always written."""
    await create(storage, a_job(attempt=3))

    changed = a_job(version=2, state="next", attempt=9)
    assert await storage.commit(Batch(changed, frozenset({"state"}), START)) == Committed(2)

    assert await storage.find_job("j1") == a_job(version=2, state="next", attempt=3)


@pytest.mark.parametrize("version", [1, 2, 4])
async def test_commit_on_another_version_is_stale(storage: Storage, version: int) -> None:
    """Only the version that follows the stored one is written; nothing of another batch is."""
    job = await go_on(storage, await create(storage))
    event = RecordHistory("state_started", "start")
    wrong = replace(job, version=version, state="wrong")

    outcome = await storage.commit(
        a_batch(
            wrong,
            ready=Ready(START + 99),
            queue_tasks=[a_task()],
            set_timers=[Timer("j1", TimerKind.JOB, START + 9)],
            events=[event],
            finish=True,
        )
    )

    assert outcome == Stale(2)
    assert await storage.find_job("j1") == job
    assert await storage.find_wake_up("j1") == WakeUp(ready_at=START)
    assert await storage.find_task("t1") is None
    assert await storage.read_events(10) == []


async def test_commits_racing_on_one_version_are_applied_once(storage: Storage) -> None:
    """Of many commits on the same version exactly one is applied."""
    job = await create(storage)
    batches = [a_batch(replace(job, version=2, state=f"s{n}")) for n in range(20)]

    outcomes = await asyncio.gather(*map(storage.commit, batches))

    winner = outcomes.index(Committed(2))
    assert outcomes.count(Stale(2)) == 19
    assert (await storage.find_job("j1")).state == f"s{winner}"


async def test_commit_that_cannot_be_stored_changes_nothing(storage: Storage) -> None:
    """A value that no storage can hold is refused before anything is written."""
    await create(storage)
    bad = a_task(requirements={"gpu": object()})

    with pytest.raises(DocumentError, match="gpu"):
        await storage.commit(a_batch(a_job(version=2, state="next"), queue_tasks=[bad]))

    assert await storage.find_job("j1") == a_job()
    assert await storage.list_queues() == []


async def test_stored_records_cannot_be_changed_from_outside(storage: Storage) -> None:
    """A dict that was handed in or out is no door to what is stored."""
    params = {"region": "eu"}
    await create(storage, a_job(client=Client("shop", "", params)))

    params["region"] = "changed"
    (await storage.find_job("j1")).client.params["region"] = "changed"

    assert (await storage.find_job("j1")).client.params == {"region": "eu"}


# --- commit: claims of jobs ---


async def test_commit_with_a_claim_consumes_it(storage: Storage) -> None:
    """A step that brings nothing new leaves the job without wake-up."""
    await create(storage)
    claim = await claim_one(storage)

    await go_on(storage, claim.job, claim=claim.token, queue_tasks=[a_task()])

    assert await storage.claim_jobs("e1", 10, 10) == []
    assert await storage.extend_claims([claim.token], 10) == [claim.token]


async def test_commit_with_a_claim_and_a_wake_up_replaces_it(storage: Storage) -> None:
    """The new wake-up counts its deliveries from the start."""
    await create(storage)
    claim = await claim_one(storage)

    await go_on(storage, claim.job, claim=claim.token, ready=Ready(START))

    again = await claim_one(storage)
    assert (again.job.version, again.deliveries) == (2, 1)
    assert again.token != claim.token


async def test_commit_with_a_lost_claim_is_stale(storage: Storage, clock: FakeClock) -> None:
    """Who was taken over writes nothing, although the version fits."""
    await create(storage)
    first = await claim_one(storage, "e1")
    await clock.advance(11)
    await claim_one(storage, "e2")

    outcome = await storage.commit(a_batch(a_job(version=2), claim=first.token, ready=Ready(START)))

    assert outcome == Stale(1)


async def test_commit_with_the_claim_of_another_job_is_stale(storage: Storage) -> None:
    """A token is good for its own job."""
    await create(storage, a_job("j1"))
    await create(storage, a_job("j2"))
    claims = {claim.job.id: claim.token for claim in await storage.claim_jobs("e1", 2, 10)}

    assert await storage.commit(a_batch(a_job("j1", 2), claim=claims["j2"])) == Stale(1)


async def test_commit_with_a_released_claim_is_stale(storage: Storage) -> None:
    """A claim that was given back is gone."""
    await create(storage)
    claim = await claim_one(storage)
    await storage.release_claims([claim.token])

    assert await storage.commit(a_batch(a_job(version=2), claim=claim.token)) == Stale(1)


async def test_commit_with_an_ended_claim_that_nobody_took_over_is_applied(storage: Storage, clock: FakeClock) -> None:
    """Late but not taken over is in time."""
    await create(storage)
    claim = await claim_one(storage)
    await clock.advance(11)

    await go_on(storage, claim.job, claim=claim.token, queue_tasks=[a_task()])

    assert await storage.claim_jobs("e2", 10, 10) == []


async def test_claim_kept_stays_with_its_owner(storage: Storage, clock: FakeClock) -> None:
    """A kept claim serves for the next commit; nobody else gets the job, and the lease runs on."""
    await create(storage)
    claim = await claim_one(storage, lease=10)

    job = await go_on(storage, claim.job, claim=claim.token, keep_claim=True)

    assert await storage.claim_jobs("e2", 10, 10) == []
    assert await storage.find_wake_up("j1") == WakeUp(claimed_by="e1", claimed_until=START + 10)
    await go_on(storage, job, claim=claim.token, keep_claim=True)
    await clock.advance(10)
    again = await claim_one(storage, "e2")
    assert (again.job.version, again.deliveries) == (3, 2)


async def test_claim_kept_with_a_new_wake_up_holds_it_from_the_start(storage: Storage, clock: FakeClock) -> None:
    """A chained step is a new wake-up: not queued, delivered once, and there when its engine dies."""
    await create(storage)
    await claim_one(storage)
    await clock.advance(11)
    claim = await claim_one(storage)
    assert claim.deliveries == 2

    await go_on(storage, claim.job, claim=claim.token, keep_claim=True, ready=Ready(START + 11, priority=3))

    assert await storage.claim_jobs("e2", 10, 10) == []
    await clock.advance(11)
    assert (await claim_one(storage, "e2")).deliveries == 2


async def test_wake_up_that_its_step_holds_is_the_engines_from_the_start(storage: Storage, clock: FakeClock) -> None:
    """A step may claim what it wakes: nobody else gets it, it counts as delivered, and it outlives its engine."""
    await create(storage, ready=Ready(START), hold=Hold("e1", "j1/1/e1", 10))

    assert await storage.claim_jobs("e2", 10, 10) == []
    assert await storage.find_wake_up("j1") == WakeUp(claimed_by="e1", claimed_until=START + 10)
    await clock.advance(10)
    assert (await claim_one(storage, "e2")).deliveries == 2


async def test_hold_serves_as_a_claim(storage: Storage, clock: FakeClock) -> None:
    """It is extended, kept, given back and consumed like any other, and another token is refused."""
    job = await create(storage, ready=Ready(START), hold=Hold("e1", "j1/1/e1", 10))
    await clock.advance(9)

    assert await storage.extend_claims(["j1/1/e1", "j1/2/e1"], 10) == ["j1/2/e1"]
    assert await storage.commit(a_batch(replace(job, version=2), claim="j1/2/e1")) == Stale(1)
    job = await go_on(storage, job, claim="j1/1/e1", keep_claim=True, ready=Ready(START))
    await storage.release_claims(["j1/1/e1"])
    claim = await claim_one(storage, "e2")
    assert claim.deliveries == 1
    await go_on(storage, job, claim=claim.token, queue_tasks=[a_task()])
    assert await storage.find_wake_up("j1") == WakeUp(tasks=(a_task(),))


async def test_hold_takes_the_place_of_a_claim(storage: Storage) -> None:
    """A step from outside that goes on with a job takes it from the engine that had it."""
    await create(storage)
    claim = await claim_one(storage)

    await go_on(storage, claim.job, ready=Ready(START), hold=Hold("e2", "j1/1/e2", 10))

    assert await storage.extend_claims([claim.token, "j1/1/e2"], 10) == [claim.token]
    assert await storage.claim_jobs("e3", 10, 10) == []


async def test_hold_tells_of_its_end_and_of_no_wake_up(storage: Storage) -> None:
    """Runners need not look at what is taken already; watchers must know when it ends."""
    heard: list[Signal] = []
    storage.subscribe(heard.append, "ready", "timer")

    await create(storage, ready=Ready(START), hold=Hold("e1", "j1/1/e1", 10))

    assert heard == [Signal("timer", at=START + 10)]
    assert await storage.next_wake_at() == START + 10


async def test_commit_without_a_claim_leaves_the_claim(storage: Storage) -> None:
    """A step from outside does not take the job from its engine; the version tells it."""
    await create(storage)
    claim = await claim_one(storage)

    await go_on(storage, claim.job)

    assert await storage.extend_claims([claim.token], 10) == []
    assert await storage.commit(a_batch(a_job(version=2), claim=claim.token)) == Stale(2)


async def test_commit_without_a_claim_and_with_a_wake_up_takes_the_job(storage: Storage) -> None:
    """There is one wake-up for each job: the new one replaces the claimed one."""
    await create(storage)
    claim = await claim_one(storage)

    await go_on(storage, claim.job, ready=Ready(START))

    assert await storage.extend_claims([claim.token], 10) == [claim.token]
    assert (await claim_one(storage, "e2")).deliveries == 1


async def test_wake_up_replaced_is_due_at_the_new_moment(storage: Storage, clock: FakeClock) -> None:
    """The old moment does not count any more."""
    job = await create(storage)
    await go_on(storage, job, ready=Ready(START + 5))

    assert await storage.claim_jobs("e1", 10, 10) == []
    await clock.advance(5)
    await claim_one(storage)


async def test_wake_up_replaced_by_an_earlier_one_comes_once(storage: Storage, clock: FakeClock) -> None:
    """The later moment of a wake-up that was replaced passes without it."""
    job = await create(storage, ready=Ready(START + 5))
    await go_on(storage, job, ready=Ready(START))
    await claim_one(storage, lease=60)

    await clock.advance(5)

    assert await storage.claim_jobs("e2", 10, 10) == []


async def test_claim_that_ended_and_is_kept_can_be_taken_over_with_its_new_wake_up(
    storage: Storage, clock: FakeClock
) -> None:
    """An engine that comes late with a chained step leaves it to whoever looks next."""
    await create(storage)
    claim = await claim_one(storage, lease=10)
    await clock.advance(11)
    assert await storage.claim_jobs("e2", 0, 10) == []

    await go_on(storage, claim.job, claim=claim.token, keep_claim=True, ready=Ready(START + 11, priority=2))

    again = await claim_one(storage, "e2")
    assert (again.job.version, again.deliveries) == (2, 2)


# --- commit: the end ---


async def test_finish_forgets_everything_the_job_owned(storage: Storage) -> None:
    """A job that has ended owns no wake-up, claim, timer or progress, whatever the batch says."""
    timer = Timer("j1", TimerKind.JOB, START)
    await create(storage, ready=Ready(START), set_timers=[timer])
    await storage.put_progress("j1", Progress(0.5))
    claim = await claim_one(storage)

    await go_on(
        storage,
        replace(claim.job, status=JobStatus.FINISHED),
        finish=True,
        ready=Ready(START),
        set_timers=[Timer("j1", TimerKind.RETRY, START)],
    )

    assert await storage.find_wake_up("j1") == WakeUp()
    assert await storage.claim_jobs("e1", 10, 10) == []
    assert await storage.claim_timers(10, 10) == []
    assert await storage.find_progress("j1") is None
    assert await storage.next_wake_at() is None
    assert await storage.extend_claims([claim.token], 10) == [claim.token]


async def test_tasks_of_a_finished_job_are_still_readable(storage: Storage) -> None:
    """What the tasks brought stays with the job."""
    task = await claimed_task(storage)
    done = close(replace(task, data=Document.of([1])))

    await go_on(storage, a_job(status=JobStatus.FINISHED), finish=True, save_tasks=[done])

    assert await storage.list_tasks("j1") == [done]
    assert await storage.list_queues() == []
    assert await storage.expired_tasks(10) == []


# --- listing and counting ---


async def many_jobs(storage: Storage) -> None:
    """Creates six jobs of two clients, in no order of time."""
    for number, second in enumerate([3, 1, 5, 2, 4, 4]):
        job = a_job(
            f"j{number}",
            created_at=START + second,
            client=Client("a" if number % 2 else "b"),
            status=JobStatus.RUNNING if number < 3 else JobStatus.PENDING,
        )
        await create(storage, replace(job, blueprint="orders" if number else "returns"))


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        (JobQuery(), ["j2", "j5", "j4", "j0", "j3", "j1"]),
        (JobQuery(limit=2), ["j2", "j5"]),
        (JobQuery(limit=2, offset=1), ["j5", "j4"]),
        (JobQuery(offset=9), []),
        (JobQuery(limit=0), []),
        (JobQuery(client="a"), ["j5", "j3", "j1"]),
        (JobQuery(client="a", limit=1, offset=1), ["j3"]),
        (JobQuery(status=JobStatus.RUNNING), ["j2", "j0", "j1"]),
        (JobQuery(blueprint="returns"), ["j0"]),
        (JobQuery(since=START + 4), ["j2", "j5", "j4"]),
        (JobQuery(before=(START + 4, "j5")), ["j4", "j0", "j3", "j1"]),
        (JobQuery(before=(START + 4, "j4"), client="b"), ["j0"]),
        (JobQuery(client="nobody"), []),
    ],
)
async def test_list_jobs_by_a_query_returns_newest_first(storage: Storage, query: JobQuery, ids: list[str]) -> None:
    """Jobs come by creation, newest first, then by id, and only those that the query means."""
    await many_jobs(storage)

    assert [job.id for job in await storage.list_jobs(query)] == ids


async def test_count_jobs_follows_every_commit(storage: Storage) -> None:
    """Only statuses that occur are counted."""
    assert await storage.count_jobs() == {}
    job = await create(storage)
    await create(storage, a_job("j2"))
    assert await storage.count_jobs() == {JobStatus.PENDING: 2}

    job = await go_on(storage, replace(job, status=JobStatus.RUNNING))
    assert await storage.count_jobs() == {JobStatus.PENDING: 1, JobStatus.RUNNING: 1}

    await go_on(storage, replace(job, status=JobStatus.FAILED), finish=True)
    assert await storage.count_jobs() == {JobStatus.PENDING: 1, JobStatus.FAILED: 1}


# --- what a job waits for ---


async def test_wake_up_of_a_waiting_job_tells_timers_and_tasks_in_order(storage: Storage) -> None:
    """Timers come earliest first, open tasks by creation, then by index."""
    tasks = [a_task("t1", index=1), a_task("t2", index=0), a_task("t3", created_at=START - 1, index=9)]
    late, early = Timer("j1", TimerKind.JOB, START + 9), Timer("j1", TimerKind.RESULT, START + 5, "t1")
    ended = close(a_task("t4"))

    await create(storage, queue_tasks=tasks, save_tasks=[ended], set_timers=[late, early])

    wake_up = await storage.find_wake_up("j1")
    assert list(wake_up.timers) == [early, late]
    assert [task.id for task in wake_up.tasks] == ["t3", "t2", "t1"]
    assert wake_up.ready_at is None


async def test_wake_up_of_an_ended_claim_is_ready_again(storage: Storage, clock: FakeClock) -> None:
    """A claim shows until it ends; then the job waits for the next engine."""
    await create(storage, ready=Ready(START - 5))
    await claim_one(storage, "e7", lease=10)
    assert await storage.find_wake_up("j1") == WakeUp(claimed_by="e7", claimed_until=START + 10)

    await clock.advance(10)

    assert await storage.find_wake_up("j1") == WakeUp(ready_at=START - 5)


async def test_progress_the_last_one_wins(storage: Storage) -> None:
    """Progress is remembered beside the job and never in conflict with it."""
    await create(storage)
    assert await storage.find_progress("j1") is None

    await storage.put_progress("j1", Progress(0.2, "began", "t1", START))
    await storage.put_progress("j1", Progress(0.1, "again", "t1", START))

    assert await storage.find_progress("j1") == Progress(0.1, "again", "t1", START)
    assert await storage.find_job("j1") == a_job()


async def test_progress_of_an_ended_or_unknown_job_is_ignored(storage: Storage) -> None:
    """What comes after the end is not kept."""
    await create(storage, a_job(status=JobStatus.FINISHED), finish=True)

    await storage.put_progress("j1", Progress(0.5))
    await storage.put_progress("nobody", Progress(0.5))

    assert await storage.find_progress("j1") is None
    assert await storage.find_progress("nobody") is None


# --- the ready queue ---


async def test_claim_jobs_takes_them_in_order(storage: Storage) -> None:
    """Higher priority first, then earlier due, then earlier queued; what is not due stays."""
    wake_ups = [Ready(START - 1), Ready(START - 2), Ready(START, 5.0), Ready(START - 1), Ready(START + 1, 9.0)]
    for number, ready in enumerate(wake_ups):
        await create(storage, a_job(f"j{number}"), ready=ready)

    first = await storage.claim_jobs("e1", 3, 10)
    rest = await storage.claim_jobs("e1", 3, 10)

    assert [claim.job.id for claim in first] == ["j2", "j1", "j0"]
    assert [claim.job.id for claim in rest] == ["j3"]
    assert all(claim.deliveries == 1 for claim in first)
    assert len({claim.token for claim in first + rest}) == 4


async def test_claim_jobs_of_none_takes_none(storage: Storage) -> None:
    """A limit of 0 is an answer too."""
    await create(storage)

    assert await storage.claim_jobs("e1", 0, 10) == []
    await claim_one(storage)


async def test_claim_jobs_returns_the_job_as_stored(storage: Storage) -> None:
    """The job of a claim is the one of the last commit."""
    job = await go_on(storage, await create(storage))

    assert (await claim_one(storage)).job == job


async def test_claims_racing_never_share_a_job(storage: Storage) -> None:
    """However many engines claim, each wake-up is one engine's."""
    for number in range(30):
        await create(storage, a_job(f"j{number}"))

    answers = await asyncio.gather(*(storage.claim_jobs(f"e{n}", 4, 10) for n in range(10)))

    taken = [claim.job.id for claims in answers for claim in claims]
    assert sorted(taken) == sorted(f"j{n}" for n in range(30))


async def test_claim_that_ended_is_taken_over(storage: Storage, clock: FakeClock) -> None:
    """A lease ends by itself, not a moment earlier, and the delivery is counted."""
    await create(storage)
    await claim_one(storage, "e1", lease=10)

    await clock.advance(9.9)
    assert await storage.claim_jobs("e2", 10, 10) == []
    await clock.advance(0.1)

    assert (await claim_one(storage, "e2")).deliveries == 2


async def test_claim_extended_lasts_from_now(storage: Storage, clock: FakeClock) -> None:
    """An extension counts from the moment it is asked for."""
    await create(storage)
    claim = await claim_one(storage, lease=10)
    await clock.advance(8)

    assert await storage.extend_claims([claim.token], 10) == []

    await clock.advance(9.9)
    assert await storage.claim_jobs("e2", 10, 10) == []
    await clock.advance(0.1)
    assert len(await storage.claim_jobs("e2", 10, 10)) == 1


async def test_claim_that_ended_is_revived_if_nobody_took_over(storage: Storage, clock: FakeClock) -> None:
    """An engine that was held up for a while goes on."""
    await create(storage)
    claim = await claim_one(storage, "e1")
    await clock.advance(60)
    assert await storage.claim_jobs("e2", 0, 10) == []

    assert await storage.extend_claims([claim.token], 10) == []

    assert await storage.claim_jobs("e2", 10, 10) == []
    await go_on(storage, claim.job, claim=claim.token, ready=Ready(START))


async def test_claims_lost_are_returned(storage: Storage, clock: FakeClock) -> None:
    """Only the tokens of lost claims come back: taken over, given back, unknown."""
    for number in range(3):
        await create(storage, a_job(f"j{number}"), ready=Ready(START + number - 2))
    over, back, good = await storage.claim_jobs("e1", 3, 10)
    await storage.extend_claims([back.token, good.token], 60)
    await clock.advance(10)
    await claim_one(storage, "e2")
    await storage.release_claims([back.token])

    lost = await storage.extend_claims([over.token, good.token, back.token, "nonsense"], 10)

    assert lost == [over.token, back.token, "nonsense"]


async def test_claim_released_is_due_at_once_in_its_old_place(storage: Storage) -> None:
    """What is given back is before what came later, and its claim is not counted."""
    await create(storage, a_job("j1"))
    claim = await claim_one(storage)
    await create(storage, a_job("j2"))

    await storage.release_claims([claim.token, "nonsense"])
    await storage.release_claims([claim.token])

    again = await storage.claim_jobs("e2", 10, 10)
    assert [(c.job.id, c.deliveries) for c in again] == [("j1", 1), ("j2", 1)]


async def test_claim_released_with_a_later_wake_up_is_due_at_once(storage: Storage) -> None:
    """A chained step that its engine gives back does not wait."""
    await create(storage)
    claim = await claim_one(storage)
    await go_on(storage, claim.job, claim=claim.token, keep_claim=True, ready=Ready(START + 50))

    await storage.release_claims([claim.token])

    assert await storage.find_wake_up("j1") == WakeUp(ready_at=START)
    await claim_one(storage, "e2")


async def test_claim_kept_with_a_new_wake_up_is_queued_behind_older_ones(storage: Storage, clock: FakeClock) -> None:
    """A chained step that comes back is as young as its commit."""
    await create(storage, a_job("j1"))
    claim = await claim_one(storage)
    await create(storage, a_job("j2"))
    await go_on(storage, claim.job, claim=claim.token, keep_claim=True, ready=Ready(START))
    await clock.advance(10)

    claims = await storage.claim_jobs("e2", 10, 10)

    assert [claim.job.id for claim in claims] == ["j2", "j1"]


# --- tasks: queues and claims ---


async def test_claim_task_makes_it_the_workers(storage: Storage, clock: FakeClock) -> None:
    """The claimed task says who has it and until when; the job's version stays."""
    task = a_task(params=Document.of({"n": 1}), requirements={"gpu": 1}, confirmed=True)
    await create(storage, queue_tasks=[task])
    await clock.advance(3)

    claimed = await storage.claim_task("w1", ["render"], 20)

    assert claimed == replace(
        task,
        status=TaskStatus.CLAIMED,
        worker_id="w1",
        claimed_at=START + 3,
        lease_until=START + 23,
        confirmed=False,
        deliveries=1,
    )
    assert await storage.find_task("t1") == claimed
    assert (await storage.find_job("j1")).version == 1
    assert await storage.claim_task("w2", ["render"], 20) is None


async def test_claim_task_may_bring_its_job_along(storage: Storage) -> None:
    """The same task under the same claim, with its job as it is then, unless that is too large or elsewhere."""
    job = await create(storage, queue_tasks=[a_task("t1"), a_task("t2")])

    taken = await storage.claim_task_and_job("w1", ["render"], 10, 1000)
    with_a_large_job = await storage.claim_task_and_job("w1", ["render"], 10, 1)

    assert taken in [(await storage.find_task("t1"), job), (await storage.find_task("t1"), None)]
    assert with_a_large_job is not None
    assert with_a_large_job[0] == await storage.find_task("t2")
    assert await storage.list_claims("w1") == [TaskClaim("t1", 1, "w1"), TaskClaim("t2", 1, "w1")]
    assert await storage.claim_task_and_job("w1", ["render"], 10, 1000) is None


async def test_claim_task_lasts_no_longer_than_its_timeout(storage: Storage) -> None:
    """A lease is never longer than the time that the task has."""
    claimed = await claimed_task(storage, a_task(timeout_seconds=5.0), lease=30)

    assert claimed.lease_until == START + 5


async def test_claim_task_records_the_start(storage: Storage, clock: FakeClock) -> None:
    """The history tells who began which attempt, in which state."""
    await create(
        storage,
        a_job(state="draw"),
        queue_tasks=[a_task(attempt=2)],
        events=[RecordHistory("task_dispatched", "draw")],
    )
    await clock.advance(3)

    await storage.claim_task("w1", ["render"], 20)

    event = (await events_of(storage))[-1]
    assert (event.type, event.sequence, event.at, event.blueprint) == ("task_started", 2, START + 3, "orders")
    assert (event.state, event.worker_id, event.attempt, event.task_id) == ("draw", "w1", 2, "t1")


async def test_claim_task_takes_the_best_of_all_queues(storage: Storage) -> None:
    """Higher priority first, then older, then first queued, across the queues that are asked for."""
    tasks = [
        a_task("t1", queue="a"),
        a_task("t2", queue="b", created_at=START - 5),
        a_task("t3", queue="b", priority=2.0),
        a_task("t4", queue="a", priority=2.0, created_at=START - 1),
        a_task("t5", queue="a"),
        a_task("t6", queue="c", priority=9.0),
    ]
    await create(storage, queue_tasks=tasks)

    taken = [await storage.claim_task("w1", ["a", "b", "nowhere"], 10) for _ in range(6)]

    assert [task and task.id for task in taken] == ["t4", "t3", "t2", "t1", "t5", None]


async def test_claim_task_takes_first_what_was_queued_first(storage: Storage) -> None:
    """Among tasks that are equal otherwise, the names do not matter."""
    await create(storage, queue_tasks=[a_task(name) for name in ("t9", "t1", "t5")])

    taken = [await storage.claim_task("w1", ["render"], 10) for _ in range(3)]

    assert [task and task.id for task in taken] == ["t9", "t1", "t5"]


async def test_claim_task_takes_first_what_was_queued_first_in_any_queue(storage: Storage) -> None:
    """Among equal tasks of several queues, neither the names nor the order of the queues matter."""
    await create(storage, queue_tasks=[a_task("t9", queue="b"), a_task("t1", queue="a"), a_task("t5", queue="b")])

    taken = [await storage.claim_task("w1", ["a", "b"], 10) for _ in range(3)]

    assert [task and task.id for task in taken] == ["t9", "t1", "t5"]


async def test_claim_task_of_no_queue_is_none(storage: Storage) -> None:
    """Who asks for nothing gets nothing."""
    await create(storage, queue_tasks=[a_task()])

    assert await storage.claim_task("w1", [], 10) is None


async def test_claim_tasks_takes_what_single_claims_would_take(storage: Storage) -> None:
    """In the same order, across queues; what still waits is counted."""
    tasks = [
        a_task("t1", queue="a"),
        a_task("t2", queue="b", created_at=START - 5),
        a_task("t3", queue="b", priority=2.0),
        a_task("t4", queue="a", priority=2.0, created_at=START - 1),
        a_task("t5", queue="a"),
        a_task("t6", queue="c", priority=9.0),
    ]
    await create(storage, queue_tasks=tasks)

    first = await storage.claim_tasks("w1", ["a", "b", "nowhere"], 10, 3)
    rest = await storage.claim_tasks("w2", ["a", "b"], 10, 3)

    assert ([task.id for task in first.tasks], first.left) == (["t4", "t3", "t2"], 2)
    assert ([task.id for task in rest.tasks], rest.left) == (["t1", "t5"], 0)
    assert await storage.claim_tasks("w1", ["a", "b"], 10, 3) == TakenTasks([], 0)


async def test_claim_tasks_writes_what_single_claims_write(storage: Storage, clock: FakeClock) -> None:
    """Each is the worker's under a lease of its own, and its start joins the history."""
    await create(storage, queue_tasks=[a_task("t1"), a_task("t2", timeout_seconds=4.0, index=1)])

    taken = await storage.claim_tasks("w1", ["render"], 10, 5)

    assert [(task.status, task.worker_id, task.deliveries) for task in taken.tasks] == [
        (TaskStatus.CLAIMED, "w1", 1),
        (TaskStatus.CLAIMED, "w1", 1),
    ]
    assert [task.lease_until for task in taken.tasks] == [START + 10, START + 4]
    assert [await storage.find_task(task.id) for task in taken.tasks] == list(taken.tasks)
    assert [claim.task_id for claim in await storage.list_claims("w1")] == ["t1", "t2"]


async def test_workers_racing_never_share_a_task(storage: Storage) -> None:
    """However many workers ask, each task is one worker's."""
    await create(storage, queue_tasks=[a_task(f"t{n}", index=n) for n in range(10)])

    taken = await asyncio.gather(*(storage.claim_task(f"w{n}", ["render"], 10) for n in range(25)))

    got = [task for task in taken if task]
    assert sorted(task.id for task in got) == [f"t{n}" for n in range(10)]
    assert taken.count(None) == 15


async def test_queues_tell_what_waits(storage: Storage) -> None:
    """A queue has the needs of its tasks, how many wait and since when; an empty one is not listed."""
    special = {"queue": "render#1", "requirements": {"gpu": "A100"}, "max_cost": 2.5}
    await create(
        storage,
        queue_tasks=[
            a_task("t1", priority=1.0),
            a_task("t2", created_at=START - 7),
            a_task("t3", **special),
        ],
    )

    assert await storage.list_queues() == [
        Queue("render", "render", None, None, 2, START - 7),
        Queue("render#1", "render", {"gpu": "A100"}, 2.5, 1, START),
    ]
    assert (await storage.claim_task("w1", ["render"], 10)).id == "t1"
    assert (await storage.claim_task("w1", ["render"], 10)).id == "t2"
    assert [queue.name for queue in await storage.list_queues()] == ["render#1"]


async def test_queue_that_was_empty_takes_the_needs_of_its_next_task(storage: Storage) -> None:
    """Nothing is remembered of a queue that has run empty."""
    task = await claimed_task(storage, a_task(max_cost=1.0))
    job = await go_on(storage, a_job(), save_tasks=[close(task)], queue_tasks=[a_task("t2", max_cost=2.0)])

    assert [queue.max_cost for queue in await storage.list_queues()] == [2.0]
    await go_on(storage, job)


async def test_task_moved_to_another_queue_leaves_the_old_one(storage: Storage) -> None:
    """A task waits in one queue."""
    job = await create(storage, queue_tasks=[a_task()])

    await go_on(storage, job, queue_tasks=[a_task(queue="other")])

    assert await storage.claim_task("w1", ["render"], 10) is None
    assert (await storage.claim_task("w1", ["other"], 10)).id == "t1"


async def test_task_queued_again_keeps_its_place(storage: Storage) -> None:
    """Among equals the first time decides, so that a task that comes back does not wait again."""
    first, second = a_task("t1"), a_task("t2")
    job = await create(storage, queue_tasks=[first, second])
    held = await storage.claim_task("w1", ["render"], 10)

    await go_on(storage, job, queue_tasks=[replace(held, status=TaskStatus.QUEUED, lease_until=None)])

    assert (await storage.claim_task("w2", ["render"], 10)).id == "t1"
    assert await storage.expired_tasks(10) == []


async def test_task_saved_leaves_queue_and_lease(storage: Storage, clock: FakeClock) -> None:
    """A task that is saved can neither be claimed nor end its lease."""
    job = await create(storage, queue_tasks=[a_task("t1"), a_task("t2")])
    held = await storage.claim_task("w1", ["render"], 10)
    delayed = [replace(task, status=TaskStatus.DELAYED) for task in (held, a_task("t2"))]

    await go_on(storage, job, save_tasks=delayed, set_timers=[Timer("j1", TimerKind.RETRY, START + 99, "t1")])
    await clock.advance(11)

    assert await storage.list_queues() == []
    assert await storage.expired_tasks(10) == []
    assert await storage.list_tasks("j1") == delayed


async def test_cancel_closes_every_open_task(storage: Storage, clock: FakeClock) -> None:
    """Queued, claimed and delayed tasks are cancelled; ended ones and other jobs' stay."""
    ended = close(a_task("t3"))
    delayed = a_task("t4", status=TaskStatus.DELAYED)
    job = await create(storage, queue_tasks=[a_task("t1"), a_task("t2")], save_tasks=[ended, delayed])
    await create(storage, a_job("j2"), queue_tasks=[a_task("x1", "j2")])
    held = await storage.claim_task("w1", ["render"], 10)

    await go_on(storage, replace(job, status=JobStatus.CANCELLED), cancel_open_tasks=True, finish=True)
    await clock.advance(11)

    cancelled = [replace(task, status=TaskStatus.CANCELLED, ended_at=START) for task in (held, a_task("t2"), delayed)]
    tasks = {task.id: task for task in await storage.list_tasks("j1")}
    assert tasks == {task.id: task for task in [*cancelled, ended]}
    assert await storage.expired_tasks(10) == []
    assert (await storage.claim_task("w1", ["render"], 10)).id == "x1"
    assert await storage.renew_tasks([claim_of(held)], 10) == [claim_of(held)]


async def test_cancel_comes_before_the_tasks_that_the_batch_names(storage: Storage) -> None:
    """The branch whose failure ends the others keeps its own status, and new work is not cancelled."""
    job = await create(storage, queue_tasks=[a_task("t1"), a_task("t2")])
    failed = close(a_task("t1"), TaskStatus.FAILED)

    await go_on(storage, job, cancel_open_tasks=True, save_tasks=[failed], queue_tasks=[a_task("t3", index=1)])

    assert [task.status for task in await storage.list_tasks("j1")] == [
        TaskStatus.FAILED,
        TaskStatus.CANCELLED,
        TaskStatus.QUEUED,
    ]


async def test_cancel_forgets_the_timers_of_tasks(storage: Storage, clock: FakeClock) -> None:
    """What is called off has no deadline; those of the job itself, of other jobs and of new work stand."""
    timers = [Timer("j1", kind, START + 5, task) for kind, task in [(TimerKind.RETRY, "t1"), (TimerKind.JOB, "")]]
    job = await create(storage, queue_tasks=[a_task("t1"), a_task("t2")], set_timers=timers)
    await create(storage, a_job("j2"), set_timers=[Timer("j2", TimerKind.RESULT, START + 5, "x1")])

    fresh = Timer("j1", TimerKind.DISPATCH, START + 5, "t3")
    await go_on(storage, job, cancel_open_tasks=True, queue_tasks=[a_task("t3", index=1)], set_timers=[fresh])
    await clock.advance(6)

    fired = {(timer.job_id, timer.kind, timer.task_id) for timer in await storage.claim_timers(10, 10)}
    assert fired == {
        ("j1", TimerKind.JOB, ""),
        ("j1", TimerKind.DISPATCH, "t3"),
        ("j2", TimerKind.RESULT, "x1"),
    }


async def test_tasks_are_listed_by_fan_out_in_order(storage: Storage) -> None:
    """By creation, then by index; of one fan-out if asked for."""
    first = [a_task(f"a{n}", index=n, fan_out="a") for n in (2, 0, 1)]
    second = [a_task(f"b{n}", index=n, fan_out="b", created_at=START - 1) for n in (1, 0)]
    await create(storage, queue_tasks=first + second)

    assert [task.id for task in await storage.list_tasks("j1")] == ["b0", "b1", "a0", "a1", "a2"]
    assert [task.id for task in await storage.list_tasks("j1", "a")] == ["a0", "a1", "a2"]
    assert await storage.list_tasks("j1", "c") == []


async def test_job_and_task_are_found_together(storage: Storage) -> None:
    """One question for both answers what two do, also where one of them or both are missing."""
    task = await claimed_task(storage)

    assert await storage.find_job_and_task("j1", "t1") == (a_job(), task)
    assert await storage.find_job_and_task("j1", "nothing") == (a_job(), None)
    assert await storage.find_job_and_task("nobody", "t1") == (None, task)
    assert await storage.find_job_and_task("nobody", "nothing") == (None, None)
    assert await storage.find_job_and_task("", "t1") == (None, task)


async def test_unknown_task_is_none(storage: Storage) -> None:
    """A task that was never written is not found."""
    assert await storage.find_task("nothing") is None


# --- tasks: results ---


async def test_result_of_the_claim_is_committed(storage: Storage) -> None:
    """Who holds the task brings its result."""
    task = await claimed_task(storage)

    await go_on(storage, a_job(), task_claim=claim_of(task), save_tasks=[close(task)], ready=Ready(START))

    assert (await storage.find_task("t1")).status is TaskStatus.SUCCEEDED


@pytest.mark.parametrize(
    "wrong",
    [TaskClaim("t1", 1, "w2"), TaskClaim("t1", 2, "w1"), TaskClaim("t9", 1, "w1"), TaskClaim("t1", 1, "")],
)
async def test_result_of_another_claim_is_stale(storage: Storage, wrong: TaskClaim) -> None:
    """Another worker, another attempt or an unknown task changes nothing."""
    task = await claimed_task(storage)

    outcome = await storage.commit(a_batch(a_job(version=2), task_claim=wrong, save_tasks=[close(task)]))

    assert outcome == Stale(1)
    assert await storage.find_task("t1") == task


async def test_result_of_a_closed_task_is_stale(storage: Storage) -> None:
    """A result counts once."""
    task = await claimed_task(storage)
    job = await go_on(storage, a_job(), task_claim=claim_of(task), save_tasks=[close(task)], ready=Ready(START))

    again = a_batch(replace(job, version=3), task_claim=claim_of(task), save_tasks=[close(task)])

    assert await storage.commit(again) == Stale(2)


async def test_result_late_but_not_taken_over_is_accepted(storage: Storage, clock: FakeClock) -> None:
    """A lease that ended, and even a new place in the queue, do not void a result until another worker has it."""
    task = await claimed_task(storage, lease=10)
    await clock.advance(11)
    queued = replace(task, status=TaskStatus.QUEUED, lease_until=None)
    job = await go_on(storage, a_job(), task_claim=claim_of(task), queue_tasks=[queued])

    await go_on(storage, job, task_claim=claim_of(task), save_tasks=[close(queued)], ready=Ready(START))

    assert await storage.list_queues() == []


async def test_result_after_a_take_over_is_stale(storage: Storage, clock: FakeClock) -> None:
    """Once another worker holds the task, the first one's result is void."""
    task = await claimed_task(storage, lease=10)
    await clock.advance(11)
    queued = replace(task, status=TaskStatus.QUEUED, lease_until=None)
    job = await go_on(storage, a_job(), queue_tasks=[queued])
    second = await storage.claim_task("w2", ["render"], 10)

    late = a_batch(replace(job, version=3), task_claim=claim_of(task), save_tasks=[close(task)])

    assert second.deliveries == 2
    assert await storage.commit(late) == Stale(2)


async def test_results_racing_for_one_task_count_once(storage: Storage) -> None:
    """A result that is sent many times at once is written once."""
    task = await claimed_task(storage)
    batch = a_batch(a_job(version=2), task_claim=claim_of(task), save_tasks=[close(task)], ready=Ready(START))

    outcomes = await asyncio.gather(*(storage.commit(batch) for _ in range(8)))

    assert outcomes.count(Committed(2)) == 1
    assert outcomes.count(Stale(2)) == 7


# --- tasks: leases ---


async def test_renewal_lasts_from_now_and_confirms(storage: Storage, clock: FakeClock) -> None:
    """A heartbeat that names the task moves the end of its lease and proves its start."""
    task = await claimed_task(storage, lease=10)
    await clock.advance(8)

    assert await storage.renew_tasks([claim_of(task)], 30) == []

    renewed = await storage.find_task("t1")
    assert renewed == replace(task, lease_until=START + 38, confirmed=True)
    await clock.advance(29.9)
    assert await storage.expired_tasks(10) == []
    await clock.advance(0.1)
    assert await storage.expired_tasks(10) == [renewed]


async def test_renewal_ends_with_the_time_of_the_task(storage: Storage, clock: FakeClock) -> None:
    """Heartbeats cannot make a task last longer than its timeout."""
    task = await claimed_task(storage, a_task(timeout_seconds=25.0), lease=10)
    await clock.advance(8)

    assert await storage.renew_tasks([claim_of(task)], 60) == []

    assert (await storage.find_task("t1")).lease_until == START + 25


async def test_renewal_of_a_lease_that_ended_is_a_claim_again(storage: Storage, clock: FakeClock) -> None:
    """Until somebody decides about it, the task is still its worker's."""
    task = await claimed_task(storage, lease=10)
    await clock.advance(60)
    assert len(await storage.expired_tasks(10)) == 1

    assert await storage.renew_tasks([claim_of(task)], 10) == []

    assert await storage.expired_tasks(10) == []


async def test_renewal_of_a_task_queued_again_takes_it_back(storage: Storage, clock: FakeClock) -> None:
    """A worker that was given up and still works keeps its task if no other has taken it."""
    task = await claimed_task(storage, lease=10)
    await clock.advance(11)
    await go_on(storage, a_job(), queue_tasks=[replace(task, status=TaskStatus.QUEUED, lease_until=None)])

    assert await storage.renew_tasks([claim_of(task)], 30) == []

    assert await storage.find_task("t1") == replace(task, lease_until=START + 41, confirmed=True)
    assert await storage.claim_task("w2", ["render"], 10) is None
    assert await storage.list_queues() == []


async def test_renewal_of_a_task_queued_again_after_its_time_is_lost(storage: Storage, clock: FakeClock) -> None:
    """A worker that has used up the task's time does not get it back."""
    task = await claimed_task(storage, a_task(timeout_seconds=20.0), lease=10)
    await clock.advance(20)
    await go_on(storage, a_job(), queue_tasks=[replace(task, status=TaskStatus.QUEUED, lease_until=None)])

    assert await storage.renew_tasks([claim_of(task)], 30) == [claim_of(task)]

    assert (await storage.claim_task("w2", ["render"], 10)).id == "t1"


async def test_renewal_of_what_is_not_held_is_returned(storage: Storage, clock: FakeClock) -> None:
    """Other workers', other attempts', closed, delayed and unknown tasks come back; the rest is renewed."""
    await create(storage, queue_tasks=[a_task(f"t{n}", index=n) for n in range(1, 6)])
    held = [await storage.claim_task("w1", ["render"], 10) for _ in range(5)]
    retried = replace(held[3], status=TaskStatus.DELAYED)
    new_attempt = replace(held[4], status=TaskStatus.QUEUED, attempt=2, deliveries=0)
    await go_on(storage, a_job(), save_tasks=[close(held[2]), retried], queue_tasks=[new_attempt])
    claims = [
        claim_of(held[0]),
        TaskClaim("t2", 1, "w2"),
        TaskClaim("t2", 2, "w1"),
        claim_of(held[2]),
        claim_of(held[3]),
        claim_of(held[4]),
        TaskClaim("t5", 2, "w1"),
        TaskClaim("nothing", 1, "w1"),
    ]

    assert await storage.renew_tasks(claims, 30) == claims[1:]

    await clock.advance(10)
    assert [task.id for task in await storage.expired_tasks(10)] == ["t2"]


async def test_claims_of_a_worker_are_listed_by_task(storage: Storage, clock: FakeClock) -> None:
    """What a worker holds is told, also after the lease, until it is closed, given back or queued again."""
    await create(storage, queue_tasks=[a_task(f"t{n}", index=n, attempt=n) for n in (3, 2, 1, 4, 5)])
    held = [await storage.claim_task(name, ["render"], 10) for name in ("w1", "w1", "w1", "w2", "w1")]
    await clock.advance(11)
    assert await storage.list_claims("w1") == [TaskClaim(f"t{n}", n, "w1") for n in (1, 2, 3, 5)]

    queued = replace(held[2], status=TaskStatus.QUEUED, lease_until=None)
    await go_on(storage, a_job(), save_tasks=[close(held[0])], queue_tasks=[queued])
    await storage.release_task(claim_of(held[4]))

    assert await storage.list_claims("w1") == [TaskClaim("t2", 2, "w1")]
    assert await storage.list_claims("w2") == [TaskClaim("t4", 4, "w2")]
    assert await storage.list_claims("nobody") == []


async def test_leases_that_ended_come_earliest_first(storage: Storage, clock: FakeClock) -> None:
    """Ended leases are told, up to the limit, until somebody decides."""
    await create(storage, queue_tasks=[a_task(f"t{n}", index=n) for n in range(4)])
    for lease in (30, 10, 20, 90):
        await storage.claim_task("w1", ["render"], lease)
    await clock.advance(30)

    assert [task.id for task in await storage.expired_tasks(2)] == ["t1", "t2"]
    assert [task.id for task in await storage.expired_tasks(9)] == ["t1", "t2", "t0"]


async def test_release_puts_a_task_back_in_its_old_place(storage: Storage, clock: FakeClock) -> None:
    """A task that was never delivered waits as if it had not been claimed."""
    first, second = a_task("t1"), a_task("t2")
    await create(storage, queue_tasks=[first, second])
    held = await storage.claim_task("w1", ["render"], 10)

    await storage.release_task(claim_of(held))

    assert await storage.find_task("t1") == first
    await clock.advance(11)
    assert await storage.expired_tasks(10) == []
    assert (await storage.claim_task("w2", ["render"], 10)).id == "t1"


@pytest.mark.parametrize(
    "wrong", [TaskClaim("t1", 1, "w2"), TaskClaim("t1", 2, "w1"), TaskClaim("t9", 1, "w1"), TaskClaim("t2", 1, "")]
)
async def test_release_of_what_is_not_held_is_ignored(storage: Storage, wrong: TaskClaim) -> None:
    """Nobody gives back what another holds, nor what waits."""
    await create(storage, queue_tasks=[a_task("t1"), a_task("t2")])
    held = await storage.claim_task("w1", ["render"], 10)

    await storage.release_task(wrong)

    assert await storage.list_tasks("j1") == [held, a_task("t2")]


# --- time ---


async def test_timers_due_come_earliest_first(storage: Storage, clock: FakeClock) -> None:
    """Only timers whose moment has come, up to the limit."""
    timers = [Timer("j1", TimerKind.RESULT, START + at, f"t{at}") for at in (5, 1, 3, 9)]
    await create(storage, set_timers=timers)
    await clock.advance(5)

    assert [timer.at - START for timer in await storage.claim_timers(2, 10)] == [1, 3]
    assert [timer.at - START for timer in await storage.claim_timers(2, 10)] == [5]


async def test_timer_taken_and_not_cleared_comes_back(storage: Storage, clock: FakeClock) -> None:
    """An engine that dies with a timer in hand loses nothing."""
    timer = Timer("j1", TimerKind.JOB, START)
    await create(storage, set_timers=[timer])

    assert await storage.claim_timers(10, 10) == [timer]
    assert await storage.claim_timers(10, 10) == []
    await clock.advance(10)
    assert await storage.claim_timers(10, 10) == [timer]


async def test_timers_racing_are_taken_once(storage: Storage) -> None:
    """However many engines look, a timer fires once at a time."""
    await create(storage, set_timers=[Timer("j1", TimerKind.RESULT, START, f"t{n}") for n in range(6)])

    answers = await asyncio.gather(*(storage.claim_timers(2, 10) for _ in range(6)))

    assert sorted(timer.task_id for timers in answers for timer in timers) == [f"t{n}" for n in range(6)]


async def test_timer_cleared_never_fires(storage: Storage, clock: FakeClock) -> None:
    """A commit forgets a timer, taken or not; one that is not there is no mistake."""
    kinds = [TimerKind.JOB, TimerKind.RETRY]
    job = await create(storage, ready=Ready(START), set_timers=[Timer("j1", kind, START) for kind in kinds])
    await storage.claim_timers(1, 10)

    await go_on(storage, job, clear_timers=[Timer("j1", kind) for kind in [*kinds, TimerKind.DISPATCH]])
    await clock.advance(60)

    assert await storage.claim_timers(10, 10) == []
    assert await storage.next_wake_at() is None


async def test_timer_set_again_replaces_the_old_one(storage: Storage, clock: FakeClock) -> None:
    """There is one timer for each job, kind and task; a new moment counts at once."""
    other = Timer("j1", TimerKind.JOB, START, "t1")
    job = await create(storage, set_timers=[Timer("j1", TimerKind.JOB, START), other])
    await storage.claim_timers(10, 100)

    moved = Timer("j1", TimerKind.JOB, START + 5)
    await go_on(storage, job, clear_timers=[Timer("j1", TimerKind.JOB, 0.0)], set_timers=[moved])
    await clock.advance(5)

    assert await storage.claim_timers(10, 10) == [moved]
    assert set((await storage.find_wake_up("j1")).timers) == {moved, other}


async def test_timer_set_twice_fires_once(storage: Storage, clock: FakeClock) -> None:
    """The new moment counts without the old one being cleared."""
    job = await create(storage, set_timers=[Timer("j1", TimerKind.JOB, START + 1)])
    moved = Timer("j1", TimerKind.JOB, START + 5)

    await go_on(storage, job, set_timers=[moved])

    await clock.advance(4)
    assert await storage.claim_timers(10, 10) == []
    await clock.advance(1)
    assert await storage.claim_timers(10, 10) == [moved]


async def test_next_wake_is_the_earliest_of_all(storage: Storage, clock: FakeClock) -> None:
    """Delayed wake-ups, timers, claims and leases: the earliest counts."""
    assert await storage.next_wake_at() is None
    await create(storage, a_job("j1"), ready=Ready(START + 50))
    assert await storage.next_wake_at() == START + 50

    await create(storage, a_job("j2"), ready=Ready(START))
    await storage.claim_jobs("e1", 1, 40)
    assert await storage.next_wake_at() == START + 40

    await create(storage, a_job("j3"), queue_tasks=[a_task("t3", "j3")])
    await storage.claim_task("w1", ["render"], 30)
    assert await storage.next_wake_at() == START + 30

    await create(storage, a_job("j4"), set_timers=[Timer("j4", TimerKind.JOB, START + 20)])
    assert await storage.next_wake_at() == START + 20
    await clock.advance(20)
    await storage.claim_timers(1, 5)
    assert await storage.next_wake_at() == START + 25


async def test_next_wake_counts_what_is_overdue_but_not_what_can_be_claimed(storage: Storage, clock: FakeClock) -> None:
    """Overdue timers and leases count until they are dealt with; wake-ups that engines leave alone do not."""
    await create(storage, a_job("j1"), ready=Ready(START))
    await create(storage, a_job("j2"), ready=Ready(START + 5))
    await create(storage, a_job("j3"))
    await storage.claim_jobs("e1", 1, 5)
    await clock.advance(10)
    assert await storage.next_wake_at() is None

    await create(storage, a_job("j4"), queue_tasks=[a_task("t4", "j4")])
    await storage.claim_task("w1", ["render"], 5)
    await clock.advance(10)
    assert await storage.next_wake_at() == START + 15


# --- the outbox ---


async def test_events_are_numbered_from_one_without_gaps(storage: Storage) -> None:
    """Each job has its own numbers, over commits and claims; the outbox is oldest first."""
    event = RecordHistory("state_started", "start")
    job = await create(storage, queue_tasks=[a_task()], events=[event, replace(event, type="task_dispatched")])
    await create(storage, a_job("j2"), ready=Ready(START), events=[event])
    await storage.claim_task("w1", ["render"], 10)
    await go_on(storage, job, events=[replace(event, type="state_finished")])

    events = await events_of(storage)

    assert [(e.job_id, e.sequence, e.type) for e in events] == [
        ("j1", 1, "state_started"),
        ("j1", 2, "task_dispatched"),
        ("j2", 1, "state_started"),
        ("j1", 3, "task_started"),
        ("j1", 4, "state_finished"),
    ]


async def test_event_carries_everything_that_was_recorded(storage: Storage) -> None:
    """A row of the history is what the step said, with job, number, moment and blueprint."""
    record = RecordHistory(
        "task_failed", "draw", "w1", 2, "t1", "start", "sorry", 1.5, {"code": "E"}, Document.of({"a": 1})
    )

    await create(storage, ready=Ready(START), events=[record])

    (event,) = await events_of(storage)
    assert (event.job_id, event.sequence, event.at, event.blueprint) == ("j1", 1, START, "orders")
    for name in RecordHistory.__struct_fields__:
        assert getattr(event, name) == getattr(record, name)


async def test_events_stay_until_acknowledged(storage: Storage) -> None:
    """Reading takes nothing away; acknowledging a step takes its rows, once, in any order."""
    job = await create(storage, ready=Ready(START), events=[RecordHistory(f"e{n}", "start") for n in range(2)])
    for number in range(2, 4):
        job = await go_on(storage, job, ready=Ready(START), events=[RecordHistory(f"e{number}", "start")])
    assert [e.type for e in await events_of(storage, 2)] == ["e0", "e1", "e2"]
    assert [step.id for step in await storage.read_events(10)] == ["j1:1", "j1:3", "j1:4"]

    await storage.ack_events(["j1:1", "j1:2", "j1:4", "j1:99", "j9:1", "nonsense"])
    await storage.ack_events(["j1:1"])

    assert await event_types(storage) == ["e2"]


# --- the log of changes ---


async def test_changes_tell_what_each_commit_made(bare_storage: Storage, clock: FakeClock) -> None:
    """A change says whose job it is, how far it is, and how many of its parallel tasks have ended."""
    storage = bare_storage  # the fan-out here has no tasks
    begin = (await storage.read_changes(None, 10)).end
    job = await create(storage, a_job(client=Client("ada")))
    await clock.advance(2)
    waits = {"status": JobStatus.WAITING_FOR_PARALLEL_TASKS, "state": "split", "updated_at": clock.now()}
    await go_on(storage, replace(job, **waits, fan_out=FanOut("f", "join", total=3, open=1)), ready=Ready(START))

    changes = await storage.read_changes(begin, 10)

    first, second = changes.entries
    assert begin < first.position < second.position == changes.end
    assert replace(first, position=0) == Change(0, "j1", "ada", "orders", JobStatus.PENDING, "start", 1, START)
    assert replace(second, position=0) == Change(
        0, "j1", "ada", "orders", waits["status"], "split", 2, START + 2, ended=2, total=3
    )


async def test_changes_are_read_in_stretches(storage: Storage) -> None:
    """Who reads on behind the last change of a stretch misses none and gets none twice."""
    position = (await storage.read_changes(None, 10)).end
    for number in range(5):
        await create(storage, a_job(f"j{number}"))

    found: list[str] = []
    while entries := (await storage.read_changes(position, 2)).entries:
        assert len(entries) <= 2
        found += [change.job_id for change in entries]
        position = entries[-1].position

    assert found == ["j0", "j1", "j2", "j3", "j4"]
    assert position == (await storage.read_changes(None, 0)).end


async def test_change_of_nothing_written_is_not_logged(storage: Storage) -> None:
    """A commit that was too late leaves no trace."""
    job = await create(storage)
    end = (await storage.read_changes(None, 10)).end

    assert isinstance(await storage.commit(a_batch(job)), Stale)

    assert not (await storage.read_changes(end, 10)).entries


async def test_change_after_the_clock_went_back_is_behind_the_others(make_storage: MakeStorage, tmp_path: Path) -> None:
    """Positions rise whatever the clock does."""
    clock = FakeClock(START)
    storage = make_storage(clock, tmp_path)
    await storage.open()
    await create(storage, a_job("before"))
    begin = (await storage.read_changes(None, 1)).end

    clock._now -= 3600
    await create(storage, a_job("after"))

    assert [change.job_id for change in (await storage.read_changes(begin, 10)).entries] == ["after"]
    await storage.close()


async def test_changes_too_old_or_too_many_are_forgotten(storage: Storage, clock: FakeClock) -> None:
    """A reader that may have missed some can see it; one that cannot have is told nothing."""
    begin = (await storage.read_changes(None, 10)).end
    for number in range(4):
        await create(storage, a_job(f"j{number}"))
        await clock.advance(10)
    every = [change.position for change in (await storage.read_changes(begin, 10)).entries]
    assert (await storage.read_changes(begin, 10)).floor <= begin

    await storage.trim_changes(age=35, keep=100)
    by_age = await storage.read_changes(begin, 10)
    await storage.trim_changes(age=100, keep=2)
    by_number = await storage.read_changes(begin, 10)
    await storage.trim_changes(age=100, keep=2)

    assert [change.job_id for change in by_age.entries] == ["j1", "j2", "j3"]
    assert begin < by_age.floor <= every[1]
    assert [change.job_id for change in by_number.entries] == ["j2", "j3"]
    assert every[1] < by_number.floor <= every[2]


async def test_changes_all_forgotten_leave_the_end_where_it_was(storage: Storage, clock: FakeClock) -> None:
    """Who stands at the end of an empty log has missed nothing, and gets what comes next."""
    await create(storage, a_job("j1"))
    await clock.advance(3600)
    await storage.trim_changes(age=60, keep=100)
    empty = await storage.read_changes(None, 10)

    await create(storage, a_job("j2"))

    assert empty.floor <= empty.end
    assert [change.job_id for change in (await storage.read_changes(empty.end, 10)).entries] == ["j2"]


# --- workers ---


async def test_worker_is_remembered_for_its_time(storage: Storage, clock: FakeClock) -> None:
    """A worker that says nothing any more is forgotten; the last word of one that does counts."""
    worker = WorkerProfile("w1", skills=(Skill("render", extra={"x": [1]}),), hot=frozenset("a"), costs={"render": 0.5})
    await storage.put_worker(worker, 30)
    assert await storage.find_worker("w1") == worker
    await clock.advance(20)

    await storage.put_worker(replace(worker, status="busy"), 30)

    await clock.advance(29.9)
    assert await storage.find_worker("w1") == replace(worker, status="busy")
    await clock.advance(0.1)
    assert await storage.find_worker("w1") is None
    assert await storage.list_workers() == []


async def test_workers_are_listed_by_id(storage: Storage) -> None:
    """The order is that of the ids."""
    for name in ("w2", "w10", "a"):
        await storage.put_worker(WorkerProfile(name), 30)

    assert [worker.worker_id for worker in await storage.list_workers()] == ["a", "w10", "w2"]


async def test_worker_removed_leaves_its_tasks_until_their_leases_end(storage: Storage, clock: FakeClock) -> None:
    """A worker that says goodbye is forgotten; its work comes back by lease."""
    await storage.put_worker(WorkerProfile("w1"), 30)
    task = await claimed_task(storage, lease=10)

    await storage.remove_worker("w1")
    await storage.remove_worker("nobody")

    assert await storage.find_worker("w1") is None
    assert await storage.find_task("t1") == task
    await clock.advance(10)
    assert await storage.expired_tasks(10) == [task]


# --- signals ---


async def test_signals_of_a_commit_tell_what_it_brought(storage: Storage) -> None:
    """The job, its wake-up, each task, the earliest timer, and that rows wait."""
    ear = Ear(storage)

    await create(
        storage,
        ready=Ready(START + 3),
        queue_tasks=[a_task("t1", strategy="cheapest"), a_task("t2", queue="render#1", max_cost=1.0)],
        set_timers=[Timer("j1", TimerKind.JOB, START + 9), Timer("j1", TimerKind.RESULT, START + 5, "t1")],
        events=[RecordHistory("state_started", "start")],
    )

    heard = [(s.kind, s.key, s.at, s.final, s.strategy) for s in ear.take()]
    assert heard == [
        ("job", "j1", 0.0, False, "default"),
        ("ready", "", START + 3, False, "default"),
        ("task", "render", 0.0, False, "cheapest"),
        ("task", "render#1", 0.0, False, "default"),
        ("timer", "", START + 5, False, "default"),
        ("event", "", 0.0, False, "default"),
    ]


async def test_signal_of_a_task_tells_what_it_needs(storage: Storage) -> None:
    """Who hands tasks out need not ask what kind of task came."""
    ear = Ear(storage)

    await create(storage, queue_tasks=[a_task(queue="render#1", max_cost=1.0, requirements={"gpu": 1})])

    queue = next(signal.queue for signal in ear.take() if signal.kind == "task")
    assert (queue.name, queue.task_type, queue.max_cost, queue.requirements) == ("render#1", "render", 1.0, {"gpu": 1})


async def test_signal_of_the_end_is_final(storage: Storage) -> None:
    """Whoever waits for the outcome can go."""
    job = await create(storage)
    ear = Ear(storage)

    await go_on(storage, replace(job, status=JobStatus.FINISHED), finish=True, ready=Ready(START))

    assert ear.take() == [Signal("job", "j1", final=True)]


async def test_stale_commit_and_kept_claim_signal_no_wake_up(storage: Storage) -> None:
    """Nothing is told that did not happen."""
    await create(storage)
    claim = await claim_one(storage)
    ear = Ear(storage)

    await storage.commit(a_batch(a_job(version=7), ready=Ready(START)))
    assert ear.take() == []

    await go_on(storage, claim.job, claim=claim.token, keep_claim=True, ready=Ready(START))
    assert ear.take() == [Signal("job", "j1")]


async def test_signals_tell_of_leases_and_of_what_is_given_back(storage: Storage, clock: FakeClock) -> None:
    """Who watches the time hears of each new moment; who waits for work hears of what comes back."""
    await create(storage, a_job("j1"))
    await create(storage, a_job("j2"), queue_tasks=[a_task("t1", "j2")])
    ear = Ear(storage)

    claim = await claim_one(storage, lease=10)
    assert ear.take() == [Signal("timer", at=START + 10)]
    task = await storage.claim_task("w1", ["render"], 20)
    assert ear.take() == [Signal("timer", at=START + 20), Signal("event")]
    await clock.advance(1)
    await storage.renew_tasks([claim_of(task)], 5)
    assert ear.take() == [Signal("timer", at=START + 6)]
    await storage.release_task(claim_of(task))
    assert [(s.kind, s.key) for s in ear.take()] == [("task", "render")]
    await storage.release_claims([claim.token])
    assert ear.take() == [Signal("ready", at=START)]
    await storage.put_progress("j1", Progress(0.5))
    assert ear.take() == [Signal("progress", "j1")]


async def test_signal_comes_after_what_it_tells_of(storage: Storage) -> None:
    """A listener that looks at once finds what it was told."""
    found: list[asyncio.Task[Job | None]] = []

    def look(signal: Signal) -> None:
        if signal.kind == "job":
            found.append(asyncio.ensure_future(storage.find_job(signal.key)))

    storage.subscribe(look)
    await create(storage)

    assert [job.version for job in await asyncio.gather(*found)] == [1]


async def test_listener_that_raises_harms_nobody(storage: Storage, caplog: pytest.LogCaptureFixture) -> None:
    """The commit stands, the others hear of it, and the log says what happened."""

    def fail(_signal: Signal) -> None:
        raise RuntimeError("deaf")

    storage.subscribe(fail)
    ear = Ear(storage)

    await create(storage)

    assert await storage.find_job("j1") == a_job()
    assert [signal.kind for signal in ear.take()] == ["job", "ready"]
    assert "a listener raised" in caplog.text


async def test_listener_hears_only_the_kinds_that_it_named(storage: Storage) -> None:
    """Whoever waits for one thing is not called for the others."""
    heard: list[str] = []
    storage.subscribe(lambda signal: heard.append(signal.kind), "ready", "progress")

    await create(storage)
    await storage.put_progress("j1", Progress(0.5))

    assert heard == ["ready", "progress"]


async def test_listener_that_ended_hears_nothing(storage: Storage) -> None:
    """Ending a subscription twice is harmless, and other subscriptions stay."""
    ear, other = Ear(storage), Ear(storage)

    ear.stop()
    ear.stop()
    await create(storage)

    assert ear.take() == []
    assert len(other.take()) == 2


# --- proof ---


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


# --- retention ---


async def end(storage: Storage, job_id: str, at: float) -> None:
    """Creates a job with an ended task and ends it at a moment."""
    job = await create(storage, a_job(job_id), queue_tasks=[a_task(f"{job_id}-t", job_id)])
    await go_on(
        storage,
        replace(job, status=JobStatus.FINISHED, updated_at=at),
        save_tasks=[close(a_task(f"{job_id}-t", job_id))],
        finish=True,
    )


async def test_purge_forgets_the_jobs_that_ended_first_with_their_tasks(storage: Storage) -> None:
    """Jobs and tasks go together, the earliest first, no more than asked for."""
    for number, job_id in enumerate(("j1", "j2", "j3")):
        await end(storage, job_id, START + number)

    assert await storage.purge_jobs(START + 10, 2) == ["j1", "j2"]

    assert [job.id for job in await storage.list_jobs(JobQuery())] == ["j3"]
    assert await storage.find_job("j1") is None
    assert await storage.find_task("j1-t") is None
    assert await storage.list_tasks("j1") == []
    assert await storage.count_jobs() == {JobStatus.FINISHED: 1}


async def test_purge_keeps_live_jobs_and_those_that_ended_later(storage: Storage) -> None:
    """Only what ended before the moment goes."""
    await create(storage, a_job("live"))
    await end(storage, "late", START + 5)

    assert await storage.purge_jobs(START + 5, 10) == []
    assert await storage.purge_jobs(START + 5.1, 10) == ["late"]
    assert await storage.find_job("live") is not None


async def test_purge_keeps_a_job_whose_history_waits(storage: Storage) -> None:
    """No row of history is lost because its job was forgotten."""
    job = await create(storage, ready=Ready(START), events=[RecordHistory("job_created", "start")])
    await go_on(storage, replace(job, status=JobStatus.FINISHED), finish=True)

    assert await storage.purge_jobs(START + 10, 10) == []
    await storage.ack_events([step.id for step in await storage.read_events(10)])
    assert await storage.purge_jobs(START + 10, 10) == ["j1"]


async def test_purge_keeps_a_job_whose_task_was_started_after_its_end(bare_storage: Storage) -> None:
    """Even the history of a job that should not have gone on is kept until it is acknowledged."""
    await create(bare_storage, a_job(status=JobStatus.FAILED), queue_tasks=[a_task()], finish=True)
    assert await bare_storage.claim_task("w1", ["render"], 10) is not None

    assert await bare_storage.purge_jobs(START + 99, 10) == []
    await bare_storage.ack_events(["j1:1"])
    assert await bare_storage.purge_jobs(START + 99, 10) == ["j1"]


async def test_purge_keeps_a_job_that_goes_on_after_its_end(storage: Storage) -> None:
    """A job that was requeued is live, whenever it had ended."""
    await end(storage, "j1", START)
    job = await storage.find_job("j1")
    assert job is not None

    await go_on(storage, replace(job, status=JobStatus.PENDING), ready=Ready(START))

    assert await storage.purge_jobs(START + 99, 10) == []
    await claim_one(storage)


async def test_purged_job_can_be_created_again(storage: Storage) -> None:
    """Nothing of the old job is left under its id."""
    await end(storage, "j1", START)
    await storage.purge_jobs(START + 1, 10)

    await create(storage, a_job("j1"))

    assert [job.id for job in await storage.list_jobs(JobQuery())] == ["j1"]
