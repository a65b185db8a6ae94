"""Messages in the SQLite storage: steps that write them, and what is read of them."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from avtomatika.storage.base import Message
from avtomatika.storage.codec import decode_message, encode_message
from avtomatika.storage.invariants import MailFacts
from avtomatika.storage.records import message_signals
from avtomatika.storage.sqlite_step import Step


def send_messages(step: Step, job_id: str, messages: Sequence[Message]) -> None:
    """Writes messages of a job that is written already."""
    rows = [(m.id, m.topic, job_id, m.due_at, m.attempts, m.error, encode_message(m)) for m in messages]
    step.write_many("put_message", rows)
    step.write("add_sent", job_id=job_id, number=len(rows))


def claim_messages(step: Step, topics: Sequence[str], limit: int, lease: float) -> list[Message]:
    """Takes due messages."""
    due = (step.rows("list_due_messages", topic=topic, now=step.now, limit=limit) for topic in topics)
    until = step.now + lease
    taken: list[Message] = []
    for _, position, *row in heapq.merge(*due):
        if len(taken) == limit:
            break
        step.write("claim_message", position=position, until=until)
        message = _message(row)
        taken.append(replace(message, due_at=until, attempts=message.attempts + 1))
    return taken


def release_messages(step: Step, message_ids: Sequence[str]) -> None:
    """Takes claims back that nobody knows of: due at once, and not counted."""
    for message_id in message_ids:
        step.write("release_message", message_id=message_id, now=step.now)
    _tell(step, *message_ids)


def ack_messages(step: Step, message_ids: Sequence[str]) -> None:
    """Forgets messages."""
    for message_id in message_ids:
        job_id = step.value("find_sender", message_id=message_id)
        if job_id is not None:
            step.write("forget_message", message_id=message_id)
            step.write("add_delivered", job_id=job_id)


def postpone_message(step: Step, message_id: str, at: float, error: str) -> None:
    """Moves the moment of a message."""
    if step.write("postpone_message", message_id=message_id, at=at, error=error):
        _tell(step, message_id)


def bury_message(step: Step, message_id: str, error: str) -> None:
    """Makes a message a dead letter."""
    step.write("bury_message", message_id=message_id, now=step.now, error=error)


def replay_messages(step: Step, message_ids: Sequence[str]) -> list[str]:
    """Makes dead letters due; returns the ids of those that were dead letters."""
    replayed = [i for i in message_ids if step.write("replay_message", message_id=i, now=step.now)]
    _tell(step, *replayed)
    return replayed


def _tell(step: Step, *message_ids: str) -> None:
    """Says that messages wait."""
    rows = [row for i in message_ids for row in step.rows("find_message", message_id=i)]
    step.tell(*message_signals(map(_message, rows)))


# --- reads ---


def has_due_messages(step: Step, topics: Sequence[str]) -> bool:
    """Whether a claim would find a message."""
    at = next_message_at(step, topics)
    return at is not None and at <= step.now


def next_message_at(step: Step, topics: Sequence[str]) -> float | None:
    """Returns when the next message is due."""
    moments = (step.value("next_message", topic=topic) for topic in topics)
    return min((at for at in moments if at is not None), default=None)


def list_dead_messages(step: Step, topic: str | None, limit: int, before: tuple[float, str] | None) -> list[Message]:
    """Returns dead letters, last buried first."""
    at, message_id = before if before is not None else (float("inf"), "")
    query = "list_dead_messages" if topic is None else "list_dead_messages_of_topic"
    values = {} if topic is None else {"topic": topic}
    return [_message(row) for row in step.rows(query, at=at, message_id=message_id, limit=limit, **values)]


def count_mail(step: Step) -> dict[str, MailFacts]:
    """Returns what the audit must know of the messages of each job that has sent any."""
    return {job_id: MailFacts(*counts) for job_id, *counts in step.rows("audit_messages")}


def _message(row: Sequence[Any]) -> Message:
    """Builds a message from its columns."""
    raw, due_at, attempts, error, buried_at = row
    return replace(decode_message(raw), due_at=due_at, attempts=attempts, error=error, buried_at=buried_at)
