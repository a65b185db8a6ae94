"""HTTP requests of a worker; every one of them ends in a Reply, whatever happens on the way.

An answer of 401 means that a short-lived token has ended: then the next one is fetched, and the call made again.
"""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import logging
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

from avtomatika.clock import Clock
from avtomatika.errors import ProtocolError
from avtomatika.protocol.codec import dumps, loads
from avtomatika.security.signatures import Key, Kind, key_of, sign, signed_texts
from avtomatika.worker.certificates import Certificates
from avtomatika.worker.credentials import Credentials
from avtomatika.worker.engines import EngineAddress
from avtomatika.worker.lifecycle import NO_CONTENT, UNAUTHORIZED, Reply
from avtomatika.worker.meter import SILENT, Meter
from avtomatika.worker.settings import Settings

logger = logging.getLogger("avtomatika.worker")
_TOKEN = "X-Worker-Token"  # noqa: S105 - the name of the header
_WORDS = {"next": "poll", "events": "event"}
_TIMEOUT = 60.0
_CONNECT_TIMEOUT = 10.0
_POLL_GRACE = 10.0
"""Seconds that a poll may outlast what was asked for: the answer needs its way."""


@dataclass(frozen=True, slots=True)
class _Request:
    """A request to be made.

    Args:
        method: of HTTP.
        path: behind that of the worker protocol.
        text: the body in JSON, or None.
        kind: how the body is signed; None if it never is.
        query: parameters in the address.
        seconds: how long to wait for the answer.
        carrier: the trace that it belongs to, if it does.
    """

    method: str
    path: str
    text: str | None = None
    kind: Kind | None = None
    query: Mapping[str, str] | None = None
    seconds: float = _TIMEOUT
    carrier: Mapping[str, str] | None = None

    @property
    def word(self) -> str:
        """What it is for, such as ``register``, ``heartbeat`` or ``poll``."""
        last = self.path.rsplit("/", 1)[-1]
        return "heartbeat" if self.method == "PATCH" else _WORDS.get(last, last)


