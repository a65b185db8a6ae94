"""The engine's life: how it starts, serves, refuses, and stops within seconds."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from avtomatika import ActionFactory, Config, OrchestratorEngine, StateMachineBlueprint
from avtomatika.app_keys import DISPATCHER_KEY, JOBS_KEY, RUNNER_KEY
from avtomatika.config import DEFAULT_CLIENT_TOKEN
from avtomatika.errors import AvtomatikaError, BlueprintError, ConfigError, DocumentError, ValidationError
from avtomatika.protocol.messages import Skill, WorkerProfile
from avtomatika.storage import MemoryStorage
from tests.engine_jobs import ended, reached

CLIENT = {"X-Client-Token": "client"}
WORKER = {"X-Worker-Token": "worker"}
# A stop must be over by then, whatever is held open.
SECONDS = 8.0


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps the environment of the test run out of the engines."""
    for name in Config.model_fields:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def _short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets a stop wait for less than a second."""
    monkeypatch.setattr("avtomatika.engine._STOP_GRACE", 0.3)


def settings(**changes: Any) -> Config:
    """Returns settings with own tokens, on a free port of this machine."""
    plain = {"API_HOST": "127.0.0.1", "API_PORT": 0, "CLIENT_TOKEN": "client", "GLOBAL_WORKER_TOKEN": "worker"}
    return Config(**{**plain, **changes})


def an_engine(storage: MemoryStorage | None = None, **changes: Any) -> OrchestratorEngine:
    """Returns an engine with a blueprint that ends at once and one that needs a worker."""
    engine = OrchestratorEngine(storage, settings(**changes))
    quick = StateMachineBlueprint("quick", api_endpoint="/quick")
    patient = StateMachineBlueprint("patient", api_endpoint="/patient")

    @quick.handler_for("only", is_start=True, is_end=True)
    async def only(n: int = 1) -> dict[str, int]:
        return {"double": 2 * n}

    @patient.handler_for("send", is_start=True)
    async def send(actions: ActionFactory) -> None:
        actions.dispatch_task("work", transitions={"success": "end"})

    @patient.handler_for("end", is_end=True)
    async def end() -> None: ...

    engine.register_blueprint(quick)
    engine.register_blueprint(patient)
    return engine


async def status_of(url: str, path: str = "/_public/status") -> int:
    """Returns the status code of an answer."""
    async with aiohttp.ClientSession() as http, http.get(f"{url}{path}", headers=CLIENT) as response:
        return response.status


# --- start and stop ---


async def test_engine_serves_between_start_and_stop() -> None:
    """Requests are answered as soon as ``start`` returns, and none after ``stop``."""
    engine = an_engine()

    await engine.start()
    served = await status_of(engine.url)
    url = engine.url
    await engine.stop()

    assert served == 200
    with pytest.raises(aiohttp.ClientConnectorError):
        await status_of(url)


async def test_engine_in_async_with_stops_at_the_end() -> None:
    """The block is the engine's life, also when it ends by an exception."""
    engine = an_engine()

    async def use() -> None:
        async with engine as entered:
            assert entered is engine
            assert await status_of(engine.url) == 200
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await use()

    with pytest.raises(AvtomatikaError, match=r"does not run; await engine\.start\(\) first"):
        _ = engine.port


async def test_port_zero_is_a_free_port() -> None:
    """Two engines live side by side, and each tells its own address."""
    async with an_engine() as first, an_engine() as second:
        assert first.port != second.port
        assert first.url == f"http://127.0.0.1:{first.port}"


async def test_engine_that_runs_cannot_be_started_again() -> None:
    """The second start says so, and the first goes on."""
    async with an_engine() as engine:
        with pytest.raises(AvtomatikaError, match="this engine runs already"):
            await engine.start()

        assert await status_of(engine.url) == 200


