"""Files of tasks: brought to the worker before the call, stored for the job after it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from avtomatika.errors import ConfigError
from avtomatika.payloads.local import LocalPayloads
from avtomatika.protocol.files import FileFacts, store_fingerprint
from avtomatika.worker import Context, Worker
from avtomatika.worker.files import fingerprint, read_desk
from avtomatika.worker.testing import Ended, TaskHarness

from . import busy_functions
from .conftest import FakeEngine


@pytest.fixture
def store(tmp_path: Path) -> LocalPayloads:
    """A store in a directory."""
    return LocalPayloads(tmp_path / "store")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where tasks have their folders; empty again after each test."""
    place = tmp_path / "tasks"
    monkeypatch.setenv("TASK_FILES_DIR", str(place))
    yield place
    assert not place.exists() or list(place.iterdir()) == []


@pytest.fixture
def filing(store: LocalPayloads, folder: Path) -> Worker:
    """A worker with that store, and a task that copies what it gets."""
    worker = Worker("w", files=store)

    @worker.task
    def copy(source: Path, context: Context) -> dict[str, Any]:
        place = context.folder / "out" / "copy.txt"
        place.parent.mkdir()
        place.write_text(source.read_text().upper())
        return {"copies": [place], "from": source.name}

    return worker


async def run(worker: Worker, name: str, params: dict[str, Any], **facts: Any) -> Ended:
    """Does one task of job ``j1``."""
    return await TaskHarness(worker).run(name, params, job_id="j1", task_id="t-1", **facts)


async def test_stored_file_comes_and_made_file_is_stored(store: LocalPayloads, filing: Worker) -> None:
    """The function sees paths of this machine, the job sees addresses of the store."""
    source = await store.write_bytes("jobs/j1/in.txt", b"moon")

    ended = await run(filing, "copy", {"source": source.uri})

    key = "jobs/j1/t-1/out/copy.txt"
    assert ended.data == {"copies": [store.uri_of(key)], "from": "in.txt"}
    assert ended.files == {"copies[0]": store.uri_of(key)}
    assert await store.read_bytes(key) == b"MOON"


async def test_function_in_a_process_has_a_folder_as_well(store: LocalPayloads, folder: Path) -> None:
    """The other process writes, the worker stores."""
    worker = Worker("w", files=store)
    worker.add_task(busy_functions.write, process=True)
    harness = TaskHarness(worker)

    ended = await harness.run("write", {"text": "moon"}, job_id="j1", task_id="t-1")
    await harness.close()

    assert await store.read_bytes("jobs/j1/t-1/out.txt") == b"moon"
    assert ended.data == {"path": store.uri_of("jobs/j1/t-1/out.txt")}


async def test_folders_come_and_go_whole(store: LocalPayloads, folder: Path) -> None:
    """A slash at the end means all files below."""
    worker = Worker("w", files=store)
    await store.write_bytes("jobs/j1/in/a.txt", b"a")
    await store.write_bytes("jobs/j1/in/deep/b.txt", b"bb")

    @worker.task
    def pack(params: dict[str, Any], context: Context) -> dict[str, Any]:
        came = Path(params["all"]["of"])
        target = context.folder / "packed"
        for path in sorted(came.rglob("*.txt")):
            (target / path.relative_to(came)).parent.mkdir(parents=True, exist_ok=True)
            (target / path.relative_to(came)).write_bytes(path.read_bytes() * 2)
        return {"folder": str(target)}

    ended = await run(worker, "pack", {"all": {"of": f"{store.uri_of('jobs/j1/in')}/"}})

    assert ended.data == {"folder": f"{store.uri_of('jobs/j1/t-1/packed')}/"}
    assert await store.read_bytes("jobs/j1/t-1/packed/deep/b.txt") == b"bbbb"


@pytest.mark.parametrize("is_async", [True, False])
async def test_function_may_ask_for_task_files(store: LocalPayloads, folder: Path, is_async: bool) -> None:
    """As a handler does: with ``await`` in async functions, without it in plain ones."""
    worker = Worker("w", files=store)

    async def note_async(text: str, task_files: Any) -> str:
        await task_files.write_text("note.txt", text)
        return str(await task_files.read_text("note.txt"))

    def note(text: str, task_files: Any) -> str:
        task_files.write_text("note.txt", text)
        return str(task_files.read_text("note.txt"))

    worker.add_task(note_async if is_async else note, "note")
    ended = await run(worker, "note", {"text": "moon"})

    assert (ended.status, ended.data) == ("success", "moon")
    assert await store.read_bytes("jobs/j1/note.txt") == b"moon"


