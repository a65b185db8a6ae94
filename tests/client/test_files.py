"""Files through both clients, against engines on both kinds of store."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from avtomatika import ActionFactory, Config, OrchestratorEngine, StateMachineBlueprint
from avtomatika.client import AsyncClient, Client
from avtomatika.errors import ClientError, ConnectionFailedError, JobNotFoundError, PayloadMismatchError

LARGE = bytes(range(251)) * 40_000  # ten megabytes: several parts in a bucket


def flow() -> StateMachineBlueprint:
    """Returns a blueprint that asks for a file, and tells its digest."""
    bp = StateMachineBlueprint("digest", api_endpoint="/digest")

    @bp.handler_for("ask", is_start=True)
    async def ask(actions: ActionFactory) -> None:
        actions.await_human_approval("Send in.bin", {"sent": "digest"})

    @bp.handler_for("digest", is_end=True)
    async def digest(task_files: Any) -> dict[str, str]:
        found = hashlib.sha256()
        async for block in task_files.stream("in.bin"):
            found.update(block)
        await task_files.write_text("out/digest.txt", found.hexdigest())
        return {"file": "out/digest.txt"}

    return bp


@pytest.fixture(params=["directory", "bucket"])
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[OrchestratorEngine]:
    """An engine on each kind of store."""
    settings = request.getfixturevalue("s3_server").settings() if request.param == "bucket" else {}
    own = Config(API_HOST="127.0.0.1", API_PORT=0, CLIENT_TOKEN="secret", GLOBAL_WORKER_TOKEN="w", **settings)
    engine = OrchestratorEngine(config=own)
    engine.register_blueprint(flow())
    async with engine:
        yield engine


@pytest.fixture
def address(engine: OrchestratorEngine) -> tuple[str, str]:
    """The engine, for both clients."""
    return engine.url, "secret"


async def asked(call: Any) -> str:
    """Returns the id of a job that waits for its file."""
    job_id: str = await call("submit", "digest", {})
    seen = await call("job", job_id)
    while seen["status"] != "waiting_for_human":
        seen = await call("job", job_id, 30, seen["version"])
    return job_id


async def test_file_is_sent_used_by_the_job_and_fetched(call: Any, tmp_path: Path) -> None:
    """The whole way: a client's file, a handler that reads it, the result's file at the client."""
    source = tmp_path / "source"
    source.write_bytes(LARGE)
    job_id = await asked(call)

    sent = await call("upload_file", job_id, source, "in.bin")
    copy = await call("download_file", job_id, "in.bin", tmp_path / "copies" / "in.bin")
    await call("approve", job_id, "sent")
    job = await call("wait", job_id, timeout=60)
    place = await call("download_file", job_id, job["result"]["file"], tmp_path)

    assert sent["size"] == len(LARGE)
    assert copy.read_bytes() == LARGE
    assert list(copy.parent.iterdir()) == [copy]
    assert place == tmp_path / "digest.txt"
    assert place.read_text() == hashlib.sha256(LARGE).hexdigest()
    assert [one["name"] for one in await call("files", job_id, "out/")] == ["out/digest.txt"]


async def test_names_and_mistakes_are_as_with_any_call(call: Any, tmp_path: Path) -> None:
    """Odd names arrive as they are; errors are those of the client."""
    job_id = await asked(call)
    name = "ü/100% & #1?.txt"

    await call("upload_file", job_id, b"hello", name)
    assert await call("read_file", job_id, name) == b"hello"
    address = await call("file_address", job_id, name)
    assert (address["method"], address["expires_in"]) == ("GET", 3600)
    for wrong, status in (("../x", 400), ("missing", 404)):
        with pytest.raises(ClientError) as caught:
            await call("download_file", job_id, wrong, tmp_path / "x" / "y")
        assert caught.value.status == status
    assert list((tmp_path / "x").iterdir()) == []
    with pytest.raises(JobNotFoundError):
        await call("upload_file", "no-such-job", b"x", "x")
    with pytest.raises(ValueError, match="name"):
        await call("upload_file", job_id, b"x")
    await call("cancel", job_id)
    with pytest.raises(ClientError) as caught:
        await call("upload_file", job_id, b"x", "x")
    assert caught.value.status == 409


@pytest.mark.parametrize("kind", [AsyncClient, Client])
async def test_download_that_breaks_off_leaves_nothing(kind: Any, both_clients: Any, tmp_path: Path) -> None:
    """Less than was promised is an error, and no half of a file stays."""

    async def cut_short(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: 10\r\n\r\nhalf")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(cut_short, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    client = kind(f"http://127.0.0.1:{port}", "secret")
    try:
        with pytest.raises((PayloadMismatchError, ConnectionFailedError)):
            await both_clients(client)("download_file", "j1", "a", tmp_path / "a")
    finally:
        if isinstance(client, AsyncClient):
            await client.close()
        server.close()
        await server.wait_closed()

    assert list(tmp_path.iterdir()) == []  # noqa: ASYNC240 - nothing else runs
