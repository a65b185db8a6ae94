"""HTTP requests of a worker; every one of them ends in a Reply, whatever happens on the way."""

from __future__ import annotations

import email.utils
import ssl
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

import aiohttp

from avtomatika.clock import Clock
from avtomatika.errors import ConfigError, ProtocolError
from avtomatika.protocol.codec import dumps, loads
from avtomatika.security.signatures import Kind, key_of, sign, signed_texts
from avtomatika.worker.engines import EngineAddress
from avtomatika.worker.lifecycle import NO_CONTENT, Reply
from avtomatika.worker.settings import Settings
from avtomatika.worker.tracing import Tracing

_TIMEOUT = 60.0
_CONNECT_TIMEOUT = 10.0
_POLL_GRACE = 10.0
"""Seconds that a poll may outlast what was asked for: the answer needs its way."""


class Transport:
    """The connection to one engine. Must be made while an event loop runs.

    Args:
        settings: address, identity and token.
        clock: for dates in ``Retry-After``.
        tracing: what results carry of a trace.
        address: of the engine; the first one of the settings if left out.

    Raises:
        ConfigError: a certificate cannot be read.
    """

    def __init__(
        self, settings: Settings, clock: Clock, tracing: Tracing, address: EngineAddress | None = None
    ) -> None:
        address = address or settings.engines[0]
        self._tracing = tracing
        self.batch = 1
        """How many tasks or results go together: what the engine has announced, and the settings allow."""
        self._url = address.url
        self._key = key_of(address.token) if settings.sign_messages else None
        self._worker_id = settings.worker_id
        self._clock = clock
        self._session = aiohttp.ClientSession(
            headers={"X-Worker-Token": address.token, "X-Worker-ID": settings.worker_id},
            connector=aiohttp.TCPConnector(limit=0, ssl=tls_context(settings) or True),
        )

    async def close(self) -> None:
        """Closes all connections."""
        await self._session.close()

    async def register(self, body: Mapping[str, Any]) -> Reply:
        """Introduces the worker."""
        return await self._request("POST", "workers/register", self._text(body, Kind.REGISTER))

    async def heartbeat(self, body: Mapping[str, Any]) -> Reply:
        """Gives a sign of life."""
        return await self._request("PATCH", f"workers/{self._worker_id}", self._text(body, Kind.HEARTBEAT))

    async def poll(self, query: Mapping[str, str], seconds: float) -> Reply:
        """Asks for a task; an answer of 204 means that there is none.

        Args:
            query: the parameters of the poll.
            seconds: how long the server may hold the question.
        """
        path = f"workers/{self._worker_id}/tasks/next"
        return await self._request("GET", path, query=query, seconds=seconds + _POLL_GRACE)

    async def result(self, text: str) -> Reply:
        """Delivers a result, given as JSON."""
        return await self._request(
            "POST", "tasks/result", self._signed(text, Kind.RESULT), carrier=self._tracing.headers()
        )

    async def results(self, text: str) -> Reply:
        """Delivers many results, given as JSON."""
        return await self._request("POST", "tasks/results", self._signed(text, Kind.RESULT))

    async def event(self, text: str) -> Reply:
        """Tells of an event, given as ``event_text`` wrote it."""
        return await self._request("POST", "events", text)

    def event_text(self, body: Mapping[str, Any]) -> str:
        """Returns an event as it goes out, over whichever way."""
        return self._text(body, Kind.EVENT)

    def socket(self) -> AbstractAsyncContextManager[aiohttp.ClientWebSocketResponse]:
        """Opens a WebSocket."""
        url = f"{self._url}/_worker/ws/{self._worker_id}"
        timeout = aiohttp.ClientWSTimeout(ws_close=_CONNECT_TIMEOUT)
        return self._session.ws_connect(url, timeout=timeout)

    def _text(self, body: Mapping[str, Any], kind: Kind) -> str:
        return self._signed(dumps(body), kind)

    def _signed(self, text: str, kind: Kind) -> str:
        """Returns a message, a JSON object, with a signature if messages are signed."""
        if self._key is None:
            return text
        signature = sign(self._key, next(signed_texts(text, kind)))
        security = dumps({"signature": signature, "signer_id": self._worker_id})
        return f'{text[:-1]},"security":{security}}}'

    async def _request(
        self,
        method: str,
        path: str,
        text: str | None = None,
        query: Mapping[str, str] | None = None,
        seconds: float = _TIMEOUT,
        carrier: Mapping[str, str] | None = None,
    ) -> Reply:
        url = f"{self._url}/_worker/{path}"
        try:
            async with self._session.request(
                method,
                url,
                data=text,
                headers={**(carrier or {}), **({} if text is None else {"Content-Type": "application/json"})},
                params=query,
                timeout=aiohttp.ClientTimeout(total=seconds, sock_connect=_CONNECT_TIMEOUT),
            ) as response:
                answer = await response.read()
                wait = self._seconds(response.headers.get("Retry-After"))
                return _reply(response.status, answer, wait)
        except TimeoutError:
            return Reply(0, reason=f"{url} did not answer within {seconds:g} s")
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


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """Returns the TLS context for the files of the settings, or None if there are none.

    Raises:
        ConfigError: a file cannot be read.
    """
    if not (settings.tls_ca or settings.tls_cert):
        return None
    try:
        context = ssl.create_default_context(cafile=settings.tls_ca or None)
        if settings.tls_cert:
            context.load_cert_chain(settings.tls_cert, settings.tls_key or None)
    except OSError as error:  # ssl.SSLError is one, too
        raise ConfigError(
            f"the certificates cannot be read: {error}. Check TLS_CA_PATH, TLS_CERT_PATH and TLS_KEY_PATH."
        ) from error
    return context


def _reply(status: int, text: bytes, retry_after: float | None) -> Reply:
    if not text or status == NO_CONTENT:
        return Reply(status, retry_after=retry_after)
    try:
        return Reply(status, loads(text), retry_after)
    except ProtocolError as error:
        return Reply(status, None, retry_after, str(error))
