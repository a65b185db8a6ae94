"""Jobs from outside: created once, found by their owners, waited for, cancelled."""

from __future__ import annotations

import asyncio

import pytest

from avtomatika.core.job import Client
from avtomatika.core.states import JobStatus, TaskStatus
from avtomatika.errors import BlueprintError, DocumentError, JobNotFoundError, JobStateError
from avtomatika.storage.base import Dedupe, Duplicate

from .conftest import FOREVER, System, chain, task_flow


@pytest.fixture
async def system(system: System) -> System:
    """A running system with a blueprint that waits for a worker."""
    system.add(task_flow())
    system.add(chain(1, "quick"))
    return system


# --- create ---


async def test_new_job_holds_what_it_was_created_with(idle: System) -> None:
    """Data, client, source and deadlines stand in the job."""
    idle.add(task_flow())

    job_id = await idle.create(
        {"n": 1}, client=Client("ann"), source="api", dispatch_timeout=5, result_timeout=60, webhook_url="http://x"
    )

    job = await idle.jobs.get(job_id)
    assert job.initial_data.value() == {"n": 1}
    assert (job.client.name, job.source, job.status, job.state) == ("ann", "api", JobStatus.PENDING, "send")
    assert (job.dispatch_timeout, job.deadline_at, job.webhook_url) == (5, idle.clock.now() + 60, "http://x")


async def test_creation_under_one_key_happens_once(system: System) -> None:
    """The second creation names the first job and makes none."""
    blueprint = system.registry.get("quick")
    key = Dedupe("k", "print", 60)

    first, new = await system.jobs.create(blueprint, {}, dedupe=key)
    second, old = await system.jobs.create(blueprint, {}, dedupe=key)

    assert (first, new) == (second, None)
    assert old == Duplicate(first, "print")
    assert sum((await system.storage.count_jobs()).values()) == 1


async def test_data_that_cannot_be_stored_make_no_job(system: System) -> None:
    """A wrong value is refused with its path before anything is written."""
    with pytest.raises(DocumentError, match=r"initial_data\.rows\[1\] cannot be stored: it is a object"):
        await system.create({"rows": [1, object()]})

    assert await system.storage.count_jobs() == {}


def test_unknown_blueprint_is_named_with_a_guess(system: System) -> None:
    """The message lists what is registered and guesses what was meant."""
    with pytest.raises(BlueprintError, match=r"'quik' is not registered; known: flow, quick\. Did you mean 'quick'\?"):
        system.registry.get("quik")


# --- get ---


async def test_job_of_another_client_cannot_be_told_from_none(system: System) -> None:
    """Whoever guesses an id learns nothing."""
    job_id = await system.create(client=Client("ann"))

    with pytest.raises(JobNotFoundError) as foreign:
        await system.jobs.get(job_id, "bob")
    with pytest.raises(JobNotFoundError) as missing:
        await system.jobs.get("nothing", "bob")

    assert str(foreign.value).replace(job_id, "ID") == str(missing.value).replace("nothing", "ID")
    assert (await system.jobs.get(job_id, "ann")).id == job_id


# --- wait ---


async def test_wait_ends_with_the_next_change(system: System) -> None:
    """Who waits hears of a change when it happens, without time passing."""
    job = await system.waiting(await system.create())
    waiting = asyncio.create_task(system.jobs.wait(job.id, job.version, FOREVER))
    await system.settle()
    assert not waiting.done()

    await system.answer(await system.take())

    assert (await waiting).version > job.version


async def test_wait_for_a_version_that_is_past_returns_at_once(system: System) -> None:
    """A change that came before the wait is not missed."""
    job = await system.waiting(await system.create())

    assert await system.jobs.wait(job.id, job.version - 1, FOREVER) == job


async def test_wait_for_an_ended_job_returns_at_once(system: System) -> None:
    """There is nothing to wait for any more."""
    job = await system.ended(await system.create(name="quick"))

    assert await system.jobs.wait(job.id, job.version, FOREVER) == job


async def test_wait_ends_when_its_time_is_over(system: System) -> None:
    """Nothing happened: the job is returned as it is."""
    job = await system.waiting(await system.create())
    waiting = asyncio.create_task(system.jobs.wait(job.id, job.version, 30))

    await system.clock.advance(30)

    assert waiting.done()
    assert await waiting == job


async def test_wait_for_an_unknown_job_raises(system: System) -> None:
    """There is no job to wait for."""
    with pytest.raises(JobNotFoundError):
        await system.jobs.wait("nothing", 0, FOREVER)


async def test_many_wait_for_one_job(system: System) -> None:
    """All of them hear of the change, and none stays behind."""
    job = await system.waiting(await system.create())
    waiting = [asyncio.create_task(system.jobs.wait(job.id, job.version, FOREVER)) for _ in range(20)]
    await system.settle()

    await system.jobs.cancel(job.id)

    assert {(await one).status for one in waiting} == {JobStatus.CANCELLED}
    assert system.jobs._waiting == {}


async def test_close_releases_whoever_waits(system: System) -> None:
    """A stop is not delayed by open waits."""
    job = await system.waiting(await system.create())
    waiting = asyncio.create_task(system.jobs.wait(job.id, job.version, FOREVER))
    await system.settle()

    system.jobs.close()

    assert await waiting == job


# --- cancel ---


async def test_cancel_ends_a_waiting_job_and_its_tasks_at_once(system: System) -> None:
    """Nothing of a cancelled job is handed out any more."""
    job = await system.waiting(await system.create())

    cancelled = await system.jobs.cancel(job.id, "ann")

    assert cancelled.status is JobStatus.CANCELLED
    assert [task.status for task in await system.storage.list_tasks(job.id)] == [TaskStatus.CANCELLED]
    assert await system.dispatcher.next_task(await system.register("w1"), 0) is None
    assert (await system.rows(job.id))[-1] == "job_cancelled"


async def test_cancel_of_an_ended_job_is_refused_with_its_status(system: System) -> None:
    """What has ended stays as it ended."""
    job = await system.ended(await system.create(name="quick"))

    with pytest.raises(JobStateError, match="is finished and cannot be cancelled"):
        await system.jobs.cancel(job.id)

    assert (await system.jobs.get(job.id)).status is JobStatus.FINISHED


async def test_cancel_of_an_unknown_job_raises(system: System) -> None:
    """There is nothing to cancel."""
    with pytest.raises(JobNotFoundError):
        await system.jobs.cancel("nothing")


async def test_cancel_and_result_at_the_same_time_agree(system: System) -> None:
    """One of them wins, the other one is told; the job never ends twice."""
    for _ in range(20):
        job = await system.waiting(await system.create())
        task = await system.take()

        answer, cancelled = await asyncio.gather(
            system.answer(task), system.jobs.cancel(job.id), return_exceptions=True
        )

        ended = await system.ended(job.id)
        if ended.status is JobStatus.CANCELLED:
            assert not isinstance(cancelled, BaseException)
        else:
            assert answer == {"status": "accepted"}
            assert isinstance(cancelled, JobStateError)
