"""The commands ``avtomatika jobs`` and ``avtomatika explain`` against an engine."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from typer.testing import CliRunner

from avtomatika import ActionFactory, Config, OrchestratorEngine, StateMachineBlueprint
from avtomatika.cli import app
from avtomatika.core.job import Job
from avtomatika.server.keys import JOBS_KEY

Command = Callable[..., Awaitable[tuple[int, str, str]]]
TOKEN = "a-client-secret"


@pytest.fixture
async def engine() -> AsyncIterator[OrchestratorEngine]:
    """An engine whose jobs wait for a worker, or are quarantined if they are told to fail."""
    engine = OrchestratorEngine(config=Config(API_HOST="127.0.0.1", API_PORT=0, CLIENT_TOKEN=TOKEN, JOB_MAX_RETRIES=0))
    flow = StateMachineBlueprint("flow")

    @flow.handler_for("start", is_start=True)
    async def start(initial_data: dict[str, Any], actions: ActionFactory) -> None:
        if initial_data.get("fail"):
            raise ValueError("as told")
        actions.dispatch_task("nobody_can", transitions={"success": "end"})

    @flow.handler_for("end", is_end=True)
    async def end() -> None: ...

    engine.register_blueprint(flow)
    async with engine:
        yield engine


@pytest.fixture
def command(engine: OrchestratorEngine) -> Command:
    """Runs the command line as the engine's client; returns exit code, output and errors."""

    async def run(*arguments: str) -> tuple[int, str, str]:
        options = ("--url", engine.url, "--token", TOKEN)
        done = await asyncio.to_thread(CliRunner().invoke, app, [*arguments, *options])
        return done.exit_code, done.stdout, done.stderr

    return run


async def create(engine: OrchestratorEngine, **data: Any) -> Job:
    """Returns a job that waits or is quarantined."""
    job_id = await engine.create_background_job("flow", data, client="default")
    jobs = engine.app[JOBS_KEY]
    job = await jobs.get(job_id)
    while job.status not in {"waiting_for_worker", "quarantined"}:
        job = await jobs.wait(job_id, job.version, 60)
    return job


async def test_jobs_are_listed_newest_first(command: Command, engine: OrchestratorEngine) -> None:
    """One line each, of one status if that is asked for."""
    waiting, failed = await create(engine), await create(engine, fail=True)

    _, everything, _ = await command("jobs", "list")
    _, stopped, _ = await command("jobs", "list", "--status", "quarantined", "--blueprint", "flow")

    assert everything.splitlines()[0].split() == ["JOB", "BLUEPRINT", "STATUS", "STATE", "AGE"]
    assert [line.split()[:4] for line in everything.splitlines()[1:]] == [
        [failed.id, "flow", "quarantined", "start"],
        [waiting.id, "flow", "waiting_for_worker", "start"],
    ]
    assert [line.split()[0] for line in stopped.splitlines()[1:]] == [failed.id]


def test_engine_that_is_not_there_is_one_sentence() -> None:
    """The calls that were made again before it are nobody's business."""
    command = [sys.executable, "-m", "avtomatika", "jobs", "list", "--url", "http://127.0.0.1:1"]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: no answer from http://127.0.0.1:1: ")
    assert done.stderr.count("\n") == 1


async def test_job_is_shown_as_json(command: Command, engine: OrchestratorEngine) -> None:
    """What the API tells of it."""
    job = await create(engine, word="\u043a\u043b\u044e\u0447")

    code, output, _ = await command("jobs", "show", job.id)

    assert (code, json.loads(output)["initial_data"]) == (0, {"word": "\u043a\u043b\u044e\u0447"})


@pytest.mark.parametrize("words", [("jobs", "explain"), ("explain",)])
async def test_job_is_explained(command: Command, engine: OrchestratorEngine, words: tuple[str, ...]) -> None:
    """What it waits for, or why it stopped."""
    _, waits, _ = await command(*words, (await create(engine)).id)
    _, stopped, _ = await command(*words, (await create(engine, fail=True)).id)

    assert "no registered worker has the skill 'nobody_can'" in waits
    assert "handler 'start' raised ValueError: as told" in stopped
    assert "avtomatika jobs requeue" in stopped


async def test_jobs_are_cancelled_and_one_that_refuses_is_named(command: Command, engine: OrchestratorEngine) -> None:
    """The others are cancelled all the same; the exit code tells."""
    one, other = await create(engine), await create(engine)

    code, output, errors = await command("jobs", "cancel", one.id, "unknown", other.id)

    assert code == 1
    assert output.splitlines() == [f"{job.id}: cancellation_request_accepted" for job in (one, other)]
    assert errors.splitlines()[0].startswith("unknown: job 'unknown' not found")
    assert errors.splitlines()[1] == "2 of 3 done"


async def test_jobs_of_a_status_are_requeued(command: Command, engine: OrchestratorEngine) -> None:
    """All of them go on; what they do then is theirs."""
    jobs = [await create(engine, fail=True) for _ in range(3)]
    waiting = await create(engine)

    code, output, errors = await command("jobs", "requeue", "--status", "quarantined", "--blueprint", "flow")

    assert (code, errors) == (0, "3 of 3 done\n")
    assert sorted(output.splitlines()) == sorted(f"{job.id}: requeued" for job in jobs)
    assert (await engine.app[JOBS_KEY].get(waiting.id)).version == waiting.version
    for job in jobs:
        rows = await engine.app[JOBS_KEY].wait(job.id, job.version, 60)
        assert rows.version > job.version


async def test_requeue_of_one_that_waits_is_refused(command: Command, engine: OrchestratorEngine) -> None:
    """Only a job that stopped can go on."""
    job = await create(engine)

    code, _, errors = await command("jobs", "requeue", job.id)

    assert code == 1
    assert "only these can be requeued: error, failed, quarantined" in errors


@pytest.mark.parametrize("arguments", [(), ("some", "--status", "failed")])
async def test_requeue_without_a_choice_is_refused(command: Command, arguments: tuple[str, ...]) -> None:
    """Ids or a status: neither is a mistake, and so are both."""
    code, _, errors = await command("jobs", "requeue", *arguments)

    assert code == 2
    assert "give ids of jobs, or --status quarantined" in errors
