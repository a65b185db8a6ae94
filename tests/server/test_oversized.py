"""Results above the limit, of each way in which workers write them."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from avtomatika.protocol.messages import Skill, WorkerProfile
from avtomatika.server.keys import SIGNATURES_KEY, WORKERS_KEY
from avtomatika.server.oversized import SKIMMED

from .conftest import WORKER, Answer, Api

LIMIT = 2000


async def send(api: Api, body: Any, **options: Any) -> Answer:
    """Sends a result as these very bytes."""
    return await api.post("/_worker/tasks/result", data=body, token=WORKER, **options)


def written(generation: str, ids: dict[str, str], size: int) -> bytes:
    """Returns a result of so many bytes of data as the generation writes it."""
    data = {"text": "x" * size, "task_id": "another"}
    if generation == "g0":
        return json.dumps({**ids, "result": {"status": "success", "data": data}}).encode()
    told = {**ids, "data": data, "status": "success"}
    return json.dumps(told, sort_keys=generation == "g4").encode()


@pytest.mark.parametrize("generation", ["g0", "g1", "g4"])
@pytest.mark.parametrize("way", ["whole", "chunked", "compressed"])
async def test_result_above_the_limit_fails_its_task(start_api: Any, generation: str, way: str) -> None:
    """The worker is answered 200 and forgets the result; the job says how large it was and what to do."""
    api = await start_api(RESULT_MAX_BODY_BYTES=LIMIT)
    job_id = await api.submit("/api/v2/shop/orders", {"params": {}})
    task = await api.take()
    body = written(generation, {"job_id": job_id, "task_id": task["task_id"], "worker_id": "w1"}, 3 * LIMIT)
    options: dict[str, Any] = {}

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 700):
            yield body[start : start + 700]

    sent: Any = body
    if way == "chunked":
        sent = chunks()
    elif way == "compressed":
        sent, options = gzip.compress(body), {"headers": {"Content-Encoding": "gzip"}}
    answer = await send(api, sent, **options)

    assert (answer.status, answer.body) == (200, {"status": "accepted"})
    job = await api.until(job_id, "failed")
    assert job["error_message"].startswith("CONTRACT_VIOLATION_ERROR: task 'work'")
    assert f"the result has {len(body):,} bytes, and the limit is 2,000 (RESULT_MAX_BODY_BYTES)" in job["error_message"]


async def test_result_above_the_limit_of_nobody_changes_nothing(start_api: Any) -> None:
    """It is answered 200 all the same, so that no worker sends it again."""
    api = await start_api(RESULT_MAX_BODY_BYTES=LIMIT)
    job_id = await api.submit("/api/v2/shop/orders", {"params": {}})
    task = await api.take()
    ids = {"job_id": job_id, "task_id": task["task_id"]}

    nameless = await send(api, json.dumps({"worker_id": "w1", "data": "x" * 3000}))
    foreign = await send(api, written("g4", {**ids, "worker_id": "w2"}, 3000))
    unknown = await send(api, written("g4", {**ids, "job_id": "j", "worker_id": "w1"}, 3000))

    reasons = [(one.status, one.body["reason"]) for one in (nameless, foreign, unknown)]
    assert reasons == [(200, "job_not_found"), (200, "worker_mismatch"), (200, "job_not_found")]
    assert "the limit is 2,000" in nameless.body["message"]
    assert (await api.job(job_id))["status"] == "waiting_for_worker"


async def test_result_far_above_the_limit_is_not_even_looked_at(start_api: Any) -> None:
    """What would take long to pass by is refused, whether it says its size or not."""
    api = await start_api(RESULT_MAX_BODY_BYTES=1024)
    packed = gzip.compress(b'{"data":"' + b"x" * (SKIMMED + 1) * 1024)

    told = await send(api, b"x" * (1024 * SKIMMED + 1))
    hidden = await send(api, packed, headers={"Content-Encoding": "gzip"})

    assert [(one.status, one.body["code"]) for one in (told, hidden)] == [(413, "body_too_large")] * 2


async def test_unsigned_oversized_result_is_not_believed_where_signatures_are_required(start_api: Any) -> None:
    """A stranger with a token, but without the worker's key, cannot end its tasks so."""
    api = await start_api(RESULT_MAX_BODY_BYTES=LIMIT, WORKER_SIGNATURES="require")
    job_id = await api.submit("/api/v2/shop/orders", {"params": {}})
    api.engine.app[SIGNATURES_KEY]._remember("w1", WORKER).signs = True
    await api.engine.app[WORKERS_KEY].register(WorkerProfile("w1", skills=(Skill("work"),)))
    task = (await api.poll()).body

    answer = await send(api, written("g4", {"job_id": job_id, "task_id": task["task_id"], "worker_id": "w1"}, 3000))

    assert (answer.status, answer.body["reason"]) == (200, "worker_mismatch")
    assert "WORKER_SIGNATURES=require" in answer.body["message"]
    assert (await api.job(job_id))["status"] == "waiting_for_worker"
