"""The outbox: history and messages that wait until they are safely elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from avtomatika.core.document import Document
from avtomatika.storage.rows import HistoryStep


class Message(Struct, frozen=True):
    """Something that is to leave the engine: written with the step that it follows from, delivered at least once.

    Args:
        id: derived from the job's id, the version of the commit and an index there, so that whoever receives it twice
            can tell.
        topic: names the carrier that knows what to do with it.
        job_id: the job that sent it.
        key: whom it concerns, or empty; for carriers and people.
        body: what the carrier needs.
        created_at: the moment of the step.
        due_at: not before this moment; once claimed, the end of the claim.
        attempts: how often it was claimed since it was written or replayed.
        error: why the last attempt failed, or empty.
        buried_at: when it became a dead letter, or None.
    """

    id: str
    topic: str
    job_id: str
    key: str
    body: Document
    created_at: float
    due_at: float
    attempts: int = 0
    error: str = ""
    buried_at: float | None = None


class OutboxStorage(Protocol):
    """What a storage does with what leaves the engine."""

    async def read_events(self, limit: int) -> list[HistoryStep]:
        """Returns the history of up to ``limit`` steps that nobody has acknowledged, oldest first; it stays."""
        ...

    async def ack_events(self, step_ids: Sequence[str]) -> None:
        """Forgets the rows of these steps: they are safely elsewhere. Unknown ids are ignored."""
        ...

    async def claim_messages(self, topics: Sequence[str], limit: int, lease: float) -> list[Message]:
        """Takes up to ``limit`` due messages of these topics, earliest due first, then first written.

        Each is due again ``lease`` seconds from now, unless it is acknowledged, postponed or buried before that;
        ``attempts`` rises by one. No message is claimed twice at a time, but who is late finds it carried twice.
        """
        ...

    async def ack_messages(self, message_ids: Sequence[str]) -> None:
        """Forgets messages: their receivers have them. Also dead letters; unknown ids are ignored."""
        ...

    async def postpone_message(self, message_id: str, at: float, error: str) -> None:
        """Lets a message be due ``at`` a moment, whoever has claimed it, and remembers the ``error``.

        Ignored if it is unknown or a dead letter.
        """
        ...

    async def bury_message(self, message_id: str, error: str) -> None:
        """Makes a message a dead letter, which nobody claims, and remembers the ``error``.

        Ignored if it is unknown or a dead letter already.
        """
        ...

    async def list_dead_messages(
        self, topic: str | None = None, limit: int = 100, before: tuple[float, str] | None = None
    ) -> list[Message]:
        """Returns dead letters, last buried first; by id, descending, among those of one moment.

        Args:
            topic: only of this one; None for all.
            limit: at most so many.
            before: (buried_at, id) of the last one of the page before, or None; the next page begins behind it.
        """
        ...

    async def replay_messages(self, message_ids: Sequence[str]) -> list[str]:
        """Makes dead letters due at once, with no attempts counted.

        Returns:
            The ids of those that were dead letters; others are left as they are.
        """
        ...

    async def next_message_at(self, topics: Sequence[str]) -> float | None:
        """Returns the earliest moment at which a message of these topics is due, or None.

        A moment that has passed counts until the message is claimed; a claimed one counts by the end of its claim.
        """
