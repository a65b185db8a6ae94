"""The runner: handlers are called, what they ask for is committed, and nothing they do loses a job."""

from __future__ import annotations

import asyncio
import itertools
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from avtomatika.blueprints import ActionFactory, JobContext, StateMachineBlueprint
from avtomatika.blueprints.requests import Transition
from avtomatika.blueprints.retries import RetryPolicy
from avtomatika.core.effects import Decision
from avtomatika.core.events import HandlerReturned, HandlerStarted
from avtomatika.core.job import Job
from avtomatika.core.states import JobStatus
from avtomatika.core.steps import Limits
from avtomatika.observability.base import Meter
from avtomatika.storage.memory import MemoryStorage
from avtomatika.storage.sqlite import SQLiteStorage
from avtomatika.testing import FakeClock

from .conftest import MakeSystem, System, chain


def one_state(function: Callable[..., Any]) -> StateMachineBlueprint:
    """Returns a blueprint whose only state has this handler."""
    flow = StateMachineBlueprint("flow")
    flow.handler_for("only", is_start=True, is_end=True)(function)
    return flow


async def run(system: System, function: Callable[..., Any], data: dict[str, Any] | None = None) -> Any:
    """Runs a job of one handler and returns it."""
    system.add(one_state(function))
    return await system.ended(await system.create(data))


def ask(actions: ActionFactory, *states: str) -> None:
    """Asks for transitions where the source reader does not see it."""
    for state in states:
        actions.transition_to(state)


# --- calling ---


async def test_async_handler_is_called_in_the_loop(system: System) -> None:
    """An async handler runs on the engine's own loop."""
    threads = []

    async def handler() -> dict[str, int]:
        threads.append(threading.current_thread())
        return {"n": 1}

    job = await run(system, handler)

    assert threads == [threading.main_thread()]
    assert (job.status, job.result.value()) == (JobStatus.FINISHED, {"n": 1})


async def test_plain_handler_is_called_in_a_thread(system: System) -> None:
    """A plain handler may block without holding up the engine."""
    threads = []

    def handler() -> dict[str, int]:
        threads.append(threading.current_thread())
        return {"n": 1}

    job = await run(system, handler)

    assert threads != [threading.main_thread()]
    assert (job.status, job.result.value()) == (JobStatus.FINISHED, {"n": 1})


async def test_two_plain_handlers_run_at_the_same_time(system: System) -> None:
    """One blocking handler does not hold up another."""
    barrier = threading.Barrier(2, timeout=30)

    def handler() -> None:
        barrier.wait()

    system.add(one_state(handler))
    jobs = [await system.create(), await system.create()]

    ended = [await system.ended(job_id) for job_id in jobs]

    assert [job.status for job in ended] == [JobStatus.FINISHED] * 2


async def test_plain_wrapper_of_an_async_handler_is_awaited(system: System) -> None:
    """A decorator that hides the ``async`` of a handler does not break it."""

    async def inner() -> dict[str, int]:
        return {"n": 7}

    def wrapper() -> Any:
        return inner()

    job = await run(system, wrapper)

    assert job.result.value() == {"n": 7}


async def test_handlers_chain_in_one_go(system: System) -> None:
    """Transitions follow each other without time passing; each is a commit with its rows."""
    system.add(chain(3))

    job = await system.ended(await system.create())

    assert job.state_history.value() == {"path": ["s0", "s1", "s2"]}
    assert await system.rows(job.id) == [
        "job_created",
        *["state_started", "state_finished"] * 4,
        "job_completed",
    ]


