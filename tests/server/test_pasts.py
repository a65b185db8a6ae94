"""Rewind and fork over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from avtomatika import ActionFactory, StateMachineBlueprint

from .conftest import OTHER, Api


async def done(api: Api) -> str:
    """Returns the id of a job that has finished."""
    job_id = await api.submit("/api/v1/quick", {"n": 21})
    await api.until(job_id, "finished")
    return job_id


async def test_finished_job_is_rewound(api: Api) -> None:
    """It runs again from there."""
    job_id = await done(api)
    before = await api.job(job_id)

    answer = await api.post(f"/api/v1/jobs/{job_id}/rewind", {"state": "start"})

    assert (answer.status, answer.body) == (200, {"status": "rewound", "job_id": job_id, "current_state": "start"})
    after = await api.get(f"/api/v1/jobs/{job_id}?wait=30&version={before['version'] + 3}")
    assert after.body["version"] > before["version"]
    history = (await api.get(f"/api/v1/jobs/{job_id}/history")).body
    assert "job_rewound" in [row["event_type"] for row in history]


async def test_fork_makes_a_sibling_with_other_data(api: Api) -> None:
    """It says where it comes from."""
    job_id = await done(api)

    answer = await api.post(f"/api/v1/jobs/{job_id}/fork", {"state": "done", "initial_data": {"n": 4}})

    assert (answer.status, answer.body["status"], answer.body["forked_from"]) == (202, "accepted", job_id)
    sibling = await api.until(answer.body["job_id"], "finished")
    assert (sibling["result"], sibling["forked_from"], sibling["source"]) == ({"double": 8}, job_id, "fork")


async def test_fork_with_a_key_happens_once(api: Api) -> None:
    """Another request under the same key is refused."""
    job_id = await done(api)
    path, headers = f"/api/v1/jobs/{job_id}/fork", {"Idempotency-Key": "k1"}

    first = await api.post(path, {"state": "done"}, headers=headers)
    again = await api.post(path, {"state": "done"}, headers=headers)
    other = await api.post(path, {"state": "start"}, headers=headers)

    assert first.body == again.body
    assert (other.status, other.body["code"]) == (409, "idempotency_conflict")


@pytest.mark.parametrize("action", ["rewind", "fork"])
@pytest.mark.parametrize(
    ("body", "code", "sentence"),
    [
        ({}, "invalid_body", "send either 'state'"),
        ({"state": "done", "sequence": 2}, "invalid_body", "send either 'state'"),
        ({"state": 7}, "invalid_body", "send either 'state'"),
        ({"sequence": True}, "invalid_body", "send either 'state'"),
        ({"state": "done", "stat": 1}, "invalid_body", "'stat' is unknown here"),
        ({"state": "dne"}, "unknown_past_state", "Did you mean 'done'"),
        ({"sequence": 99}, "unknown_past_state", "row 99 of its history"),
    ],
)
async def test_moment_that_cannot_be_found_is_explained(
    api: Api, action: str, body: Any, code: str, sentence: str
) -> None:
    """And nothing happens."""
    job_id = await done(api)

    answer = await api.post(f"/api/v1/jobs/{job_id}/{action}", body)

    assert (answer.status, answer.body["code"]) == (400, code)
    assert sentence in answer.body["error"]
    assert (await api.job(job_id))["status"] == "finished"


async def test_data_of_a_fork_must_be_objects(api: Api) -> None:
    """They are laid over those of the other job."""
    job_id = await done(api)

    answer = await api.post(f"/api/v1/jobs/{job_id}/fork", {"state": "done", "initial_data": [1]})

    assert (answer.status, answer.body["code"]) == (400, "invalid_body")


async def test_data_of_a_fork_that_do_not_fit_the_schema_are_refused_with_their_path(api: Api) -> None:
    """What counts is the whole that the new job would have; no job is made of it."""
    number = {"type": "number"}
    schema = {"properties": {"kg": number, "box": {"properties": {"cm": number}}}, "required": ["kg"]}
    strict = StateMachineBlueprint("strict", api_endpoint="/strict", input_schema=schema)

    @strict.handler_for("start", is_start=True)
    async def start(actions: ActionFactory) -> None:
        actions.transition_to("done")

    @strict.handler_for("done", is_end=True)
    async def done(kg: float) -> dict[str, float]:
        return {"kg": kg}

    api.engine.register_blueprint(strict)
    job_id = await api.submit("/api/v1/strict", {"kg": 3})
    await api.until(job_id, "finished")
    fork = f"/api/v1/jobs/{job_id}/fork"

    for data, path in (({"kg": "3"}, "initial_data.kg"), ({"box": {"cm": "wide"}}, "initial_data.box.cm")):
        answer = await api.post(fork, {"state": "done", "initial_data": data})

        assert (answer.status, answer.body["code"], answer.body["path"]) == (400, "contract_violation", path)
        assert path in answer.body["error"]
    assert [job["id"] for job in (await api.get("/api/v1/jobs")).body] == [job_id]
    # The members that are left out are those of the other job.
    answer = await api.post(fork, {"state": "done", "initial_data": {"box": {"cm": 7}}})
    assert (await api.until(answer.body["job_id"], "finished"))["result"] == {"kg": 3}


@pytest.mark.parametrize("action", ["rewind", "fork"])
async def test_past_of_another_clients_job_is_not_there(api: Api, action: str) -> None:
    """The answer for a foreign job is the one for no job."""
    job_id = await done(api)

    answer = await api.post(f"/api/v1/jobs/{job_id}/{action}", {"state": "done"}, token=OTHER)

    assert (answer.status, answer.body["code"]) == (404, "job_not_found")
