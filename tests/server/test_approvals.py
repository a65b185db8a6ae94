"""Approvals over HTTP: who may decide, and what everybody else hears."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest
import yarl

from avtomatika.core.states import JobStatus
from avtomatika.server.keys import JOBS_KEY

from .conftest import CLIENT, OTHER, Api, StartApi


async def asked(api: Api) -> tuple[str, str]:
    """Returns the id of a job that waits for a decision, and the path with the token."""
    job_id = await api.submit("/api/v1/ask", {})
    approval = (await api.until(job_id, "waiting_for_human"))["approval"]
    return job_id, approval["url"].removeprefix(api.origin)


def path_of(job_id: str, token: str = "") -> str:
    """Returns the path where one decides about a job."""
    return f"/_public/webhooks/approval/{job_id}" + (f"?token={token}" if token else "")


async def test_owner_sees_the_question_with_a_ready_url(api: Api) -> None:
    """Message, decisions, until when, and an address with a token, at the server that was asked."""
    job_id = await api.submit("/api/v1/ask", {})

    approval = (await api.until(job_id, "waiting_for_human"))["approval"]

    assert urlsplit(approval.pop("url")).path == path_of(job_id)
    assert approval == {
        "message": "Publish <it>?",
        "decisions": ["approved", "rejected"],
        "expires_at": api.clock.now() + 3600,
        "asked_at": api.clock.now(),
        "integration": "webhook",
    }


async def test_token_of_the_wait_decides(api: Api) -> None:
    """No other token is needed, and it is good once."""
    job_id, path = await asked(api)

    answer = await api.post(path, {"decision": "approved", "by": "Ada", "comment": "go"}, token=None)
    again = await api.post(path, {"decision": "rejected"}, token=None)

    assert (answer.status, answer.body) == (200, {"status": "approval_received", "job_id": job_id})
    assert (again.status, again.body["code"]) == (409, "job_state_conflict")
    job = await api.until(job_id, "finished")
    assert job["current_state"] == "published"
    assert job["result"] == {
        "decision": "approved",
        "by": "Ada",
        "via": "token",
        "comment": "go",
        "at": api.clock.now(),
    }
    assert "approval" not in job


async def test_token_may_stand_in_the_body(api: Api) -> None:
    """Who does not want it in an address writes it there."""
    job_id, path = await asked(api)
    token = yarl.URL(path).query["token"]

    answer = await api.post(path_of(job_id), {"decision": "rejected", "token": token}, token=None)

    assert answer.status == 200
    assert (await api.until(job_id, "finished"))["current_state"] == "dropped"


async def test_owner_decides_with_the_client_token(api: Api) -> None:
    """The history has the client's name."""
    job_id, _ = await asked(api)

    answer = await api.post(path_of(job_id), {"decision": "approved"}, token=CLIENT)

    assert answer.status == 200
    job = await api.until(job_id, "finished")
    assert (job["result"]["by"], job["result"]["via"]) == ("default", "client")
    history = (await api.get(f"/api/v1/jobs/{job_id}/history")).body
    (row,) = [row for row in history if row["event_type"] == "approval_received"]
    assert row["context_snapshot"]["decision"] == "approved"


async def test_nobody_decides_without_a_token(api: Api) -> None:
    """Neither about a job that waits nor about one that does not exist: the answers are the same."""
    job_id, _ = await asked(api)

    answers = [
        await api.post(path_of(one, token), {"decision": "approved"}, token=None)
        for one in (job_id, "nothing")
        for token in ("", "1.forged")
    ]

    assert {answer.status for answer in answers} == {401}
    assert {answer.body["code"] for answer in answers} == {"unauthorized"}
    assert (await api.job(job_id))["status"] == "waiting_for_human"


async def test_other_clients_do_not_decide(api: Api) -> None:
    """Another client's job does not exist; a wrong client token is none."""
    job_id, _ = await asked(api)

    foreign = await api.post(path_of(job_id), {"decision": "approved"}, token=OTHER)
    unknown = await api.post(path_of(job_id), {"decision": "approved"}, token="nobody's")

    assert (foreign.status, foreign.body["code"]) == (404, "job_not_found")
    assert unknown.status == 401


