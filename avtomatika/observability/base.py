"""What the parts of an engine tell of themselves: numbers to a meter, and what lasts to a tracer.

Those here keep nothing; ``metrics`` and ``tracing`` have those that do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

from avtomatika.core.effects import Decision
from avtomatika.core.job import Job, Task


@dataclass(frozen=True, slots=True)
class Sample:
    """What is counted when somebody asks, not when it happens.

    Args:
        jobs: number of jobs by status.
        waiting: number of waiting tasks by type.
        oldest: age of the oldest waiting task by type, seconds.
        workers: number of workers by status.
        polls: polls that this engine holds.
        handlers: handlers that run in this engine.
        stuck: jobs that nothing will wake, as the last audit found them.
        loop_lag: longest delay of this engine's event loop lately, seconds.
    """

    jobs: Mapping[str, int] = field(default_factory=dict)
    waiting: Mapping[str, int] = field(default_factory=dict)
    oldest: Mapping[str, float] = field(default_factory=dict)
    workers: Mapping[str, int] = field(default_factory=dict)
    polls: int = 0
    handlers: int = 0
    stuck: int = 0
    loop_lag: float = 0.0


class Meter:
    """Counts what happens. Called from the event loop, often: must be quick and must not raise."""

    def committed(self, old: Job, decision: Decision) -> None:
        """A step of a job was written.

        Args:
            old: the job before, at version 0 if the step created it.
            decision: what was written.
        """

    def conflict(self) -> None:
        """Another commit on the same job was faster."""

    def handler_ran(self, job: Job, seconds: float, outcome: str) -> None:
        """A handler ended.

        Args:
            job: as it was before.
            seconds: how long it took.
            outcome: ``returned``, ``raised`` or ``faulty`` (it asked for something impossible).
        """

    def task_claimed(self, task: Task) -> None:
        """A worker got a task."""

    def result(self, outcome: str) -> None:
        """A worker sent a result.

        Args:
            outcome: ``accepted``, ``repeated``, or why it changed nothing, as one of the protocol's words.
        """

    def lease_ended(self, task: Task) -> None:
        """The claim of a task ended without a result."""

    def rate_limited(self, kind: str) -> None:
        """Somebody was refused, or held off, because of calling too often.

        Args:
            kind: ``client``, ``worker``, ``heartbeat``, ``poll``, ``auth`` or ``quota``.
        """

    def webhook(self, outcome: str) -> None:
        """A webhook was sent, or not.

        Args:
            outcome: ``delivered``, ``failed`` (this attempt) or ``given_up``.
        """

    def storage_lost(self, kind: str) -> None:
        """The storage has lost what it had acknowledged.

        Args:
            kind: ``rolled_back`` for its last steps, ``gone`` for everything.
        """

    def lives(self, polls: int, handlers: int, stuck: int, loop_lag: float) -> None:
        """What this engine has in hand at the moment; told twice a second.

        Args:
            polls: as in ``Sample``, like the others.
            handlers: that run.
            stuck: jobs.
            loop_lag: seconds.
        """

    def write(self, sample: Sample, accept: str = "") -> tuple[bytes, str] | None:
        """Returns all numbers as text, and its content type; None if none are kept.

        Args:
            sample: what is counted now.
            accept: the ``Accept`` header of whoever asks, or empty.
        """


class Tracer:
    """Follows a job from the request that made it to the workers and back, in spans; this one follows nothing.

    A carrier is the W3C trace context as a dict of strings: ``traceparent``, and ``tracestate`` if there is one.
    """

    def request(
        self, name: str, path: str, carrier: Mapping[str, str]
    ) -> AbstractContextManager[Callable[[int], None]]:
        """Lasts as long as a request.

        Args:
            name: method and route.
            path: that was asked for.
            carrier: what the caller sent.

        Returns:
            What yields a function that takes the status of the answer.
        """
        return nullcontext(lambda _status: None)

    def new_job(self, blueprint: str, given: Mapping[str, str]) -> Mapping[str, str]:
        """Returns the carrier that a new job keeps.

        Args:
            blueprint: its name.
            given: what whoever creates it has sent, or nothing.
        """
        return given

    def handler(self, job: Job) -> AbstractContextManager[None]:
        """Lasts as long as a call of a handler."""
        return _UNFOLLOWED

    def for_worker(self, task: Task) -> Mapping[str, str]:
        """Returns the carrier that a worker gets with a task."""
        return task.tracing_context

    def committed(self, old: Job, decision: Decision) -> None:
        """A step of a job was written; ends what it ended.

        Args:
            old: the job before.
            decision: what was written.
        """

    async def close(self) -> None:
        """Sends what is left."""


_UNFOLLOWED = nullcontext()
SILENT = Meter()
"""Counts nothing."""
UNTRACED = Tracer()
"""Follows nothing."""
