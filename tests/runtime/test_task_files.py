"""Files in the life of a job: handlers use them, history tells of them, and they go when the job has ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from avtomatika import Config, OrchestratorEngine
from avtomatika.blueprints import StateMachineBlueprint
from avtomatika.errors import PayloadStoreError
from avtomatika.payloads.local import LocalPayloads
from avtomatika.payloads.task_files import TaskFiles
from avtomatika.protocol.messages import WorkerProfile
from avtomatika.server.keys import PAYLOADS_KEY, SETTINGS_KEY, WORKERS_KEY
from avtomatika.server.views import worker_view
from avtomatika.testing import BlueprintTester
from tests.s3_server import S3Server

DAY = 24 * 3600.0


def flow(end: Callable[..., Any] | None = None) -> StateMachineBlueprint:
    """Returns a blueprint whose first step writes two files and whose last one names one of them."""
    bp = StateMachineBlueprint("flow")

    @bp.handler_for("start", is_start=True)
    async def start(task_files: Any, actions: Any) -> None:
        await task_files.write_text("in.txt", "hello")
        await task_files.write_text("out/report.txt", "report")
        actions.transition_to("end")

    async def name_one(task_files: Any) -> dict[str, str]:
        return {"report": (await task_files.facts("out/report.txt")).uri}

    bp.handler_for("end", is_end=True)(end or name_one)
    return bp


async def test_handlers_share_the_files_of_their_job() -> None:
    """What one step writes the next one reads, async or plain; other jobs see nothing of it."""
    bp = StateMachineBlueprint("flow")

    @bp.handler_for("start", is_start=True)
    async def start(task_files: Any, actions: Any) -> None:
        assert await task_files.list() == []
        await task_files.write_json("a.json", {"n": 1})
        actions.transition_to("plain")

    @bp.handler_for("plain")
    def plain(task_files: Any, actions: Any) -> None:
        task_files.write_json("b.json", {"n": task_files.read_json("a.json")["n"] + 1})
        actions.transition_to("end")

    @bp.handler_for("end", is_end=True)
    async def end(context: Any) -> dict[str, Any]:
        return {"names": list(await context.task_files.list()), "b": await context.task_files.read_json("b.json")}

    async with BlueprintTester(bp) as t:
        jobs = [await t.submit() for _ in range(2)]

        for job in jobs:
            assert job.result == {"names": ["a.json", "b.json"], "b": {"n": 2}}


async def test_what_a_handler_left_on_the_machine_is_removed(tmp_path: Path) -> None:
    """Paths last as long as the handler, also when it fails."""
    seen: list[Path] = []
    bp = StateMachineBlueprint("flow")

    @bp.handler_for("start", is_start=True)
    async def start(task_files: Any, attempt: int, actions: Any) -> None:
        seen.append(task_files.path("x/y"))
        seen[-1].write_text("y")
        if attempt == 1:
            raise RuntimeError("once more")
        actions.transition_to("end")

    @bp.handler_for("end", is_end=True)
    async def end() -> None: ...

    async with BlueprintTester(bp) as t:
        await t.submit()
        await t.advance(60)

        assert len(seen) == 2
        assert not any(path.exists() for path in seen)


async def test_transfers_stand_in_the_history_with_size_and_etag() -> None:
    """One row of a step tells all that it moved, and the facts go with tasks that name the file."""
    bp = StateMachineBlueprint("flow")

    @bp.handler_for("start", is_start=True)
    async def start(task_files: Any, actions: Any) -> None:
        facts = await task_files.write_text("a.txt", "hello")
        actions.dispatch_task("crunch", {"file": facts.uri}, {"success": "end"})

    @bp.handler_for("end", is_end=True)
    async def end(task_files: Any) -> None:
        assert await task_files.read_text("a.txt") == "hello"

    async with BlueprintTester(bp) as t:
        worker = t.worker("crunch", returns={})
        job = await t.submit()
        rows = [row for row in await t.rows(job.id) if row["event_type"] == "files_moved"]

        assert job.status == "finished"
        first, second = (row["context_snapshot"] for row in rows)
        (written,), (read,) = first["files"], second["files"]
        assert (first["count"], first["bytes"], written["way"], written["name"]) == (1, 5, "written", "a.txt")
        assert {**written, "way": "read"} == read
        assert written["size"] == 5
        assert written["etag"]
        (call,) = worker.calls
        assert call.params == {"file": written["uri"]}
        assert call.task.params_metadata["file"].etag == written["etag"]


async def test_failed_handler_tells_what_it_had_moved() -> None:
    """Files that were written before the error are there, so history tells of them."""
    bp = StateMachineBlueprint("flow")

    @bp.handler_for("start", is_start=True, is_end=True)
    async def start(task_files: Any) -> None:
        await task_files.write_text("a.txt", "hello")
        raise RuntimeError("too late")

    async with BlueprintTester(bp, JOB_MAX_RETRIES=0) as t:
        job = await t.submit()

        types = [row["event_type"] for row in await t.rows(job.id)]
        assert types[types.index("files_moved") + 1] == "state_failed"
        assert await job.files.list() == ["a.txt"]


# --- when a job has ended ---


async def test_finished_job_keeps_what_its_result_names_until_it_is_forgotten() -> None:
    """What was only needed on the way goes at once; the result's own files last as long as the result."""
    async with BlueprintTester(flow(), JOB_RETENTION_SECONDS=DAY) as t:
        job = await t.submit()
        assert await job.files.list() == ["out/report.txt"]

        await t.advance(DAY - 60)
        assert await job.files.list() == ["out/report.txt"]
        await t.advance(120)

        assert await job.files.list() == []


