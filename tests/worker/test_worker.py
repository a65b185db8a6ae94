"""The worker against a scripted engine."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from avtomatika.errors import AuthError, ConfigError
from avtomatika.log_context import bound_ids
from avtomatika.protocol.heartbeats import parse_heartbeat
from avtomatika.protocol.registration import parse_register
from avtomatika.protocol.results import parse_result
from avtomatika.protocol.worker_events import parse_event, progress_of
from avtomatika.worker import Context, Success, TaskError, Worker

from .conftest import PATIENCE, FakeEngine, Heard


def task_ids(heard: Heard) -> list[str]:
    """The tasks that a heartbeat names."""
    ids: list[str] = heard.body["current_tasks"]
    return ids


@pytest.fixture
def gate() -> asyncio.Event:
    """Lets the tasks of a test end."""
    return asyncio.Event()


@pytest.fixture
def waiting(worker: Worker, gate: asyncio.Event) -> Worker:
    """A worker whose task ``wait`` ends when the gate opens."""

    @worker.task(cost=2)
    async def wait() -> str:
        """Waits."""
        await gate.wait()
        return "through"

    return worker


async def test_registration_tells_skills_and_limits(engine: FakeEngine, waiting: Worker) -> None:
    """The engine learns what the worker can do, and who it is."""
    async with waiting:
        heard = await engine.wait_for("register")

    profile = parse_register(heard.body, 1.0)
    assert (profile.worker_id, profile.max_tasks, profile.costs) == ("w", 4, {"wait": 2.0})
    assert [(skill.name, skill.description) for skill in profile.skills] == [("wait", "Waits.")]
    assert (heard.headers["X-Worker-Token"], heard.headers["X-Worker-ID"]) == ("token", "w")
    assert profile.dialect == "G4"


async def test_registration_tells_the_schemas_of_annotations(engine: FakeEngine, worker: Worker) -> None:
    """The engine learns what params a skill takes and what it returns."""

    @worker.task
    async def resize(width: int, fit: bool = True) -> list[int]:
        return [width]

    async with worker:
        heard = await engine.wait_for("register")

    (skill,) = parse_register(heard.body, 1.0).skills
    assert skill.input_schema == {
        "type": "object",
        "properties": {"width": {"type": "integer"}, "fit": {"type": "boolean", "default": True}},
        "required": ["width"],
        "additionalProperties": False,
    }
    assert skill.output_schema == {"type": "array", "items": {"type": "integer"}}


async def test_async_function_does_a_task(engine: FakeEngine, worker: Worker) -> None:
    """From poll to result."""

    @worker.task("add")
    async def add(a: int, b: int = 1) -> dict[str, int]:
        return {"sum": a + b}

    async with worker:
        engine.put("add", a=2)
        result = parse_result(await engine.result())

    assert (result.job_id, result.worker_id, result.status, result.data) == ("j", "w", "success", {"sum": 3})
    assert result.costs["execution_time_seconds"] >= 0


async def test_plain_function_runs_in_a_thread(engine: FakeEngine, worker: Worker) -> None:
    """A function that blocks does not stop the heartbeats."""
    release = threading.Event()

    @worker.task
    def block(params: dict[str, Any]) -> Success:
        assert release.wait(PATIENCE)
        return Success(params, "blocked")

    async with worker:
        engine.put("block", n=1)
        await engine.wait_for("heartbeat", task_ids, count=3)
        release.set()
        body = await engine.result()

    assert (body["status"], body["data"]) == ("blocked", {"n": 1})


@pytest.mark.parametrize(
    ("name", "params", "code", "message"),
    [
        ("crash", {}, "TRANSIENT_ERROR", "ZeroDivisionError: division by zero"),
        ("leave", {}, "TRANSIENT_ERROR", "SystemExit: 3"),
        ("give_up", {}, "MY_ERROR", "no more"),
        ("unsendable", {}, "CONTRACT_VIOLATION_ERROR", "the result.a is a object"),
        ("give_up", {"x": 1}, "INVALID_INPUT_ERROR", "param 'x'"),
        ("crush", {}, "PERMANENT_ERROR", "no task 'crush'; it has: crash, give_up, leave, unsendable. Did you mean"),
    ],
)
async def test_task_that_goes_wrong_is_a_failure_with_its_code(
    engine: FakeEngine, worker: Worker, name: str, params: dict[str, Any], code: str, message: str
) -> None:
    """Whatever happens in a function, the engine hears of it."""

    @worker.task
    async def crash() -> float:
        return 1 / 0

    @worker.task
    def leave() -> None:
        raise SystemExit(3)

    @worker.task
    async def give_up() -> None:
        raise TaskError("no more", "MY_ERROR")

    @worker.task
    async def unsendable() -> dict[str, object]:
        return {"a": object()}

    async with worker:
        engine.put(name, **params)
        result = parse_result(await engine.result())

    assert (result.status, result.error_code) == ("failure", code)
    assert message in result.error_message


async def test_progress_comes_before_the_result(engine: FakeEngine, worker: Worker) -> None:
    """The last progress of a task is not overtaken by its result."""

    @worker.task
    async def half(context: Context) -> None:
        await context.progress(0.25, "quarter")
        await context.progress(0.5, "half")

    async with worker:
        engine.put("half")
        await engine.result()

    event = parse_event(engine.of("event")[-1].body)
    kinds = [heard.kind for heard in engine.heard]
    assert progress_of(event) == (0.5, "half")
    assert (event.worker_id, event.job_id, event.task_id) == ("w", "j", "t-1")
    assert len(kinds) - kinds[::-1].index("event") <= kinds.index("result")


async def test_progress_from_a_thread_is_sent(engine: FakeEngine, worker: Worker) -> None:
    """A plain function reports without await."""

    @worker.task
    def half(context: Context) -> None:
        context.progress(0.5, "half")

    async with worker:
        engine.put("half")
        await engine.result()

    assert progress_of(parse_event(engine.of("event")[-1].body)) == (0.5, "half")


async def test_cancelled_async_task_is_interrupted(engine: FakeEngine, waiting: Worker) -> None:
    """An id in the heartbeat's answer ends the task at its next await."""
    async with waiting:
        engine.put("wait")
        await engine.wait_for("heartbeat", task_ids)
        engine.script["heartbeat"] = [(200, {"cancel_task_ids": ["t-1", "unknown"]})]
        body = await engine.result()

    assert body["status"] == "cancelled"


