"""The programs of the original description: what users have written must work, from the import to the result.

Each test is one of its chapters, in our own words, with workers in the same process.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import aiohttp
import pytest

from avtomatika import OrchestratorEngine, StateMachineBlueprint
from avtomatika.app_keys import DISPATCHER_KEY, ENGINE_KEY
from avtomatika.config import Config
from avtomatika.context import ActionFactory
from avtomatika.storage import MemoryStorage
from avtomatika.worker import Success, Worker

CLIENT_TOKEN = "my-own-client-token"
WORKER_TOKEN = "my-own-worker-token"


class Lab:
    """An engine that runs, a client and workers in this process.

    Args:
        engine: what runs.
        http: sends the client's requests.
    """

    def __init__(self, engine: OrchestratorEngine, http: aiohttp.ClientSession) -> None:
        self.engine = engine
        self.http = http

    async def create(self, path: str, data: dict[str, Any]) -> str:
        """Creates a job over HTTP and returns its id."""
        async with self.http.post(f"{self.engine.url}{path}", json={"initial_data": data}) as response:
            assert response.status == 202, await response.text()
            return str((await response.json())["job_id"])

    async def look(self, job_id: str, wait: float = 0) -> dict[str, Any]:
        """Returns the job over HTTP, after its next change or that many seconds."""
        async with self.http.get(f"{self.engine.url}/api/v1/jobs/{job_id}?wait={wait}") as response:
            return dict(await response.json())

    async def ended(self, job_id: str) -> dict[str, Any]:
        """Returns the job when it has ended."""
        job = await self.look(job_id)
        while job["status"] not in {"finished", "failed", "quarantined", "cancelled"}:
            job = await self.look(job_id, wait=30)
        return job

    async def run(self, path: str, data: dict[str, Any]) -> dict[str, Any]:
        """Creates a job and returns it when it has ended."""
        return await self.ended(await self.create(path, data))

    def worker(self, name: str = "specialist") -> Worker:
        """Returns a worker that is not started yet."""
        return Worker(name, url=self.engine.url, token=WORKER_TOKEN, heartbeat_interval=1, poll_timeout=5)


@contextlib.asynccontextmanager
async def a_lab(*blueprints: StateMachineBlueprint) -> AsyncIterator[Lab]:
    """Starts an engine with the blueprints, as the description does."""
    storage = MemoryStorage()
    config = Config(API_HOST="127.0.0.1", API_PORT=0, RETRY_DELAY_SECONDS=0.01)
    config.CLIENT_TOKEN = CLIENT_TOKEN
    config.GLOBAL_WORKER_TOKEN = WORKER_TOKEN
    engine = OrchestratorEngine(storage, config)
    for blueprint in blueprints:
        engine.register_blueprint(blueprint)
    await engine.start()
    try:
        async with aiohttp.ClientSession(headers={"X-Client-Token": CLIENT_TOKEN}) as http:
            yield Lab(engine, http)
    finally:
        await engine.stop()
    assert await storage.audit() == []


async def test_quick_start() -> None:
    """Storage, settings, a blueprint with injected arguments and one with the context, start, job, stop."""
    seen: list[str] = []
    first = StateMachineBlueprint(name="my_first_blueprint", api_version="v1", api_endpoint="/jobs/my_flow")

    @first.handler_for("start", is_start=True)
    async def begin(job_id: str, initial_data: dict[str, Any], actions: ActionFactory) -> None:
        seen.append(f"{job_id} begins with {initial_data}")
        actions.transition_to("end")

    @first.handler_for("end", is_end=True)
    async def finish(context: Any) -> None:
        seen.append(f"{context.job_id} ends")

    async with a_lab(first) as lab:
        assert lab.engine.app[ENGINE_KEY] is lab.engine
        assert lab.engine.app[DISPATCHER_KEY] is not None
        job = await lab.run("/api/v1/jobs/my_flow", {"video": "a.mp4"})

    assert (job["status"], job["current_state"]) == ("finished", "end")
    assert seen == [f"{job['id']} begins with {{'video': 'a.mp4'}}", f"{job['id']} ends"]


async def test_conditions_choose_the_handler() -> None:
    """``.when`` with a string comes before the default handler of the same state."""
    flow = StateMachineBlueprint("decisions", api_endpoint="/decisions")

    @flow.handler_for("decision_step", is_start=True).when("context.initial_data.type == 'urgent'")
    async def urgent(actions: ActionFactory) -> None:
        actions.transition_to("urgent_processing")

    @flow.handler_for("decision_step", is_start=True)
    async def normal(actions: ActionFactory) -> None:
        actions.transition_to("normal_processing")

    @flow.handler_for("urgent_processing", is_end=True)
    async def urgently() -> None: ...

    @flow.handler_for("normal_processing", is_end=True)
    async def normally() -> None: ...

    async with a_lab(flow) as lab:
        states = [
            (await lab.run("/api/v1/decisions", data))["current_state"]
            for data in ({"type": "urgent"}, {"type": "slow"}, {})
        ]

    assert states == ["urgent_processing", "normal_processing", "normal_processing"]


def transcoding() -> StateMachineBlueprint:
    """Returns the blueprint of the chapter on tasks: three ways on, and what the worker returned is injected."""
    flow = StateMachineBlueprint("transcoding", api_endpoint="/transcoding")

    @flow.handler_for("transcode_video", is_start=True)
    async def transcode(initial_data: dict[str, Any], actions: ActionFactory) -> None:
        actions.dispatch_task(
            task_type="video_transcoding",
            params={"input_path": initial_data.get("path")},
            transitions={
                "success": "publish_video",
                "failure": "transcoding_failed",
                "needs_review": "manual_review",
            },
        )

    @flow.handler_for("publish_video")
    async def publish(
        job_id: str, output_path: str, duration: int, state_history: dict[str, Any], actions: ActionFactory
    ) -> None:
        state_history["published"] = f"{output_path} ({duration} s)"
        actions.transition_to("complete")

    @flow.handler_for("complete", is_end=True)
    async def complete(context: Any) -> dict[str, Any]:
        return {"published": context.state_history["published"]}

    @flow.handler_for("manual_review", is_end=True)
    async def review() -> None: ...

    @flow.handler_for("transcoding_failed", is_end=True)
    async def failed(state_history: dict[str, Any]) -> dict[str, Any]:
        return {"why": state_history["last_error"]["message"]}

    return flow


async def test_task_goes_to_a_worker_and_its_status_chooses_the_way() -> None:
    """Success with injection, a word of the worker's own, a failure, and a word that nobody knows."""
    async with a_lab(transcoding()) as lab:
        worker = lab.worker()

        @worker.task("video_transcoding")
        async def transcode(input_path: str) -> Any:
            match input_path:
                case "good.avi":
                    return {"output_path": "/videos/good.mp4", "duration": 95}
                case "odd.avi":
                    return Success({}, "needs_review")
                case "strange.avi":
                    return Success({}, "no_idea")
            return {"status": "failure", "error": {"code": "PERMANENT_ERROR", "message": "not a video"}}

        async with worker:
            good, odd, strange, bad = [
                await lab.run("/api/v1/transcoding", {"path": f"{name}.avi"})
                for name in ("good", "odd", "strange", "bad")
            ]

    assert (good["status"], good["result"]) == ("finished", {"published": "/videos/good.mp4 (95 s)"})
    assert good["state_history"]["duration"] == 95
    assert (odd["status"], odd["current_state"]) == ("finished", "manual_review")
    assert strange["status"] == "failed"
    assert "'no_idea'" in strange["error_message"]
    assert (bad["status"], bad["current_state"]) == ("failed", "transcoding_failed")
    assert bad["result"] == {"why": "not a video"}


