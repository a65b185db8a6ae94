"""Which tasks a worker refuses, and how it signs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from avtomatika.protocol.messages import TaskMessage
from avtomatika.protocol.tasks import encode_task
from avtomatika.security.signatures import Kind, is_signed_by, key_of, sign_task
from avtomatika.worker import Worker
from avtomatika.worker.trust import Trust

from .conftest import FakeEngine

TASK = encode_task(TaskMessage("j", "t-1", "echo", {"n": 1}, attempt=1, priority=2.0))
SIGNED = sign_task(TASK, key_of("secret"))


@pytest.mark.parametrize(
    ("task", "required", "refusal"),
    [
        (SIGNED, True, ""),
        (TASK, True, "carries no signature"),
        (TASK, False, ""),
        ({**SIGNED, "params": {"n": 2}}, True, "signature of the task is wrong"),
        ({**SIGNED, "sig": "ü"}, False, "signature of the task is wrong"),
    ],
)
def test_task_is_checked_against_the_key(task: dict[str, Any], required: bool, refusal: str) -> None:
    """What the engine signed is done; what somebody changed is not."""
    told = Trust("secret", required=required).refusal(task)

    assert refusal in told
    assert bool(told) == bool(refusal)


@pytest.mark.parametrize(
    ("policy", "refusal"),
    [
        (None, ""),
        ({"allowed_skills": ["echo"]}, ""),
        ({"allowed_skills": ["other"]}, "the policy of the task allows other, not 'echo'."),
        ({"allowed_skills": []}, "allows no skill"),
    ],
)
def test_policy_of_a_task_is_kept(policy: Any, refusal: str) -> None:
    """A task that names the skills allowed is not done by another."""
    assert refusal in Trust("", required=True).refusal({**TASK, "policy": policy})


async def test_refused_task_is_a_security_failure(engine: FakeEngine, worker: Worker) -> None:
    """The engine hears of it; the function is not called."""
    calls: list[int] = []

    @worker.task
    async def echo(n: int) -> None:
        calls.append(n)

    worker.configure(task_key="secret")

    async with worker:
        engine.tasks.put_nowait(TASK)
        refused = await engine.result()
        engine.tasks.put_nowait({**sign_task({**TASK, "task_id": "t-2"}, key_of("secret"))})
        done = await engine.result("t-2")

    assert (refused["error"]["code"], done["status"], calls) == ("SECURITY_ERROR", "success", [1])


@pytest.mark.parametrize(
    ("kind", "of"), [("register", Kind.REGISTER), ("heartbeat", Kind.HEARTBEAT), ("result", Kind.RESULT)]
)
async def test_messages_are_signed_with_the_token_where_that_is_set(
    engine: FakeEngine, worker: Worker, kind: str, of: Kind
) -> None:
    """As published workers sign, so that an engine that requires it takes them."""
    worker.add_task(lambda n: n, "echo")
    worker.configure(sign_messages=True)

    async with worker:
        engine.put("echo", n=1.5)
        heard = await engine.wait_for(kind)

    security = heard.body["security"]
    assert security["signer_id"] == "w"
    assert is_signed_by(security["signature"], json.dumps(heard.body), of, [key_of("token")])