async def test_cancelled_task_may_still_succeed(engine: FakeEngine, worker: Worker) -> None:
    """A function that catches the cancellation decides by itself."""

    @worker.task
    async def stubborn() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "done all the same"
        return "never"

    async with worker:
        engine.put("stubborn")
        await engine.wait_for("heartbeat", task_ids)
        engine.script["heartbeat"] = [(200, {"cancel_task_ids": ["t-1"]})]
        body = await engine.result()

    assert (body["status"], body["data"]) == ("success", "done all the same")


async def test_cancelled_thread_sees_the_flag_and_keeps_its_slot(engine: FakeEngine, worker: Worker) -> None:
    """A thread cannot be interrupted: the job hears at once, the slot is free when the thread has ended."""
    release, flags = threading.Event(), []
    worker.configure(concurrency=1)

    @worker.task
    def block(context: Context) -> None:
        assert release.wait(PATIENCE)
        flags.append(context.cancelled)

    async with worker:
        engine.put("block")
        await engine.wait_for("heartbeat", task_ids)
        engine.script["heartbeat"] = [(200, {"cancel_task_ids": ["t-1"]})]
        body = await engine.result()
        polls = len(engine.of("poll"))
        last = await engine.wait_for("heartbeat", lambda heard: not task_ids(heard), count=3)
        release.set()
        await engine.wait_for("poll", count=polls + 1)

    assert (body["status"], last.body["status"], polls, flags) == ("cancelled", "full", 1, [True])


