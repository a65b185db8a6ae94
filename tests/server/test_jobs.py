"""Jobs over HTTP: created, looked up, waited for, listed, cancelled, and their history."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from avtomatika.blueprints import ActionFactory, StateMachineBlueprint
from avtomatika.server.keys import JOBS_KEY

from .conftest import OTHER, WORKER, Api, until

JOB_MEMBERS = {
    "id",
    "blueprint_name",
    "status",
    "current_state",
    "initial_data",
    "state_history",
    "result",
    "progress",
    "progress_message",
    "error_message",
    "created_at",
    "updated_at",
    "current_task_id",
    "task_worker_id",
    "parent_job_id",
}


async def waiting(api: Api, **options: Any) -> str:
    """Creates a job and returns its id when its task waits for a worker."""
    job_id = await api.submit("/api/v2/shop/orders", {}, **options)
    await api.until(job_id, "waiting_for_worker")
    return job_id


# --- create ---


async def test_job_is_accepted_with_its_id(api: Api) -> None:
    """A creation is answered 202 with the id, before the job has run."""
    answer = await api.post("/api/v1/quick", {"initial_data": {"n": 4}})

    assert answer.status == 202
    assert answer.body == {"status": "accepted", "job_id": answer.body["job_id"]}
    assert (await api.until(answer.body["job_id"], "finished"))["result"] == {"double": 8}


@pytest.mark.parametrize(
    ("body", "data"),
    [
        ({"n": 1, "x": None}, {"n": 1, "x": None}),
        ({"initial_data": {"n": 1}}, {"n": 1}),
        ({"initial_data": {"initial_data": 1}}, {"initial_data": 1}),
        ({"initial_data": None}, {}),
        ({}, {}),
    ],
)
async def test_body_without_initial_data_is_the_initial_data(api: Api, body: Any, data: Any) -> None:
    """Both ways to write a creation give the same job."""
    job = await api.job(await api.submit(body=body))

    assert job["initial_data"] == data


async def test_empty_body_creates_a_job_without_data(api: Api) -> None:
    """A POST of nothing is a creation, too."""
    answer = await api.post("/api/v1/quick")

    assert answer.status == 202
    assert (await api.job(answer.body["job_id"]))["initial_data"] == {}


@pytest.mark.parametrize("path", ["/api/v1/quick", "/api/quick", "/api/v1/quick/", "/api/v2/shop/orders"])
async def test_endpoint_is_found_with_and_without_version(api: Api, path: str) -> None:
    """A blueprint without a version answers under v1 and without one."""
    assert (await api.post(path, {})).status == 202


@pytest.mark.parametrize("path", ["/api/v1/shop/orders", "/api/shop/orders", "/api/v2/quick", "/api/v1/hidden"])
async def test_endpoint_of_another_version_is_not_found(api: Api, path: str) -> None:
    """A versioned blueprint answers under its version only; one without an endpoint not at all."""
    answer = await api.post(path, {})

    assert (answer.status, answer.body["code"]) == (404, "blueprint_not_found")


async def test_unknown_endpoint_is_answered_with_a_guess(api: Api) -> None:
    """The sentence lists the endpoints and guesses which one was meant."""
    answer = await api.post("/api/v1/quik", {})

    assert answer.status == 404
    assert "no blueprint creates jobs at /api/v1/quik" in answer.body["error"]
    assert "/api/v2/shop/orders" in answer.body["error"]
    assert "Did you mean '/api/v1/quick'?" in answer.body["error"]


async def test_initial_data_that_do_not_fit_the_schema_are_refused_with_their_path(api: Api) -> None:
    """No job is made, and the caller can point at the field."""
    strict = StateMachineBlueprint(
        "strict", api_endpoint="/strict", input_schema={"properties": {"kg": {"type": "number"}}, "required": ["kg"]}
    )

    @strict.handler_for("only", is_start=True, is_end=True)
    async def only() -> None: ...

    api.engine.register_blueprint(strict)
    for body, path in (({"kg": "3"}, "initial_data.kg"), ({"initial_data": {}}, "initial_data.kg")):
        answer = await api.post("/api/v1/strict", body)

        assert (answer.status, answer.body["code"], answer.body["path"]) == (400, "contract_violation", path)
    assert (await api.get("/api/v1/jobs")).body == []
    assert (await api.post("/api/v1/strict", {"kg": 3})).status == 202
    document = (await api.get("/_public/openapi.json")).body
    assert document["components"]["schemas"]["strict.initial_data"] == strict.input_schema


@pytest.mark.parametrize(
    ("body", "code", "sentence"),
    [
        ({"initial_data": []}, "invalid_body", "'initial_data' must be a JSON object"),
        ({"initial_data": {}, "dispatch_timeot": 5}, "invalid_body", "Did you mean 'dispatch_timeout'?"),
        ({"initial_data": {}, "result_timeout": "5"}, "invalid_body", "positive number of seconds; got '5'"),
        ({"initial_data": {}, "result_timeout": 0}, "invalid_body", "positive number of seconds; got 0"),
        ({"initial_data": {}, "dispatch_timeout": True}, "invalid_body", "positive number of seconds"),
        ({"initial_data": {}, "webhook_url": "x"}, "invalid_webhook_url", "must begin with https:// or http://"),
        ({"n": 2**64}, "invalid_data", "initial_data.n cannot be stored"),
        ([], "invalid_body", "the body is a JSON array; expected an object"),
        ("x", "invalid_body", "the body is a JSON string"),
        (5, "invalid_body", "the body is a JSON number"),
        (True, "invalid_body", "the body is a JSON boolean"),
    ],
)
async def test_wrong_body_is_refused_with_a_sentence(api: Api, body: Any, code: str, sentence: str) -> None:
    """What is wrong, what was expected; and no job is made."""
    answer = await api.post("/api/v1/quick", body)

    assert (answer.status, answer.body["code"]) == (400, code)
    assert sentence in answer.body["error"]
    assert (await api.get("/api/v1/jobs")).body == []


@pytest.mark.parametrize(
    "raw", [b"{", b'{"a": }', b"nothing", b"\xff\xfe", b'{"a": "\xe4"}', b"[" * 100_000, b'{"a": "\\ud800"}']
)
async def test_malformed_body_is_refused(api: Api, raw: bytes) -> None:
    """Whatever bytes come, the answer is a 400 with a sentence."""
    answer = await api.post("/api/v1/quick", data=raw)

    assert answer.status == 400
    assert answer.body["code"] in {"invalid_json", "invalid_data"}


async def test_timeouts_of_the_creation_are_the_jobs(api: Api) -> None:
    """A job that must have ended by then, has."""
    job_id = await api.submit("/api/v2/shop/orders", {"initial_data": {}, "result_timeout": 60})
    await api.until(job_id, "waiting_for_worker")

    await api.clock.advance(60)

    assert (await api.until(job_id, "failed"))["error_message"].startswith("RESULT_TIMEOUT")


async def test_trace_context_of_the_request_goes_to_the_worker(api: Api) -> None:
    """A trace goes on through the engine."""
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    await waiting(api, headers={"traceparent": trace})

    assert (await api.take())["tracing_context"] == {"traceparent": trace}


# --- idempotency ---


async def test_repeated_creation_under_one_key_is_one_job(api: Api) -> None:
    """Whoever lost the answer asks again and gets the same one."""
    key = {"Idempotency-Key": "order-7"}

    answers = [await api.post("/api/v1/quick", {"n": 1}, headers=key) for _ in range(3)]

    assert {answer.status for answer in answers} == {202}
    assert len({answer.body["job_id"] for answer in answers}) == 1
    assert len((await api.get("/api/v1/jobs")).body) == 1


async def test_creations_under_one_key_at_once_are_one_job(api: Api) -> None:
    """Two requests that race make one job."""
    key = {"Idempotency-Key": "order-7"}

    answers = await asyncio.gather(*(api.post("/api/v1/quick", {"n": 1}, headers=key) for _ in range(10)))

    assert len({answer.body["job_id"] for answer in answers}) == 1


async def test_other_creation_under_a_used_key_is_a_conflict(api: Api) -> None:
    """A key never stands for two different requests; the answer names the first job."""
    key = {"Idempotency-Key": "order-7"}
    first = await api.submit(body={"n": 1}, headers=key)

    other_body = await api.post("/api/v1/quick", {"n": 2}, headers=key)
    other_blueprint = await api.post("/api/v2/shop/orders", {"n": 1}, headers=key)

    for answer in (other_body, other_blueprint):
        assert (answer.status, answer.body["code"]) == (409, "idempotency_conflict")
        assert answer.body["job_id"] == first


async def test_key_of_another_client_is_another_key(api: Api) -> None:
    """Clients cannot meet each other's keys."""
    key = {"Idempotency-Key": "order-7"}

    ours = await api.submit(body={"n": 1}, headers=key)
    theirs = await api.submit(body={"n": 2}, headers=key, token=OTHER)

    assert ours != theirs


