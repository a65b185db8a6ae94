"""Tasks of a job over HTTP."""

from __future__ import annotations

from .conftest import OTHER, Api


async def test_results_of_a_fan_out_are_seen_while_it_runs(api: Api) -> None:
    """Nobody has to wait for the last branch to see the first."""
    job_id = await api.submit("/api/v1/fan", {})
    await api.until(job_id, "waiting_for_parallel_tasks")
    await api.result(await api.take(), data={"n": 7})

    first, second = (await api.get(f"/api/v1/jobs/{job_id}/tasks")).body

    assert (first["status"], first["result_status"], first["data"]) == ("succeeded", "success", {"n": 7})
    assert (first["task_type"], first["index"], first["attempt"], first["worker_id"]) == ("work", 0, 1, "w1")
    assert (second["status"], second["data"], second["error"], second["ended_at"]) == ("queued", None, None, None)


async def test_tasks_can_be_chosen_by_status(api: Api) -> None:
    """Of a thousand branches only the failed ones may matter."""
    job_id = await api.submit("/api/v1/fan", {})
    await api.until(job_id, "waiting_for_parallel_tasks")
    await api.result(await api.take(), status="failure", error={"code": "PERMANENT_ERROR", "message": "no"})

    (failed,) = (await api.get(f"/api/v1/jobs/{job_id}/tasks?status=quarantined")).body
    wrong = await api.get(f"/api/v1/jobs/{job_id}/tasks?status=quarantine")

    assert failed["error"] == {"code": "PERMANENT_ERROR", "message": "no"}
    assert (wrong.status, wrong.body["code"]) == (400, "invalid_query")
    assert "Did you mean 'quarantined'" in wrong.body["error"]


async def test_tasks_of_another_clients_job_do_not_exist(api: Api) -> None:
    """The answer for a foreign job is the one for no job."""
    job_id = await api.submit("/api/v1/fan", {})

    answer = await api.get(f"/api/v1/jobs/{job_id}/tasks", token=OTHER)

    assert (answer.status, answer.body["code"]) == (404, "job_not_found")
