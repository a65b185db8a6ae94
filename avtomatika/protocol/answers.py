"""The server's answers, in the one form that suits every generation of workers.

All of them go out as HTTP 200 with a JSON content type, results that are not wanted included: old workers lose a result
for good when they get an error. A poll without a task is answered 204; a bare null would stop the oldest workers.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from avtomatika.protocol.reading import read_mapping, read_names, read_number


class IgnoredReason(StrEnum):
    """Why a result changes nothing."""

    DEADLINE_EXCEEDED = "deadline_exceeded"
    """It came too late."""
    JOB_CANCELLED = "job_cancelled"
    """The job was cancelled, perhaps while the function was running."""
    JOB_NOT_FOUND = "job_not_found"
    """No such job or task."""
    WORKER_MISMATCH = "worker_mismatch"
    """Another worker holds the task."""
    STALE_TASK = "stale_task"
    """The attempt is over: answered already, or followed by another one."""


def registered(**extra: Any) -> dict[str, Any]:
    """Answers a registration.

    Args:
        extra: a ``warning``, the four members of an access token, and what this engine does beyond the protocol; None
            stands for nothing.
    """
    return {"status": "registered", **{key: value for key, value in extra.items() if value is not None}}


def heartbeat_answer(
    cancel_task_ids: Iterable[str] = (), require_full_sync: bool = False, jitter: float = 0.0
) -> dict[str, Any]:
    """Answers a heartbeat.

    Args:
        cancel_task_ids: ids on the wire of tasks that the worker shall stop. Left out when there are none: a null here
            silences some workers.
        require_full_sync: the next heartbeat shall list the skills.
        jitter: seconds that the worker shall wait beyond its interval, once.
    """
    answer: dict[str, Any] = {"status": "ok"}
    cancelled = list(cancel_task_ids)
    if cancelled:
        answer["cancel_task_ids"] = cancelled
    if require_full_sync:
        answer["require_full_sync"] = True
    if jitter:
        answer["next_heartbeat_jitter_ms"] = round(jitter * 1000)
    return answer


def ttl_refreshed() -> dict[str, Any]:
    """Answers a heartbeat without a body."""
    return {"status": "ttl_refreshed"}


def accepted() -> dict[str, Any]:
    """Answers a result that counts, and every repetition of it."""
    return {"status": "accepted"}


def ignored(reason: IgnoredReason, message: str = "") -> dict[str, Any]:
    """Answers a result that changes nothing, so that the worker forgets it.

    Args:
        reason: one of the five words that workers know.
        message: a sentence for the worker's log; the reason's own when empty.
    """
    return {"status": "ignored", "reason": str(reason), "message": message or _SENTENCES[reason]}


def event_accepted() -> dict[str, Any]:
    """Answers an event."""
    return {"status": "event_accepted"}


def cancel_command(task_id: str, job_id: str) -> dict[str, Any]:
    """Returns the WebSocket message that cancels a task; the oldest workers read ``type``, all others ``command``."""
    return {"command": "cancel_task", "type": "cancel_task", "task_id": task_id, "job_id": job_id}


@dataclass(frozen=True, slots=True)
class HeartbeatAnswer:
    """What a worker reads in the answer to its heartbeat.

    Args:
        cancel_task_ids: tasks to stop.
        require_full_sync: the server wants to hear everything again.
        jitter: seconds to add to the next interval, once.
    """

    cancel_task_ids: tuple[str, ...] = ()
    require_full_sync: bool = False
    jitter: float = 0.0


def parse_heartbeat_answer(body: Any) -> HeartbeatAnswer:
    """Reads the answer to a heartbeat; whatever is odd in it is taken as not said."""
    told = read_mapping(body)
    return HeartbeatAnswer(
        cancel_task_ids=read_names(told.get("cancel_task_ids")) or (),
        require_full_sync=bool(told.get("require_full_sync")),
        jitter=max(0.0, read_number(told.get("next_heartbeat_jitter_ms")) or 0.0) / 1000,
    )


_SENTENCES = {
    IgnoredReason.DEADLINE_EXCEEDED: "the result came after the deadline of its task",
    IgnoredReason.JOB_CANCELLED: "the job was cancelled",
    IgnoredReason.JOB_NOT_FOUND: "no such job or task",
    IgnoredReason.WORKER_MISMATCH: "another worker holds this task",
    IgnoredReason.STALE_TASK: "this attempt of the task is over",
}