async def test_key_is_forgotten_after_a_day(api: Api) -> None:
    """Keys are remembered long enough for retries, not for ever."""
    key = {"Idempotency-Key": "order-7"}
    first = await api.submit(body={"n": 1}, headers=key)
    # A leap: nobody has to be woken on the way through a whole day.
    api.clock._now += 24 * 3600

    assert await api.submit(body={"n": 1}, headers=key) != first


async def test_key_that_is_too_long_is_refused(api: Api) -> None:
    """A limit that is told."""
    answer = await api.post("/api/v1/quick", {}, headers={"Idempotency-Key": "k" * 256})

    assert (answer.status, answer.body["code"]) == (400, "invalid_header")
    assert "256 characters; at most 255" in answer.body["error"]


# --- look up ---


async def test_job_has_the_promised_members(api: Api) -> None:
    """Whoever reads a job finds every member, from the first moment to the last."""
    job_id = await waiting(api)
    waits = await api.job(job_id)
    task = await api.take()
    runs = await api.job(job_id)
    await api.result(task, data={"n": 1})
    ended = await api.until(job_id, "finished")

    for job in (waits, runs, ended):
        assert set(job) >= JOB_MEMBERS
        assert job["id"] == job_id
        assert (job["blueprint_name"], job["parent_job_id"]) == ("orders", None)
    assert (waits["status"], waits["current_state"], waits["task_worker_id"]) == ("waiting_for_worker", "send", None)
    assert (runs["current_task_id"], runs["task_worker_id"]) == (waits["current_task_id"], "w1")
    assert (ended["current_state"], ended["result"], ended["progress"]) == ("sent", {"n": 1}, 1.0)
    assert (ended["current_task_id"], ended["error_message"]) == (None, None)
    assert ended["created_at"] <= ended["updated_at"]


