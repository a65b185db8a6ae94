"""The gate: only a view's own page, with a fresh capability, is answered."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

from avtomatika.errors import AuthError
from avtomatika.notebook.gate import GATE_PATH, LIFETIME, Gate

LAB = "http://localhost:8888"


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Returns the moment."""
        return self.now


@pytest.fixture
def time() -> Clock:
    """The gate's clock."""
    return Clock()


async def echo(question: Mapping[str, Any]) -> dict[str, Any]:
    """Answers a view with its own question, or as badly as it wants."""
    match question.get("do"):
        case "fail":
            raise ValueError("no such question")
        case "break":
            raise RuntimeError("oops")
        case _:
            return {"heard": question["do"]}


@pytest.fixture
def gate(time: Clock) -> Gate:
    """A gate with one view."""
    gate = Gate(time)
    gate.open("v1", echo)
    return gate


@pytest.fixture
async def url(gate: Gate) -> AsyncIterator[str]:
    """Where the gate is served."""
    app = web.Application()
    app.router.add_post(GATE_PATH, gate.handle)
    async with TestServer(app) as server:
        yield str(server.make_url(GATE_PATH))


async def post(url: str, body: object, origin: str | None = LAB) -> tuple[int, str | None, dict[str, Any]]:
    """Sends what a page sends; returns status, the origin that may read it, and the answer."""
    headers = {"Content-Type": "text/plain", **({} if origin is None else {"Origin": origin})}
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with ClientSession() as session, session.post(url, data=data, headers=headers) as response:
        return response.status, response.headers.get("Access-Control-Allow-Origin"), await response.json()


def question(secret: str, view: str = "v1", do: str = "hello") -> dict[str, Any]:
    """What a view sends."""
    return {"view": view, "capability": secret, "ask": {"do": do}}


async def test_view_with_its_capability_is_answered(gate: Gate, url: str) -> None:
    """The answer may be read by the page that asked, and by no other."""
    assert await post(url, question(gate.issue("v1"))) == (200, LAB, {"heard": "hello"})


@pytest.mark.parametrize("secret", ["", "guess", "é\ud800"])
async def test_wrong_capability_is_refused_unreadably(gate: Gate, url: str, secret: str) -> None:
    """Another page learns nothing, not even the refusal."""
    gate.issue("v1")

    status, readable_by, _ = await post(url, question(secret))

    assert (status, readable_by) == (403, None)


async def test_capability_ends_after_a_minute(gate: Gate, url: str, time: Clock) -> None:
    """A secret that leaks later is worth nothing."""
    old = gate.issue("v1")
    time.now = LIFETIME - 1
    assert (await post(url, question(old)))[0] == 200

    time.now = LIFETIME

    assert (await post(url, question(old)))[0] == 403
    new = gate.issue("v1")
    assert (await post(url, question(old)))[0] == 403
    assert (await post(url, question(new)))[0] == 200


async def test_capability_is_of_its_view_alone(gate: Gate, url: str) -> None:
    """A view cannot speak for another one."""
    gate.open("v2", echo)

    assert (await post(url, question(gate.issue("v2"), view="v1")))[0] == 403


async def test_page_of_another_origin_is_refused(gate: Gate, url: str) -> None:
    """The first page that brings a capability is the notebook's; one elsewhere cannot use it, even if it has it."""
    secret = gate.issue("v1")
    await post(url, question(secret))

    assert (await post(url, question(secret), origin="http://evil.example"))[:2] == (403, None)
    assert (await post(url, question(secret), origin=None))[0] == 403
    assert (await post(url, question(secret)))[0] == 200


async def test_preflight_is_never_granted(url: str) -> None:
    """No page is told beforehand that it may ask."""
    headers = {"Origin": LAB, "Access-Control-Request-Method": "POST"}
    async with ClientSession() as session, session.options(url, headers=headers) as response:
        assert response.status == 405
        assert "Access-Control-Allow-Origin" not in response.headers


async def test_closed_view_is_refused_and_gets_no_capability(gate: Gate, url: str) -> None:
    """What is gone from the notebook cannot ask any more."""
    secret = gate.issue("v1")
    gate.close("v1")

    assert (await post(url, question(secret)))[0] == 403
    with pytest.raises(AuthError, match="closed"):
        gate.issue("v1")


@pytest.mark.parametrize("body", [b"", b"no json", b"[]", b'{"ask": 1}', b"\xff", b"x" * 20_000])
async def test_malformed_question_is_refused(url: str, body: bytes) -> None:
    """Whatever comes, the gate answers with a sentence."""
    status, readable_by, told = await post(url, body)

    assert (status, readable_by, told["code"]) == (400, None, "invalid_body")


async def test_question_that_is_too_large_is_refused(gate: Gate, url: str) -> None:
    """Nobody fills the memory of a kernel, not even who has a capability."""
    status, _, told = await post(url, question(gate.issue("v1"), do="x" * 20_000))

    assert status == 400
    assert "larger than" in told["error"]


@pytest.mark.parametrize(
    ("do", "sentence"), [("fail", "no such question"), ("break", "RuntimeError: oops (wb.logs() has more)")]
)
async def test_error_of_an_answer_is_told_to_the_view(gate: Gate, url: str, do: str, sentence: str) -> None:
    """The view shows the sentence; nothing is swallowed."""
    assert await post(url, question(gate.issue("v1"), do=do)) == (200, LAB, {"error": sentence})
