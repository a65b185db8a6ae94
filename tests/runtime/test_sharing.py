"""How tasks are shared out in a running engine: limits, reputation, affinity, age."""

from __future__ import annotations

from typing import Any

import pytest

from avtomatika.blueprints import ActionFactory, StateMachineBlueprint
from avtomatika.core.reputation import Reputation
from avtomatika.errors import BlueprintError, ConfigError
from avtomatika.runtime.reputations import SPACE, Reputations
from avtomatika.server.keys import REPUTATIONS_KEY
from avtomatika.testing import BlueprintTester, NotReachedError
from avtomatika.worker import TaskError


def work(steps: int = 1, concurrency: dict[str, int] | None = None, **options: Any) -> StateMachineBlueprint:
    """Returns a blueprint that sends tasks ``work`` one after the other."""
    bp = StateMachineBlueprint("work", concurrency=concurrency)

    def add(number: int) -> None:
        @bp.handler_for(f"s{number}", is_start=number == 0, transitions=[f"s{number + 1}"])
        async def send(initial_data: dict[str, Any], actions: ActionFactory) -> None:
            chosen = {**options, **initial_data.get("options", {})}
            actions.dispatch_task("work", {"n": initial_data.get("n")}, {"success": f"s{number + 1}"}, **chosen)

    for number in range(steps):
        add(number)

    @bp.handler_for(f"s{steps}", is_end=True)
    async def end() -> None: ...

    return bp


# --- limits ---


@pytest.mark.parametrize(
    ("blueprint", "settings"),
    [
        (work(), {"TASK_CONCURRENCY": "mail=7, work=2"}),
        (work(concurrency={"work": 2}), {}),
        (work(concurrency_key="k", concurrency_limit=2), {}),
    ],
    ids=["setting", "blueprint", "key"],
)
async def test_no_more_tasks_run_than_the_limit_allows(blueprint: StateMachineBlueprint, settings: Any) -> None:
    """The others wait, and begin as soon as one ends, without a pause."""
    async with BlueprintTester(blueprint, **settings) as t:
        worker = t.worker("work", delay=10)
        jobs = [await t.submit() for _ in range(5)]

        assert len(worker.calls) == 2
        assert any("2 at a time" in reason for reason in await jobs[4].waits_for())
        for began in (4, 5, 5):
            await t.advance(10)
            assert len(worker.calls) == began
        assert [job.status for job in jobs] == ["finished"] * 5


async def test_tasks_of_other_keys_run_at_the_same_time() -> None:
    """A customer's tasks go one by one, and hold up nobody else's."""
    async with BlueprintTester(work()) as t:
        worker = t.worker("work", delay=10)
        for n, key in enumerate(["a", "a", "b", "c", "b"]):
            await t.submit({"n": n, "options": {"concurrency_key": key}})

        assert [call.params["n"] for call in worker.calls] == [0, 2, 3]
        await t.advance(10)
        assert [call.params["n"] for call in worker.calls] == [0, 2, 3, 1, 4]


async def test_cancelled_job_frees_its_place_soon() -> None:
    """What is not told is found by looking."""
    async with BlueprintTester(work(concurrency={"work": 1})) as t:
        worker = t.worker("work", delay=1000)
        first = await t.submit()
        await t.submit()
        await first.cancel()

        await t.advance(3)

        assert len(worker.calls) == 2


def test_limit_that_makes_no_sense_is_refused() -> None:
    """Where it is written."""
    with pytest.raises(BlueprintError, match="whole number from 1"):
        StateMachineBlueprint("bad", concurrency={"work": 0})
    with pytest.raises(ConfigError, match="TASK_CONCURRENCY"):
        BlueprintTester(work(), TASK_CONCURRENCY="work")


@pytest.mark.parametrize(
    "options",
    [{"concurrency_limit": 2}, {"concurrency_key": ""}, {"concurrency_key": "k", "concurrency_limit": 0}],
)
async def test_key_that_makes_no_sense_quarantines_the_job(options: dict[str, Any]) -> None:
    """With a message that names the argument."""
    async with BlueprintTester(work()) as t:
        job = await t.submit({"options": options})

        assert job.status == "quarantined"
        assert job.error is not None
        assert "concurrency_" in job.error["message"]


# --- reputation ---


async def test_best_value_weighs_cost_by_reputation() -> None:
    """A cheap worker that spoils its tasks is dearer than a dear one that does not."""
    async with BlueprintTester(work(dispatch_strategy="best_value")) as t:
        cheap = t.worker("work", worker_id="cheap", profile={"cost": 1.0}, fails="PERMANENT_ERROR", times=3)
        dear = t.worker("work", worker_id="dear", profile={"cost": 1.08})

        for _ in range(5):
            await t.submit()

        assert len(cheap.calls) == 2  # 1.0 / 0.95 is still below 1.08, 1.0 / 0.9 is not
        assert len(dear.calls) == 3


