"""What the audit finds when data were damaged in a Redis."""

from __future__ import annotations

import pytest

from avtomatika.storage.base import Ready
from tests.redis_server import RedisServer

from .builders import START, a_job, a_message, a_task, create
from .redis_look import opened, plain_client


@pytest.mark.parametrize(
    ("command", "letters"),
    [
        (("DEL", "due"), {"U", "W"}),
        (("DEL", "waiting"), {"W"}),
        (("DEL", "held"), {"W"}),
        (("DEL", "leases"), {"W"}),
        (("DEL", "task_facts"), {"W"}),
        (("DEL", "events"), {"H", "O"}),
        (("DEL", "mail"), {"O"}),
        (("DEL", "dead"), {"O"}),
        (("DEL", "messages"), {"O"}),
        (("DEL", "message_facts"), {"O"}),
        (("DEL", "job_mail"), {"O"}),
        (("HSET", "counts", "pending", "7"), {"C"}),
        (("HSET", "counts", "created", "7"), {"C"}),
        (("ZREMRANGEBYLEX", "index", "[s", "(t"), {"C"}),
        (("DEL", "job:j1"), {"C"}),
    ],
)
async def test_audit_finds_what_was_damaged(
    redis_server: RedisServer, command: tuple[str, ...], letters: set[str]
) -> None:
    """Whatever part of a job is lost, the audit misses it."""
    prefix = redis_server.new_prefix()
    async with opened(redis_server, prefix) as storage:
        await create(storage, a_job("j1"))
        await create(storage, a_job("j2"), queue_tasks=[a_task("t1", "j2"), a_task("t2", "j2")])
        await storage.claim_task("w", ["render"], 60)
        await create(storage, a_job("j3"), ready=Ready(START), messages=[a_message(n, "j3") for n in range(2)])
        await storage.bury_message("j3:1:0", "no hope")
        assert await storage.audit() == []

        name, key, *rest = command
        with plain_client(redis_server) as client:
            client.execute_command(name, f"{{{prefix}}}:{key}", *rest)

        assert {fault.invariant for fault in await storage.audit()} == letters
