"""The rows of a job's history as bytes: those of one step together, encoded once and decoded by who carries them on."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from avtomatika.core.document import Document
from avtomatika.core.effects import RecordHistory
from avtomatika.core.history import HistoryEvent
from avtomatika.errors import DocumentError, StorageError


class _Stored(msgspec.Struct, array_like=True):
    """The rows of one step, as they are stored."""

    blueprint: str
    at: float
    events: Sequence[RecordHistory]


_ENCODER = msgspec.msgpack.Encoder(enc_hook=lambda document: document.raw)
_DECODER = msgspec.msgpack.Decoder(_Stored, dec_hook=lambda _, raw: Document(raw))
_REFUSALS = (AttributeError, TypeError, ValueError, OverflowError, RecursionError)


def encode_rows(blueprint: str, at: float, events: Sequence[RecordHistory]) -> bytes:
    """Returns the rows that a step adds to a history.

    Raises:
        DocumentError: a value cannot be stored.
    """
    try:
        return _ENCODER.encode(_Stored(blueprint, at, events))
    except _REFUSALS:
        # Only the details can hold what has to be made plain first.
        plain = [replace(event, details=Document.of(event.details, "details").value()) for event in events]
    try:
        return _ENCODER.encode(_Stored(blueprint, at, plain))
    except _REFUSALS as error:
        raise DocumentError("history event", str(error)) from error


class HistoryStep(msgspec.Struct, frozen=True):
    """The rows that one step added to a job's history; they travel together.

    Args:
        job_id: the job.
        first: the number of the first row in its history.
        raw: what ``encode_rows`` made of them.
    """

    job_id: str
    first: int
    raw: bytes

    @property
    def id(self) -> str:
        """Names the step when its rows are acknowledged."""
        return f"{self.job_id}:{self.first}"

    def decode(self) -> list[HistoryEvent]:
        """Returns the rows, in order.

        Raises:
            StorageError: the bytes are no rows.
        """
        try:
            stored = _DECODER.decode(self.raw)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise StorageError(
                f"stored rows of the history of job {self.job_id} cannot be read: {error}. They were written by a "
                "newer avtomatika or are damaged; upgrade this engine, or restore the storage from a copy."
            ) from error
        return [
            _history_event(self.job_id, number, stored.at, stored.blueprint, event)
            for number, event in enumerate(stored.events, self.first)
        ]


def parse_step_id(step_id: str) -> tuple[str, int]:
    """Returns the job and the number of the first row that the id of a step names; 0 if it is no such id."""
    job_id, _, number = step_id.rpartition(":")
    return job_id, int(number) if number.isascii() and number.isdecimal() else 0


def _history_event(job_id: str, sequence: int, at: float, blueprint: str, event: RecordHistory) -> HistoryEvent:
    return HistoryEvent(
        job_id,
        sequence,
        at,
        event.type,
        blueprint,
        event.state,
        event.previous_state,
        event.next_state,
        event.duration,
        event.worker_id,
        event.attempt,
        event.task_id,
        event.details,
        event.state_history,
    )