async def test_changes_of_state_history_are_saved(system: System) -> None:
    """Whatever a handler does to ``state_history``, nested values included, the next one sees."""
    flow = StateMachineBlueprint("flow")

    @flow.handler_for("first", is_start=True)
    async def first(state_history: dict[str, Any], initial_data: dict[str, Any], actions: ActionFactory) -> None:
        state_history["nested"] = {"list": [1]}
        initial_data["n"] = "changed in vain"
        actions.transition_to("second")

    @flow.handler_for("second")
    async def second(context: JobContext, nested: dict[str, Any]) -> None:
        nested["list"].append(context.initial_data["n"])
        context.actions.transition_to("last")

    @flow.handler_for("last", is_end=True)
    async def last() -> None: ...

    system.add(flow)

    job = await system.ended(await system.create({"n": 2}))

    assert job.result.value() == {"nested": {"list": [1, 2]}}
    assert job.initial_data.value() == {"n": 2}


async def test_chain_longer_than_one_go_lets_others_begin(system: System) -> None:
    """After a hundred steps a job queues up again, so that a long one does not starve the rest."""
    order: list[str] = []

    async def note() -> None:
        order.append("short")

    async def note_last(state: str) -> None:
        if state == "s249":
            order.append("long")

    system.add(chain(250, "long", note_last))
    system.add(one_state(note))
    first = await system.create(name="long")
    second = await system.create()

    await system.ended(first)
    await system.ended(second)

    assert order == ["short", "long"]


# --- limits ---


async def test_limit_of_concurrent_jobs_is_never_exceeded(make_system: MakeSystem) -> None:
    """With room for three, three handlers run and the rest waits in the queue until one ends."""
    system = make_system(max_jobs=3)
    running, most = 0, 0
    doors = asyncio.Semaphore(0)

    async def handler() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await doors.acquire()
        running -= 1

    system.add(one_state(handler))
    jobs = [await system.create() for _ in range(10)]
    await system.start()
    await asyncio.gather(*(system.waiting(job_id, JobStatus.RUNNING) for job_id in jobs[:3]))
    counts = await system.storage.count_jobs()
    assert (running, system.runner.active) == (3, 3)
    assert counts == {JobStatus.RUNNING: 3, JobStatus.PENDING: 7}

    for _ in jobs:
        doors.release()
        await system.settle()

    assert [(await system.ended(job_id)).status for job_id in jobs] == [JobStatus.FINISHED] * 10
    assert most == 3


async def test_loop_of_states_is_ended(make_system: MakeSystem) -> None:
    """A job that goes round in a circle fails at the limit with a sentence that says so."""
    system = make_system(limits=Limits(max_transitions=30))
    flow = StateMachineBlueprint("flow")

    @flow.handler_for("tick", is_start=True)
    async def tick(actions: ActionFactory) -> None:
        actions.transition_to("tock")

    @flow.handler_for("tock")
    async def tock(actions: ActionFactory) -> None:
        actions.transition_to("tick")

    @flow.handler_for("end", is_end=True)
    async def end() -> None: ...

    @flow.handler_for("tick").when("context.initial_data.stop")
    async def stop(actions: ActionFactory) -> None:
        actions.transition_to("end")

    system.add(flow)
    await system.start()

    job = await system.ended(await system.create())

    assert job.status is JobStatus.FAILED
    assert "it seems to be in a loop" in job.failure.message


# --- faults of handlers ---


async def test_exception_is_retried_with_growing_pauses_then_quarantined(make_system: MakeSystem) -> None:
    """A handler that raises is called again after its pause, four times in all, then the job is quarantined."""
    system = make_system(limits=Limits(retry=RetryPolicy(attempts=4, delay=10, factor=2)))
    moments: list[float] = []

    async def handler(attempt: int) -> None:
        moments.append(system.clock.now())
        raise RuntimeError(f"number {attempt}")

    system.add(one_state(handler))
    await system.start()
    job_id = await system.create()
    await system.settle()
    assert (await system.jobs.get(job_id)).status is JobStatus.AWAITING_RETRY

    await system.clock.advance(100)

    job = await system.jobs.get(job_id)
    pauses = [later - earlier for earlier, later in itertools.pairwise(moments)]
    assert len(moments) == 4
    assert all(0 <= pause <= bound for pause, bound in zip(pauses, (10, 20, 40), strict=True))
    assert job.status is JobStatus.QUARANTINED
    assert "RuntimeError: number 4" in job.failure.message
    assert "test_runner.py, line" in job.failure.message
    assert job.state_history.value()["last_error"]["attempt"] == 4