@pytest.mark.parametrize(
    ("named", "kept"),
    [("out/report.txt", ["out/report.txt"]), ("out/", ["out/report.txt"]), ("in.txt", ["in.txt"]), ("nothing", [])],
)
async def test_result_may_name_files_by_name_or_folder(named: str, kept: list[str]) -> None:
    """However deep in the result a name stands, the file is kept."""

    async def end() -> dict[str, Any]:
        return {"deep": [{"er": named}]}

    async with BlueprintTester(flow(end)) as t:
        job = await t.submit()

        assert await job.files.list() == kept


async def test_failed_job_keeps_all_files_for_a_requeue() -> None:
    """A job that somebody may let go on still has what it had; once forgotten, nothing is left."""

    async def end(initial_data: dict[str, Any]) -> None:
        raise RuntimeError("broken")

    async with BlueprintTester(flow(end), JOB_MAX_RETRIES=0, JOB_RETENTION_SECONDS=DAY) as t:
        job = await t.submit()
        assert job.status == "quarantined"
        assert await job.files.list() == ["in.txt", "out/report.txt"]

        # Let go on in the meantime: what was to come of the first end is void.
        await t.advance(DAY / 2)
        await job.requeue()
        assert job.status == "quarantined"
        await t.advance(DAY / 2 + 60)
        assert await job.files.list() == ["in.txt", "out/report.txt"]
        await t.advance(DAY / 2)

        assert await job.files.list() == []


async def test_cancelled_job_keeps_nothing() -> None:
    """Nobody asks for the files of a job that somebody gave up."""
    bp = StateMachineBlueprint("flow")

    @bp.handler_for("start", is_start=True)
    async def start(task_files: Any, actions: Any) -> None:
        await task_files.write_text("a", "a")
        actions.sleep(3600, "end")

    @bp.handler_for("end", is_end=True)
    async def end() -> None: ...

    async with BlueprintTester(bp) as t:
        job = await t.submit()
        await job.cancel()

        assert job.status == "cancelled"
        assert await job.files.list() == []


async def test_without_auto_cleanup_nothing_is_removed() -> None:
    """``S3_AUTO_CLEANUP=false`` leaves files to whoever owns the store."""
    async with BlueprintTester(flow(), S3_AUTO_CLEANUP=False, JOB_RETENTION_SECONDS=DAY) as t:
        job = await t.submit()
        await t.advance(2 * DAY)

        assert await job.files.list() == ["in.txt", "out/report.txt"]


