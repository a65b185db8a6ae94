"""What workers say of their files: who sees it, and who is told of it."""

from __future__ import annotations

from avtomatika import ActionFactory, StateMachineBlueprint
from avtomatika.protocol.files import FileFacts

from .conftest import Api


async def test_files_of_a_result_are_seen_by_whoever_asks(api: Api) -> None:
    """In the job, in its tasks and in its history."""
    job_id = await api.submit("/api/v2/shop/orders", {"params": {}})
    task = await api.take()
    told = {"file": {"uri": "s3://b/k", "size": 3, "etag": "e"}}

    await api.result(task, data={"file": "s3://b/k"}, data_metadata=told)

    job = await api.until(job_id, "finished")
    (shown,) = (await api.get(f"/api/v1/jobs/{job_id}/tasks")).body
    rows = (await api.get(f"/api/v1/jobs/{job_id}/history")).body
    assert job["file_facts"] == {"s3://b/k": told["file"]}
    assert (shown["data_metadata"], shown["params_metadata"]) == (told, {})
    assert [row["context_snapshot"]["data_metadata"] for row in rows if row["event_type"] == "task_finished"] == [told]


async def test_aggregator_knows_the_files_of_its_branches(api: Api) -> None:
    """And so do the workers of the tasks that follow."""
    seen = {}
    bp = StateMachineBlueprint("films", api_endpoint="/films")

    @bp.handler_for("cut", is_start=True)
    async def cut(actions: ActionFactory) -> None:
        actions.dispatch_parallel([{"task_type": "work"}, {"task_type": "work"}], "join")

    @bp.aggregator_for("join")
    async def join(file_facts: dict[str, FileFacts], actions: ActionFactory) -> None:
        seen.update(file_facts)
        actions.dispatch_task("work", {"parts": sorted(file_facts)}, {"success": "done"})

    @bp.handler_for("done", is_end=True)
    async def done() -> None: ...

    api.engine.register_blueprint(bp)
    job_id = await api.submit("/api/v1/films")
    for name in "ab":
        uri = f"s3://b/{name}"
        await api.result(await api.take(), data={"file": uri}, data_metadata={"file": {"uri": uri, "size": 1}})

    last = await api.take()

    assert seen == {"s3://b/a": FileFacts("s3://b/a", 1), "s3://b/b": FileFacts("s3://b/b", 1)}
    assert last["params_metadata"] == {
        "parts[0]": {"uri": "s3://b/a", "size": 1},
        "parts[1]": {"uri": "s3://b/b", "size": 1},
    }
    await api.result(last)
    await api.until(job_id, "finished")