async def test_retry_of_a_handler_comes_at_its_moment(make_system: MakeSystem) -> None:
    """A delayed wake-up is taken when it is due, not at the runner's next idle look."""
    system = make_system(limits=Limits(retry=RetryPolicy(attempts=2, delay=2.0)))
    moments: list[float] = []

    async def handler(attempt: int) -> None:
        moments.append(system.clock.now())
        raise RuntimeError

    system.add(one_state(handler))
    await system.start()
    job_id = await system.create()
    await system.settle()
    due = (await system.storage.find_wake_up(job_id)).ready_at
    assert due is not None

    await system.clock.advance(2.0)

    assert moments[1] == due


async def test_handler_that_raises_once_goes_on(system: System) -> None:
    """A passing fault leaves no trace in the outcome; what the failed call changed is not kept."""
    calls: list[int] = []

    async def handler(state_history: dict[str, Any], attempt: int) -> None:
        calls.append(attempt)
        state_history[f"seen_{attempt}"] = True
        if attempt == 1:
            raise OSError("not yet")

    system.add(one_state(handler))
    job_id = await system.create()
    await system.clock.advance(60)

    job = await system.ended(job_id)

    assert calls == [1, 2]
    assert (job.status, job.result.value()) == (JobStatus.FINISHED, {"seen_2": True})


@pytest.mark.parametrize(
    ("handler", "sentence"),
    [
        (lambda colour: None, "asks for argument 'colour'"),
        (lambda context: context.state_history.update(x=object()), "state_history.x cannot be stored"),
        (lambda context: {"x": {1, 2}}, "the returned result.x cannot be stored"),
        (lambda actions: ask(actions, "x", "y"), "one action"),
        (lambda actions: ask(actions, "x"), "is an end state and asked for an action"),
    ],
)
async def test_fault_of_the_blueprint_quarantines_at_once(system: System, handler: Any, sentence: str) -> None:
    """What another try cannot mend is not tried again, and the job says what is wrong."""
    handler.__qualname__ = handler.__name__ = "handler"

    job = await run(system, handler, {"color": "red"})

    assert job.status is JobStatus.QUARANTINED
    assert sentence in job.failure.message
    assert job.attempt == 1


async def test_missing_argument_is_explained(system: System) -> None:
    """The message names handler, argument, what there is, and the likely word."""

    async def paint(colour: str) -> None: ...

    job = await run(system, paint, {"color": "red"})

    assert "handler 'paint' asks for argument 'colour'" in job.failure.message
    assert "Did you mean 'color'?" in job.failure.message


async def test_handler_without_action_is_explained(system: System) -> None:
    """A handler that forgets to say what comes next quarantines its job, instead of leaving it there."""
    flow = StateMachineBlueprint("flow")

    @flow.handler_for("start", is_start=True)
    async def start(initial_data: dict[str, Any], actions: ActionFactory) -> None:
        if initial_data.get("go"):
            actions.transition_to("end")

    @flow.handler_for("end", is_end=True)
    async def end() -> None: ...

    system.add(flow)

    job = await system.ended(await system.create())

    assert job.status is JobStatus.QUARANTINED
    assert "handler of state 'start' returned without an action" in job.failure.message


async def test_handler_that_cancels_itself_is_retried(system: System) -> None:
    """A CancelledError from inside the handler's own code is a fault like any other."""

    async def handler(attempt: int) -> dict[str, int]:
        if attempt == 1:
            raise asyncio.CancelledError
        return {"attempt": attempt}

    system.add(one_state(handler))
    job_id = await system.create()
    await system.clock.advance(60)

    assert (await system.ended(job_id)).result.value() == {"attempt": 2}


