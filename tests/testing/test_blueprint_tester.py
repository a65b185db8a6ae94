"""The tester of blueprints: what users write their own tests with."""

from __future__ import annotations

import asyncio
import datetime
from typing import Any

import pytest

from avtomatika.blueprints import ActionFactory, StateMachineBlueprint
from avtomatika.errors import BlueprintError, ConfigError, DecisionError, JobStateError
from avtomatika.testing import BlueprintTester, Client, NotReachedError, TestingError
from avtomatika.worker import Context, PermanentError, Success


def delivery(name: str = "delivery", **options: Any) -> StateMachineBlueprint:
    """Returns a blueprint that sends one task ``carry``, by what the job's data say of it."""
    bp = StateMachineBlueprint(name)

    @bp.handler_for("start", is_start=True)
    async def start(initial_data: dict[str, Any], actions: ActionFactory) -> None:
        chosen = {"transitions": {"success": "delivered", "nobody_home": "returned", "failure": "lost"}, **options}
        actions.dispatch_task("carry", {"to": initial_data.get("to", "Vigo")}, **chosen)

    @bp.handler_for("delivered", is_end=True)
    async def delivered(state_history: dict[str, Any]) -> dict[str, Any]:
        return {"signed_by": state_history.get("signed_by")}

    @bp.handler_for("returned", is_end=True, outcome="failed")
    async def returned() -> None: ...

    @bp.handler_for("lost", is_end=True, outcome="failed")
    async def lost() -> None: ...

    return bp


def question() -> StateMachineBlueprint:
    """Returns a blueprint that sleeps for two hours and then asks a person, in handlers that run in threads."""
    bp = StateMachineBlueprint("question")

    @bp.handler_for("start", is_start=True)
    def start(actions: ActionFactory) -> None:
        actions.sleep(datetime.timedelta(hours=2), "ask")

    @bp.handler_for("ask")
    def ask(actions: ActionFactory) -> None:
        actions.await_human_approval("Open it?", {"approved": "opened", "rejected": "closed"})

    @bp.handler_for("opened", is_end=True)
    def opened(client: Any) -> dict[str, Any]:
        return {"for": client.params.get("name")}

    @bp.handler_for("closed", is_end=True)
    def closed() -> None: ...

    return bp


async def test_job_with_a_worker_ends_without_time_passing() -> None:
    """What needs no time happens before the call returns."""
    async with BlueprintTester(delivery()) as t:
        worker = t.worker("carry", returns={"signed_by": "Ada"})
        began = t.now

        job = await t.submit({"to": "Lugo"})

        assert job.status == "finished"
        assert job.result == {"signed_by": "Ada"}
        assert job.state_history == {"signed_by": "Ada"}
        assert job.path == ["start", "delivered"]
        assert worker.params == [{"to": "Lugo"}]
        assert t.now == began
        assert t.jobs == [job]
        assert await t.storage.audit() == []


async def test_job_that_finds_no_worker_says_so() -> None:
    """The error names the task and what to write."""
    async with BlueprintTester(delivery()) as t:
        job = await t.submit()
        await job.reaches("waiting_for_worker")

        with pytest.raises(NotReachedError, match=r"t\.worker\('carry', returns=\{\}\)"):
            await job.reaches("finished")
        with pytest.raises(TestingError, match="no result yet"):
            _ = job.result

        t.worker("carry")
        await job.reaches("finished", "delivered")


async def test_job_whose_workers_lack_something_says_what() -> None:
    """A worker that cannot do the task is told from none."""
    async with BlueprintTester(delivery(resource_requirements={"ram_gb": 64})) as t:
        t.worker("carry", profile={"resources": {"ram_gb": 8}})
        job = await t.submit()
        with pytest.raises(NotReachedError, match="'ram_gb': 64"):
            await job.reaches("finished")

        t.worker("carry", profile={"resources": {"ram_gb": 64}})
        await job.reaches("finished")


async def test_job_that_sleeps_or_asks_says_how_it_goes_on() -> None:
    """Time, and people, are the test's to give."""
    async with BlueprintTester(question()) as t:
        job = await t.submit(client=Client("acme", params={"name": "Acme"}))
        with pytest.raises(NotReachedError, match=r"due in 7200 s: await t\.advance"):
            await job.reaches("finished")

        await t.advance(hours=1, minutes=59)
        assert job.state == "start"
        await t.advance(datetime.timedelta(minutes=1))
        with pytest.raises(NotReachedError, match=r"await job\.approve\('approved'\)"):
            await job.reaches("finished")

        with pytest.raises(DecisionError):
            await job.approve("perhaps")
        await job.approve(by="Ada")

        assert job.result == {"for": "Acme"}
        assert [row["event_type"] for row in await job.history()].count("approval_received") == 1
        assert "sleep_started" in await job.events()


