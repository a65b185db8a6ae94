"""Streams of events over HTTP: how they are read, and when to try again after a broken connection; without I/O."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from avtomatika.client.requests import Answer, Request, as_object, read_answer
from avtomatika.errors import AvtomatikaError, ClientError, ConnectionFailedError

SILENCE_SECONDS = 45.0
"""How long a stream may be silent before it counts as broken: the server says something every 15 seconds."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a job.

    Args:
        type: ``job`` (its status, state or another part of it changed), ``progress``, ``reset`` (events are missing
            here: look at the jobs anew) or ``hello`` (the stream stands: what happens from now on is told).
        data: members as in the answers of the API; ``job_id`` says which job.
        id: where to go on after it: ``changes(after=event.id)``.
    """

    type: str
    data: Mapping[str, Any]
    id: str


class Reader:
    """Makes events out of the lines of one stream, as https://html.spec.whatwg.org/#server-sent-events says.

    Args:
        last_id: the id that the stream goes on from, or empty.
    """

    def __init__(self, last_id: str = "") -> None:
        self.last_id = last_id
        self._id = last_id
        self._type = ""
        self._data: list[str] = []

    def read(self, line: bytes) -> Event | None:
        """Takes one line with its end; returns the event that it completes, if it does."""
        text = line.decode("utf-8", "replace").rstrip("\r\n")
        if text:
            name, _, value = text.partition(":")
            value = value.removeprefix(" ")
            match name:
                case "id":
                    self._id = value
                case "event":
                    self._type = value
                case "data":
                    self._data.append(value)
            return None
        self.last_id = self._id
        kind, data, self._type, self._data = self._type or "message", "\n".join(self._data), "", []
        return Event(kind, _parse(data), self._id) if data else None


def is_stream(status: int, content_type: str) -> bool:
    """Returns whether an answer is a stream of events."""
    return status == 200 and content_type == "text/event-stream"


def refused(request: Request, answer: Answer) -> AvtomatikaError:
    """Returns what to raise when something else came than a stream."""
    try:
        content = read_answer(request, answer)
    except AvtomatikaError as error:
        return error
    kind = type(content).__name__
    return ClientError(200, "invalid_answer", f"the server answered with a {kind}; is this an avtomatika engine?")


def _parse(data: str) -> Mapping[str, Any]:
    try:
        return as_object(json.loads(data))
    except ValueError:
        raise ClientError(200, "invalid_answer", "an event holds broken JSON; is a proxy in between?") from None


@dataclass(slots=True)
class Reconnecting:
    """When to try again, and when to give up.

    Args:
        patience: seconds without any engine after which the last error is raised.
    """

    patience: float
    _broken_at: float | None = None
    _pause: float = field(default=_FIRST_PAUSE)
    _stood: bool = False

    def stands(self) -> None:
        """Says that a connection stands."""
        self._stood, self._broken_at, self._pause = True, None, _FIRST_PAUSE

    def next_pause(self, now: float, error: ConnectionFailedError | None) -> float:
        """Returns how many seconds to wait before the next try.

        Args:
            now: the moment, on any clock that does not jump.
            error: why the connection broke, or None if the engine ended the stream.

        Raises:
            ConnectionFailedError: there never was a connection, or there has been none for too long.
        """
        self._broken_at = now if self._broken_at is None else self._broken_at
        if error is not None and (not self._stood or now - self._broken_at >= self.patience):
            raise error
        pause, self._pause = self._pause, min(2 * self._pause, _LONGEST_PAUSE)
        return pause
