"""The command ``avtomatika messages`` against an engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from msgspec.structs import replace
from typer.testing import CliRunner

from avtomatika import Config, OrchestratorEngine, StateMachineBlueprint
from avtomatika.cli import app
from avtomatika.core.document import EMPTY
from avtomatika.server.keys import JOBS_KEY, STORAGE_KEY
from avtomatika.storage.base import Batch, Message

Command = Callable[..., Awaitable[tuple[int, str, str]]]


@pytest.fixture
async def engine() -> AsyncIterator[OrchestratorEngine]:
    """An engine with a job, two of whose messages were given up."""
    engine = OrchestratorEngine(config=Config(API_HOST="127.0.0.1", API_PORT=0, CLIENT_TOKEN="a-client-secret"))
    flow = StateMachineBlueprint("flow")

    @flow.handler_for("only", is_start=True)
    async def only(actions: object) -> None:
        actions.dispatch_task("nobody_can", transitions={"success": "end"})  # type: ignore[attr-defined]

    @flow.handler_for("end", is_end=True)
    async def end() -> None: ...

    engine.register_blueprint(flow)
    async with engine:
        job_id = await engine.create_background_job("flow", {}, client="default")
        storage, jobs = engine.app[STORAGE_KEY], engine.app[JOBS_KEY]
        job = await jobs.get(job_id)
        while job.status != "waiting_for_worker":
            job = await jobs.wait(job_id, job.version, 60)
        letters = [Message(f"{job_id}:{n}", "webhook", job_id, "", EMPTY, 1.0, 1.0) for n in range(2)]
        await storage.commit(Batch(replace(job, version=job.version + 1), frozenset(), 1.0, messages=letters))
        for letter in letters:
            await storage.bury_message(letter.id, "shop.example answered 503.")
        engine.letters = [letter.id for letter in letters]  # type: ignore[attr-defined]
        yield engine


@pytest.fixture
def command(engine: OrchestratorEngine) -> Command:
    """Runs the command line as the engine's client; returns exit code, output and errors."""

    async def run(*arguments: str) -> tuple[int, str, str]:
        options = ("--url", engine.url, "--token", "a-client-secret")
        done = await asyncio.to_thread(CliRunner().invoke, app, ["messages", *arguments, *options])
        return done.exit_code, done.stdout, done.stderr

    return run


async def test_dead_letters_are_listed(command: Command, engine: OrchestratorEngine) -> None:
    """One line each, with the error."""
    code, output, _ = await command("dead", "--topic", "webhook")

    assert code == 0
    lines = output.splitlines()
    assert lines[0].split() == ["MESSAGE", "TOPIC", "ATTEMPTS", "AGE", "ERROR"]
    assert sorted(line.split()[0] for line in lines[1:]) == engine.letters  # type: ignore[attr-defined]
    assert all(line.endswith("shop.example answered 503.") for line in lines[1:])


async def test_dead_letters_are_sent_again_by_name(command: Command, engine: OrchestratorEngine) -> None:
    """What is no dead letter is said on standard error."""
    first, second = engine.letters  # type: ignore[attr-defined]

    assert await command("replay", first, "other") == (
        0,
        f"{first}: sent again\n",
        "other: no dead letter of yours\n1 sent again\n",
    )

    assert [message.id for message in await engine.app[STORAGE_KEY].list_dead_messages()] == [second]


async def test_dead_letters_are_sent_again_by_topic(command: Command, engine: OrchestratorEngine) -> None:
    """All of a topic at once."""
    code, output, errors = await command("replay", "--topic", "webhook")

    assert (code, errors) == (0, "2 sent again\n")
    assert sorted(line.split(": ")[0] for line in output.splitlines()) == engine.letters  # type: ignore[attr-defined]
    assert await engine.app[STORAGE_KEY].list_dead_messages() == []


@pytest.mark.parametrize("arguments", [(), ("m1", "--topic", "webhook")])
async def test_replay_of_nothing_or_of_both_is_refused(command: Command, arguments: tuple[str, ...]) -> None:
    """Which ones are meant must be clear."""
    code, _, errors = await command("replay", *arguments)

    assert code == 2
    assert "give ids of dead letters, or --topic webhook" in errors
