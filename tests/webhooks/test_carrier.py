"""The carrier against a real receiver."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from standardwebhooks import Webhook, WebhookVerificationError

from avtomatika.clock import SystemClock
from avtomatika.core.document import Document
from avtomatika.observability.base import SILENT
from avtomatika.storage.base import Message
from avtomatika.webhooks import resolver
from avtomatika.webhooks.carrier import DELAYS, DeliveryError, WebhookCarrier
from avtomatika.webhooks.signer import Signer
from avtomatika.webhooks.targets import TargetError, TargetPolicy

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class Receiver:
    """A server that notes what it hears, and answers what it is told."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, dict[str, str], str]] = []
        self.answers: list[web.Response] = []
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._hear)
        self.server = TestServer(app)

    async def _hear(self, request: web.Request) -> web.StreamResponse:
        self.heard.append((request.path, dict(request.headers), await request.text()))
        return self.answers.pop(0) if self.answers else web.Response()

    def message(self, path: str = "/hook", **facts: Any) -> Message:
        """Returns a webhook for this server."""
        return a_message(str(self.server.make_url(path)), **facts)


def a_message(url: str, **facts: Any) -> Message:
    """Returns a webhook."""
    body = Document.of({"url": url, "payload": {"event": "job_finished", "job_id": "j", "note": "ü"}})
    return Message(
        **{
            "id": "j:5:0",
            "topic": "webhook",
            "job_id": "j",
            "key": "",
            "body": body,
            "created_at": 0.0,
            "due_at": 0.0,
            "attempts": 1,
            **facts,
        }
    )


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver that listens."""
    made = Receiver()
    await made.server.start_server()
    yield made
    await made.server.close()


@pytest.fixture
async def carrier() -> AsyncIterator[WebhookCarrier]:
    """A carrier that may go to loopback, and signs."""
    made = WebhookCarrier(SystemClock(), SILENT, Signer(SECRET))
    made.policy = TargetPolicy(allow_private=True)
    yield made
    await made.close()


async def test_webhook_is_signed_as_the_specification_says(carrier: WebhookCarrier, receiver: Receiver) -> None:
    """A receiver with the library and the secret accepts it, and notices a change."""
    await carrier.carry(receiver.message())

    ((_, headers, text),) = receiver.heard
    assert Webhook(SECRET).verify(text, headers)["job_id"] == "j"
    assert headers["webhook-id"] == "j:5:0"
    assert headers["Content-Type"] == "application/json"
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(text.replace("j", "k"), headers)


@pytest.mark.parametrize("secret", [SECRET, SECRET.removeprefix("whsec_"), "topsecret-text", "ünicode!"])
def test_any_secret_can_sign_and_does_not_show(secret: str) -> None:
    """A text that is no base64 is taken as it is."""
    signer = Signer(secret)

    (signature,) = signer.headers("id", 1_700_000_000.5, "{}").values()

    assert signature.startswith("v1,")
    assert secret not in repr(signer) + signature


async def test_redirect_is_not_followed(carrier: WebhookCarrier, receiver: Receiver) -> None:
    """The next address is one that nobody has checked."""
    receiver.answers = [web.Response(status=302, headers={"Location": "/elsewhere"})]

    with pytest.raises(DeliveryError, match=r"302 \(redirects are not followed\)"):
        await carrier.carry(receiver.message())

    assert [path for path, _, _ in receiver.heard] == ["/hook"]


@pytest.mark.parametrize(
    ("answer", "final", "wait"),
    [
        (web.Response(status=500), False, 0),
        (web.Response(status=404), False, 0),
        (web.Response(status=410), True, 0),
        (web.Response(status=429, headers={"Retry-After": "120"}), False, 120),
        (web.Response(status=503, headers={"Retry-After": "999999"}), False, 3600),
        (web.Response(status=503, headers={"Retry-After": "nonsense"}), False, 0),
    ],
)
async def test_answer_that_is_no_success_is_judged(
    carrier: WebhookCarrier, receiver: Receiver, answer: web.Response, final: bool, wait: float
) -> None:
    """Only 410 gives up at once; a wish for a pause is kept within an hour."""
    receiver.answers = [answer]

    with pytest.raises(DeliveryError) as caught:
        await carrier.carry(receiver.message())

    assert (caught.value.final, caught.value.wait) == (final, wait)


async def test_private_address_is_refused_before_any_connection(receiver: Receiver) -> None:
    """Whether it is written as a number or hidden behind a name."""
    carrier = WebhookCarrier(SystemClock(), SILENT, None)
    port = receiver.server.port

    for host in ("127.0.0.1", "localhost", "2130706433", "[::ffff:127.0.0.1]"):
        with pytest.raises(TargetError):
            await carrier.carry(a_message(f"http://{host}:{port}/"))
    await carrier.close()

    assert receiver.heard == []


async def test_name_is_resolved_once_and_the_checked_address_is_used(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that leads elsewhere at the second look-up (rebinding) gets no second look-up."""
    asked: list[str] = []
    loop = asyncio.get_running_loop()
    port = receiver.server.port

    async def getaddrinfo(host: str, _port: Any, **_options: Any) -> list[Any]:
        asked.append(host)
        address = "93.184.216.34" if len(asked) == 1 else "127.0.0.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    connected: list[str] = []

    async def connect(addr_infos: list[Any], **_options: Any) -> None:
        connected.extend(str(info[4][0]) for info in addr_infos)
        raise OSError("no network in this test")

    monkeypatch.setattr(loop, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr("aiohttp.connector.aiohappyeyeballs.start_connection", connect)
    carrier = WebhookCarrier(SystemClock(), SILENT, None)

    with pytest.raises(DeliveryError):
        await carrier.carry(a_message(f"http://rebinding.example:{port}/"))
    with pytest.raises(TargetError):
        await carrier.carry(a_message(f"http://rebinding.example:{port}/"))
    await carrier.close()

    assert asked == ["rebinding.example"] * 2
    assert set(connected) == {"93.184.216.34"}


async def test_answer_of_any_size_is_not_read_to_its_end(carrier: WebhookCarrier, receiver: Receiver) -> None:
    """A receiver cannot fill the engine's memory, neither plainly nor by compression."""
    receiver.answers = [
        web.Response(body=b"x" * 10_000_000),
        web.Response(body=b"x" * 100, headers={"Content-Encoding": "gzip"}),
    ]

    await carrier.carry(receiver.message())
    await carrier.carry(receiver.message())


async def test_endpoint_that_fails_again_and_again_is_left_alone(carrier: WebhookCarrier, receiver: Receiver) -> None:
    """No connection is made while the circuit is open."""
    receiver.answers = [web.Response(status=500) for _ in range(5)]
    for _ in range(5):
        with pytest.raises(DeliveryError):
            await carrier.carry(receiver.message())

    with pytest.raises(DeliveryError, match="is left alone for now") as caught:
        await carrier.carry(receiver.message())

    assert len(receiver.heard) == 5
    assert 0 < caught.value.wait <= 30


def test_retries_go_on_for_more_than_a_day_and_are_spread() -> None:
    """Minutes at first, hours at last; webhooks of one moment do not come back at one moment."""
    carrier = WebhookCarrier(SystemClock(), SILENT, None)
    error = DeliveryError("no")
    delays = [carrier.retry_after(a_message("http://x", attempts=n), error) for n in range(1, len(DELAYS) + 2)]

    assert delays[-1] is None
    assert all(0.75 * base <= (delay or 0) <= 1.25 * base for base, delay in zip(DELAYS, delays, strict=False))
    assert sum(DELAYS) >= 24 * 3600
    assert len({carrier.retry_after(a_message("http://x", id=f"{n}"), error) for n in range(50)}) > 40


@pytest.mark.parametrize("error", [TargetError("private"), DeliveryError("gone", final=True)])
def test_what_cannot_succeed_is_given_up_at_once(error: Exception) -> None:
    """It becomes a dead letter, which somebody may send again."""
    assert WebhookCarrier(SystemClock(), SILENT, None).retry_after(a_message("http://x"), error) is None


def test_wish_for_a_pause_is_respected() -> None:
    """Of the receiver, or of the circuit breaker."""
    carrier = WebhookCarrier(SystemClock(), SILENT, None)

    assert (carrier.retry_after(a_message("http://x"), DeliveryError("busy", wait=600)) or 0) >= 600


async def test_answer_without_end_is_not_read_to_its_end(carrier: WebhookCarrier) -> None:
    """The status says all that matters; a receiver cannot keep an engine busy, nor fill its memory."""
    gone = asyncio.Event()

    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"x" * 8192)
        await gone.wait()
        return response

    app = web.Application()
    app.router.add_post("/", drip)
    async with TestServer(app) as server:
        carrier.timeout = 1e6
        await carrier.carry(a_message(str(server.make_url("/"))))
        gone.set()


