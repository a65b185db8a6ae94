"""What a worker does next: decisions from answers, without I/O, clock or random numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from avtomatika.protocol.answers import HeartbeatAnswer, parse_heartbeat_answer
from avtomatika.protocol.reading import read_mapping, read_text

NO_CONTENT, UNAUTHORIZED, TOO_MANY = 204, 401, 429
_NOT_FOUND = 404
_REFUSED = frozenset({UNAUTHORIZED, 403})
_LATER = frozenset({0, 408, 425, 429})
REFUSED_DELAY = 60.0
"""Seconds between two tries with a token that was refused."""
SHORT_POLL = 2.0
"""Seconds of a poll while some skill is at its own limit: it may be free again before a long poll ends."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of a request.

    Args:
        status: the HTTP status; 0 if no answer came.
        body: the decoded JSON, or None.
        retry_after: seconds that the server asks to wait, or None.
        reason: why there was no answer or none of use, for people.
    """

    status: int
    body: Any = None
    retry_after: float | None = None
    reason: str = ""

    @property
    def is_ok(self) -> bool:
        """Whether the server did what it was asked."""
        return 200 <= self.status < 300

    @property
    def is_refused(self) -> bool:
        """Whether the server does not accept the token."""
        return self.status in _REFUSED

    @property
    def is_temporary(self) -> bool:
        """Whether the same request may succeed later."""
        return self.status in _LATER or self.status >= 500

    def __str__(self) -> str:
        error = read_text(read_mapping(self.body).get("error")) or self.reason
        return f"HTTP {self.status}: {error}" if self.status else f"no answer: {error}"


@dataclass(frozen=True, slots=True)
class Backoff:
    """Delays that grow with each failure.

    Args:
        initial: seconds after the first failure.
        maximum: the longest delay in seconds.
        factor: by what it grows.
    """

    initial: float
    maximum: float
    factor: float = 2.0

    def delay(self, failures: int, retry_after: float | None = None) -> float:
        """Returns seconds to wait.

        Args:
            failures: how many there were in a row, at least 1.
            retry_after: what the server asked for; never undercut.
        """
        grown = self.initial * self.factor ** min(failures - 1, 32)
        return max(min(grown, self.maximum), retry_after or 0.0)


class RegisterStep(StrEnum):
    """What to do after a try to register."""

    WORK = "work"
    RETRY = "retry"
    REFUSED = "refused"


def after_register(reply: Reply) -> RegisterStep:
    """Decides what follows: a token that is refused never becomes right by trying it again soon."""
    if reply.is_ok:
        return RegisterStep.WORK
    return RegisterStep.REFUSED if reply.is_refused else RegisterStep.RETRY


@dataclass(frozen=True, slots=True)
class HeartbeatStep:
    """What to do after a heartbeat.

    Args:
        answer: what the server wants.
        register: introduce this worker again.
    """

    answer: HeartbeatAnswer = field(default_factory=HeartbeatAnswer)
    register: bool = False


def after_heartbeat(reply: Reply) -> HeartbeatStep:
    """Decides what follows: a server that has forgotten this worker, or its token, hears everything again."""
    if reply.is_ok:
        answer = parse_heartbeat_answer(reply.body)
        return HeartbeatStep(answer, answer.require_full_sync)
    return HeartbeatStep(register=reply.status == _NOT_FOUND or reply.is_refused)


class ResultStep(StrEnum):
    """What to do after a try to deliver a result."""

    DONE = "done"
    RETRY = "retry"
    REPLACE = "replace"
    """This body is never accepted: tell the job so."""


def after_result(reply: Reply) -> ResultStep:
    """Decides what follows. A refused token may be a server in the middle of a change, so the result is kept."""
    if reply.is_ok:
        return ResultStep.DONE
    return ResultStep.RETRY if reply.is_temporary or reply.is_refused else ResultStep.REPLACE


def why_ignored(reply: Reply) -> str:
    """Returns why the server did not want a result, or an empty text if it took it."""
    body = read_mapping(reply.body)
    if body.get("status") != "ignored":
        return ""
    return read_text(body.get("message")) or read_text(body.get("reason")) or "no reason was given"


def startable(limits: Mapping[str, int | None], running: Iterable[str], concurrency: int) -> frozenset[str]:
    """Returns the names of the skills of which one more task can be started.

    Args:
        limits: name of each skill to how many of its tasks may run at once, or None.
        running: the types of the tasks that run.
        concurrency: how many tasks may run at once in all.
    """
    count = Counter(running)
    if count.total() >= concurrency:
        return frozenset()
    return frozenset(name for name, limit in limits.items() if limit is None or count[name] < limit)


def room(limits: Mapping[str, int | None], running: Iterable[str], concurrency: int) -> int:
    """Returns how many more tasks can be started, whichever of the startable skills they are of.

    Args:
        limits: name of each skill to how many of its tasks may run at once, or None.
        running: the types of the tasks that run.
        concurrency: how many tasks may run at once in all.
    """
    count = Counter(running)
    places = (concurrency if limit is None else limit - count[name] for name, limit in limits.items())
    free = [place for place in places if place > 0]
    return max(0, min([concurrency - count.total(), *free])) if free else 0


def status_word(available: frozenset[str], running: int, concurrency: int, is_leaving: bool) -> str:
    """Returns the status for a heartbeat: ``offline``, ``full``, ``busy`` (nothing can be started) or ``idle``."""
    if is_leaving:
        return "offline"
    if running >= concurrency:
        return "full"
    return "idle" if available else "busy"