async def test_retry_keeps_the_idempotency_key(system: System) -> None:
    """Each try of one step passes the same key on, the next step another one."""
    keys: list[str] = []
    flow = StateMachineBlueprint("flow")

    @flow.handler_for("first", is_start=True)
    async def first(idempotency_key: str, attempt: int, actions: ActionFactory) -> None:
        keys.append(idempotency_key)
        if attempt == 1:
            raise OSError
        actions.transition_to("second")

    @flow.handler_for("second", is_end=True)
    async def second(idempotency_key: str) -> None:
        keys.append(idempotency_key)

    system.add(flow)
    job_id = await system.create()
    await system.clock.advance(60)
    await system.ended(job_id)

    assert keys[0] == keys[1] != keys[2]


# --- cancel and stop ---


async def test_cancel_stops_a_running_async_handler(system: System) -> None:
    """The handler of a cancelled job is interrupted, and what it did counts for nothing."""
    begun, stopped = asyncio.Event(), asyncio.Event()

    async def handler() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    system.add(one_state(handler))
    job_id = await system.create()
    await begun.wait()

    await system.jobs.cancel(job_id)
    await stopped.wait()
    await system.settle()

    assert (await system.jobs.get(job_id)).status is JobStatus.CANCELLED
    assert system.runner.active == 0