async def test_engine_that_was_stopped_cannot_be_started_again() -> None:
    """The sentence says what to do instead."""
    engine = an_engine()
    await engine.start()
    await engine.stop()

    with pytest.raises(AvtomatikaError, match=r"make a new OrchestratorEngine\. The same storage may be used again"):
        await engine.start()


async def test_stop_is_idempotent() -> None:
    """Before the start, twice, and three times."""
    engine = an_engine()
    await engine.stop()

    await engine.start()
    await engine.stop()
    await engine.stop()


async def test_stop_leaves_no_task_behind() -> None:
    """Everything that the engine began has ended."""
    before = asyncio.all_tasks()
    async with an_engine() as engine:
        await ended(engine, await engine.create_background_job("quick", {}))

    assert asyncio.all_tasks() == before


# --- refusals ---


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody else listens on."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


async def test_port_in_use_is_said_with_its_number(taken: int) -> None:
    """What is the matter, and which setting changes it; nothing of the engine stays behind."""
    before = asyncio.all_tasks()
    engine = an_engine(API_PORT=taken)

    with pytest.raises(ConfigError, match=rf"port {taken} on 127\.0\.0\.1 is in use.*API_PORT"):
        await engine.start()

    assert asyncio.all_tasks() == before


async def test_engine_that_could_not_start_does_not_pretend_to(taken: int) -> None:
    """Its parts have ended with the failed start: a second one would serve without working."""
    engine = an_engine(API_PORT=taken)
    with pytest.raises(ConfigError):
        await engine.start()
    engine.config.API_PORT = 0

    with pytest.raises(AvtomatikaError, match="make a new OrchestratorEngine"):
        await engine.start()


async def test_address_of_another_machine_is_refused_with_a_sentence() -> None:
    """An address that this machine does not have is named."""
    with pytest.raises(ConfigError, match=r"cannot listen on 192\.0\.2\.1.*Check API_HOST"):
        await an_engine(API_HOST="192.0.2.1").start()


async def test_public_tokens_serve_on_this_machine_only(caplog: pytest.LogCaptureFixture) -> None:
    """Without own tokens and without an address the engine binds loopback, and says so."""
    engine = OrchestratorEngine(config=Config(API_PORT=0))

    async with engine:
        assert engine.url.startswith("http://127.0.0.1:")

    assert "CLIENT_TOKEN and GLOBAL_WORKER_TOKEN are public defaults" in caplog.text


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
async def test_public_tokens_on_other_addresses_are_refused(host: str) -> None:
    """An address that others reach needs secrets; the variables are named, and nothing is started."""
    engine = OrchestratorEngine(config=Config(API_HOST=host, API_PORT=0, CLIENT_TOKEN="own"))

    with pytest.raises(ConfigError, match=r"GLOBAL_WORKER_TOKEN is a public default.*ALLOW_DEFAULT_TOKENS"):
        await engine.start()

    engine.config.GLOBAL_WORKER_TOKEN = "own-too"
    engine.config.API_HOST = "127.0.0.1"
    async with engine:
        assert await status_of(engine.url) == 200


async def test_own_tokens_serve_everywhere() -> None:
    """With secrets the default address is every address; the engine's own URL is one that works."""
    engine = OrchestratorEngine(config=Config(API_PORT=0, CLIENT_TOKEN="client", GLOBAL_WORKER_TOKEN="worker"))

    async with engine:
        assert engine.app is not None
        assert engine.url == f"http://127.0.0.1:{engine.port}"
        assert await status_of(engine.url, "/api/v1/jobs") == 200


async def test_tokens_assigned_before_the_start_are_the_ones_in_force() -> None:
    """As in the description: settings are changed after the object was made."""
    engine = OrchestratorEngine(config=Config(API_PORT=0))
    engine.config.CLIENT_TOKEN = "client"

    async with engine:
        assert await status_of(engine.url, "/api/v1/jobs") == 200