async def test_cancellation_inside_a_function_is_a_failure(engine: FakeEngine, worker: Worker) -> None:
    """Only the engine cancels a task; a function that cancels something of its own has failed."""

    @worker.task
    async def inner() -> None:
        raise asyncio.CancelledError

    async with worker:
        engine.put("inner")
        body = await engine.result()

    assert (body["status"], body["error"]["code"]) == ("failure", "TRANSIENT_ERROR")


async def test_full_worker_does_not_poll(engine: FakeEngine, waiting: Worker, gate: asyncio.Event) -> None:
    """A worker asks for no more than it can start."""
    waiting.configure(concurrency=1)
    async with waiting:
        engine.put("wait")
        await engine.wait_for("heartbeat", task_ids, count=5)
        heartbeat = parse_heartbeat("w", engine.of("heartbeat")[-1].body)
        polls = len(engine.of("poll"))
        gate.set()
        await engine.wait_for("poll", count=2)

    assert (heartbeat.status, heartbeat.available, polls) == ("full", frozenset(), 1)


async def test_poll_asks_for_skills_with_room_only(engine: FakeEngine, waiting: Worker) -> None:
    """A skill at its own limit is not asked for, and the poll is short so that it is asked for soon again."""
    waiting.add_task(lambda: 1, "single", concurrency=1)
    waiting.add_task(lambda params: params, "other")
    release = threading.Event()

    @waiting.task(concurrency=1)
    def block() -> None:
        assert release.wait(PATIENCE)

    async with waiting:
        first = await engine.wait_for("poll")
        engine.put("block")
        second = await engine.wait_for("poll", count=2)
        release.set()

    assert first.query == {"timeout": "5.0", "available_skills": "block,other,single,wait", "hot_skills": ""}
    assert second.query == {"timeout": "2.0", "available_skills": "other,single,wait", "hot_skills": ""}


async def test_task_that_comes_twice_runs_once(engine: FakeEngine, waiting: Worker, gate: asyncio.Event) -> None:
    """A repeated delivery of the same attempt changes nothing."""
    calls = []

    @waiting.task
    async def count() -> None:
        calls.append(1)
        await gate.wait()

    async with waiting:
        engine.put("count")
        engine.put("count")
        await engine.wait_for("poll", count=3)
        gate.set()
        await engine.result()

    assert (len(engine.of("result")), calls) == (1, [1])


async def test_task_that_cannot_be_read_does_not_stop_polling(engine: FakeEngine, worker: Worker) -> None:
    """A malformed answer is logged, and the next task is done."""
    worker.add_task(lambda: "fine", "echo")
    engine.script["poll"] = [(200, {"task_id": "t"}), (200, [1]), (500, {"error": "down"}), None]
    async with worker:
        engine.put("echo")
        body = await engine.result()

    assert body["data"] == "fine"


async def test_result_is_repeated_until_it_is_taken(engine: FakeEngine, worker: Worker) -> None:
    """A cut connection and a busy server cost time, never the result."""
    worker.add_task(lambda: "fine", "echo")
    engine.script["result"] = [None, (503, {"error": "down"}), (429, {"error": "slow"}, {"Retry-After": "0.02"})]
    async with worker:
        engine.put("echo")
        await engine.wait_for("result", count=4)

    bodies = [heard.body for heard in engine.of("result")]
    assert all(body == bodies[0] for body in bodies)
    assert bodies[0]["data"] == "fine"


async def test_result_that_is_refused_is_reported_as_a_failure(engine: FakeEngine, worker: Worker) -> None:
    """A result that is too large must not leave the job waiting."""
    worker.add_task(lambda: "x" * 100, "echo")
    engine.script["result"] = [(413, {"error": "too large"})]
    async with worker:
        engine.put("echo")
        heard = await engine.wait_for("result", count=2)

    assert heard.body["error"]["code"] == "CONTRACT_VIOLATION_ERROR"
    assert "HTTP 413: too large" in heard.body["error"]["message"]