@pytest.mark.parametrize(
    ("key", "known", "code"),
    [
        ("jobs/j1/missing.txt", {}, "INVALID_INPUT_ERROR"),
        ("jobs/j2/secret.txt", {}, "INVALID_INPUT_ERROR"),
        ("jobs/j1/in.txt", {"size": 5}, "INTEGRITY_MISMATCH_ERROR"),
        ("jobs/j1/in.txt", {"etag": "other"}, "INTEGRITY_MISMATCH_ERROR"),
    ],
)
async def test_file_that_cannot_be_had_fails_the_task(
    store: LocalPayloads, filing: Worker, key: str, known: dict[str, Any], code: str
) -> None:
    """One that is missing, another job's, or not what the engine knows; the path of the param is told."""
    await store.write_bytes("jobs/j1/in.txt", b"moon")
    await store.write_bytes("jobs/j2/secret.txt", b"secret")
    uri = store.uri_of(key)

    ended = await run(
        filing, "copy", {"source": uri}, params_metadata={"source": FileFacts(uri, **known)} if known else {}
    )

    assert (ended.error_code, ended.error_details) == (code, {"path": "params.source"})


async def test_file_of_another_job_comes_if_the_engine_vouches_for_it(store: LocalPayloads, filing: Worker) -> None:
    """As when a job gets the result of its child."""
    facts = await store.write_bytes("jobs/j2/shared.txt", b"moon")

    ended = await run(filing, "copy", {"source": facts.uri}, params_metadata={"source": facts})

    assert ended.status == "success"


async def test_addresses_stay_where_they_are_not_wanted(store: LocalPayloads, folder: Path) -> None:
    """Elsewhere, in a task that says so, and in a worker without a store."""
    stored = await store.write_bytes("jobs/j1/in.txt", b"moon")
    worker, bare = Worker("w", files=store), Worker("w")
    worker.add_task(lambda a: a, "download")
    worker.add_task(lambda a: a, "leave", download=False)
    bare.add_task(lambda a: a, "download")

    assert (await run(worker, "download", {"a": "s3://elsewhere/x"})).data == "s3://elsewhere/x"
    assert (await run(worker, "leave", {"a": stored.uri})).data == stored.uri
    assert (await run(bare, "download", {"a": stored.uri})).data == stored.uri


async def test_result_names_no_file_outside_of_its_folder(store: LocalPayloads, folder: Path, tmp_path: Path) -> None:
    """Neither by a path that leads out of it, nor by a link."""
    worker = Worker("w", files=store)
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")

    @worker.task
    async def leak(context: Context) -> list[str]:
        link = context.folder / "link"
        link.symlink_to(secret)
        return [str(link), f"{context.folder}/../../secret.txt", str(secret)]

    ended = await run(worker, "leak", {})

    assert ended.files == {}
    assert all("secret" in text or text.endswith("link") for text in ended.data)


async def test_task_files_without_a_store_is_a_missing_dependency(folder: Path) -> None:
    """The message says what to set."""
    worker = Worker("w")
    worker.add_task(lambda task_files: None, "note")

    ended = await run(worker, "note", {})

    assert (ended.error_code, "S3_ENDPOINT_URL" in ended.error_message) == ("DEPENDENCY_ERROR", True)


async def test_engine_is_told_the_fingerprint_of_the_store(
    engine: FakeEngine, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that it can warn if its own files are elsewhere."""
    for name, value in (("ENDPOINT_URL", "http://s3.local:9000"), ("ACCESS_KEY", "AKEXAMPLE"), ("SECRET_KEY", "s")):
        monkeypatch.setenv(f"S3_{name}", value)
    monkeypatch.setenv("S3_DEFAULT_BUCKET", "bucket-a")
    worker.add_task(lambda: None, "nothing")

    async with worker:
        heard = await engine.wait_for("register")

    assert heard.body["capabilities"]["s3_config_hash"] == "c590d05df9f0d141"


def test_settings_of_the_store_are_checked() -> None:
    """Defaults are those of the protocol; a wrong number is named."""
    environment = {"S3_ENDPOINT_URL": "http://s3.local:9000/", "S3_ACCESS_KEY": "A"}

    assert fingerprint(environment) == store_fingerprint("http://s3.local:9000", "A", "avtomatika-payloads")
    assert fingerprint({}) == ""
    with pytest.raises(ConfigError, match="S3_MAX_CONCURRENCY is 'many'"):
        read_desk({**environment, "S3_MAX_CONCURRENCY": "many"}, None)


async def test_stored_file_that_many_tasks_need_comes_once(
    store: LocalPayloads, filing: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a folder for copies; what a function fetches itself comes from there as well."""
    monkeypatch.setenv("WORKER_BLOB_CACHE_DIR", str(tmp_path / "cache"))
    fetched: list[str] = []
    read_file = store.read_file

    async def counted(key: str, path: Path) -> FileFacts:
        fetched.append(key)
        return await read_file(key, path)

    monkeypatch.setattr(store, "read_file", counted)

    @filing.task
    def fetch(task_files: Any) -> str:
        place: Path = task_files.download("in.txt")
        return place.read_text()

    source = await store.write_bytes("jobs/j1/in.txt", b"moon")
    copied = [await run(filing, "copy", {"source": source.uri}) for _ in range(2)]
    own = await run(filing, "fetch", {})

    assert [ended.status for ended in copied] == ["success", "success"]
    assert (own.data, fetched) == ("moon", ["jobs/j1/in.txt"])
