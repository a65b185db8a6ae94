"""Signed messages of workers: what is checked, what is demanded, and what a wrong signature costs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from avtomatika.security.signatures import Kind, key_of, sign, signed_texts
from avtomatika.server import signatures
from avtomatika.server.keys import ACCESS_KEY, SIGNATURES_KEY

from .conftest import WORKER, Answer, Api

NOW = 1_700_000_000


def signed(body: dict[str, Any], kind: Kind, token: str = WORKER, signer: str = "w1") -> dict[str, Any]:
    """Returns the message with the signature that today's workers make."""
    text = next(signed_texts(json.dumps(body), kind))
    return {**body, "security": {"signature": sign(key_of(token), text), "signer_id": signer}}


def registration(**members: Any) -> dict[str, Any]:
    """Returns a registration."""
    return {"worker_id": "w1", "supported_skills": [{"name": "work", "type": "work"}], "timestamp": NOW, **members}


async def register(api: Api, body: dict[str, Any], token: str = WORKER) -> Answer:
    """Sends a registration."""
    return await api.post("/_worker/workers/register", body, token=token)


@pytest.fixture
async def strict(start_api: Any) -> Api:
    """An engine that requires signatures of those that make them."""
    api: Api = await start_api(WORKER_SIGNATURES="require")
    await api.clock.advance(NOW - api.clock.now())
    return api


@pytest.mark.parametrize(
    "change", [{"worker_type": "other"}, {"security": {"signature": "0" * 64}}, {"security": {"signature": "ключ"}}]
)
async def test_message_that_was_changed_is_refused(api: Api, change: dict[str, Any]) -> None:
    """403, with what to do; nothing of it is taken."""
    answer = await register(api, {**signed(registration(), Kind.REGISTER), **change})

    assert (answer.status, answer.body["code"]) == (403, "wrong_signature")
    assert "WORKER_SIGNATURES=off" in answer.body["error"]
    assert (await api.get("/api/v1/workers")).body == []


async def test_message_of_another_signer_is_refused(api: Api) -> None:
    """A signature says who made it; that must be the sender."""
    answer = await register(api, signed(registration(), Kind.REGISTER, signer="w2"))

    assert (answer.status, answer.body["code"]) == (403, "wrong_signature")


async def test_unsigned_workers_are_welcome(strict: Api) -> None:
    """Releases before 1.0b12 do not sign; nothing they send is refused."""
    assert (await register(strict, registration())).status == 200
    assert (await strict.beat()).status == 200


async def test_result_with_a_wrong_signature_is_ignored(api: Api) -> None:
    """200 all the same: workers lose a result that is refused, and this one changes nothing."""
    job_id = await api.submit("/api/v2/shop/orders", {"params": {}})
    await api.until(job_id, "waiting_for_worker")
    task = await api.take()
    body = {"job_id": job_id, "task_id": task["task_id"], "worker_id": "w1", "data": {"n": 1}}

    wrong = await api.post("/_worker/tasks/result", {**signed(body, Kind.RESULT), "data": {"n": 2}}, token=WORKER)
    right = await api.post("/_worker/tasks/result", signed(body, Kind.RESULT), token=WORKER)

    assert (wrong.status, wrong.body["status"], wrong.body["reason"]) == (200, "ignored", "worker_mismatch")
    assert right.body == {"status": "accepted"}
    assert (await api.until(job_id, "finished"))["result"] == {"n": 1}


async def test_signature_may_be_made_with_the_token_that_was_sent_before(api: Api) -> None:
    """Workers sign with the token of their environment, whatever token the header has by now."""
    api.engine.app[ACCESS_KEY].workers.add("the-first-token-of-w1", "w1")
    api.engine.app[ACCESS_KEY].workers.add("the-second-token-of-w1", "w1")
    own = signed(registration(), Kind.REGISTER, "the-first-token-of-w1")

    unseen = await register(api, own, "the-second-token-of-w1")
    first = await register(api, own, "the-first-token-of-w1")
    later = await register(api, own, "the-second-token-of-w1")
    with_global = await register(api, signed(registration(), Kind.REGISTER), "the-second-token-of-w1")

    assert [answer.status for answer in (unseen, first, later, with_global)] == [403, 200, 200, 200]


