"""The postman: brings messages from the storage's outbox to their receivers, however often it takes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Protocol

from avtomatika.clock import Clock
from avtomatika.storage.base import Message, Signal, Storage

log = logging.getLogger(__name__)

# The longest time without a look, should a signal be lost or the engine that has claimed a message be gone.
_INTERVAL = 20.0
# Seconds after the storage did not answer.
_PAUSE = 1.0
# What a claim lasts longer than its carrier may take: the time to write down what came of it.
_MARGIN = 5.0
_GOODBYE_SECONDS = 1.0
_MAX_ERROR = 1000


class Carrier(Protocol):
    """Knows how messages of one topic reach their receivers, and when to give up."""

    @property
    def topic(self) -> str:
        """The topic of the messages that it carries."""
        ...

    @property
    def limit(self) -> int:
        """How many messages it carries at the same time, in each engine."""
        ...

    @property
    def timeout(self) -> float:
        """How long one attempt may take, seconds; then it is cancelled and counts as failed."""
        ...

    async def carry(self, message: Message) -> None:
        """Brings the message to its receiver, and returns once the receiver has it.

        It may be called again for a message that was delivered: the engine may end, or the storage be away, before the
        delivery is written down; and after a lease has ended two engines may carry one message at the same time. So
        the receiver must be able to tell by ``message.id`` that it has it already. Messages come in no certain order.

        Raises:
            Exception: the receiver does not have it, or may not have it.
        """
        ...

    def retry_after(self, message: Message, error: Exception) -> float | None:
        """Returns how long to wait before the next attempt, seconds; None makes the message a dead letter.

        Args:
            message: ``attempts`` counts this attempt, and those that an engine has begun and not lived to end.
            error: what ``carry`` raised; a TimeoutError if it took too long.
        """
        ...


class Postman:
    """Carries messages, each topic for itself: a receiver that is slow or away holds up no other topic.

    Args:
        storage: whose outbox holds the messages.
        clock: for waiting.
        carriers: one for each topic; messages of other topics are left to engines that know them.

    Raises:
        ValueError: two carriers have the same topic.
    """

    def __init__(self, storage: Storage, clock: Clock, carriers: Iterable[Carrier] = ()) -> None:
        self._rounds: dict[str, _Round] = {}
        for carrier in carriers:
            if carrier.topic in self._rounds:
                raise ValueError(f"each topic has one carrier; got two for '{carrier.topic}'")
            self._rounds[carrier.topic] = _Round(storage, clock, carrier)
        self._unsubscribe = storage.subscribe(self._on_signal, "message", "missed")

    def start(self) -> None:
        """Begins to carry."""
        for one in self._rounds.values():
            one.start()

    async def stop(self, grace: float = 3.0) -> None:
        """Claims nothing more, gives what is on its way ``grace`` seconds, and hands the rest back."""
        self._unsubscribe()
        await asyncio.gather(*(one.stop(grace) for one in self._rounds.values()))

    def is_carrying(self, topic: str) -> bool:
        """Returns whether a message of the topic is on its way now."""
        return topic in self._rounds and self._rounds[topic].is_busy

    def _on_signal(self, signal: Signal) -> None:
        for topic, one in self._rounds.items():
            if signal.key in {topic, ""}:
                one.hear(signal.at)


class _Round:
    """The messages of one topic: claimed, carried, and what came of it written down.

    Args:
        storage: whose outbox holds them.
        clock: for waiting.
        carrier: of the topic.
    """

    def __init__(self, storage: Storage, clock: Clock, carrier: Carrier) -> None:
        self._storage = storage
        self._clock = clock
        self._carrier = carrier
        self._news = asyncio.Event()
        self._looks_at = float("inf")
        self._under_way: dict[asyncio.Task[None], Message] = {}
        self._loop: asyncio.Task[None] | None = None

    @property
    def is_busy(self) -> bool:
        """Whether a message is on its way."""
        return bool(self._under_way)

    def start(self) -> None:
        """Begins to look for messages."""
        self._loop = asyncio.create_task(self._look_forever(), name=f"avtomatika-postman-{self._carrier.topic}")

    def hear(self, due_at: float) -> None:
        """Takes note that a message is due at a moment."""
        if due_at < self._looks_at:
            self._news.set()

    async def stop(self, grace: float) -> None:
        """Lets what is on its way arrive for some seconds; the rest is due at once for other engines."""
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)
        if self._under_way:
            # The machine's clock on purpose: a stop must end even if nobody moves a test's clock.
            await asyncio.wait(self._under_way, timeout=grace)
        left = dict(self._under_way)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        try:
            async with asyncio.timeout(_GOODBYE_SECONDS):
                await asyncio.gather(*map(self._hand_back, left.values()))
        except Exception:
            log.exception("messages come back when their claims end", extra={"action": "messages_left"})

    async def _hand_back(self, message: Message) -> None:
        now = await self._storage.now()
        await self._storage.postpone_message(message.id, now, "the engine stopped before it was delivered")

    # --- looking ---

    async def _look_forever(self) -> None:
        while True:
            self._news.clear()
            # While it looks, every signal counts: what it has looked for already may be what the signal tells of.
            self._looks_at = float("inf")
            try:
                wait = await self._look()
            except Exception:
                log.exception("cannot look for messages; trying again", extra={"action": "postman_failed"})
                await self._clock.sleep(_PAUSE)
                continue
            try:
                await self._clock.wait_for(self._news.wait(), wait)
            except TimeoutError:
                continue

    async def _look(self) -> float:
        """Sets out with what is due; returns after how many seconds to look again, without news."""
        topics, lease = [self._carrier.topic], self._carrier.timeout + _MARGIN
        while (room := self._carrier.limit - len(self._under_way)) > 0:
            messages = await self._storage.claim_messages(topics, room, lease)
            for message in messages:
                task = asyncio.create_task(self._deliver(message), name=f"avtomatika-message-{message.id}")
                self._under_way[task] = message
                task.add_done_callback(self._arrived)
            if len(messages) < room:
                due_at, now = await self._storage.next_message_at(topics), await self._storage.now()
                wait = _INTERVAL if due_at is None else min(_INTERVAL, max(0.0, due_at - now))
                self._looks_at = now + wait
                return wait
        # No hand is free: the next news is that one is.
        return _INTERVAL

    def _arrived(self, task: asyncio.Task[None]) -> None:
        del self._under_way[task]
        if len(self._under_way) == self._carrier.limit - 1:
            self._news.set()

    # --- carrying ---

    async def _deliver(self, message: Message) -> None:
        """Carries one message and writes down what came of it; if that fails, it comes back when its claim ends."""
        try:
            error = await self._carry(message)
            if error is None:
                await self._storage.ack_messages([message.id])
            else:
                await self._put_off(message, error)
        except Exception:
            log.exception("what came of a message is not written down", extra=_facts(message, "message_unsettled"))

    async def _carry(self, message: Message) -> Exception | None:
        """Returns what went wrong, or None once the receiver has the message."""
        try:
            await self._clock.wait_for(self._carrier.carry(message), self._carrier.timeout)
        except Exception as error:
            return error
        return None

    async def _put_off(self, message: Message, error: Exception) -> None:
        """Lets a message wait for its next attempt, or gives it up."""
        said = _sentence(error)
        delay = self._carrier.retry_after(message, error)
        facts = {**_facts(message, "message_failed"), "error": said}
        if delay is None:
            log.error("a message is a dead letter now", extra={**facts, "action": "message_buried"})
            await self._storage.bury_message(message.id, said)
        else:
            log.warning("a message was not delivered; trying again in %.0f s", delay, extra=facts)
            await self._storage.postpone_message(message.id, await self._storage.now() + delay, said)


def _facts(message: Message, action: str) -> dict[str, object]:
    """Returns what a line of the log tells of a message; never its body."""
    return {
        "action": action,
        "topic": message.topic,
        "message_id": message.id,
        "job_id": message.job_id,
        "attempt": message.attempts,
    }


def _sentence(error: Exception) -> str:
    """Returns an error as text that every storage can keep."""
    said = str(error) or type(error).__name__
    return said.encode("utf-8", "backslashreplace").decode()[:_MAX_ERROR]
