"""Jobs over HTTP whose data are kept with their files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from avtomatika.core.job import Job
from avtomatika.server.keys import JOBS_KEY, STORAGE_KEY
from tests.s3_server import S3Server

from .conftest import Api

LARGE = {"params": {"text": "x" * 5000}}


@pytest.fixture
async def api(start_api: Any, tmp_path: Path) -> Api:
    """An engine whose large data go into a directory."""
    api: Api = await start_api(TASK_FILES_DIR=str(tmp_path), PAYLOAD_OFFLOAD_BYTES=1024)
    return api


async def stored(api: Api, job_id: str) -> Job:
    """Returns the job as the storage has it."""
    job = await api.engine.app[STORAGE_KEY].find_job(job_id)
    assert job is not None
    return job


async def test_clients_and_workers_see_no_difference(api: Api) -> None:
    """The job, the list, its tasks, what the worker gets, the history."""
    job_id = await api.submit("/api/v2/shop/orders", {"initial_data": LARGE})
    task = await api.take()
    await api.result(task, data={"much": "y" * 5000})

    job = await api.until(job_id, "finished")
    (listed,) = (await api.get("/api/v1/jobs")).body
    (shown,) = (await api.get(f"/api/v1/jobs/{job_id}/tasks")).body
    rows = (await api.get(f"/api/v1/jobs/{job_id}/history")).body

    assert (await stored(api, job_id)).state_history.is_away
    assert task["params"] == LARGE["params"]
    assert (job["initial_data"], job["result"], listed) == (LARGE, {"much": "y" * 5000}, job)
    assert (shown["params"], shown["data"]) == (LARGE["params"], {"much": "y" * 5000})
    assert {"much": "y" * 5000} in [row["context_snapshot"].get("state_history") for row in rows]


async def test_job_whose_data_are_lost_is_shown_with_what_is_missing(api: Api, tmp_path: Path) -> None:
    """It can be looked at, listed and cancelled; a fork would begin with nothing."""
    job_id = await api.submit("/api/v2/shop/orders", {"initial_data": LARGE})
    await api.until(job_id, "waiting_for_worker")
    initial = (await stored(api, job_id)).initial_data
    lost = tmp_path / "jobs" / job_id / ".payloads" / initial.digest
    lost.unlink()
    # What was used last is in memory: another engine has nothing there.
    api.engine.app[JOBS_KEY].depot._cache._kept.clear()

    job = await api.job(job_id)
    (listed,) = (await api.get("/api/v1/jobs")).body
    forked = await api.post(f"/api/v1/jobs/{job_id}/fork", {"state": "send"})
    cancelled = await api.post(f"/api/v1/jobs/{job_id}/cancel")

    assert f"{lost.as_uri()} is not there any more" in job["initial_data"]["payload_lost"]
    assert listed["initial_data"] == job["initial_data"]
    assert (forked.status, forked.body["code"]) == (410, "payload_lost")
    assert cancelled.status == 200


async def test_large_data_go_into_the_bucket_by_themselves(start_api: Any, s3_server: S3Server) -> None:
    """Nothing but the address of the store has to be set."""
    bucket = s3_server.new_bucket()
    api = await start_api(**s3_server.settings(bucket))
    large = {"params": {"text": "x" * 300_000}}

    job_id = await api.submit("/api/v2/shop/orders", {"initial_data": large})
    task = await api.take()
    await api.result(task, data={"much": "y" * 300_000})
    job = await api.until(job_id, "finished")

    keys = [one["Key"] for one in s3_server.client().list_objects_v2(Bucket=bucket)["Contents"]]
    assert {key.rpartition("/")[0] for key in keys} == {f"jobs/{job_id}/.payloads"}
    assert len(keys) == 3  # the initial data, the params, and what the task brought, once for all who have it
    assert (task["params"], job["initial_data"], job["result"]) == (large["params"], large, {"much": "y" * 300_000})


async def test_job_is_refused_with_503_while_the_bucket_does_not_answer(start_api: Any, s3_server: S3Server) -> None:
    """Small jobs go on meanwhile."""
    api = await start_api(**s3_server.settings("there-is-none"))

    large = await api.post("/api/v2/shop/orders", {"initial_data": {"text": "x" * 300_000}})
    small = await api.post("/api/v2/shop/orders", {"initial_data": {"text": "x"}})

    assert (large.status, large.body["code"]) == (503, "storage_unavailable")
    assert "could not be put into the store" in large.body["error"]
    assert small.status == 202
