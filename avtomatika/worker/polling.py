"""Asking for tasks: one long poll at a time, and none while nothing can be started."""

from __future__ import annotations

import logging

from avtomatika.clock import Clock
from avtomatika.errors import ProtocolError
from avtomatika.protocol.batches import parse_tasks
from avtomatika.protocol.polls import encode_poll
from avtomatika.worker.lifecycle import SHORT_POLL, Backoff, Reply, after_heartbeat
from avtomatika.worker.presence import Presence
from avtomatika.worker.settings import Settings
from avtomatika.worker.transport import Transport
from avtomatika.worker.work import Work

logger = logging.getLogger("avtomatika.worker")
_QUICK = 1.0
_IDLE_DELAY = 0.5
"""Seconds before the next poll if the server answered "nothing" without holding the last one."""


class Polling:
    """Fetches tasks and starts them.

    Args:
        transport: the connection.
        settings: delays.
        work: where tasks are started.
        presence: whether the engine knows this worker.
        clock: measures delays.
    """

    def __init__(self, transport: Transport, settings: Settings, work: Work, presence: Presence, clock: Clock) -> None:
        self._transport = transport
        self._timeout = settings.poll_timeout
        self._backoff = Backoff(settings.retry_initial, settings.retry_max)
        self._work = work
        self._presence = presence
        self._clock = clock
        self._failures = 0

    async def poll_forever(self) -> None:
        """Polls until it is cancelled."""
        while True:
            await self._presence.registered.wait()
            await self._work.wait_for_room()
            started = self._clock.now()
            reply = await self._poll()
            if reply.is_ok and self._take(reply):
                self._failures = 0
                continue
            await self._clock.sleep(self._delay(reply, self._clock.now() - started))

    async def _poll(self) -> Reply:
        available = self._work.available
        timeout = self._timeout
        if self._work.has_busy_skill:
            timeout = min(timeout, SHORT_POLL)
        batch = self._transport.batch
        limit = min(batch, self._work.room) if batch > 1 else None
        return await self._transport.poll(encode_poll(timeout, available, limit=limit), timeout)

    def _take(self, reply: Reply) -> bool:
        """Starts the tasks of an answer, if there are some that can be understood."""
        if not reply.body:
            return False
        tasks = parse_tasks(reply.body)
        for task in tasks:
            if isinstance(task, ProtocolError):
                logger.error("the engine sent a task that cannot be understood: %s", task)
            else:
                logger.info("task %s (%s) starts", task.task_id, task.type)
                self._work.start(task)
        return any(not isinstance(task, ProtocolError) for task in tasks)

    def _delay(self, reply: Reply, held: float) -> float:
        """Returns seconds to wait after a poll that brought no task."""
        if reply.is_ok:
            self._failures = 0
            return 0.0 if held >= min(_QUICK, self._timeout) else min(_IDLE_DELAY, self._timeout)
        self._failures += 1
        if after_heartbeat(reply).register:
            self._presence.check()
        delay = self._backoff.delay(self._failures, reply.retry_after)
        logger.warning("polling failed, next try in %.1f s: %s", delay, reply)
        return delay