async def test_result_that_nobody_takes_is_given_up(engine: FakeEngine, worker: Worker) -> None:
    """After the time for delivery the slot of the result is not held any longer."""
    worker.configure(delivery_timeout=0.0)
    worker.add_task(lambda: "fine", "echo")
    engine.script["result"] = [(503, {})]
    async with worker:
        engine.put("echo")
        await engine.result()
        await engine.wait_for("heartbeat", lambda heard: not task_ids(heard), count=3)

    assert len(engine.of("result")) == 1


async def test_registration_is_repeated_until_it_is_accepted(engine: FakeEngine, waiting: Worker) -> None:
    """A worker may start before its engine, and asks for no task before it is known."""
    engine.script["register"] = [None, (503, {}), (429, {}, {"Retry-After": "0.02"})]
    async with waiting:
        await waiting.wait_until_registered()
        await engine.wait_for("poll")

    kinds = [heard.kind for heard in engine.heard]
    assert kinds[:4] == ["register"] * 4


@pytest.mark.parametrize("answer", [(404, {"error": "Worker not found"}), (200, {"require_full_sync": True})])
async def test_forgotten_worker_registers_again(engine: FakeEngine, waiting: Worker, answer: Any) -> None:
    """An engine that has lost its memory hears everything again, and the tasks go on."""
    waiting.configure(shutdown_timeout=0.0)
    async with waiting:
        engine.put("wait")
        await engine.wait_for("heartbeat", task_ids)
        engine.script["heartbeat"] = [answer]
        await engine.wait_for("register", count=2)
        registered_at = len(engine.heard)
        heard = await engine.wait_for("heartbeat", lambda heard: heard in engine.heard[registered_at:])

    assert task_ids(heard) == ["t-1"]


async def test_poll_of_a_forgotten_worker_makes_it_register_again(engine: FakeEngine, waiting: Worker) -> None:
    """A worker does not wait for its next heartbeat to find out that it is unknown."""
    waiting.configure(heartbeat_interval=3600)
    unknown = (404, {"error": "Worker not found"})
    engine.script = {"poll": [unknown] * 200, "heartbeat": [(200, {}), unknown]}
    async with waiting:
        await engine.wait_for("register", count=2)


async def test_refused_token_ends_the_worker(engine: FakeEngine, waiting: Worker) -> None:
    """A wrong token never becomes right, and the sentence says where to look."""
    engine.script["register"] = [(403, {"error": "wrong token"})]
    async with waiting:
        with pytest.raises(AuthError, match=r"refuses worker 'w' \(HTTP 403: wrong token\).*Check WORKER_TOKEN"):
            await waiting.wait()

    assert [heard.kind for heard in engine.heard] == ["register"]


async def test_stop_lets_tasks_finish(engine: FakeEngine, waiting: Worker, gate: asyncio.Event) -> None:
    """A worker that is told to stop says so, takes nothing new, and delivers what it has."""
    await waiting.start()
    engine.put("wait")
    await engine.wait_for("heartbeat", task_ids)
    stopping = asyncio.create_task(waiting.stop())
    offline = await engine.wait_for("heartbeat", lambda heard: heard.body["status"] == "offline", count=2)
    gate.set()
    await asyncio.wait_for(stopping, PATIENCE)

    assert task_ids(offline) == ["t-1"]
    assert parse_heartbeat("w", offline.body).available == frozenset()
    assert engine.of("result")[-1].body["data"] == "through"


async def test_stop_order_in_the_answer_to_the_goodbye_is_heard(engine: FakeEngine, waiting: Worker) -> None:
    """A worker does not wait for a task that was called off in the moment in which it stops."""
    waiting.configure(heartbeat_interval=3600, shutdown_timeout=3600)
    await waiting.start()
    engine.put("wait")
    await engine.wait_for("heartbeat", task_ids)
    engine.script["heartbeat"] = [(200, {"cancel_task_ids": ["t-1"]})]
    await asyncio.wait_for(waiting.stop(), PATIENCE)

    assert engine.of("result")[-1].body["status"] == "cancelled"