async def test_rejected_job_goes_the_other_way() -> None:
    """Every decision that is offered can be taken."""
    async with BlueprintTester(question()) as t:
        job = await t.submit()
        await t.advance(days=365)

        await job.approve("rejected")

        assert job.state == "closed"


async def test_worker_that_fails_some_times_is_tried_again() -> None:
    """The retries of the engine are the real ones: they take time."""
    async with BlueprintTester(delivery()) as t:
        worker = t.worker("carry", fails="TRANSIENT_ERROR", message="flat tyre", times=2, returns={"signed_by": "Ada"})
        job = await t.submit()
        assert job.status == "awaiting_retry"
        assert job.error_code == "TRANSIENT_ERROR"

        await t.advance(minutes=10)

        assert job.status == "finished"
        assert [call.attempt for call in worker.calls] == [1, 2, 3]
        assert job.error is not None
        assert job.error["message"] == "flat tyre"


async def test_setting_of_the_tester_is_the_engines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings are given by the test, never by the environment."""
    monkeypatch.setenv("JOB_MAX_RETRIES", "7")
    async with BlueprintTester(delivery(), JOB_MAX_RETRIES=0) as t:
        assert t.engine.config.MAX_TRANSITIONS_PER_JOB == 1000
        t.worker("carry", fails="TRANSIENT_ERROR")

        job = await t.submit()

        assert job.state == "lost"
    async with BlueprintTester(delivery()) as t:
        assert t.engine.config.JOB_MAX_RETRIES == 3
    with pytest.raises(ConfigError, match="JOB_MAX_RETRIES"):
        BlueprintTester(delivery(), JOB_MAX_RETRY=0)


async def test_function_of_a_worker_is_called_as_by_a_real_one() -> None:
    """Arguments by name, data, status words, errors of the SDK, progress through the context."""

    async def carry(to: str, context: Any) -> Any:
        context.progress(0.75, f"nearly in {to}")
        await asyncio.sleep(0)
        if to == "nowhere":
            return Success(status="nobody_home")
        if to == "the moon":
            raise PermanentError("no road")
        return {"signed_by": to}

    async with BlueprintTester(delivery()) as t:
        t.worker("carry", carry)

        good, bad, ugly = [await t.submit({"to": to}) for to in ("Lugo", "nowhere", "the moon")]

        assert good.result == {"signed_by": "Lugo"}
        assert bad.state == "returned"
        assert (ugly.state, ugly.error_code) == ("lost", "PERMANENT_ERROR")


async def test_status_word_of_a_worker_chooses_the_way() -> None:
    """A fake worker says any word."""
    async with BlueprintTester(delivery()) as t:
        t.worker("carry", status="nobody_home")

        job = await t.submit()

        assert (job.state, job.status) == ("returned", "failed")


async def test_function_of_a_worker_tells_events() -> None:
    """They stand in the history as those of a real worker do."""

    async def carry(to: str, context: Context) -> dict[str, str]:
        context.progress(0.5)
        context.event("rang", {"bell": 2})
        return {"signed_by": "Ada"}

    async with BlueprintTester(delivery()) as t:
        t.worker("carry", carry)
        job = await t.submit()
        await t.advance(1)

        assert job.status == "finished"
        assert "task_event" in await job.events()


async def test_slow_worker_reports_progress_and_keeps_its_task() -> None:
    """It gives signs of life as a real one does, longer than a lease lasts."""
    async with BlueprintTester(delivery()) as t:
        t.worker("carry", returns={"signed_by": "Ada"}, delay=240, progress=[0.25, (0.5, "half way"), 0.75])
        job = await t.submit()

        await t.advance(130)
        assert (job.progress, job.progress_message) == (0.5, "half way")
        assert job.status == "waiting_for_worker"

        await t.advance(110)
        assert job.status == "finished"
        assert await job.events() == [
            "job_created",
            "state_started",
            "task_dispatched",
            "task_started",
            "task_finished",
            "state_finished",
            "state_started",
            "state_finished",
            "job_completed",
        ]


async def test_worker_that_takes_too_long_runs_into_the_timeout() -> None:
    """The timeout of a task is the real one."""
    async with BlueprintTester(delivery(timeout_seconds=60), JOB_MAX_RETRIES=0) as t:
        t.worker("carry", delay=61)
        job = await t.submit()

        await t.advance(minutes=5)

        assert (job.state, job.error_code) == ("lost", "TIMEOUT_ERROR")


async def test_worker_that_vanishes_loses_its_task() -> None:
    """What follows when a machine burns down can be tested."""
    async with BlueprintTester(delivery(), JOB_MAX_RETRIES=0) as t:
        t.worker("carry", vanishes=True)
        job = await t.submit()

        await t.advance(hours=1)

        assert (job.state, job.error_code) == ("lost", "WORKER_LOST")


async def test_task_without_worker_runs_into_its_dispatch_timeout() -> None:
    """Waiting for a worker may have an end."""
    async with BlueprintTester(delivery()) as t:
        job = await t.submit(dispatch_timeout=600)
        await t.advance(599)
        assert job.status == "waiting_for_worker"

        await t.advance(1)

        assert job.error_code == "DISPATCH_TIMEOUT"


async def test_cancelled_job_stops_its_worker() -> None:
    """The worker hears of it with its next sign of life, and its slot is free again."""
    async with BlueprintTester(delivery()) as t:
        worker = t.worker("carry", delay=3600, slots=1)
        job = await t.submit()

        await job.cancel()
        assert job.status == "cancelled"
        with pytest.raises(JobStateError):
            await job.cancel()

        await t.submit()
        await t.advance(60)
        assert len(worker.calls) == 2


async def test_failed_job_goes_on_when_requeued() -> None:
    """A quarantined job can be let go on, after the worker was mended."""
    async with BlueprintTester(delivery(transitions={"success": "delivered"})) as t:
        t.worker("carry", fails=PermanentError("no road"), times=1)
        job = await t.submit()
        assert job.status == "quarantined"

        await job.requeue()

        assert job.status == "finished"


async def test_fan_out_waits_for_slots() -> None:
    """A worker with two slots does four tasks in two rounds."""
    bp = StateMachineBlueprint("boxes")

    @bp.handler_for("start", is_start=True)
    async def start(actions: ActionFactory) -> None:
        actions.dispatch_parallel([{"type": "pack", "params": {"n": n}} for n in range(4)], "packed")

    @bp.aggregator_for("packed")
    async def packed(
        aggregation_results: dict[str, Any], state_history: dict[str, Any], actions: ActionFactory
    ) -> None:
        state_history["sum"] = sum(result["data"]["n"] for result in aggregation_results.values())
        actions.transition_to("end")

    @bp.handler_for("end", is_end=True)
    async def end() -> None: ...

    async with BlueprintTester(bp) as t:
        worker = t.worker("pack", lambda n: {"n": n}, slots=2, delay=10)
        job = await t.submit()
        await t.advance(10)
        assert job.status == "waiting_for_parallel_tasks"

        await t.advance(10)

        assert job.result == {"sum": 6}
        assert [call.params["n"] for call in worker.calls] == [0, 1, 2, 3]


async def test_several_blueprints_are_one_engine() -> None:
    """Jobs of each can be created by name."""
    async with BlueprintTester(delivery(), question()) as t:
        job = await t.submit(blueprint="question")

        assert job.blueprint == "question"
        with pytest.raises(BlueprintError, match="questin"):
            await t.submit(blueprint="questin")


async def test_mistakes_of_a_test_are_told() -> None:
    """A test that cannot work fails at the line that is wrong."""
    with pytest.raises(TestingError, match="needs the blueprint"):
        BlueprintTester()
    t = BlueprintTester(delivery())
    with pytest.raises(TestingError, match="async with"):
        await t.submit()
    async with t:
        with pytest.raises(TestingError, match="Did you mean 'returns'"):
            t.worker("carry", return_={})
        with pytest.raises(TestingError, match="Did you mean 'resources'"):
            t.worker("carry", profile={"resource": {}})
        with pytest.raises(TestingError, match="has a function"):
            t.worker("carry", lambda: 1, returns={})
        with pytest.raises(TestingError, match="times="):
            t.worker("carry", times=2)
        t.worker("carry", worker_id="w")
        with pytest.raises(TestingError, match="there is a worker 'w' already"):
            t.worker("carry", worker_id="w")
        job = await t.submit()
        with pytest.raises(TestingError, match="Did you mean 'finished'"):
            await job.reaches("finishd")
        with pytest.raises(ValueError, match="forward only"):
            await t.advance(-1)
