"""History events: what a storage hands from a commit to the history, and the history to its readers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field

from avtomatika.core.document import Document


class HistoryEvent(Struct, frozen=True):
    """One row of a job's history.

    Args:
        job_id: the job.
        sequence: place in the job's history, from 1 without gaps.
        at: Unix seconds.
        type: one of the contract's event types.
        blueprint: name of the job's blueprint.
        state: the state that it happened in.
        previous_state: where the job came from, or empty.
        next_state: where it goes, or empty.
        duration: seconds, or None.
        worker_id: the worker concerned, or empty.
        attempt: the attempt concerned, or None.
        task_id: the task concerned, or empty.
        details: small facts, such as an error's code and message.
        state_history: the job's data at that moment, or None where it did not change.
    """

    job_id: str
    sequence: int
    at: float
    type: str
    blueprint: str = ""
    state: str = ""
    previous_state: str = ""
    next_state: str = ""
    duration: float | None = None
    worker_id: str = ""
    attempt: int | None = None
    task_id: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)
    state_history: Document | None = None

    @property
    def event_id(self) -> str:
        """Unique, and the same whenever the event is delivered again."""
        return f"{self.job_id}:{self.sequence}"


class WorkerEvent(Struct, frozen=True):
    """One row of a worker's history.

    Args:
        event_id: unique.
        worker_id: the worker.
        at: Unix seconds.
        type: ``worker_registered``, ``worker_offline``, ``worker_event`` (one of the worker's own kind).
        info: what the worker said of itself.
    """

    event_id: str
    worker_id: str
    at: float
    type: str
    info: Mapping[str, Any] = field(default_factory=dict)