def test_blueprint_with_faults_is_not_registered() -> None:
    """All faults are listed; the engine does not take half a blueprint."""
    engine = an_engine()
    broken = StateMachineBlueprint("broken")

    @broken.handler_for("a", is_start=True)
    async def a(actions: ActionFactory) -> None:
        actions.transition_to("publsh")

    @broken.handler_for("publish", is_end=True)
    async def publish() -> None: ...

    with pytest.raises(ValidationError, match=r"leads to 'publsh'.*Did you mean 'publish'\?"):
        engine.register_blueprint(broken)


def test_two_blueprints_cannot_have_one_endpoint() -> None:
    """The sentence names both."""
    engine = an_engine()
    rival = StateMachineBlueprint("rival", api_endpoint="quick")

    @rival.handler_for("only", is_start=True, is_end=True)
    async def only() -> None: ...

    with pytest.raises(BlueprintError, match="blueprints 'quick' and 'rival' both claim the endpoint '/quick'"):
        engine.register_blueprint(rival)


# --- a stop takes seconds ---


async def test_stop_answers_held_polls_and_waits() -> None:
    """Workers and clients that wait are answered, not cut off, and do not delay the stop."""
    engine = an_engine()
    await engine.start()
    job_id = await engine.create_background_job("patient", {}, client="default")
    await reached(engine, job_id, "waiting_for_worker")
    async with aiohttp.ClientSession() as http:
        body = {"worker_id": "w1", "supported_skills": [{"name": "other", "type": "other"}]}
        await http.post(f"{engine.url}/_worker/workers/register", json=body, headers=WORKER)
        poll = asyncio.create_task(http.get(f"{engine.url}/_worker/workers/w1/tasks/next", headers=WORKER))
        wait = asyncio.create_task(http.get(f"{engine.url}/api/v1/jobs/{job_id}?wait=60", headers=CLIENT))
        while not (engine.app[DISPATCHER_KEY].parked and engine.app[JOBS_KEY]._waiting):  # noqa: ASYNC110 - sockets
            await asyncio.sleep(0.001)

        await engine.stop()

        assert [(await poll).status, (await wait).status] == [204, 200]


async def test_stop_takes_back_who_waits_at_the_engine() -> None:
    """An engine that has stopped leaves nothing in the storage of the workers that waited at it."""
    storage, config = MemoryStorage(), Config(API_HOST="127.0.0.1", API_PORT=0)
    async with OrchestratorEngine(storage, config) as engine:
        worker = WorkerProfile("w1", skills=(Skill("work"),))
        poll = asyncio.create_task(engine.app[DISPATCHER_KEY].next_task(worker, 60.0))
        while not await storage.list_records("waiting"):  # noqa: ASYNC110 - no signal tells of it
            await asyncio.sleep(0)

    assert await poll is None
    assert await storage.list_records("waiting") == []


async def test_stop_does_not_wait_for_idle_connections() -> None:
    """A browser that keeps its connection open delays nothing."""
    engine = an_engine()
    await engine.start()
    async with aiohttp.ClientSession() as http:
        await http.get(f"{engine.url}/_public/status")

        async with asyncio.timeout(SECONDS):
            await engine.stop()


@pytest.mark.usefixtures("_short_grace")
@pytest.mark.parametrize("kind", ["async", "plain"])
async def test_stop_does_not_wait_for_a_handler_that_hangs(kind: str) -> None:
    """After its grace a handler is left behind; its job is there for the next engine, as never begun."""
    storage = MemoryStorage()
    engine = an_engine(storage)
    hang = StateMachineBlueprint("hang")
    begun, door = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    if kind == "async":

        @hang.handler_for("only", is_start=True, is_end=True)
        async def wait() -> None:
            begun.set()
            await asyncio.Event().wait()
    else:

        @hang.handler_for("only", is_start=True, is_end=True)
        def block() -> None:
            loop.call_soon_threadsafe(begun.set)
            door.wait(60)

    engine.register_blueprint(hang)
    await engine.start()
    job_id = await engine.create_background_job("hang", {})
    await begun.wait()

    async with asyncio.timeout(SECONDS):
        await engine.stop()
    door.set()

    assert (await storage.find_wake_up(job_id)).ready_at is not None
    assert await storage.audit() == []