async def test_failed_job_says_what_failed(api: Api) -> None:
    """Code, message, attempt and worker stand in one sentence."""
    job_id = await waiting(api)
    task = await api.take()
    error = {"code": "INVALID_INPUT_ERROR", "message": "no such file"}
    await api.result(task, status="failure", error=error)

    job = await api.until(job_id, "failed")

    assert job["error_message"] == (
        f"INVALID_INPUT_ERROR: task 'work' ({task['task_id'][:-2]}) in state 'send' failed at attempt 1 at worker w1: "
        "no such file"
    )
    assert job["state_history"]["last_error"]["code"] == "INVALID_INPUT_ERROR"


async def test_job_that_waits_for_a_child_shows_its_progress(api: Api) -> None:
    """Until the child has ended."""
    above = StateMachineBlueprint("above", api_endpoint="/above")

    @above.handler_for("start", is_start=True)
    async def start(actions: ActionFactory) -> None:
        actions.run_blueprint("orders", {}, {"success": "end"})

    @above.handler_for("end", is_end=True)
    async def end() -> None: ...

    api.engine.register_blueprint(above)
    job_id = await api.submit("/api/v1/above", {})
    task = await api.take()
    told = {"event_type": "progress", "worker_id": "w1", "target_task_id": task["task_id"]}
    await api.post("/_worker/events", {**told, "payload": {"progress": 0.5, "message": "half"}}, token=WORKER)

    job = await api.job(job_id)

    assert (job["status"], job["progress"], job["progress_message"]) == ("waiting_for_sub_job", 0.5, "half")
    await api.result(task)
    assert (await api.until(job_id, "finished"))["progress"] == 1.0


async def test_parallel_job_tells_how_many_branches_have_ended(api: Api) -> None:
    """Progress of a fan-out is the share of its branches."""
    job_id = await api.submit("/api/v1/fan", {})
    await api.until(job_id, "waiting_for_parallel_tasks")
    await api.result(await api.take())

    job = await api.job(job_id)

    assert job["parallel"] == {"aggregate_into": "join", "total": 2, "ended": 1, "failed": 0, "policy": "all"}
    assert (job["progress"], job["progress_message"]) == (0.5, "1 of 2 parallel tasks ended")
    await api.result(await api.take())
    assert (await api.until(job_id, "finished"))["current_state"] == "joined"