class Transport:
    """The connection to one engine. Must be made while an event loop runs.

    Args:
        settings: address, identity and token.
        clock: for dates in ``Retry-After``.
        address: of the engine; the first one of the settings if left out.
        meter: counts calls.

    Raises:
        ConfigError: a certificate cannot be read.
    """

    def __init__(
        self, settings: Settings, clock: Clock, address: EngineAddress | None = None, meter: Meter = SILENT
    ) -> None:
        self._meter = meter
        address = address or settings.engines[0]
        self.batch = 1
        """How many tasks or results go together: what the engine has announced, and the settings allow."""
        self.brings = 0
        """How many tasks the engine gives at most with its answer to results."""
        self._url = address.url
        self._signs = settings.sign_messages
        self._keys: tuple[str, Key] | None = None
        self._credentials = Credentials(address.token)
        self._renewing = asyncio.Lock()
        # Where it is worth the trouble, tokens that end soon go over the line in place of one that does not.
        self._exchanges = bool(settings.tls_ca or settings.tls_cert)
        self._certificates = Certificates(settings)
        self._worker_id = settings.worker_id
        self._clock = clock
        self._session = aiohttp.ClientSession(
            headers={"X-Worker-ID": settings.worker_id},
            connector=aiohttp.TCPConnector(limit=0, ssl=self._certificates.context or True),
        )

    async def close(self) -> None:
        """Closes all connections."""
        await self._session.close()

    async def register(self, body: Mapping[str, Any]) -> Reply:
        """Introduces the worker; tokens in the answer are used from then on."""
        reply = await self._request(_Request("POST", "workers/register", dumps(body), Kind.REGISTER))
        if reply.is_ok and not self._credentials.learn(reply.body, self._clock.now()) and self._exchanges:
            await self._exchange()
        return reply

    async def heartbeat(self, body: Mapping[str, Any]) -> Reply:
        """Gives a sign of life."""
        self._certificates.look()
        return await self._request(_Request("PATCH", f"workers/{self._worker_id}", dumps(body), Kind.HEARTBEAT))

    async def poll(self, query: Mapping[str, str], seconds: float) -> Reply:
        """Asks for a task; an answer of 204 means that there is none.

        This and a heartbeat are also the time to look whether the certificate was renewed: one of them comes always.

        Args:
            query: the parameters of the poll.
            seconds: how long the server may hold the question.
        """
        self._certificates.look()
        path = f"workers/{self._worker_id}/tasks/next"
        return await self._request(_Request("GET", path, query=query, seconds=seconds + _POLL_GRACE))

    async def result(self, text: str, carrier: Mapping[str, str], query: Mapping[str, str] | None = None) -> Reply:
        """Delivers a result.

        Args:
            text: the result in JSON.
            carrier: the trace that it belongs to, if it does.
            query: what tasks are wanted with the answer; None for none.
        """
        return await self._request(_Request("POST", "tasks/result", text, Kind.RESULT, query, carrier=carrier))

    async def results(self, text: str, query: Mapping[str, str] | None = None) -> Reply:
        """Delivers many results, given as JSON; ``query`` as with one."""
        return await self._request(_Request("POST", "tasks/results", text, Kind.RESULT, query))

    async def event(self, text: str) -> Reply:
        """Tells of an event, given as JSON."""
        return await self._request(_Request("POST", "events", text, Kind.EVENT))

    def frame(self, event: str) -> str:
        """Returns an event, given as JSON, as it goes over a WebSocket."""
        return self._signed(event, Kind.EVENT, self._credentials.token)

    @contextlib.asynccontextmanager
    async def socket(self) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """Opens a WebSocket; with another token, if this one has ended."""
        token = self._credentials.token
        try:
            connection = await self._connect(token)
        except aiohttp.WSServerHandshakeError as error:
            if error.status != UNAUTHORIZED or not await self._renew(token):
                raise
            connection = await self._connect(self._credentials.token)
        try:
            yield connection
        finally:
            await connection.close()

    async def _connect(self, token: str) -> aiohttp.ClientWebSocketResponse:
        url = f"{self._url}/_worker/ws/{self._worker_id}"
        timeout = aiohttp.ClientWSTimeout(ws_close=_CONNECT_TIMEOUT)
        return await self._session.ws_connect(url, timeout=timeout, headers={_TOKEN: token})

    async def _exchange(self) -> None:
        """Gets a pair of short-lived tokens, unless it has one, or this engine has none."""
        if not self._credentials.is_issued:
            token = self._credentials.token
            reply = await self._once(_Request("POST", "auth/token"), token)
            if not self._credentials.learn(reply.body, self._clock.now()):
                logger.debug("%s gives no short-lived tokens: %s", self._url, reply)

    async def _renew(self, used: str) -> bool:
        """Gets the next token for one that has ended, or soon will; returns whether there is another one now.

        Args:
            used: that token. Of the calls that it fails all at once, one asks; the others wait for what comes of it.
        """
        credentials = self._credentials
        async with self._renewing:
            if credentials.token != used:
                return True
            if not credentials.may_ask(self._clock.now()):
                return False
            for token, refresh in credentials.ways():
                if refresh:
                    body = dumps({"refresh_token": refresh})
                    reply = await self._once(_Request("POST", "auth/token/refresh", body), token)
                else:
                    reply = await self._once(_Request("POST", "auth/token"), token)
                if reply.is_ok and credentials.learn(reply.body, self._clock.now()):
                    logger.info("%s has given a new token", self._url)
                    return True
                if reply.is_temporary:
                    break
            logger.warning("%s gave no new token: %s", self._url, reply)
            credentials.give_up(self._clock.now())
            return False

    def _signed(self, text: str, kind: Kind, token: str) -> str:
        """Returns a message, a JSON object, with a signature made with the token that goes along, if any is wanted."""
        if not self._signs:
            return text
        if self._keys is None or self._keys[0] != token:
            self._keys = token, key_of(token)
        signature = sign(self._keys[1], next(signed_texts(text, kind)))
        security = dumps({"signature": signature, "signer_id": self._worker_id})
        return f'{text[:-1]},"security":{security}}}'

    async def _request(self, request: _Request) -> Reply:
        """Makes a call, with a new token if the present one has ended."""
        if self._credentials.is_due(self._clock.now()):
            await self._renew(self._credentials.token)
        token = self._credentials.token
        reply = await self._once(request, token)
        if reply.status == UNAUTHORIZED and await self._renew(token):
            reply = await self._once(request, self._credentials.token)
        return reply

    async def _once(self, request: _Request, token: str) -> Reply:
        began = self._clock.now()
        reply = await self._answer(request, token)
        self._meter.called(request.word, reply.status, max(0.0, self._clock.now() - began))
        return reply

    async def _answer(self, request: _Request, token: str) -> Reply:
        url = f"{self._url}/_worker/{request.path}"
        text, kind = request.text, request.kind
        try:
            async with self._session.request(
                request.method,
                url,
                data=text if text is None or kind is None else self._signed(text, kind, token),
                headers={
                    _TOKEN: token,
                    **(request.carrier or {}),
                    **({} if text is None else {"Content-Type": "application/json"}),
                },
                params=request.query,
                timeout=aiohttp.ClientTimeout(total=request.seconds, sock_connect=_CONNECT_TIMEOUT),
            ) as response:
                answer = await response.read()
                wait = self._seconds(response.headers.get("Retry-After"))
                return _reply(response.status, answer, wait)
        except TimeoutError:
            return Reply(0, reason=f"{url} did not answer within {request.seconds:g} s")
        except (aiohttp.ClientError, OSError) as error:
            return Reply(0, reason=f"{url}: {error or type(error).__name__}")

    def _seconds(self, retry_after: str | None) -> float | None:
        """Reads a ``Retry-After`` header: seconds, or a date."""
        if not retry_after:
            return None
        try:
            return max(0.0, float(retry_after))
        except ValueError:
            pass
        try:
            moment = email.utils.parsedate_to_datetime(retry_after)
        except ValueError:
            return None
        return max(0.0, moment.timestamp() - self._clock.now())


def _reply(status: int, text: bytes, retry_after: float | None) -> Reply:
    if not text or status == NO_CONTENT:
        return Reply(status, retry_after=retry_after)
    try:
        return Reply(status, loads(text), retry_after)
    except ProtocolError as error:
        return Reply(status, None, retry_after, str(error))