async def test_receiver_that_never_answers_is_given_up(carrier: WebhookCarrier) -> None:
    """A silent receiver holds a place of the carrier for some seconds, not for ever."""
    gone = asyncio.Event()

    async def wait(request: web.Request) -> web.Response:
        await gone.wait()
        return web.Response()

    app = web.Application()
    app.router.add_post("/", wait)
    async with TestServer(app) as server:
        carrier.timeout = 0.05
        with pytest.raises(TimeoutError):
            await carrier.carry(a_message(str(server.make_url("/"))))
        gone.set()


async def test_cookies_of_a_receiver_are_not_kept(carrier: WebhookCarrier, receiver: Receiver) -> None:
    """Webhooks of one client tell those of another nothing."""
    receiver.answers = [web.Response(headers={"Set-Cookie": "who=first; Path=/"})]
    address = f"http://localhost:{receiver.server.port}/hook"

    await carrier.carry(a_message(address))
    await carrier.carry(a_message(address, id="k:1:0"))

    assert "Cookie" not in receiver.heard[1][1]


async def test_name_that_nobody_resolves_in_time_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name server that never answers holds nobody up for ever."""

    async def silence(*_: Any, **__: Any) -> Any:
        await asyncio.Event().wait()

    monkeypatch.setattr(resolver, "_LOOK_UP_SECONDS", 0.01)
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", silence)

    with pytest.raises(OSError):  # noqa: PT011 - a TimeoutError is one, and that is what callers expect
        await resolver.addresses_of("slow.example.org")
