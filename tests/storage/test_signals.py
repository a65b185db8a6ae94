"""What every storage promises to those who listen to it."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from avtomatika.core.effects import RecordHistory
from avtomatika.core.events import TimerKind
from avtomatika.core.job import Job
from avtomatika.core.states import JobStatus
from avtomatika.storage.base import Progress, Ready, Signal, Storage, Timer
from avtomatika.testing import FakeClock

from .builders import START, a_batch, a_job, a_task, claim_of, claim_one, create, go_on
from .ear import Ear


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
