"""What every storage promises about a commit: whole or not at all, once a version, and what the last one leaves."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from avtomatika.core.document import Document
from avtomatika.core.effects import RecordHistory
from avtomatika.core.events import TimerKind
from avtomatika.core.job import Client, Failure
from avtomatika.core.states import JobStatus
from avtomatika.errors import DocumentError
from avtomatika.protocol.files import FileFacts
from avtomatika.storage.base import Batch, Committed, Progress, Ready, Stale, Storage, Timer, WakeUp

from .builders import START, a_batch, a_job, a_task, claim_one, claimed_task, close, create, go_on


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


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("state", ["größe", "size", "größe"]),
        ("failure", [Failure("LOST", "gone"), None, Failure("LATE", "late")]),
        ("file_facts", [{"u": FileFacts(uri="u")}, {}, {"v": FileFacts(uri="v")}]),
    ],
)
async def test_field_has_its_last_value_whatever_kind_it_had_before(
    storage: Storage, field: str, values: list[object]
) -> None:
    """A storage may keep values of different kinds in different ways; the one written last counts."""
    job = await create(storage, a_job(**{field: values[0]}))

    for value in values[1:]:
        job = await go_on(storage, replace(job, **{field: value}))

        assert getattr(await storage.find_job("j1"), field) == value


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