async def test_tasks_in_parallel_are_joined() -> None:
    """Fan-out over a list of files to several workers, fan-in by the aggregator."""
    flow = StateMachineBlueprint("files", api_endpoint="/files")

    @flow.handler_for("process_files", is_start=True)
    async def fan_out(initial_data: dict[str, Any], actions: ActionFactory) -> None:
        tasks = [{"task_type": "file_analysis", "params": {"file": file}} for file in initial_data.get("files", [])]
        actions.dispatch_parallel(tasks=tasks, aggregate_into="aggregate_results")

    @flow.aggregator_for("aggregate_results")
    async def join(aggregation_results: dict[str, Any], state_history: dict[str, Any], actions: ActionFactory) -> None:
        state_history["summary"] = [result.get("data") for result in aggregation_results.values()]
        actions.transition_to("processing_complete")

    @flow.handler_for("processing_complete", is_end=True)
    async def done() -> None: ...

    async with a_lab(flow) as lab:
        workers = [lab.worker(f"analyst-{number}") for number in range(3)]
        for worker in workers:

            @worker.task
            async def file_analysis(file: str) -> dict[str, Any]:
                await asyncio.sleep(0)
                return {"file": file, "size": len(file)}

        async with workers[0], workers[1], workers[2]:
            job = await lab.run("/api/v1/files", {"files": ["a", "bb", "ccc", "dddd"]})
            empty = await lab.run("/api/v1/files", {})

    assert job["status"] == "finished"
    assert job["result"]["summary"] == [{"file": name, "size": len(name)} for name in ("a", "bb", "ccc", "dddd")]
    assert empty["result"] == {"summary": []}


