"""Events of workers, of which progress is the one that everybody knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from avtomatika.protocol.identity import is_identifier
from avtomatika.protocol.messages import WorkerEventMessage
from avtomatika.protocol.reading import read_mapping, read_number, read_object, read_text, require_text

PROGRESS = "progress"
"""The type of an event whose payload is ``{"progress": number, "message": text}``."""
MAX_PAYLOAD_BYTES = 65_536
"""Size of the payload of an event, as JSON, beyond which this engine does not keep it."""
_OLD_PROGRESS = "progress_update"
# Holons above each other; whatever says that it came a longer way is not believed to the end.
_MOST_VIA = 32


def parse_event(body: Any) -> WorkerEventMessage:
    """Reads an event, or the progress message that old workers send over a WebSocket.

    Raises:
        ProtocolError: it is no object, or has no type.
    """
    body = read_object(body, "event")
    if _OLD_PROGRESS in (body.get("type"), body.get("event")):
        return _old_progress(body)
    return decode_event(body)


def decode_event(body: Mapping[str, Any]) -> WorkerEventMessage:
    """Reads an event as today's workers write it.

    Raises:
        ProtocolError: it has no type.
    """
    worker_id, origin = read_text(body.get("worker_id")), read_text(body.get("origin_worker_id"))
    return WorkerEventMessage(
        event_type=require_text(body, "event_type", "event"),
        payload=read_mapping(body.get("payload")),
        event_id=read_text(body.get("event_id")),
        worker_id=worker_id,
        job_id=read_text(body.get("target_job_id")),
        task_id=read_text(body.get("target_task_id")) or read_text(body.get("origin_task_id")),
        origin=origin if origin != worker_id and is_identifier(origin) else "",
        via=_via(body.get("bubbling_chain")),
    )


def encode_event(event: WorkerEventMessage, now: float) -> dict[str, Any]:
    """Writes an event as today's workers do.

    Args:
        event: what to say.
        now: Unix seconds, for the message's time stamp.
    """
    message = {
        "event_id": event.event_id,
        "worker_id": event.worker_id,
        "origin_worker_id": event.origin or event.worker_id,
        "event_type": event.event_type,
        "payload": dict(event.payload),
        "origin_task_id": event.task_id,
        "target_job_id": event.job_id,
        "target_task_id": event.task_id,
        "timestamp": int(now),
    }
    if event.via:
        message["bubbling_chain"] = list(event.via)
    return message


def progress_of(event: WorkerEventMessage) -> tuple[float, str] | None:
    """Returns the progress that an event tells.

    Returns:
        A number from 0 to 1 and a text for people. Numbers above 1 are read as percent. None if the event is not about
        progress or its number cannot be read.
    """
    value = read_number(event.payload.get("progress"))
    if event.event_type != PROGRESS or value is None:
        return None
    share = value / 100 if value > 1 else value
    return min(max(share, 0.0), 1.0), read_text(event.payload.get("message"))


def _via(names: Any) -> tuple[str, ...]:
    if not isinstance(names, list):
        return ()
    return tuple(name for name in names[:_MOST_VIA] if isinstance(name, str) and is_identifier(name))


def _old_progress(body: Mapping[str, Any]) -> WorkerEventMessage:
    told = {"progress": body.get("progress"), "message": body.get("message")}
    return WorkerEventMessage(
        event_type=PROGRESS,
        payload=read_mapping(told),
        worker_id=read_text(body.get("worker_id")),
        job_id=read_text(body.get("job_id")),
        task_id=read_text(body.get("task_id")),
    )
