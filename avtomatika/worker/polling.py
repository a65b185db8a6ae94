"""Asking for tasks: one long poll at a time, at one engine or at several in turn, and none while nothing can start."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from avtomatika.clock import Clock
from avtomatika.protocol.batches import task_bodies
from avtomatika.protocol.polls import encode_poll
from avtomatika.worker.engines import Mode
from avtomatika.worker.intake import Intake
from avtomatika.worker.lifecycle import SHORT_POLL, TOO_MANY, Backoff, Reply, after_heartbeat
from avtomatika.worker.line import Line
from avtomatika.worker.rota import Rota
from avtomatika.worker.settings import Settings
from avtomatika.worker.work import Work

logger = logging.getLogger("avtomatika.worker")
_QUICK = 1.0
_TURN = 5.0
"""Longest seconds of a poll while other engines wait for their turn."""


class Polling:
    """Fetches tasks and starts them.

    Args:
        lines: to the engines, in the order in which they are asked.
        settings: delays.
        work: says what there is room for.
        intake: starts what comes.
        clock: measures delays.
    """

    def __init__(self, lines: Sequence[Line], settings: Settings, work: Work, intake: Intake, clock: Clock) -> None:
        self._lines = lines
        self._rota = Rota([line.address.weight for line in lines], settings.mode)
        self._takes_turns = settings.mode is not Mode.FAILOVER
        self._timeout = settings.poll_timeout
        self._idle_delay = settings.idle_delay
        self._refused_delay = settings.refused_poll_delay
        self._backoff = Backoff(settings.poll_retry_initial, settings.poll_retry_max, settings.poll_retry_factor)
        self._intake = intake
        self._work = work
        self._clock = clock

    async def poll_forever(self) -> None:
        """Polls until it is cancelled."""
        while True:
            await self._work.wait_for_room()
            usable = [line.is_usable for line in self._lines]
            place = self._rota.next(usable)
            if place is None:
                await self._until_usable()
                continue
            line = self._lines[place]
            started = self._clock.now()
            limit = max(1, min(line.transport.batch, self._work.room))
            with self._work.promised(limit):
                reply = await self._poll(line, limit, others=sum(usable) > 1)
                brought = self._take(reply, line)
            self._rota.note(place, brought=brought)
            if brought:
                line.failures = 0
            else:
                now = self._clock.now()
                line.rests_until = now + self._delay(line, reply, now - started)

    async def _until_usable(self) -> None:
        """Returns when an engine may be asked."""
        resting = [line.rests_until for line in self._lines if line.presence.registered.is_set()]
        if resting:
            await self._clock.sleep(min(resting) - self._clock.now())
            return
        waiting = [asyncio.ensure_future(line.presence.registered.wait()) for line in self._lines]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waiting:
                one.cancel()

    async def _poll(self, line: Line, limit: int, *, others: bool) -> Reply:
        available = self._work.available
        timeout = self._timeout
        if others and self._takes_turns:
            timeout = min(timeout, _TURN)
        if self._work.has_busy_skill:
            timeout = min(timeout, SHORT_POLL)
        told, quiet = limit if line.transport.batch > 1 else None, line.presence.quiet
        query = encode_poll(timeout, available, self._work.hot, told, quiet.word)
        quiet.poll_begins(self._clock.now())
        reply = await line.transport.poll(query, timeout)
        if not reply.is_ok:
            quiet.poll_failed()
        return reply

    def _take(self, reply: Reply, line: Line) -> bool:
        """Starts the tasks of an answer; returns whether there were some that can be understood."""
        bodies = task_bodies(reply.body) if reply.is_ok and reply.body else []
        started = [self._intake.start(body, line) for body in bodies]
        return any(started)

    def _delay(self, line: Line, reply: Reply, held: float) -> float:
        """Returns seconds to leave an engine alone after a poll that brought no task."""
        if after_heartbeat(reply).register:
            line.presence.check()
        if reply.is_ok:
            line.failures = 0
            return 0.0 if held >= min(_QUICK, self._timeout) else min(self._idle_delay, self._timeout)
        line.failures += 1
        told = reply.retry_after
        if told is None and reply.status == TOO_MANY:
            told = self._refused_delay
        delay = self._backoff.delay(line.failures, told)
        logger.warning("polling %s failed, next try in %.1f s: %s", line.address.url, delay, reply)
        return delay