@pytest.fixture
def redis_port(tmp_path: Path, missing_server: Callable[[str], NoReturn]) -> Iterator[int]:
    """The port of a Redis server of our own; it ends with the test."""
    program = shutil.which("redis-server")
    if program is None:
        missing_server("redis-server is not installed; on Debian: apt-get install redis-server.")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", str(tmp_path)]
    with subprocess.Popen([program, *options], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        assert any("Ready to accept connections" in line for line in server.stdout)
        yield port
        server.terminate()
        server.communicate()


async def test_data_store_is_the_very_object(redis_port: int) -> None:
    """A Redis client reaches the handlers as it is, under its name; a dict becomes a store with the same methods."""
    redis = pytest.importorskip("redis.asyncio")
    client = redis.Redis(port=redis_port, decode_responses=True)
    await client.set("user:123", "Ada")
    flow = StateMachineBlueprint("blueprint_with_datastore", api_endpoint="/users", data_stores={"cache": client})
    flow.add_data_store("settings", {"greeting": "Hello"})

    @flow.handler_for("get_from_cache", is_start=True)
    async def look_up(data_stores: Any, state_history: dict[str, Any], actions: ActionFactory) -> None:
        assert data_stores.cache is client
        state_history["user"] = await data_stores.cache.get("user:123")
        state_history["greeting"] = await data_stores.settings.get("greeting")
        await data_stores.settings.set("greeting", "Hello again")
        actions.transition_to("done")

    @flow.handler_for("done", is_end=True)
    async def done() -> None: ...

    try:
        async with a_lab(flow) as lab:
            first = await lab.run("/api/v1/users", {})
            second = await lab.run("/api/v1/users", {})
    finally:
        await client.aclose()

    assert first["result"] == {"user": "Ada", "greeting": "Hello"}
    assert second["result"] == {"user": "Ada", "greeting": "Hello again"}


async def test_faults_are_judged_by_their_code(caplog: pytest.LogCaptureFixture) -> None:
    """A transient error is retried, a permanent one quarantines, wrong input fails the job."""
    flow = StateMachineBlueprint("faults", api_endpoint="/faults")

    @flow.handler_for("send", is_start=True)
    async def send(code: str, actions: ActionFactory) -> None:
        actions.dispatch_task("risky", {"code": code}, transitions={"success": "done"})

    @flow.handler_for("done", is_end=True)
    async def done() -> None: ...

    calls: list[str] = []
    async with a_lab(flow) as lab:
        worker = lab.worker()

        @worker.task
        async def risky(code: str) -> Any:
            calls.append(code)
            if code == "TRANSIENT_ERROR" and calls.count(code) == 2:
                return {"ok": True}
            return {"status": "failure", "error": {"code": code, "message": "by design"}}

        with caplog.at_level(logging.ERROR):
            async with worker:
                jobs = {
                    code: await lab.run("/api/v1/faults", {"code": code})
                    for code in ("TRANSIENT_ERROR", "PERMANENT_ERROR", "INVALID_INPUT_ERROR")
                }

    assert {code: job["status"] for code, job in jobs.items()} == {
        "TRANSIENT_ERROR": "finished",
        "PERMANENT_ERROR": "quarantined",
        "INVALID_INPUT_ERROR": "failed",
    }
    assert calls == ["TRANSIENT_ERROR", "TRANSIENT_ERROR", "PERMANENT_ERROR", "INVALID_INPUT_ERROR"]


async def test_worker_tells_its_progress() -> None:
    """What a worker reports stands at the job while it runs."""
    flow = StateMachineBlueprint("slow", api_endpoint="/slow")

    @flow.handler_for("send", is_start=True)
    async def send(actions: ActionFactory) -> None:
        actions.dispatch_task("slow_work", transitions={"success": "done"})

    @flow.handler_for("done", is_end=True)
    async def done() -> None: ...

    door = asyncio.Event()
    async with a_lab(flow) as lab:
        worker = lab.worker()

        @worker.task
        async def slow_work(context: Any) -> None:
            context.progress(0.5, "half way")
            await door.wait()

        async with worker:
            job_id = await lab.create("/api/v1/slow", {})
            told = await lab.look(job_id)
            while told["progress_message"] != "half way":
                told = await lab.look(job_id, wait=1)
            door.set()
            ended = await lab.ended(job_id)

    assert told["progress"] == 0.5
    assert ended["progress"] == 1.0