@pytest.mark.parametrize("rest", ["", "/history", "/cancel"])
async def test_job_of_another_client_does_not_exist(api: Api, rest: str) -> None:
    """The answer for a foreign job is the one for no job."""
    job_id = await waiting(api)
    method = "POST" if rest == "/cancel" else "GET"

    foreign = await api.call(method, f"/api/v1/jobs/{job_id}{rest}", token=OTHER)
    missing = await api.call(method, f"/api/v1/jobs/nothing{rest}", token=OTHER)

    assert (foreign.status, foreign.body["code"]) == (404, "job_not_found")
    assert foreign.body["error"].replace(job_id, "nothing") == missing.body["error"]
    assert (await api.job(job_id))["status"] == "waiting_for_worker"


async def test_job_created_inside_is_seen_by_its_client_only(api: Api) -> None:
    """Jobs of the engine itself are nobody's; one that is made for a client is that client's."""
    internal = await api.engine.create_background_job("hidden", {})
    ours = await api.engine.create_background_job("hidden", {}, client="default")

    assert (await api.get(f"/api/v1/jobs/{internal}")).status == 404
    assert (await api.get(f"/api/v1/jobs/{ours}")).body["source"] == "internal"


# --- wait ---


async def test_wait_is_answered_with_the_next_change(api: Api) -> None:
    """The answer comes when something happens, without time passing."""
    job_id = await waiting(api)
    before = await api.job(job_id)
    pending = asyncio.create_task(api.get(f"/api/v1/jobs/{job_id}?wait=60"))
    await until(lambda: bool(api.engine.app[JOBS_KEY]._waiting))

    await api.result(await api.take(), data={"n": 1})

    answer = await pending
    assert answer.status == 200
    assert answer.body["version"] > before["version"]


async def test_wait_for_a_version_that_is_past_is_answered_at_once(api: Api) -> None:
    """``version=`` closes the gap between two waits."""
    job_id = await waiting(api)
    job = await api.job(job_id)

    answer = await api.get(f"/api/v1/jobs/{job_id}?wait=60&version={job['version'] - 1}")

    assert answer.body == job


async def test_wait_ends_when_its_time_is_over(api: Api) -> None:
    """Nothing happened: the job as it is."""
    job_id = await waiting(api)
    pending = asyncio.create_task(api.get(f"/api/v1/jobs/{job_id}?wait=30"))
    await until(lambda: bool(api.engine.app[JOBS_KEY]._waiting))
    await api.clock.advance(30)

    assert (await pending).body["status"] == "waiting_for_worker"


async def test_wait_is_never_longer_than_a_minute(api: Api) -> None:
    """Proxies cut longer ones."""
    job_id = await waiting(api)
    pending = asyncio.create_task(api.get(f"/api/v1/jobs/{job_id}?wait=inf"))
    await until(lambda: bool(api.engine.app[JOBS_KEY]._waiting))
    await api.clock.advance(60)

    assert (await pending).status == 200


async def test_wait_for_an_ended_job_is_answered_at_once(api: Api) -> None:
    """There will be no further change."""
    job_id = await api.submit()
    await api.until(job_id, "finished")

    assert (await api.get(f"/api/v1/jobs/{job_id}?wait=60")).body["status"] == "finished"


@pytest.mark.parametrize(
    "query", ["wait=soon", "wait=-1", "wait=nan", "wait=1&version=x", f"wait=1&version={'9' * 5000}"]
)
async def test_wrong_wait_is_refused(api: Api, query: str) -> None:
    """Neither negative times nor words."""
    job_id = await waiting(api)

    answer = await api.get(f"/api/v1/jobs/{job_id}?{query}")

    assert (answer.status, answer.body["code"]) == (400, "invalid_query")


# --- list ---


async def several(api: Api, count: int) -> list[str]:
    """Creates jobs a second apart; returns their ids, newest first."""
    ids = []
    for _ in range(count):
        ids.append(await api.submit())
        await api.until(ids[-1], "finished")
        await api.clock.advance(1)
    return ids[::-1]


async def test_list_has_own_jobs_newest_first(api: Api) -> None:
    """An array of jobs as they are looked up one by one; other clients' are not among them."""
    ids = await several(api, 3)
    await api.submit(token=OTHER)

    answer = await api.get("/api/v1/jobs")

    assert [job["id"] for job in answer.body] == ids
    assert answer.body[0] == await api.job(ids[0])