async def test_job_that_ends_by_its_own_step_is_not_stopped(
    make_system: MakeSystem, clock: FakeClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A file tells of a step before its writer goes on: what that still has to do, such as counting, is done."""
    caplog.set_level(logging.INFO)
    storage = SQLiteStorage(tmp_path / "jobs.db", clock)
    await storage.open()
    system = make_system(storage)
    counted: list[JobStatus] = []

    class Counter(Meter):
        def committed(self, old: Job, decision: Decision) -> None:
            counted.append(decision.job.status)

    system.performer._meter = Counter()
    await system.start()
    system.add(chain(2))

    job = await system.ended(await system.create())
    await asyncio.gather(*(run for _, run in system.runner._active.values()), return_exceptions=True)

    assert job.status is JobStatus.FINISHED
    assert counted[-1] is JobStatus.FINISHED
    assert "stopping the handler" not in caplog.text


async def test_plain_handler_of_a_cancelled_job_changes_nothing(system: System) -> None:
    """A thread cannot be interrupted, but what it returns comes too late."""
    begun, door = threading.Event(), threading.Event()

    def handler() -> dict[str, str]:
        begun.set()
        door.wait(30)
        return {"too": "late"}

    system.add(one_state(handler))
    job_id = await system.create()
    await asyncio.to_thread(begun.wait, 30)

    await system.jobs.cancel(job_id)
    door.set()
    await system.settle()

    job = await system.jobs.get(job_id)
    assert (job.status, job.has_result) == (JobStatus.CANCELLED, False)


async def test_stop_lets_running_handlers_finish(system: System) -> None:
    """Within the grace a handler ends by itself, and its step is committed; the next one is left to others."""
    begun, door = asyncio.Event(), asyncio.Event()

    async def slowly(state: str) -> None:
        begun.set()
        await door.wait()

    system.add(chain(1, on_state=slowly))
    job_id = await system.create()
    await begun.wait()

    stopping = asyncio.create_task(system.runner.stop(30))
    await system.settle()
    door.set()
    await stopping

    job = await system.jobs.get(job_id)
    assert (job.status, job.state) == (JobStatus.RUNNING, "s1")
    assert (await system.storage.find_wake_up(job_id)).ready_at is not None


async def test_stop_hands_back_what_does_not_finish(system: System, make_system: MakeSystem) -> None:
    """A handler that outlasts the grace is interrupted; another engine takes its job at once, as never begun."""
    begun, door = asyncio.Event(), asyncio.Event()

    async def handler() -> None:
        begun.set()
        await door.wait()

    system.add(one_state(handler))
    job_id = await system.create()
    await begun.wait()

    await system.runner.stop(0)
    (claim,) = await system.storage.claim_jobs("e2", 10, 10)
    assert (claim.job.id, claim.deliveries) == (job_id, 1)
    await system.storage.release_claims([claim.token])
    door.set()
    other = make_system(system.storage, owner="e2")
    other.add(one_state(handler))
    await other.start()

    assert (await other.ended(job_id)).status is JobStatus.FINISHED


async def test_long_handler_keeps_its_claim(make_system: MakeSystem) -> None:
    """The claim is extended while the handler runs, so no other engine begins it a second time."""
    system = make_system()
    calls, door = [], asyncio.Event()

    async def handler() -> None:
        calls.append(1)
        await door.wait()

    for one in (system, other := make_system(system.storage, owner="e2")):
        one.add(one_state(handler))
        await one.start()
    job_id = await system.create()
    for _ in range(10):
        await system.clock.advance(9)
    door.set()

    await other.ended(job_id)

    assert calls == [1]


# --- crashes ---


async def crash(storage: MemoryStorage, clock: FakeClock) -> None:
    """Lets an engine claim all that is due, and die."""
    await storage.claim_jobs("dead", 100, 10)
    await clock.advance(10)


async def test_job_of_a_dead_engine_goes_on_when_its_claim_ends(idle: System) -> None:
    """Nothing special happens at a start: the claim of whoever died ends by itself."""
    idle.add(chain(2))
    job_id = await idle.create()
    await idle.storage.claim_jobs("dead", 100, 10)
    await idle.start()
    await idle.settle()
    assert (await idle.jobs.get(job_id)).status is JobStatus.PENDING

    await idle.clock.advance(15)

    assert (await idle.ended(job_id)).status is JobStatus.FINISHED


async def test_poison_job_is_quarantined_at_its_fifth_claim(idle: System) -> None:
    """A job whose handler killed four engines does not kill a fifth one."""
    calls = []

    async def handler() -> None:
        calls.append(1)

    idle.add(one_state(handler))
    job_id = await idle.create()
    for _ in range(4):
        await crash(idle.storage, idle.clock)
    await idle.start()

    job = await idle.ended(job_id)

    assert (job.status, calls) == (JobStatus.QUARANTINED, [])
    assert "the handler was begun 4 times" in job.failure.message


async def test_job_whose_engine_died_thrice_still_runs(idle: System) -> None:
    """The fourth claim is an ordinary one."""
    idle.add(chain(1))
    job_id = await idle.create()
    for _ in range(3):
        await crash(idle.storage, idle.clock)
    await idle.start()

    assert (await idle.ended(job_id)).status is JobStatus.FINISHED


async def test_progress_forgives_earlier_crashes(idle: System) -> None:
    """Only claims without a commit in between count: a long chain may outlive many engines."""
    idle.add(chain(8))
    job_id = await idle.create()
    for number in range(1, 8):
        (claim,) = await idle.storage.claim_jobs("dead", 1, 10)
        job = claim.job
        if job.status is JobStatus.PENDING:
            began = await idle.performer.step(job, HandlerStarted(), claim.token, go_on=True)
            assert began is not None
            job = began[0]
        returned = HandlerReturned(Transition(f"s{number}"), job.state_history)
        assert await idle.performer.step(job, returned, claim.token, go_on=True) is not None
        await idle.clock.advance(10)
    await idle.start()

    assert (await idle.ended(job_id)).status is JobStatus.FINISHED


async def test_thousand_jobs_of_ten_transitions_finish(system: System) -> None:
    """All of many jobs end, each with its whole history, and the storage is sound afterwards."""
    system.add(chain(10))
    jobs = [await system.create() for _ in range(1000)]

    ended = [await system.ended(job_id) for job_id in jobs]

    assert {job.status for job in ended} == {JobStatus.FINISHED}
    assert {len(job.state_history.value()["path"]) for job in ended} == {10}
    assert await system.storage.count_jobs() == {JobStatus.FINISHED: 1000}
    assert await system.storage.audit() == []
