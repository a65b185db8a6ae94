"""The carrier of webhooks: one POST an attempt, over a day, until the receiver says that it has it."""

from __future__ import annotations

import asyncio
import email.utils
import ipaddress
from typing import Protocol

import aiohttp

from avtomatika.clock import Clock
from avtomatika.core.retry import spread
from avtomatika.observability.base import Meter
from avtomatika.protocol.codec import dumps
from avtomatika.storage.base import Message
from avtomatika.version import __version__
from avtomatika.webhooks.breaker import Breaker
from avtomatika.webhooks.resolver import CheckedResolver
from avtomatika.webhooks.targets import TargetError, TargetPolicy, parse_target

# Seconds after each attempt that failed: minutes at first, hours at last, a day and a bit in all.
DELAYS = (5, 30, 120, 600, 1800, 3600, 7200, 14400, 28800, 36000)
_JITTER = 0.25
_MAX_RETRY_AFTER = 3600.0
_MAX_ANSWER = 4096
"""Bytes of an answer that are read; the status says all that matters."""
_GONE = 410


class Signs(Protocol):
    """Proves where a message comes from."""

    def headers(self, message_id: str, moment: float, body: str) -> dict[str, str]:
        """Returns the headers of the proof."""
        ...


class DeliveryError(Exception):
    """The receiver does not have the webhook.

    Args:
        message: why, for people.
        final: no further attempt is worth it.
        wait: seconds that the receiver, or the circuit breaker, asks for.
    """

    def __init__(self, message: str, *, final: bool = False, wait: float = 0.0) -> None:
        self.final = final
        self.wait = wait
        super().__init__(message)


class WebhookCarrier:
    """Sends webhooks.

    Args:
        clock: for time stamps and pauses.
        meter: counts attempts.
        signer: signs them, or None.
    """

    topic = "webhook"
    limit = 50
    timeout = 20.0

    def __init__(self, clock: Clock, meter: Meter, signer: Signs | None) -> None:
        self.policy = TargetPolicy()
        """What is allowed; set when the engine knows what it serves."""
        self._clock = clock
        self._meter = meter
        self._signer = signer
        self._breaker = Breaker()
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Closes all connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def carry(self, message: Message) -> None:
        """Sends one webhook.

        Raises:
            DeliveryError: the receiver does not have it.
            TargetError: it must not go there.
        """
        body = message.body.value()
        target = parse_target(body["url"])
        now = self._clock.now()
        pause = self._breaker.pause(target.endpoint, now)
        if pause:
            raise DeliveryError(f"{target.endpoint} fails again and again and is left alone for now", wait=pause)
        try:
            await self._post(message, target.url, target.host, dumps(body["payload"]), now)
        except BaseException as error:
            if not isinstance(error, asyncio.CancelledError) or now + self.timeout <= self._clock.now():
                self._meter.webhook("failed")
                self._breaker.failed(target.endpoint, self._clock.now())
            raise
        self._breaker.succeeded(target.endpoint)
        self._meter.webhook("delivered")

    def retry_after(self, message: Message, error: Exception) -> float | None:
        """Returns the delay before the next attempt: longer each time, and not the same for all."""
        is_final = isinstance(error, TargetError) or (isinstance(error, DeliveryError) and error.final)
        if is_final or message.attempts > len(DELAYS):
            self._meter.webhook("given_up")
            return None
        asked = error.wait if isinstance(error, DeliveryError) else 0.0
        draw = spread(f"{message.id}:{message.attempts}")
        delay = DELAYS[message.attempts - 1] * (1 + _JITTER * (2 * draw - 1))
        return max(delay, asked * (1 + _JITTER * draw))

    async def _post(self, message: Message, url: str, host: str, text: str, now: float) -> None:
        # A host that is an address is not resolved, so it is checked here.
        if _is_address(host):
            self.policy.check(host, [host])
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"avtomatika/{__version__}",
            "webhook-id": message.id,
            "webhook-timestamp": str(int(now)),
        }
        if self._signer is not None:
            headers |= self._signer.headers(message.id, now, text)
        try:
            # No redirects: the next address would be one that nobody has checked or signed for.
            async with self._open().post(url, data=text.encode(), headers=headers, allow_redirects=False) as answer:
                await answer.content.read(_MAX_ANSWER)
                self._judge(answer)
                answer.close()
        except aiohttp.InvalidURL as error:
            raise TargetError(f"no connection can be made to such an address: {error}") from None
        except aiohttp.ClientConnectorError as error:
            raise DeliveryError(f"no connection: {error.os_error or error}") from None
        except aiohttp.ClientError as error:
            raise DeliveryError(f"{type(error).__name__}: {error}") from None

    def _judge(self, answer: aiohttp.ClientResponse) -> None:
        if 200 <= answer.status < 300:
            return
        where = " (redirects are not followed)" if 300 <= answer.status < 400 else ""
        raise DeliveryError(
            f"the receiver answered {answer.status}{where}",
            final=answer.status == _GONE,
            wait=self._asked_for(answer.headers.get("Retry-After", "")),
        )

    def _asked_for(self, retry_after: str) -> float:
        try:
            seconds = float(retry_after)
        except ValueError:
            try:
                seconds = email.utils.parsedate_to_datetime(retry_after).timestamp() - self._clock.now()
            except ValueError:
                return 0.0
        return min(max(0.0, seconds), _MAX_RETRY_AFTER)

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(
                limit=self.limit, use_dns_cache=False, resolver=CheckedResolver(lambda: self.policy), force_close=True
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                timeout=aiohttp.ClientTimeout(total=self.timeout, sock_connect=10),
                auto_decompress=False,  # a bomb would be unpacked for nothing
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False  # a number such as 2130706433 is resolved like a name
    return True