async def test_stop_cancels_what_takes_too_long(engine: FakeEngine, waiting: Worker) -> None:
    """After the time to finish the rest is cancelled and reported."""
    waiting.configure(shutdown_timeout=0.0)
    await waiting.start()
    engine.put("wait")
    await engine.wait_for("heartbeat", task_ids)

    await asyncio.wait_for(waiting.stop(), PATIENCE)

    assert engine.of("result")[-1].body["status"] == "cancelled"


async def test_stop_does_not_wait_for_the_next_try_to_deliver(engine: FakeEngine, worker: Worker) -> None:
    """A result that waits for its repetition is repeated at once when the worker is about to end."""
    worker.configure(retry_initial=3600, retry_max=3600)
    worker.add_task(lambda: "fine", "echo")
    engine.script["result"] = [(503, {})]
    await worker.start()
    engine.put("echo")
    await engine.result()

    await asyncio.wait_for(worker.stop(), PATIENCE)

    assert len(engine.of("result")) == 2


async def test_second_request_to_stop_does_not_wait_for_tasks(engine: FakeEngine, waiting: Worker) -> None:
    """Ctrl-C twice ends a worker now."""
    waiting.configure(shutdown_timeout=3600)
    await waiting.start()
    engine.put("wait")
    await engine.wait_for("heartbeat", task_ids)
    waiting.request_stop()
    await waiting.wait()
    waiting.request_stop()

    await asyncio.wait_for(waiting.stop(), PATIENCE)

    assert engine.of("result")[-1].body["status"] == "cancelled"


async def test_worker_can_be_started_again(engine: FakeEngine, worker: Worker) -> None:
    """A stopped worker leaves nothing behind that would keep it from working again."""
    worker.add_task(lambda: "fine", "echo")
    for task_id in ("t-1", "t-2"):
        async with worker:
            engine.put("echo", task_id)
            await engine.result(task_id)

    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("worker-")]


async def test_run_inside_an_event_loop_is_explained(worker: Worker) -> None:
    """In a notebook the way to start a worker is another one."""
    with pytest.raises(ConfigError, match=r"use 'await worker\.start"):
        worker.run()


async def test_stop_without_an_engine_is_quick(worker: Worker, engine: FakeEngine) -> None:
    """A worker that never found its engine stops at once."""
    await engine.server.close()
    worker.add_task(lambda: "fine", "echo")
    await worker.start()

    await asyncio.wait_for(worker.stop(), PATIENCE)


async def test_function_runs_with_its_ids_bound(engine: FakeEngine, worker: Worker) -> None:
    """What a function logs says which job and task it is for, in a coroutine and in a thread."""

    @worker.task
    async def here() -> dict[str, str]:
        return dict(bound_ids())

    @worker.task
    def there() -> dict[str, str]:
        return dict(bound_ids())

    async with worker:
        engine.put("here", "t-1")
        engine.put("there", "t-2")
        results = [parse_result(await engine.result(task_id)).data for task_id in ("t-1", "t-2")]

    assert results == [{"job_id": "j", "task_id": task_id, "worker_id": "w"} for task_id in ("t-1", "t-2")]


async def test_poll_that_is_one_too_many_is_not_repeated_at_once(engine: FakeEngine, worker: Worker) -> None:
    """Without a word of the engine, the worker keeps away for as long as its settings say."""
    worker.configure(refused_poll_delay=3600)
    worker.add_task(lambda: None, "echo")
    engine.script["poll"] = [(429, {"error": "slow down"})]

    async with worker:
        await engine.wait_for("poll")
        await engine.wait_for("heartbeat", count=3)

    assert len(engine.of("poll")) == 1


async def test_result_is_given_up_after_its_attempts(
    engine: FakeEngine, worker: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    """Where an operator has limited them."""
    worker.configure(result_attempts=2)
    worker.add_task(lambda: None, "echo")
    engine.script["result"] = [(503, {"error": "later"})] * 3

    async with worker:
        engine.put("echo")
        await engine.wait_for("result", count=2)
        await engine.wait_for("heartbeat", lambda heard: not task_ids(heard), count=3)

    assert len(engine.of("result")) == 2
    assert "the result of task t-1 is lost" in caplog.text