async def test_list_can_be_filtered(api: Api) -> None:
    """By status, by blueprint, by age, and by all of them."""
    ids = await several(api, 3)
    order = await waiting(api)
    since = (await api.job(ids[1]))["created_at"]

    async def listed(query: str) -> list[str]:
        return [job["id"] for job in (await api.get(f"/api/v1/jobs?{query}")).body]

    assert await listed("status=finished") == ids
    assert await listed("status=waiting_for_worker") == [order]
    assert await listed("status=") == [order, *ids]
    assert await listed("blueprint=orders") == [order]
    assert await listed("blueprint=nothing") == []
    assert await listed(f"since={since}") == [order, *ids[:2]]
    assert await listed("since=2023-11-14T22:13:21%2B00:00&status=finished") == ids[:2]
    assert await listed("limit=2&offset=1") == ids[:2]


async def test_pages_by_cursor_are_complete(api: Api) -> None:
    """Page after page, every job comes once, also when new ones are created in between."""
    ids = await several(api, 5)
    seen: list[str] = []
    cursor = ""
    pages = 0
    while cursor is not None:
        page = (await api.get(f"/api/v1/jobs?limit=2&cursor={cursor}")).body
        assert set(page) == {"jobs", "next_cursor"}
        seen += [job["id"] for job in page["jobs"]]
        cursor = page["next_cursor"]
        pages += 1
        await api.submit()

    assert seen == ids
    assert pages == 3


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("status=finnished", "Did you mean 'finished'?"),
        ("limit=0", "'limit' is '0'; expected a whole number from 1 to 1000"),
        ("limit=1001", "from 1 to 1000"),
        ("limit=many", "from 1 to 1000"),
        ("limit=" + "9" * 5000, "from 1 to 1000"),
        ("offset=-1", "'offset' is '-1'"),
        ("since=yesterday", "Unix seconds or an ISO 8601 date"),
        ("cursor=nonsense", "the next_cursor of the page before"),
        ("cursor=%C3%A4", "the next_cursor of the page before"),
    ],
)
async def test_wrong_query_is_refused_with_a_sentence(api: Api, query: str, sentence: str) -> None:
    """Which member, what it is, what was expected."""
    answer = await api.get(f"/api/v1/jobs?{query}")

    assert (answer.status, answer.body["code"]) == (400, "invalid_query")
    assert sentence in answer.body["error"]


# --- cancel ---


async def test_waiting_job_is_cancelled_at_once(api: Api) -> None:
    """The answer is 200 and the job has ended."""
    job_id = await waiting(api)

    answer = await api.post(f"/api/v1/jobs/{job_id}/cancel")

    assert answer.status == 200
    assert answer.body["status"] == "cancellation_request_accepted"
    assert (await api.job(job_id))["status"] == "cancelled"


async def test_cancel_of_an_ended_job_is_a_conflict(api: Api) -> None:
    """What has ended cannot be cancelled; the answer says how it ended."""
    job_id = await api.submit()
    await api.until(job_id, "finished")

    answer = await api.post(f"/api/v1/jobs/{job_id}/cancel")

    assert (answer.status, answer.body["code"]) == (409, "job_state_conflict")
    assert "is finished" in answer.body["error"]


# --- history ---


async def test_history_is_an_array_of_events(api: Api) -> None:
    """Everything that happened, in order, with moments that have a zone."""
    job_id = await waiting(api)
    await api.result(await api.take(), data={"n": 1})
    await api.until(job_id, "finished")

    answer = await api.get(f"/api/v1/jobs/{job_id}/history")

    rows = answer.body
    assert [row["event_type"] for row in rows] == [
        "job_created",
        "state_started",
        "task_dispatched",
        "task_started",
        "task_finished",
        "state_finished",
        "state_started",
        "state_finished",
        "job_completed",
    ]
    assert {row["job_id"] for row in rows} == {job_id}
    assert rows[4]["worker_id"] == "w1"
    assert rows[0]["timestamp"] == "2023-11-14T22:13:20+00:00"


async def test_moments_of_the_history_are_in_the_zone_of_the_settings(start_api: Any) -> None:
    """``TZ`` says how moments are shown, not how they are kept."""
    api = await start_api(TZ="Europe/Madrid")
    job_id = await api.submit()

    rows = (await api.get(f"/api/v1/jobs/{job_id}/history")).body

    assert rows[0]["timestamp"] == "2023-11-14T23:13:20+01:00"
