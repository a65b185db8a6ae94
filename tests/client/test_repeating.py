"""Calls that are made again: which, when, and which never."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web

from avtomatika.client.repeating import ATTEMPTS, policy
from avtomatika.client.requests import Request
from avtomatika.errors import AuthError, ClientError, ConnectionFailedError

LOOK = Request("GET", "/api/v1/jobs")
CHANGE = Request("POST", "/api/v1/jobs/j-1/cancel")
KEYED = Request("POST", "/api/v1/orders", {"Idempotency-Key": "k"})
GONE = ConnectionFailedError("http://e", "refused")


def refused(status: int, retry_after: float = 0.0) -> ClientError:
    """Returns what a refusal raises."""
    return ClientError(status, "code", "no", retry_after)


@pytest.mark.parametrize(
    ("request_", "error", "verdict"),
    [
        (LOOK, GONE, True),
        (KEYED, GONE, True),
        (CHANGE, GONE, False),
        (LOOK, refused(503), True),
        (LOOK, refused(503, 5.0), 5.0),
        (LOOK, refused(503, 500.0), 30.0),
        (KEYED, refused(502), True),
        (CHANGE, refused(503), False),
        (LOOK, refused(500), False),
        (LOOK, refused(404), False),
        (LOOK, AuthError("no"), False),
        (CHANGE, refused(429, 7.0), 7.0),
        (LOOK, refused(429, 7.0), 7.0),
        (LOOK, refused(429), False),
        (LOOK, refused(429, 86_400.0), False),
    ],
)
def test_call_is_made_again_where_that_does_no_harm(request_: Request, error: Exception, verdict: bool | float) -> None:
    """What changes nothing, or has a key; what was one too many, as soon as the engine says, unless that is long."""
    assert policy(request_, 4, 30.0)["on"](error) == verdict


async def test_look_outlives_an_engine_in_trouble(api: Any, call: Any) -> None:
    """The answer of the third try is the answer."""
    api.answers("GET /api/v1/jobs/j-1", {"error": "no storage", "code": "storage_unavailable"}, 503)
    api.answers("GET /api/v1/jobs/j-1", {"error": "no engine"}, 502)
    api.answers("GET /api/v1/jobs/j-1", {"id": "j-1"})

    assert await call("job", "j-1") == {"id": "j-1"}
    assert len(api.seen) == 3


async def test_call_that_was_one_too_many_is_made_again(api: Any, call: Any) -> None:
    """Whatever it is: nothing has happened yet."""
    api.answers("POST /api/v1/jobs/j-1/cancel", {"error": "slow", "code": "rate_limited"}, 429, **{"Retry-After": "1"})
    api.answers("POST /api/v1/jobs/j-1/cancel", {"status": "cancellation_request_accepted"})

    assert await call("cancel", "j-1")
    assert len(api.seen) == 2


async def test_quota_that_is_used_up_is_not_waited_for(api: Any, call: Any) -> None:
    """The error says when it ends."""
    api.answers("POST /api/v1/a", {"error": "used up", "code": "quota_exceeded"}, 429, **{"Retry-After": "86400"})

    with pytest.raises(ClientError, match="used up") as caught:
        await call("submit", "/a")

    assert caught.value.retry_after == 86_400
    assert len(api.seen) == 1


@pytest.mark.parametrize(("key", "times"), [("k", ATTEMPTS), (None, 1)])
async def test_creation_is_repeated_with_a_key_only(api: Any, call: Any, key: str | None, times: int) -> None:
    """Without one, a job that was created although the answer was lost would be created twice."""

    async def hang_up(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.close()
        return web.Response()

    api.responds("POST /api/v1/a", hang_up)

    with pytest.raises(ConnectionFailedError):
        await call("submit", "/a", idempotency_key=key)

    assert len(api.seen) == times
