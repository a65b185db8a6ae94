"""Messages of a run: each job says when it begins and when it has ended, to a receiver that is away at times."""

from __future__ import annotations

import asyncio
from collections import Counter

from msgspec.structs import replace

from avtomatika.core.document import Document
from avtomatika.storage.base import Batch, Message

from .world import World

TOPIC = "letter"
_ATTEMPTS = 6


class AwayError(ConnectionError):
    """The receiver does not answer."""


def with_letters(batch: Batch) -> Batch:
    """Returns the batch with a message, if it begins or ends a job."""
    if batch.job.version > 1 and not batch.finish:
        return batch
    job, body = batch.job, Document.of({"status": str(batch.job.status)})
    letter = Message(f"{job.id}:{job.version}:letter", TOPIC, job.id, "", body, batch.at, batch.at)
    return replace(batch, messages=[*batch.messages, letter])


class Receiver:
    """Takes letters, of all engines, and can tell one that comes again.

    Args:
        world: of this run.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self.received: Counter[str] = Counter()

    async def take(self, letter: Message) -> None:
        """Takes a letter, or does not, or does and nobody hears of it."""
        world = self._world
        if world.faults.strikes("receiver_away"):
            raise AwayError
        if world.faults.strikes("slow_receiver"):
            await world.pause(30.0)
        self.received[letter.id] += 1
        world.note("letter %s is received", letter.id[:4] + letter.id[36:])
        if world.faults.strikes("lost_receipt"):
            raise AwayError


class LetterCarrier:
    """Brings letters to the receiver.

    Args:
        receiver: of this run.
    """

    topic = TOPIC
    limit = 3
    timeout = 10.0

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver

    async def carry(self, message: Message) -> None:
        """Brings a letter."""
        await asyncio.sleep(0.01)
        await self._receiver.take(message)

    def retry_after(self, message: Message, error: Exception) -> float | None:
        """Tries a few times, later each time."""
        return 0.5 * 2**message.attempts if message.attempts < _ATTEMPTS else None
