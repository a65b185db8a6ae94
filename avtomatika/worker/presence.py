"""The worker's presence at the engine: it registers, gives signs of life, and hears what to cancel."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from msgspec.structs import replace

from avtomatika.clock import Clock
from avtomatika.errors import AuthError
from avtomatika.protocol import batches, quiet
from avtomatika.protocol.heartbeats import encode_heartbeat
from avtomatika.protocol.messages import Heartbeat, WorkerProfile
from avtomatika.protocol.reading import read_mapping, read_text
from avtomatika.protocol.registration import encode_register
from avtomatika.worker.engines import EngineAddress
from avtomatika.worker.lifecycle import (
    REFUSED_DELAY,
    Backoff,
    RegisterStep,
    Reply,
    after_heartbeat,
    after_register,
    status_word,
)
from avtomatika.worker.quiet import Quiet
from avtomatika.worker.settings import Settings
from avtomatika.worker.transport import Transport
from avtomatika.worker.usage import Gauges, Reading, UsageReport
from avtomatika.worker.work import Work

logger = logging.getLogger("avtomatika.worker")
_WORKING_INTERVAL = 5.0
"""Longest seconds between two heartbeats while tasks run: their answers are where cancellations come from."""


class Presence:
    """Keeps the engine informed.

    Must be made in the event loop.

    Args:
        transport: the connection.
        settings: delays and limits.
        address: of the engine.
        work: the tasks that run.
        profile: what the engine is told of this worker.
        clock: measures intervals.
        gauges: measure the machine.

    Attributes:
        quiet: which heartbeats can be left out.
    """

    def __init__(
        self,
        transport: Transport,
        settings: Settings,
        address: EngineAddress,
        work: Work,
        profile: WorkerProfile,
        clock: Clock,
        gauges: Gauges,
    ) -> None:
        self._transport = transport
        self._settings = settings
        self._url = address.url
        self._is_only = len(settings.engines) <= 1
        self._work = work
        self._changed = work.watch()
        self._gauges = gauges
        self._usage = UsageReport(settings.load_deadband, settings.load_interval)
        self.quiet = Quiet(profile.skills_hash)
        self._profile = profile
        self._clock = clock
        self._backoff = Backoff(settings.retry_initial, settings.retry_max)
        self._is_leaving = False
        self._forgotten = 0
        self._beat_at = 0.0
        # The next heartbeat is sent, also if it says nothing new.
        self._is_asked = False
        self.registered = asyncio.Event()
        """The engine knows this worker."""

    async def keep(self) -> None:
        """Registers and then gives signs of life until it is cancelled.

        Raises:
            AuthError: the engine refuses the token, and the settings say that this is the end.
        """
        jitter = 0.0
        while True:
            if not self.registered.is_set():
                await self._register()
                # What changed before is told by the registration; the first heartbeat tells the rest at once.
                self.check()
            await self._until_next_look(jitter)
            jitter = await self._beat() if self._has_to_beat() else 0.0

    def check(self) -> None:
        """Sends a heartbeat soon, to find out whether the engine still knows this worker."""
        self._is_asked = True
        self._changed.set()

    async def leave(self) -> None:
        """Says that this worker takes no more tasks; later heartbeats repeat it."""
        self._is_leaving = True
        if self.registered.is_set():
            reply = await self._transport.heartbeat(encode_heartbeat(self._heartbeat(), self._clock.now()))
            # An engine says once what to stop, and not again for a while: unheard, it would hold up the end.
            self._work.cancel(after_heartbeat(reply).answer.cancel_task_ids)

    async def _register(self) -> None:
        failures = 0
        while True:
            profile = replace(self._profile, available=self._work.available, hot=self._work.hot)
            reply = await self._transport.register(encode_register(profile, self._clock.now()))
            step = after_register(reply)
            if step is RegisterStep.WORK:
                self._note_registered(reply)
                return
            failures += 1
            delay = self._backoff.delay(failures, reply.retry_after)
            if step is RegisterStep.REFUSED:
                delay = REFUSED_DELAY
                self._note_refused(reply)
            else:
                logger.warning("cannot register at %s, next try in %.1f s: %s", self._url, delay, reply)
            await self._clock.sleep(delay)

    def _note_registered(self, reply: Reply) -> None:
        logger.info("worker '%s' is registered at %s", self._settings.worker_id, self._url)
        warning = read_text(read_mapping(reply.body).get("warning"))
        if warning:
            logger.warning("the engine warns: %s", warning)
        self._transport.batch = min(batches.parse_announcement(reply.body), self._settings.batch)
        self._transport.brings = self._transport.batch if batches.brings_tasks(reply.body) else 0
        self.quiet.begin(quiet.parse_announcement(reply.body))
        self._usage.forget()
        self.registered.set()

    def _note_refused(self, reply: Reply) -> None:
        sentence = (
            f"{self._url} refuses worker '{self._settings.worker_id}' ({reply}). "
            "Check WORKER_TOKEN against the engine's GLOBAL_WORKER_TOKEN or its workers.toml."
        )
        # With several engines, the others may have work.
        if self._settings.exit_on_refused and self._is_only:
            raise AuthError(sentence)
        logger.error("%s Next try in %.0f s.", sentence, REFUSED_DELAY)

    async def _until_next_look(self, jitter: float) -> None:
        interval = self._settings.heartbeat_interval
        pause = min(interval, _WORKING_INTERVAL) if self._work.task_ids else interval
        # A heartbeat that is left out is due as soon as nothing stands for it any more.
        pause = min(pause, self.quiet.seconds_left(self._heartbeat(), self._clock.now()) or pause)
        with contextlib.suppress(TimeoutError):
            await self._clock.wait_for(self._changed.wait(), pause + jitter)
            since = self._clock.now() - self._beat_at
            debounce, cooldown = self._settings.heartbeat_debounce, self._settings.heartbeat_cooldown
            await self._clock.sleep(max(min(debounce, interval), min(cooldown, interval) - since))
        self._changed.clear()
        self._beat_at = self._clock.now()

    def _has_to_beat(self) -> bool:
        """Whether a heartbeat would say something that the engine does not know by now."""
        if self._is_asked or self._is_leaving or self._usage.has_changed(self._gauges.read()):
            return True
        return not self.quiet.seconds_left(self._heartbeat(), self._clock.now())

    async def _beat(self) -> float:
        """Sends one heartbeat and does what the answer asks; returns the jitter for the next interval."""
        # Whoever asks while it is on its way wants another one.
        self._is_asked = False
        heartbeat, reading, began = self._heartbeat(), self._news(), self._clock.now()
        said = heartbeat if reading is None else replace(heartbeat, load=reading.load, usage=reading.usage)
        reply = await self._transport.heartbeat(encode_heartbeat(said, began))
        step = after_heartbeat(reply)
        self._work.cancel(step.answer.cancel_task_ids)
        if step.register:
            await self._note_forgotten(reply)
        elif reply.is_ok:
            self._forgotten = 0
            self.quiet.told(heartbeat, began)
            if reading is not None:
                self._usage.told(reading, began)
        else:
            self.quiet.doubt()
            logger.warning("the heartbeat failed: %s", reply)
        return step.answer.jitter

    async def _note_forgotten(self, reply: Reply) -> None:
        """Prepares to register again; slower each time, for a server that forgets at once must not be flooded."""
        logger.warning("the engine does not know this worker (%s); registering again", reply)
        self.registered.clear()
        self._forgotten += 1
        if self._forgotten > 1:
            await self._clock.sleep(self._backoff.delay(self._forgotten - 1))

    def _heartbeat(self) -> Heartbeat:
        available: frozenset[str] = frozenset() if self._is_leaving else self._work.available
        running = self._work.running
        return Heartbeat(
            worker_id=self._settings.worker_id,
            status=status_word(available, running, self._settings.concurrency, self._is_leaving),
            current_tasks=self._work.task_ids,
            available=available,
            skills_hash=self._profile.skills_hash,
            hot=self._work.hot,
        )

    def _news(self) -> Reading | None:
        """Returns what the machine's use is now, if the engine is to hear of it."""
        reading = self._gauges.read()
        return reading if self._usage.is_news(reading, self._clock.now()) else None
