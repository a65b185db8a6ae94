"""Many jobs at once: what is meant is changed, nothing else, and of each is said what came of it."""

from __future__ import annotations

from typing import Any

import pytest

from avtomatika.server import bulk

from .conftest import OTHER, Api


async def waiting(api: Api, count: int, **options: Any) -> list[str]:
    """Creates jobs that wait for a worker."""
    ids = [await api.submit("/api/v2/shop/orders", **options) for _ in range(count)]
    for job_id in ids:
        await api.until(job_id, "waiting_for_worker") if not options else None
    return ids


async def failed(api: Api) -> str:
    """Creates a job that failed."""
    (job_id,) = await waiting(api, 1)
    await api.result(await api.take(), status="failure", error={"code": "INVALID_INPUT_ERROR", "message": "no"})
    await api.until(job_id, "failed")
    return job_id


async def test_jobs_named_are_cancelled(api: Api) -> None:
    """Only these; of one that cannot be cancelled, the reason."""
    first, second, third = await waiting(api, 3)
    ended = await api.submit()
    await api.until(ended, "finished")

    answer = await api.post("/api/v1/jobs/cancel", {"ids": [first, second, second, ended, "unknown"]})

    assert answer.status == 200
    assert (answer.body["matched"], answer.body["more"]) == (4, False)
    assert sorted(answer.body["cancelled"]) == sorted([first, second])
    codes = {refused["job_id"]: refused["code"] for refused in answer.body["refused"]}
    assert codes == {ended: "job_state_conflict", "unknown": "job_not_found"}
    assert all(len(refused["error"]) > 10 for refused in answer.body["refused"])
    assert [(await api.job(job_id))["status"] for job_id in (first, second, third)] == [
        "cancelled",
        "cancelled",
        "waiting_for_worker",
    ]


async def test_jobs_of_another_client_are_not_touched(api: Api) -> None:
    """Neither by name, where they do not exist, nor by a filter."""
    (theirs,) = await waiting(api, 1, token=OTHER)

    by_name = await api.post("/api/v1/jobs/cancel", {"ids": [theirs]})
    by_filter = await api.post("/api/v1/jobs/cancel", {"filter": {}})

    assert by_name.body["refused"][0]["code"] == "job_not_found"
    assert by_filter.body["matched"] == 0
    job = await api.get(f"/api/v1/jobs/{theirs}", token=OTHER)
    assert job.body["status"] != "cancelled"


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ({}, 3),
        ({"status": "waiting_for_worker"}, 2),
        ({"status": "waiting_for_parallel_tasks"}, 1),
        ({"blueprint": "orders"}, 2),
        ({"blueprint": "nothing"}, 0),
        ({"since": 1_700_000_010}, 1),
        ({"since": "2023-11-14T22:13:30Z", "blueprint": "orders"}, 1),
    ],
)
async def test_filter_finds_live_jobs(api: Api, chosen: dict[str, Any], expected: int) -> None:
    """Status, blueprint and moment of creation, in any combination; ended jobs are never meant."""
    await api.until(await api.submit("/api/v1/fan"), "waiting_for_parallel_tasks")
    await waiting(api, 1)
    await api.until(await api.submit(), "finished")
    await api.clock.advance(10)
    await waiting(api, 1)

    answer = await api.post("/api/v1/jobs/cancel", {"filter": chosen})

    assert (answer.body["matched"], len(answer.body["cancelled"])) == (expected, expected)
    left = [job for job in (await api.get("/api/v1/jobs")).body if job["status"].startswith("waiting")]
    assert len(left) == 3 - expected


async def test_limit_bounds_a_call_and_says_that_there_are_more(api: Api) -> None:
    """Called again and again, a filter reaches all."""
    await waiting(api, 5)
    rounds = []
    while not rounds or rounds[-1]["more"]:
        rounds.append((await api.post("/api/v1/jobs/cancel", {"filter": {}, "limit": 2})).body)

    assert [(len(one["cancelled"]), one["more"]) for one in rounds] == [(2, True), (2, True), (1, False)]


async def test_failed_jobs_go_on(api: Api) -> None:
    """Requeue is for what ended otherwise than wanted; live and finished jobs are not meant."""
    first, second = await failed(api), await failed(api)
    (live,) = await waiting(api, 1)

    by_name = await api.post("/api/v1/jobs/requeue", {"ids": [first, live]})
    by_filter = await api.post("/api/v1/jobs/requeue", {"filter": {"status": "failed"}})

    assert (by_name.body["requeued"], by_name.body["refused"][0]["job_id"]) == ([first], live)
    assert by_filter.body["requeued"] == [second]
    for job_id in (first, second):
        await api.until(job_id, "waiting_for_worker")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "either 'ids' or 'filter'"),
        ({"ids": [], "filter": {}}, "either 'ids' or 'filter'"),
        ({"ids": "j1"}, "array of job ids"),
        ({"ids": [1]}, "array of job ids"),
        ({"ids": [str(n) for n in range(1001)]}, "1000 are allowed"),
        ({"filter": []}, "'filter' to be an object"),
        ({"filter": {"states": "x"}}, "Did you mean 'status'"),
        ({"filters": {}}, "Did you mean 'filter'"),
        ({"filter": {"status": "finished"}}, "only these can be meant: pending, running"),
        ({"filter": {"status": {"a": 1}}}, "only these can be meant"),
        ({"filter": {"blueprint": 3}}, "name of a blueprint"),
        ({"filter": {"since": "yesterday"}}, "expected Unix seconds"),
        ({"filter": {"since": True}}, "Unix seconds"),
        ({"filter": {}, "limit": 0}, "from 1 to 1000"),
        ({"filter": {}, "limit": 1001}, "from 1 to 1000"),
        ({"filter": {}, "limit": True}, "from 1 to 1000"),
    ],
)
async def test_body_that_is_unclear_changes_nothing(api: Api, body: dict[str, Any], says: str) -> None:
    """A call that could mean more than was meant is refused as a whole."""
    await waiting(api, 1)

    answer = await api.post("/api/v1/jobs/cancel", body)

    assert (answer.status, answer.body["code"]) == (400, "invalid_body")
    assert says in answer.body["error"]
    assert (await api.get("/api/v1/jobs?status=cancelled")).body == []


async def test_many_jobs_are_changed_in_parts(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than are changed at a time are all changed."""
    monkeypatch.setattr(bulk, "_AT_ONCE", 3)
    ids = await waiting(api, 8)

    answer = await api.post("/api/v1/jobs/cancel", {"ids": ids})

    assert sorted(answer.body["cancelled"]) == sorted(ids)