async def test_numbers_of_reputation_are_the_published_ones_and_can_be_set() -> None:
    """A failure that may pass costs nothing; the settings have the published names."""

    def do(n: str) -> None:
        if n:
            raise TaskError("not today", n)

    async def scores(**settings: float) -> list[float]:
        seen = []
        async with BlueprintTester(work(), JOB_MAX_RETRIES=1, **settings) as t:
            t.worker("work", do, worker_id="w")
            for code in ("CONTRACT_VIOLATION_ERROR", "SECURITY_ERROR", "TRANSIENT_ERROR", ""):
                await t.submit({"n": code})
                seen.append(round(t.engine.app[REPUTATIONS_KEY].score("w"), 6))
        return seen

    assert await scores() == [0.8, 0.75, 0.75, 0.751]
    mine = await scores(
        REPUTATION_PENALTY_CONTRACT_VIOLATION=0.5,
        REPUTATION_PENALTY_TASK_FAILURE=0.125,
        REPUTATION_REWARD_SUCCESS=0.25,
    )
    assert mine == [0.5, 0.375, 0.375, 0.625]


async def test_worker_below_the_minimum_gets_no_tasks_until_it_has_recovered() -> None:
    """Time heals; meanwhile it is said why nobody takes the task."""
    async with BlueprintTester(work(), REPUTATION_MIN_THRESHOLD=0.97) as t:
        worker = t.worker("work", worker_id="w", fails="PERMANENT_ERROR", times=1)
        await t.submit()
        job = await t.submit()
        with pytest.raises(NotReachedError, match="REPUTATION_MIN_THRESHOLD"):
            await job.reaches("finished")

        await t.advance(hours=6)
        t.worker("other")
        await t.submit()

        assert len(worker.calls) > 1
        await job.reaches("finished")


async def test_reputation_is_kept_and_shared_by_engines() -> None:
    """It outlives an engine, and another one on the same storage reads it."""
    async with BlueprintTester(work()) as t:
        t.worker("work", worker_id="w", fails="CONTRACT_VIOLATION_ERROR")
        await t.submit()

        other = Reputations(t.storage, t.clock)
        assert other.score("w") == 1.0
        await other.refresh()
        assert other.score("w") == pytest.approx(0.8)
        await t.advance(hours=6)
        assert other.score("w") == pytest.approx(0.9)


async def test_worker_that_does_well_costs_no_writing() -> None:
    """No record is made of it; one that has recovered is forgotten."""
    async with BlueprintTester(work()) as t:
        worker = t.worker("work", worker_id="w", fails="PERMANENT_ERROR", times=1)
        other = t.worker("work", worker_id="x")
        await t.submit()
        assert len(await t.storage.list_records(SPACE)) == 1
        for _ in range(110):
            await t.submit({"options": {"dispatch_strategy": "round_robin"}})

        assert worker.calls
        assert other.calls
        assert await t.storage.list_records(SPACE) == []
        assert Reputation().is_flawless


# --- affinity ---


async def test_worker_of_the_last_task_is_preferred_among_equals() -> None:
    """It may hold the job's data."""
    async with BlueprintTester(work(steps=3)) as t:
        workers = [t.worker("work", worker_id=f"w{number}") for number in range(3)]

        for _ in range(4):
            await t.submit()

        assert all(len(worker.calls) % 3 == 0 for worker in workers)


async def test_task_is_left_to_the_worker_that_has_the_data() -> None:
    """Although another one is free; not for ever."""
    async with BlueprintTester(work(steps=2, affinity_seconds=5)) as t:
        busy = t.worker("work", worker_id="busy", slots=1, delay=2)
        first = await t.submit()
        idle = t.worker("work", worker_id="idle", slots=1, delay=2)
        await t.submit({"n": 2})
        assert (len(busy.calls), len(idle.calls)) == (1, 1)

        await t.advance(2)
        await t.advance(2)

        assert first.status == "finished"
        assert {call.job_id for call in busy.calls} == {first.id}


async def test_task_whose_worker_is_gone_is_not_left_lying() -> None:
    """Affinity is a wish."""
    async with BlueprintTester(work(steps=2, affinity_seconds=5)) as t:
        gone = t.worker("work", worker_id="gone", slots=1)
        job = await t.submit({"options": {"priority": 1}})
        assert job.status == "finished"
        await gone.stop()
        other = t.worker("work", worker_id="other", delay=1)
        late = await t.submit()
        await t.advance(10)

        assert late.status == "finished"
        assert len(other.calls) == 2


# --- age ---


async def test_ageing_lets_an_old_task_overtake_more_urgent_ones() -> None:
    """A minute of waiting weighs as much as one unit of priority, if that is set; without, priority alone counts."""
    for settings, order in (({"PRIORITY_AGEING_SECONDS": 60.0}, ["old", "new"]), ({}, ["new", "old"])):
        async with BlueprintTester(work(), **settings) as t:
            await t.submit({"n": "old"})
            await t.advance(61)
            await t.submit({"n": "new", "options": {"priority": 1.0}})

            worker = t.worker("work")
            await t.advance(0)

            assert [call.params["n"] for call in worker.calls] == order
