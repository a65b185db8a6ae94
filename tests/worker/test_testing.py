"""The harness for tests of task functions, and with it what stands around their calls."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import stamina

from avtomatika.errors import ConfigError, ProtocolError
from avtomatika.worker import Context, PermanentError, Retry, Success, Worker
from avtomatika.worker.testing import TaskHarness


@pytest.fixture
def worker() -> Worker:
    """A worker that is never started."""
    return Worker("w")


@pytest.fixture(autouse=True)
def _no_pauses() -> Any:
    """Retries do not wait."""
    with stamina.set_testing(True, attempts=5, cap=True):
        yield


async def test_harness_does_a_task(worker: Worker) -> None:
    """From params to data, with progress on the way."""

    @worker.task
    async def add(a: int, context: Context, b: int = 1) -> dict[str, int]:
        await context.send_progress(0.5, "half")
        return {"sum": a + b}

    ended = await TaskHarness(worker).run("add", {"a": 2})

    assert (ended.status, ended.data, ended.progress) == ("success", {"sum": 3}, ((0.5, "half"),))


def test_harness_runs_a_plain_function_without_a_loop() -> None:
    """A test need not be async, and a function not belong to a worker."""

    def judge(score: int, context: Context) -> Success:
        context.progress(1)
        return Success({"attempt": context.attempt, "job": context.job_id}, "passed")

    ended = TaskHarness(judge).run_sync(judge, {"score": 3}, attempt=2)

    assert (ended.status, ended.data, ended.progress) == ("passed", {"attempt": 2, "job": "job"}, ((1.0, ""),))


async def test_harness_tells_failures_as_the_engine_hears_them(worker: Worker) -> None:
    """Code, message and details are those of the wire."""

    @worker.task
    async def give_up(x: int) -> None:
        raise PermanentError("no more", details={"x": x})

    harness = TaskHarness(worker)
    failed, refused = await harness.run(give_up, {"x": 1}), await harness.run(give_up, {"x": "1"})

    assert (failed.error_code, failed.error_message, failed.error_details) == ("PERMANENT_ERROR", "no more", {"x": 1})
    assert (refused.error_code, refused.error_details) == ("INVALID_INPUT_ERROR", {"path": "params.x"})


async def test_harness_cancels_a_task(worker: Worker) -> None:
    """A cancellation raises inside the function, which may clean up."""
    cleaned = asyncio.Event()

    @worker.task
    async def wait(context: Context) -> None:
        context.progress(0.3)
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.set()

    running = TaskHarness(worker).start("wait")
    await running.wait_for_progress(0.3)
    running.cancel()
    ended = await running.ended()

    assert (ended.status, cleaned.is_set()) == ("cancelled", True)


async def test_harness_says_that_a_progress_never_came(worker: Worker) -> None:
    """A test that waits in vain fails at once."""

    @worker.task
    async def quick() -> None: ...

    with pytest.raises(AssertionError, match=r"ended without a progress of 0\.5"):
        await TaskHarness(worker).start("quick").wait_for_progress(0.5)


async def test_harness_refuses_what_no_worker_would_get(worker: Worker) -> None:
    """Unknown tasks and params that JSON does not have are mistakes of the test."""
    worker.add_task(lambda: None, "resize")
    harness = TaskHarness(worker)

    with pytest.raises(ConfigError, match="no task 'resise'; it has: resize"):
        await harness.run("resise")
    with pytest.raises(ProtocolError, match=r"params\.x is a object"):
        await harness.run("resize", {"x": object()})


async def test_middlewares_stand_around_a_call_in_order(worker: Worker) -> None:
    """The first one is the outermost; each may change params and what is returned."""
    order: list[str] = []

    @worker.middleware
    async def outer(context: Context, proceed: Any) -> Any:
        order.append(f"outer {context.task_type}")
        context.params = {"x": context.params["encoded"] * 2}
        return {"wrapped": await proceed()}

    @worker.middleware
    async def inner(context: Context, proceed: Any) -> Any:
        order.append(f"inner {context.params}")
        try:
            return await proceed()
        finally:
            order.append("inner ends")

    @worker.task
    def double(x: int) -> Any:
        order.append("function")
        return x * 2

    ended = await TaskHarness(worker).run("double", {"encoded": 2})

    assert ended.data == {"wrapped": 8}
    assert order == ["outer double", "inner {'x': 4}", "function", "inner ends"]


async def test_middleware_may_refuse_a_task(worker: Worker) -> None:
    """What it raises is the failure of the task; the function is not called."""

    @worker.middleware
    async def refuse(context: Context, proceed: Any) -> Any:
        raise PermanentError("not today")

    @worker.task
    def work() -> None:
        raise AssertionError

    ended = await TaskHarness(worker).run("work")

    assert (ended.error_code, ended.error_message) == ("PERMANENT_ERROR", "not today")


def test_middleware_that_is_no_coroutine_function_is_refused(worker: Worker) -> None:
    """A plain one would never be awaited."""
    with pytest.raises(ConfigError, match="must be an 'async def'"):
        worker.middleware(lambda context, proceed: proceed())


@pytest.mark.parametrize(("failures", "status", "calls"), [(2, "success", 3), (3, "failure", 3)])
@pytest.mark.parametrize("is_async", [True, False])
async def test_function_is_called_again_after_an_error_that_may_pass(
    worker: Worker, failures: int, status: str, calls: int, is_async: bool
) -> None:
    """As often as its policy says; then the engine hears of the last error."""
    made: list[int] = []

    def work() -> int:
        made.append(1)
        if len(made) <= failures:
            raise ConnectionError("gone")
        return len(made)

    async def work_async() -> int:
        return work()

    worker.add_task(work_async if is_async else work, "work", retry=Retry(on=ConnectionError, attempts=3))
    ended = await TaskHarness(worker).run("work")

    assert (ended.status, len(made)) == (status, calls)


async def test_other_errors_are_not_tried_again(worker: Worker) -> None:
    """Neither one that the policy does not name nor params that do not fit."""
    made: list[int] = []

    @worker.task(retry=Retry(on=(ConnectionError, TimeoutError)))
    async def work(x: int) -> None:
        made.append(x)
        raise KeyError(x)

    harness = TaskHarness(worker)

    assert (await harness.run("work", {"x": 1})).error_code == "TRANSIENT_ERROR"
    assert (await harness.run("work", {"x": "1"})).error_code == "INVALID_INPUT_ERROR"
    assert made == [1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"on": "x"}, "give an exception class"),
        ({"on": ()}, "give an exception class"),
        ({"on": OSError, "attempts": 0}, "at least 1"),
        ({"on": OSError, "wait_max": -1}, "0 or more seconds"),
    ],
)
def test_retry_that_cannot_work_is_refused(options: dict[str, Any], message: str) -> None:
    """Found when it is written."""
    with pytest.raises(ConfigError, match=message):
        Retry(**options)
