"""Names of files, and who may reach them: tried over the wire, as an attacker would."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from avtomatika import Config, OrchestratorEngine
from avtomatika.core.job import Client
from avtomatika.server.keys import CLIENT_TOKENS_KEY, JOBS_KEY, REGISTRY_KEY
from tests.flows import waits

TOKENS = {"anna": "the-token-of-anna", "boris": "the-token-of-boris"}

# What should lead from a job's files to a secret beside them, in whichever reading.
WAYS_OUT = [
    "../secret.txt",
    "../../secret.txt",
    "%2e%2e/secret.txt",
    "%2e%2e%2fsecret.txt",
    "..%2fsecret.txt",
    "..%2F..%2fsecret.txt",
    "%252e%252e%252fsecret.txt",
    "%25252e%25252e%25252fsecret.txt",
    "a/../../secret.txt",
    "a/%2e%2e/%2e%2e/secret.txt",
    "./../secret.txt",
    "..%5csecret.txt",
    "..%5C..%5csecret.txt",
    "..\\secret.txt",
    "%2fetc%2fpasswd",
    "/etc/passwd",
    "//etc/passwd",
    "%00",
    "a%00.txt",
    "a%0d%0aX-Evil:%20yes",
    "%c0%ae%c0%ae/secret.txt",
    "%e2%80%ae.txt",
    "%ef%bc%8e%ef%bc%8e/secret.txt%00",
    "..;/secret.txt%0a",
    "C:%5csecret.txt",
    "%20../secret.txt",
    "...%2f...%2fsecret.txt",
    ".payloads/0",
    "%2epayloads/0",
    "x%2f",
    "a" * 300,
]


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[OrchestratorEngine]:
    """An engine over a directory with a secret in and beside it, whose jobs wait."""
    directory = tmp_path / "files"
    (directory / "jobs").mkdir(parents=True)
    for place in (tmp_path, directory, directory / "jobs"):
        (place / "secret.txt").write_text("the secret")
    config = Config(API_HOST="127.0.0.1", API_PORT=0, CLIENT_TOKEN="own", GLOBAL_WORKER_TOKEN="own")
    config.TASK_FILES_DIR = str(directory)
    engine = OrchestratorEngine(config=config)
    engine.register_blueprint(waits())
    for name, token in TOKENS.items():
        engine.app[CLIENT_TOKENS_KEY].add(token, Client(name))
    async with engine:
        yield engine


async def job_of(engine: OrchestratorEngine, client: str) -> str:
    """Creates a job of a client, and returns its id."""
    blueprint = engine.app[REGISTRY_KEY].get("waits")
    job_id, _ = await engine.app[JOBS_KEY].create(blueprint, {}, client=Client(client))
    return job_id


async def ask(engine: OrchestratorEngine, client: str, method: str, path: str, body: bytes = b"") -> tuple[int, str]:
    """Sends a request as it stands: no library tidies its path up. Returns status and body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", engine.port)
    lines = [f"{method} {path} HTTP/1.1", "Host: x", f"X-Client-Token: {TOKENS[client]}", "Connection: close"]
    head = "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""])
    writer.write(head.encode("latin-1") + body)
    answer = (await reader.read()).decode("latin-1")
    writer.close()
    return int(answer.split(" ", 2)[1]), answer


def contents(folder: Path) -> dict[Path, bytes]:
    """Returns all files below a folder, with what is in them."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("method", ["GET", "PUT", "HEAD"])
async def test_no_name_leads_out_of_a_job(engine: OrchestratorEngine, tmp_path: Path, method: str) -> None:
    """However a way out is written, nothing is read or written but files of the job."""
    job_id = await job_of(engine, "anna")
    before = contents(tmp_path)

    for name in WAYS_OUT:
        path = f"/api/v1/jobs/{job_id}/files/{name}"
        status, answer = await ask(engine, "anna", method, path, b"evil")
        asked = [(await ask(engine, "anna", "GET", f"{path}?for={purpose}"))[0] for purpose in ("upload", "download")]
        _, listed = await ask(engine, "anna", "GET", f"/api/v1/jobs/{job_id}/files?folder={name}")

        assert all(400 <= one < 500 for one in (status, *asked)), name
        assert "the secret" not in answer, name
        assert '"uri"' not in listed, name
        assert "\r\nX-Evil" not in answer, name
    assert contents(tmp_path) == before


async def test_files_of_another_client_are_not_there(engine: OrchestratorEngine) -> None:
    """By every call, with and without detours through the own job."""
    own, others = await job_of(engine, "boris"), await job_of(engine, "anna")
    path = f"/api/v1/jobs/{others}/files/x.txt"
    assert (await ask(engine, "anna", "PUT", path, b"of anna"))[0] == 201

    told = [
        await ask(engine, "boris", "GET", path),
        await ask(engine, "boris", "HEAD", path),
        await ask(engine, "boris", "PUT", path, b"of boris"),
        await ask(engine, "boris", "GET", f"{path}?for=upload"),
        await ask(engine, "boris", "GET", f"{path}?for=download"),
        await ask(engine, "boris", "GET", f"/api/v1/jobs/{others}/files"),
        await ask(engine, "boris", "GET", f"/api/v1/jobs/{own}/files/../../{others}/files/x.txt"),
        await ask(engine, "boris", "GET", f"/api/v1/jobs/{own}/files/..%2f{others}%2fx.txt"),
    ]

    assert {status for status, _ in told} <= {400, 404}
    assert not any("of anna" in answer for _, answer in told)
    assert "of anna" in (await ask(engine, "anna", "GET", path))[1]


async def test_link_in_the_directory_opens_nothing(engine: OrchestratorEngine, tmp_path: Path) -> None:
    """A link that a program has left among a job's files is neither followed nor listed."""
    job_id = await job_of(engine, "anna")
    files = f"/api/v1/jobs/{job_id}/files"
    await ask(engine, "anna", "PUT", f"{files}/x", b"x")
    folder = tmp_path / "files" / "jobs" / job_id
    (folder / "link").symlink_to(tmp_path / "secret.txt")
    (folder / "up").symlink_to(tmp_path)

    for name in ("link", "up/secret.txt", "up/files/secret.txt"):
        for method in ("GET", "PUT"):
            status, answer = await ask(engine, "anna", method, f"{files}/{name}", b"evil")
            assert 400 <= status < 500
            assert "the secret" not in answer
    listed = (await ask(engine, "anna", "GET", files))[1]

    assert [one["name"] for one in json.loads(listed.partition("\r\n\r\n")[2])["files"]] == ["x"]
    assert (tmp_path / "secret.txt").read_text() == "the secret"
