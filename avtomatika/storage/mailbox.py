"""The messages of the memory storage: some wait, some are dead letters."""

from __future__ import annotations

import itertools
from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from avtomatika.storage.base import Message
from avtomatika.storage.heap import LazyHeap
from avtomatika.storage.invariants import MailFacts


@dataclass(slots=True)
class JobMail:
    """What became of the messages of one job.

    Args:
        sent: how many there were.
        delivered: how many were acknowledged.
        waiting: ids of those that wait, as keys.
        dead: ids of the dead letters, as keys.
        buried_at: when the last one was buried, or 0.
    """

    sent: int = 0
    delivered: int = 0
    waiting: dict[str, None] = field(default_factory=dict)
    dead: dict[str, None] = field(default_factory=dict)
    buried_at: float = 0.0

    def may_go(self, buried_before: float) -> bool:
        """Whether the job may be forgotten: nothing waits, and what is dead was buried before that moment."""
        return not self.waiting and (not self.dead or self.buried_at < buried_before)


class Mailbox:
    """Messages by id; each stands in the queue of its topic or in the list of dead letters."""

    def __init__(self) -> None:
        self._messages: dict[str, Message] = {}
        self._places: dict[str, int] = {}
        self._order = itertools.count()
        self._queues: dict[str, LazyHeap[str]] = {}
        self._dead: list[tuple[float, str]] = []
        self.jobs: dict[str, JobMail] = {}

    def put(self, message: Message) -> None:
        """Takes a new message."""
        self._places[message.id] = next(self._order)
        mail = self.jobs.setdefault(message.job_id, JobMail())
        mail.sent += 1
        self._wait(message)

    def claim(self, topics: Sequence[str], limit: int, now: float, until: float) -> list[Message]:
        """Takes the first due messages of the topics."""
        taken: list[Message] = []
        while len(taken) < limit and (first := self._first(topics)) is not None and first[0][0] <= now:
            message = self._messages[first[1]]
            message = replace(message, due_at=until, attempts=message.attempts + 1)
            self._wait(message)
            taken.append(message)
        return taken

    def next_at(self, topics: Sequence[str]) -> float | None:
        """Returns when the first message of the topics is due."""
        first = self._first(topics)
        return None if first is None else first[0][0]

    def ack(self, message_id: str) -> str | None:
        """Forgets a message; returns the job that sent it, or None if it is unknown."""
        message = self._messages.get(message_id)
        if message is None:
            return None
        self._forget(message)
        self.jobs[message.job_id].delivered += 1
        return message.job_id

    def postpone(self, message_id: str, at: float, error: str) -> Message | None:
        """Moves the moment of a message that waits; returns it as it is then."""
        message = self._messages.get(message_id)
        if message is None or message.buried_at is not None:
            return None
        message = replace(message, due_at=at, error=error)
        self._wait(message)
        return message

    def bury(self, message_id: str, now: float, error: str) -> str | None:
        """Makes a message that waits a dead letter; returns the job that sent it."""
        message = self._messages.get(message_id)
        if message is None or message.buried_at is not None:
            return None
        self._withdraw(message)
        self._messages[message_id] = replace(message, buried_at=now, error=error)
        insort(self._dead, (now, message_id))
        mail = self.jobs[message.job_id]
        mail.dead[message_id] = None
        mail.buried_at = max(mail.buried_at, now)
        return message.job_id

    def replay(self, message_id: str, now: float) -> Message | None:
        """Makes a dead letter due; returns it as it is then."""
        message = self._messages.get(message_id)
        if message is None or message.buried_at is None:
            return None
        self._withdraw(message)
        message = replace(message, due_at=now, attempts=0, buried_at=None)
        self._wait(message)
        return message

    def dead_letters(self, topic: str | None, before: tuple[float, str] | None) -> Iterator[Message]:
        """Returns dead letters, last buried first."""
        end = len(self._dead) if before is None else bisect_left(self._dead, before)
        for _, message_id in reversed(self._dead[:end]):
            message = self._messages[message_id]
            if topic in {None, message.topic}:
                yield message

    def counts(self, job_id: str) -> MailFacts:
        """Returns what the audit must know of the messages of a job."""
        mail = self.jobs.get(job_id, JobMail())
        waiting, dead = sum(map(self._is_listed, mail.waiting)), sum(map(self._is_listed, mail.dead))
        return MailFacts(mail.sent, mail.delivered, waiting, dead)

    def forget_job(self, job_id: str) -> None:
        """Forgets all that a job has sent."""
        mail = self.jobs.get(job_id, JobMail())
        for message_id in (*mail.waiting, *mail.dead):
            self._forget(self._messages[message_id])
        self.jobs.pop(job_id, None)

    def _forget(self, message: Message) -> None:
        self._withdraw(message)
        del self._messages[message.id], self._places[message.id]

    def _is_listed(self, message_id: str) -> bool:
        """Whether the message can be claimed some time, or found as a dead letter."""
        message = self._messages[message_id]
        if message.buried_at is None:
            return message_id in self._queues[message.topic]
        place = (message.buried_at, message_id)
        position = bisect_left(self._dead, place)
        return self._dead[position : position + 1] == [place]

    def _wait(self, message: Message) -> None:
        """Writes a message into the queue of its topic."""
        self._messages[message.id] = message
        self.jobs[message.job_id].waiting[message.id] = None
        queue = self._queues.setdefault(message.topic, LazyHeap())
        queue.put(message.id, (message.due_at, self._places[message.id]))

    def _withdraw(self, message: Message) -> None:
        """Takes a message out of where it stands."""
        mail = self.jobs[message.job_id]
        mail.waiting.pop(message.id, None)
        mail.dead.pop(message.id, None)
        if message.buried_at is None:
            self._queues[message.topic].discard(message.id)
        else:
            del self._dead[bisect_left(self._dead, (message.buried_at, message.id))]

    def _first(self, topics: Sequence[str]) -> tuple[tuple[float, ...], str] | None:
        firsts = [first for topic in topics if topic in self._queues and (first := self._queues[topic].first())]
        return min(firsts, default=None)