async def test_client_token_decides_nothing_without_a_client_api(start_api: StartApi) -> None:
    """Where none of it is served, the token that would open it opens nothing else either."""
    api = await start_api(ENABLE_CLIENT_API=False)
    job_id = await api.engine.create_background_job("ask", {}, client="default")
    jobs = api.engine.app[JOBS_KEY]
    while (job := await jobs.get(job_id)).status is not JobStatus.WAITING_FOR_HUMAN:
        await jobs.wait(job_id, job.version, 1e9)

    assert (await api.post(path_of(job_id), {"decision": "approved"}, token=CLIENT)).status == 401
    assert (await jobs.get(job_id)).status is JobStatus.WAITING_FOR_HUMAN


async def test_job_that_is_gone_is_not_found(api: Api) -> None:
    """The owner hears that it is not there."""
    answer = await api.post(path_of("nothing"), {"decision": "approved"}, token=CLIENT)

    assert (answer.status, answer.body["code"]) == (404, "job_not_found")


@pytest.mark.parametrize(
    ("body", "code", "sentence"),
    [
        ({"decision": "aproved"}, "unknown_decision", "known: approved, rejected. Did you mean 'approved'"),
        ({"decision": "expired"}, "unknown_decision", "known: approved, rejected"),
        ({}, "invalid_body", "send what was decided"),
        ({"decision": 7}, "invalid_body", "'decision' must be a text"),
        ({"decision": "approved", "by": "x" * 201}, "invalid_body", "'by' must be a text of at most 200"),
    ],
)
async def test_decision_that_cannot_be_taken_is_explained(api: Api, body: Any, code: str, sentence: str) -> None:
    """And the job goes on waiting."""
    job_id, path = await asked(api)

    answer = await api.post(path, body, token=None)

    assert (answer.status, answer.body["code"]) == (400, code)
    assert sentence in answer.body["error"]
    assert (await api.job(job_id))["status"] == "waiting_for_human"


async def test_person_with_a_browser_sees_the_question(api: Api) -> None:
    """A button for each decision; nothing of the job's owner can become part of the page; looking decides nothing."""
    job_id, path = await asked(api)

    page = await api.get(path, token=None)

    assert page.status == 200
    assert "Publish &lt;it&gt;?" in page.body
    assert page.body.count('name="decision"') == 2
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert (await api.job(job_id))["status"] == "waiting_for_human"


async def test_person_with_a_browser_decides(api: Api) -> None:
    """The form is answered by a page, and so is the second time."""
    job_id, path = await asked(api)
    form = {"Content-Type": "application/x-www-form-urlencoded"}

    thanks = await api.call("POST", path, data="decision=approved&by=Ada+L.", token=None, headers=form)
    again = await api.http.post(f"{api.origin}{path}", data={"decision": "approved"})
    late = await api.http.get(f"{api.origin}{path}")

    assert (thanks.status, "Your decision is noted: approved." in thanks.body) == (200, True)
    assert (again.status, "does not wait for this decision" in await again.text()) == (409, True)
    assert (late.status, "It was taken already" in await late.text()) == (409, True)
    assert (await api.until(job_id, "finished"))["result"]["by"] == "Ada L."


async def test_json_that_is_called_a_form_is_answered_as_json(api: Api) -> None:
    """As curl sends it, unless told otherwise."""
    job_id, path = await asked(api)
    form = {"Content-Type": "application/x-www-form-urlencoded"}

    taken = await api.call("POST", path, data='{"decision": "approved"}', token=None, headers=form)

    assert (taken.status, taken.body) == (200, {"status": "approval_received", "job_id": job_id})


async def test_page_without_the_token_shows_nothing(api: Api) -> None:
    """Not even whether there is such a job."""
    job_id, _ = await asked(api)

    pages = [await api.http.get(f"{api.origin}{path_of(one, 'x')}") for one in (job_id, "nothing")]
    empty = await api.http.post(f"{api.origin}{path_of(job_id, 'x')}", data={"by": "x"})

    assert [page.status for page in pages] == [401, 401]
    assert await pages[0].text() == await pages[1].text()
    assert empty.status == 401