# --- storage ---


async def test_next_engine_on_the_same_storage_goes_on() -> None:
    """Jobs outlive their engine: what waited goes on, what ended can be looked up."""
    storage = MemoryStorage()
    async with an_engine(storage) as first:
        done = await first.create_background_job("quick", {"n": 4}, client="default")
        await ended(first, done)
        open_ = await first.create_background_job("patient", {}, client="default")
        await reached(first, open_, "waiting_for_worker")

    async with an_engine(storage) as second, aiohttp.ClientSession() as http:
        body = {"worker_id": "w1", "supported_skills": [{"name": "work", "type": "work"}]}
        await http.post(f"{second.url}/_worker/workers/register", json=body, headers=WORKER)
        async with http.get(f"{second.url}/_worker/workers/w1/tasks/next", headers=WORKER) as response:
            task = await response.json()
        result = {"job_id": open_, "task_id": task["task_id"], "worker_id": "w1"}
        await http.post(f"{second.url}/_worker/tasks/result", json=result, headers=WORKER)

        assert (await ended(second, open_)).status == "finished"
        assert (await ended(second, done)).result.value() == {"double": 8}
    assert await storage.audit() == []


async def test_two_engines_on_one_storage_share_the_jobs() -> None:
    """Each job runs once, whichever engine takes it."""
    storage = MemoryStorage()
    calls: list[str] = []

    def engine(name: str) -> OrchestratorEngine:
        engine = OrchestratorEngine(storage, settings())
        flow = StateMachineBlueprint("flow")

        @flow.handler_for("only", is_start=True, is_end=True)
        async def only(job_id: str) -> None:
            calls.append(job_id)
            await asyncio.sleep(0)

        engine.register_blueprint(flow)
        return engine

    async with engine("a") as first, engine("b") as second:
        jobs = [await one.create_background_job("flow", {}) for one in (first, second) * 25]
        for job_id in jobs:
            await ended(first, job_id)

    assert sorted(calls) == sorted(jobs)


# --- jobs from code ---


async def test_background_job_runs_and_says_where_it_came_from() -> None:
    """A job that was created in code runs as one that came over HTTP."""
    async with an_engine() as engine:
        job = await ended(engine, await engine.create_background_job("quick", {"n": 3}, source="nightly"))

    assert (job.result.value(), job.source, job.client.name) == ({"double": 6}, "nightly", "internal")


async def test_background_job_of_an_unknown_blueprint_is_refused() -> None:
    """The sentence guesses the name."""
    with pytest.raises(BlueprintError, match=r"'quik' is not registered.*Did you mean 'quick'"):
        await an_engine().create_background_job("quik", {})


async def test_background_job_with_data_that_cannot_be_stored_is_refused() -> None:
    """The path of the value stands in the sentence."""
    with pytest.raises(DocumentError, match=r"initial_data\.rows\[0\]"):
        await an_engine().create_background_job("quick", {"rows": [object()]})


async def test_job_created_before_the_start_runs_after_it() -> None:
    """Creating needs no server."""
    engine = an_engine()
    job_id = await engine.create_background_job("quick", {})

    async with engine:
        assert (await ended(engine, job_id)).status == "finished"


# --- served by somebody else ---


async def test_application_alone_brings_its_background_work() -> None:
    """As under Gunicorn, which sets up and cleans up the application and knows no engine."""
    before = asyncio.all_tasks()
    engine = an_engine()
    server = web.AppRunner(engine.app)
    await server.setup()
    site = web.TCPSite(server, "127.0.0.1", 0)
    await site.start()
    url = f"http://127.0.0.1:{server.addresses[0][1]}"

    async with aiohttp.ClientSession() as http:
        async with http.post(f"{url}/api/v1/quick", json={"n": 5}, headers=CLIENT) as response:
            job_id = (await response.json())["job_id"]
        job = await ended(engine, job_id)
    async with asyncio.timeout(SECONDS):
        await server.cleanup()

    assert job.result.value() == {"double": 10}
    assert engine.app[RUNNER_KEY].active == 0
    assert asyncio.all_tasks() == before


