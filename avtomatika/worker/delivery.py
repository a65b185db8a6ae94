"""Delivery of results: patient, for a result may be hours of work."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from avtomatika.clock import Clock
from avtomatika.protocol.answers import IgnoredReason
from avtomatika.protocol.codec import dumps
from avtomatika.protocol.messages import Result
from avtomatika.protocol.reading import read_mapping
from avtomatika.protocol.results import encode_result
from avtomatika.worker.bundles import Bundles
from avtomatika.worker.lifecycle import Backoff, Reply, ResultStep, after_result, why_ignored
from avtomatika.worker.meter import Meter
from avtomatika.worker.outcome import failed_like
from avtomatika.worker.settings import Settings
from avtomatika.worker.tracing import Tracing
from avtomatika.worker.transport import Transport
from avtomatika.worker.wishes import Wishes

logger = logging.getLogger("avtomatika.worker")
_LONGEST_DELAY = 30.0
_HURRIED_DELAY = 0.5


class Delivery:
    """Sends results until the engine has taken them.

    Args:
        transport: the connection.
        settings: delays, and how long to go on.
        clock: measures them.
        tracing: tells which trace a result is part of.
        meter: counts what became of them.
        wishes: asks for tasks with results.
    """

    def __init__(
        self,
        transport: Transport,
        settings: Settings,
        clock: Clock,
        tracing: Tracing,
        meter: Meter,
        wishes: Wishes,
    ) -> None:
        self._wishes = wishes
        self._meter = meter
        self._transport = transport
        self._tracing = tracing
        self._bundles = Bundles(transport, settings.worker_id, clock, wishes)
        self._worker_id = settings.worker_id
        self._timeout = settings.delivery_timeout
        self._attempts = settings.result_attempts
        self._backoff = Backoff(settings.result_retry_initial, min(settings.retry_max, _LONGEST_DELAY))
        self._clock = clock
        self._hurry = asyncio.Event()
        self.elsewhere: Sequence[Transport] = ()
        """Other engines, which may be on the storage of this one and then take its results while it is away."""

    def hurry(self) -> None:
        """Repeats at once whatever waits to be repeated; the worker is about to end."""
        self._hurry.set()

    async def close(self) -> None:
        """Sends nothing any more."""
        await self._bundles.close()

    async def deliver(self, result: Result) -> None:
        """Returns when the engine has taken the result, or it had to be given up."""
        result = replace(result, worker_id=self._worker_id)
        reply = await self._send(encode_result(result, self._clock.now()), result.task_id)
        if reply is not None and after_result(reply) is ResultStep.REPLACE:
            logger.error("the result of task %s is refused (%s); reporting a failure", result.task_id, reply)
            self._meter.delivered("refused")
            refused = failed_like(result, "CONTRACT_VIOLATION_ERROR", f"the engine refused the result: {reply}")
            await self._send(encode_result(refused, self._clock.now()), result.task_id)
        elif reply is None:
            self._meter.delivered("lost")
        else:
            self._meter.delivered("ignored" if why_ignored(reply) else "accepted")

    async def _send(self, body: Mapping[str, Any], task_id: str) -> Reply | None:
        """Sends until there is an answer that more tries cannot change; None if the time is up."""
        text = dumps(body)
        give_up_at = self._clock.now() + self._timeout
        failures = 0
        while True:
            reply = await self._post(text)
            if after_result(reply) is not ResultStep.RETRY:
                reason = why_ignored(reply)
                if reason:
                    logger.info("the result of task %s was not wanted: %s", task_id, reason)
                return reply
            if reply.status == 0 and (taken := await self._detour(text)) is not None:
                logger.info("the result of task %s was taken by another engine", task_id)
                return taken
            failures += 1
            delay = self._backoff.delay(failures, reply.retry_after)
            if self._clock.now() + delay > give_up_at or failures == self._attempts:
                logger.error("the result of task %s is lost: %s (%d tries)", task_id, reply, failures)
                return None
            logger.warning("the result of task %s waits %.1f s: %s", task_id, delay, reply)
            await self._pause(delay)

    async def _post(self, text: str) -> Reply:
        carrier = self._tracing.headers()
        with self._wishes.place() as number:
            if self._transport.batch > 1:
                return await self._bundles.send(text, carrier, number)
            return await self._wishes.ask(lambda query: self._transport.result(text, carrier, query), number)

    async def _detour(self, text: str) -> Reply | None:
        """Offers a result to the other engines; returns the answer of one that knows the job."""
        for transport in self.elsewhere:
            reply = await transport.result(text, self._tracing.headers())
            if reply.is_ok and read_mapping(reply.body).get("reason") != IgnoredReason.JOB_NOT_FOUND:
                return reply
        return None

    async def _pause(self, seconds: float) -> None:
        if self._hurry.is_set():
            await self._clock.sleep(min(seconds, _HURRIED_DELAY))
            return
        with contextlib.suppress(TimeoutError):
            await self._clock.wait_for(self._hurry.wait(), seconds)