async def test_cleanup_is_tried_until_the_store_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that is away delays the cleaning; nothing is left behind, and no job waits for it."""
    real, failures = LocalPayloads.remove, 3

    async def remove(self: LocalPayloads, key: str) -> None:
        nonlocal failures
        if failures:
            failures -= 1
            raise PayloadStoreError(self.uri_of(key), "503 Slow Down")
        await real(self, key)

    monkeypatch.setattr(LocalPayloads, "remove", remove)

    async with BlueprintTester(flow()) as t:
        job = await t.submit()
        assert job.status == "finished"
        assert await job.files.list() == ["in.txt", "out/report.txt"]
        await t.advance(60)

        assert failures == 0
        assert await job.files.list() == ["out/report.txt"]


async def test_files_that_published_workers_stored_go_too() -> None:
    """Their results stand under the id of the job alone, and in its result like any other."""

    async def end(job_id: str, task_files: Any) -> dict[str, str]:
        return {"kept": task_files.uri("x").replace(f"jobs/{job_id}/x", f"{job_id}/kept")}

    bp = StateMachineBlueprint("flow")

    @bp.handler_for("start", is_start=True)
    async def start(job_id: str, actions: Any) -> None:
        for name in ("kept", "gone"):
            await store[0].write_bytes(f"{job_id}/{name}", b"x")
        actions.transition_to("end")

    bp.handler_for("end", is_end=True)(end)
    store: list[Any] = []

    async with BlueprintTester(bp) as t:
        store.append(t.engine.app[PAYLOADS_KEY])
        job = await t.submit()

        assert [facts.uri async for facts in store[0].list(f"{job.id}/")] == [job.result["kept"]]


async def test_job_without_files_leaves_no_message() -> None:
    """What is not used costs nothing."""
    bp = StateMachineBlueprint("flow")

    @bp.handler_for("start", is_start=True, is_end=True)
    async def start() -> None: ...

    async with BlueprintTester(bp) as t:
        await t.submit()

        assert await t.storage.next_message_at(["files"]) is None


async def test_job_on_a_bucket_goes_as_on_a_directory(s3_server: S3Server) -> None:
    """The whole way on S3: written, read by the next step, named by the result, the rest removed."""
    bucket = s3_server.new_bucket()

    async with BlueprintTester(flow(), **s3_server.settings(bucket)) as t:
        job = await t.submit()

        assert job.status == "finished"
        assert job.result == {"report": f"s3://{bucket}/jobs/{job.id}/out/report.txt"}
        assert await job.files.list() == ["out/report.txt"]
        assert await job.files.read_text("out/report.txt") == "report"


async def test_worker_with_another_store_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    """Its files would never be found; its registrations go on, and people see it beside the worker."""
    own = {"S3_ENDPOINT_URL": "http://s3.local:9000", "S3_ACCESS_KEY": "AKEXAMPLE", "S3_SECRET_KEY": "x"}

    async with BlueprintTester(flow(), **own, S3_DEFAULT_BUCKET="bucket-a") as t:
        workers, file_store = t.engine.app[WORKERS_KEY], t.engine.app[SETTINGS_KEY].file_store
        shown = {}
        for told in ("c590d05df9f0d141", "0" * 16, None):
            profile = WorkerProfile(f"w-{told}", extra={"s3_config_hash": told} if told else {})
            for _ in range(2):
                await workers.register(profile)
            shown[told] = worker_view(profile, files=file_store)["same_file_store"]

    warnings = [record for record in caplog.records if getattr(record, "action", "") == "other_file_store"]
    assert [record.worker_id for record in warnings] == [f"w-{'0' * 16}"]
    assert "S3_DEFAULT_BUCKET" in warnings[0].getMessage()
    assert shown == {"c590d05df9f0d141": True, "0" * 16: False, None: None}


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
async def test_cleanup_outlives_the_engine(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a store that was away did not remove is removed by the next engine, on every storage that lasts."""
    monkeypatch.chdir(tmp_path)
    uri = f"sqlite:{tmp_path}/jobs.db"
    if kind == "redis":
        uri = f"redis://127.0.0.1:{request.getfixturevalue('start_redis')().port}/0"
    config = Config.plain(API_HOST="127.0.0.1", API_PORT=0, STORAGE_URI=uri)
    tried, away, real = asyncio.Event(), True, LocalPayloads.remove

    async def remove(self: LocalPayloads, key: str) -> None:
        if away:
            tried.set()
            raise PayloadStoreError(self.uri_of(key), "503 Slow Down")
        await real(self, key)
        tried.set()

    monkeypatch.setattr(LocalPayloads, "remove", remove)
    for _ in range(2):
        tried.clear()
        engine = OrchestratorEngine(config=config)
        engine.register_blueprint(flow())
        async with engine:
            if away:
                job_id = await engine.create_background_job("flow", {})
            await tried.wait()
            files = TaskFiles(engine.app[PAYLOADS_KEY], job_id)
            left = await files.list()
        assert left == (["in.txt", "out/report.txt"] if away else ["out/report.txt"])
        away = False