# --- run() ---


@contextlib.contextmanager
def own_logging() -> Iterator[None]:
    """Takes back what ``run`` does to the logger, which all tests share."""
    logger = logging.getLogger("avtomatika")
    saved = logger.handlers[:], logger.level, logger.propagate
    try:
        yield
    finally:
        logger.handlers[:], logger.level, logger.propagate = saved


async def test_run_inside_a_running_loop_says_what_to_use_instead() -> None:
    """A notebook cell gets a sentence, not a traceback about loops and coroutines never awaited."""
    sentence = r"avtomatika\.notebook\.Workbench.*await engine\.start\(\)"

    with own_logging(), pytest.raises(AvtomatikaError, match=sentence):
        an_engine().run()


PROGRAM = """
import time
from avtomatika import OrchestratorEngine, StateMachineBlueprint

engine = OrchestratorEngine()
flow = StateMachineBlueprint("flow", api_endpoint="/flow")

@flow.handler_for("only", is_start=True, is_end=True)
def block():
    print("a handler blocks", flush=True)
    time.sleep(600)

engine.register_blueprint(flow)
engine.run()
"""


class Program:
    """A process that runs an engine; its log comes line by line."""

    def __init__(self, folder: Path, program: str, **env: str) -> None:
        (folder / "program.py").write_text(program)
        self.process = subprocess.Popen(
            [sys.executable, "-u", "program.py"],
            cwd=folder,
            env={**os.environ, "API_PORT": "0", "LOG_FORMAT": "text", **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.log: list[str] = []

    def until(self, word: str) -> str:
        """Returns the next line that has the word."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.log.append(line)
            if word in line:
                return line
        raise AssertionError(f"no line with '{word}' in: {''.join(self.log)}")

    def end(self, number: signal.Signals) -> int:
        """Sends a signal and returns the exit code."""
        self.process.send_signal(number)
        return self.process.wait(SECONDS * 2)


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[Any]:
    """Returns what starts a program; it ends with the test."""
    started: list[Program] = []

    def start(program: str = PROGRAM, **env: str) -> Program:
        started.append(Program(tmp_path, program, **env))
        return started[-1]

    yield start

    for program in started:
        program.process.kill()
        program.process.wait()
        assert program.process.stdout is not None
        program.process.stdout.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_run_ends_by_a_signal_with_code_zero(programs: Any, number: signal.Signals) -> None:
    """A supervisor's stop is a good end, within seconds."""
    program = programs()
    program.until("the engine serves at")

    assert program.end(number) == 0


def test_run_ends_though_a_plain_handler_hangs(programs: Any) -> None:
    """A thread that cannot be interrupted does not keep a stopped process alive."""
    impatient = "import avtomatika.engine\navtomatika.engine._STOP_GRACE = 0.5\nengine.run()"
    program = programs(PROGRAM.replace("engine.run()", impatient))
    url = re.findall(r"http://[0-9.:]+", program.until("the engine serves at"))[0]
    headers = {"X-Client-Token": DEFAULT_CLIENT_TOKEN}
    with urllib.request.urlopen(urllib.request.Request(f"{url}/api/v1/flow", b"{}", headers)) as response:
        assert response.status == 202
    program.until("a handler blocks")

    assert program.end(signal.SIGTERM) == 0


def test_run_with_a_wrong_setting_ends_with_a_sentence(programs: Any) -> None:
    """The last line of the output says what is wrong; the process does not hang."""
    program = programs(API_PORT="eighty")

    line = program.until("ConfigError")

    assert "API_PORT is 'eighty', but must be a whole number from 0 to 65535" in line
    assert program.process.wait(SECONDS) == 1
