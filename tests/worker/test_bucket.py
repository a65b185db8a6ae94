"""Files through a real bucket: from a handler to a worker and back, with an engine of our own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from avtomatika import ActionFactory, Config, OrchestratorEngine, StateMachineBlueprint
from avtomatika.client import AsyncClient
from avtomatika.worker import Context, Worker
from tests.s3_server import S3Server


async def test_files_go_through_a_bucket_from_handler_to_worker_and_back(
    s3_server: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The job's own files reach the worker by their addresses; what it made is read by the next handler."""
    bucket = s3_server.new_bucket()
    settings = s3_server.settings(bucket)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TASK_FILES_DIR", str(tmp_path / "tasks"))
    blueprint = StateMachineBlueprint("shouting", api_endpoint="/shout")

    @blueprint.handler_for("start", is_start=True)
    async def start(task_files: Any, actions: ActionFactory) -> None:
        facts = await task_files.write_text("in/poem.txt", "moon")
        actions.dispatch_task("shout", {"poem": facts.uri}, {"success": "end"})

    @blueprint.handler_for("end", is_end=True)
    async def end(loud: str, task_files: Any) -> dict[str, Any]:
        return {"loud": loud, "text": await task_files.read_text(loud)}

    worker = Worker("filer", poll_timeout=5)

    @worker.task
    def shout(poem: Path, context: Context) -> dict[str, Path]:
        place = context.folder / "loud.txt"
        place.write_text(poem.read_text().upper())
        return {"loud": place}

    engine = OrchestratorEngine(config=Config(API_PORT=0, API_HOST="127.0.0.1", **settings))
    engine.register_blueprint(blueprint)
    async with engine:
        worker.configure(url=engine.url, token=engine.config.GLOBAL_WORKER_TOKEN)
        async with worker, AsyncClient(engine.url, engine.config.CLIENT_TOKEN) as client:
            job = await client.wait(await client.submit("/shout", {}), timeout=30)
            (known,) = await client.workers()

    result = job["result"]
    stored = s3_server.client().get_object(Bucket=bucket, Key=result["loud"].removeprefix(f"s3://{bucket}/"))
    assert (job["status"], result["text"], stored["Body"].read()) == ("finished", "MOON", b"MOON")
    assert known["same_file_store"] is True
    assert list((tmp_path / "tasks").iterdir()) == []