async def test_worker_that_signs_must_go_on_signing_where_it_is_required(strict: Api) -> None:
    """Whoever takes a signature off cannot pass; what the oldest signers never sign is let through."""
    await register(strict, signed(registration(), Kind.REGISTER))

    bare = await strict.beat(timestamp=NOW)
    farewell = await strict.beat(status="offline")
    failure = await strict.post(
        "/_worker/tasks/result", {"job_id": "j", "task_id": "t-1", "worker_id": "w1", "status": "failure"}, token=WORKER
    )
    success = await strict.post(
        "/_worker/tasks/result", {"job_id": "j", "task_id": "t-1", "worker_id": "w1"}, token=WORKER
    )

    assert (bare.status, bare.body["code"]) == (403, "wrong_signature")
    assert farewell.status == 200
    assert (failure.body["reason"], success.body["reason"]) == ("job_not_found", "worker_mismatch")


@pytest.mark.parametrize(("seconds", "status"), [(299, 200), (301, 403), (-299, 200), (-301, 403)])
async def test_signed_registration_must_be_fresh_where_it_is_required(strict: Api, seconds: int, status: int) -> None:
    """An old one may be a copy; results are sent again as they are and are not looked at."""
    old = signed(registration(timestamp=NOW - seconds), Kind.REGISTER)

    assert (await register(strict, old)).status == status


@pytest.mark.parametrize(("mode", "status"), [("verify", 200), ("require", 403)])
async def test_signature_of_an_unseen_token_passes_with_an_issued_one_unless_required(
    start_api: Any, mode: str, status: int
) -> None:
    """Behind a short-lived token, the one that a worker signs with may never have been seen."""
    api = await start_api(WORKER_SIGNATURES=mode)
    issued = await api.post("/_worker/auth/token", token=WORKER, headers={"X-Worker-ID": "w1"})

    answer = await register(api, signed(registration(), Kind.REGISTER, "never-seen-here"), issued.body["access_token"])

    assert answer.status == status


async def test_engine_remembers_no_more_workers_than_it_should(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has the global token can invent ids; those that were heard of last are remembered."""
    monkeypatch.setattr(signatures, "_REMEMBERED", 3)

    for number in range(6):
        await register(api, registration(worker_id=f"w{number}"))

    assert list(api.engine.app[SIGNATURES_KEY]._known) == ["w3", "w4", "w5"]


async def test_nothing_is_checked_where_it_is_switched_off(start_api: Any) -> None:
    """For workers that sign with a token of somebody else."""
    api = await start_api(WORKER_SIGNATURES="off")

    assert (await register(api, signed(registration(), Kind.REGISTER, "unknown"))).status == 200


async def test_large_message_is_checked_as_well(api: Api) -> None:
    """In a thread, so that others need not wait."""
    body = registration(worker_type="x" * 300_000)

    right = await register(api, signed(body, Kind.REGISTER))
    wrong = await register(api, {**signed(body, Kind.REGISTER), "worker_type": "y" * 300_000})

    assert (right.status, wrong.status) == (200, 403)
    assert api.engine.app[SIGNATURES_KEY].verified == 1


async def test_task_is_signed_where_there_is_a_key(start_api: Any) -> None:
    """In ``sig``, which 1.0b19 and later look at; without a key there is none."""
    api = await start_api(TASK_SIGNING_KEY="example-key")
    await api.until(await api.submit("/api/v2/shop/orders", {"params": {"a": 1.0}}), "waiting_for_worker")

    task = await api.take()

    text = next(
        signed_texts(json.dumps({name: task[name] for name in task if name not in {"sig", "attempt"}}), Kind.RESULT)
    )
    assert task["sig"] == sign(key_of("example-key"), text.replace("1.0", "1"))
