"""What goes into the Lua scripts and comes out of them, as plain data.

A script takes one msgpack map and answers with msgpack: so numbers stay exact, which they would not as text. Text and
bytes are one kind there, so everything comes back as bytes.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgpack
from msgspec.structs import asdict, replace

from avtomatika.core.document import Document
from avtomatika.core.events import TimerKind
from avtomatika.core.job import Job, Task
from avtomatika.core.states import TaskStatus
from avtomatika.errors import StorageError
from avtomatika.protocol.messages import WorkerProfile
from avtomatika.storage.base import (
    Batch,
    Changes,
    JobQuery,
    Message,
    Progress,
    Queue,
    Record,
    RecordWrite,
    Sighting,
    Signal,
    TaskClaim,
    Timer,
    WakeUp,
)
from avtomatika.storage.codec import (
    decode_change,
    decode_job,
    decode_message,
    decode_task,
    decode_worker,
    encode_change,
    encode_job_fields,
    encode_message,
    encode_task,
    encode_worker,
)
from avtomatika.storage.records import POSITION_BITS, check_name, first_position, needs_of, queue_of
from avtomatika.storage.rows import HistoryStep, encode_rows, parse_step_id

_SIGN = 1 << 63
# In front of the rows of a step the scripts keep how many there are.
_NUMBER_SIZE = 4
_MOMENT = struct.Struct(">d")
_AFTER_ALL_PLACES = b"\xff" * 8
Packed = Mapping[bytes, Any]


def pack(value: Any) -> bytes:
    """Returns plain data as bytes that Lua's cmsgpack understands: it has one kind of string."""
    packed: bytes = _PACKERS.pack(value)
    return packed


class _Packers(threading.local):
    """One packer for each thread: to make one for each call takes as long as the packing."""

    def __init__(self) -> None:
        self.pack = msgpack.Packer(use_bin_type=False, unicode_errors="surrogatepass").pack


_PACKERS = _Packers()


def unpack(raw: bytes) -> Any:
    """Returns what a script answered; text comes as bytes.

    Raises:
        StorageError: it is no answer of a script.
    """
    try:
        return msgpack.unpackb(raw, raw=True, strict_map_key=False)
    except (TypeError, ValueError, msgpack.UnpackException) as error:
        raise StorageError(
            f"Redis answered what avtomatika does not understand: {error}. Does another program use the same prefix?"
        ) from error


def text(raw: bytes) -> str:
    """Returns bytes from a script as the text that they were."""
    return raw.decode("utf-8", "surrogatepass")


def sortable(number: float) -> bytes:
    """Returns eight bytes whose order is the order of the numbers."""
    # Adding zero makes one zero of the two.
    (bits,) = struct.unpack(">Q", struct.pack(">d", number + 0.0))
    return int(~bits & (2**64 - 1) if bits & _SIGN else bits | _SIGN).to_bytes(8, "big")


def _sized(name: str) -> bytes:
    raw = name.encode("utf-8", "surrogatepass")
    return struct.pack(">I", len(raw)) + raw


# --- jobs ---


def commit_arguments(batch: Batch, signals: Sequence[Signal]) -> dict[str, Any]:
    """Returns what the script ``commit`` takes of a batch.

    Raises:
        DocumentError: something in the batch cannot be stored.
    """
    job = batch.job
    arguments: dict[str, Any] = {
        "id": job.id,
        "version": job.version,
        "at": batch.at,
        "status": str(job.status),
        "state": job.state,
        "fields": encode_job_fields(job, None if job.version == 1 else batch.changed | {"version"}),
        "change": encode_change(job),
        "signals": [signal_row(signal) for signal in signals],
    }
    # Most steps have few of these, and the script unpacks all that is sent.
    for name, encode in _PARTS.items():
        if part := getattr(batch, name):
            arguments[name] = part if encode is None else encode(part)
    if batch.events:
        # Their numbers are known to the script alone, which makes the id of the step from the first one.
        arguments["rows"] = encode_rows(job.blueprint, batch.at, batch.events)
        arguments["row_count"] = len(batch.events)
    if job.is_terminal:
        arguments["ended"] = job.updated_at
    if job.version == 1:
        arguments["created"] = _new_job_facts(job)
    return arguments


def _each(encode: Callable[[Any], Any]) -> Callable[[Iterable[Any]], list[Any]]:
    return lambda parts: [encode(part) for part in parts]


def _new_job_facts(job: Job) -> dict[str, Any]:
    """Returns what never changes of a job, as the scripts must know it."""
    return {
        "blueprint": job.blueprint,
        "client": job.client.name,
        "parent": job.parent_job_id,
        "place": sortable(job.created_at),
    }


def read_job(flat: Sequence[bytes]) -> Job | None:
    """Builds a job from the names and values of its hash, by turns; None if there are none."""
    if not flat:
        return None
    pairs = iter(flat)
    return decode_job({name.decode(): value for name, value in zip(pairs, pairs, strict=True)})


def read_history_step(step_id: bytes, stored: bytes) -> HistoryStep:
    """Builds the rows of a step from its id and what is stored under it: their number, and their bytes."""
    return HistoryStep(*parse_step_id(text(step_id)), stored[_NUMBER_SIZE:])


def list_arguments(query: JobQuery) -> dict[str, Any]:
    """Returns the stretch of the index in which the jobs of a query stand, and what else they must be."""
    if query.status is not None:
        prefix = b"s" + _sized(str(query.status))
    elif query.client is not None:
        prefix = b"c" + _sized(query.client)
    else:
        prefix = b"a"
    low, high = b"[" + prefix, b"(" + prefix
    if query.since is not None:
        low += sortable(query.since)
    if query.before is not None:
        created_at, job_id = query.before
        high += sortable(created_at) + job_id.encode()
    else:
        high += _AFTER_ALL_PLACES
    arguments: dict[str, Any] = {"low": low, "high": high, "skip": len(prefix) + 9}
    if query.client is not None and query.status is not None:
        arguments["client"] = query.client
    if query.blueprint is not None:
        arguments["blueprint"] = query.blueprint
    return arguments


# --- the log of changes ---


def stream_id(position: int) -> str:
    """Returns a position of the log of changes as the stream names it."""
    return f"{position >> POSITION_BITS}-{position & (1 << POSITION_BITS) - 1}"


def _position(stream_id: bytes | None) -> int:
    milliseconds, _, number = (stream_id or b"0-0").partition(b"-")
    return (int(milliseconds) << POSITION_BITS) + int(number)


def read_changes(answer: Sequence[Any]) -> Changes:
    """Builds a stretch of the log of changes from the answer of ``read_changes``."""
    found, floor, newest, now = answer
    entries = [decode_change(_position(name), raw) for name, raw in found]
    return Changes(entries, _position(floor), max(_position(newest), first_position(float(now)) - 1))


# --- what a job waits for ---


def _timer_key(timer: Timer) -> bytes:
    return pack([str(timer.kind), timer.task_id])


def _timer_row(timer: Timer) -> list[Any]:
    return [_timer_key(timer), pack([timer.job_id, str(timer.kind), timer.task_id, timer.at]), timer.at]


def read_timer(member: bytes) -> Timer:
    """Builds a timer."""
    job_id, kind, task_id, at = unpack(member)
    return Timer(text(job_id), TimerKind(text(kind)), float(at), text(task_id))


def read_wake_up(answer: Sequence[Any]) -> WakeUp:
    """Builds what a job waits for from the answer of ``find_wake_up``."""
    now, packed, members, open_tasks = answer
    timers = tuple(sorted(map(read_timer, members), key=lambda timer: (timer.at, timer.kind, timer.task_id)))
    tasks = tuple(read_tasks(open_tasks))
    if not packed:
        return WakeUp(timers=timers, tasks=tasks)
    wake = unpack(packed)
    if wake.get(b"token") and wake[b"ends"] > now:
        return WakeUp(claimed_by=text(wake[b"owner"]), claimed_until=float(wake[b"ends"]), timers=timers, tasks=tasks)
    return WakeUp(ready_at=float(wake[b"at"]), timers=timers, tasks=tasks)


def encode_progress(progress: Progress) -> bytes:
    """Returns a progress as bytes."""
    return pack([progress.value, progress.message, progress.task_id, progress.at])


def decode_progress(raw: bytes) -> Progress:
    """Builds a progress from bytes."""
    value, message, task_id, at = unpack(raw)
    return Progress(value, text(message), text(task_id), at)


# --- tasks ---


def claim_arguments(claim: TaskClaim) -> dict[str, Any]:
    """Returns a claim as the scripts take it."""
    return {"id": claim.task_id, "attempt": claim.attempt, "worker": claim.worker_id}


def worker_arguments(worker: WorkerProfile) -> dict[str, Any]:
    """Returns a worker as the scripts take it."""
    return {"id": worker.worker_id, "raw": encode_worker(worker), "seen": _MOMENT.pack(worker.seen_at)}


def sighting_arguments(sightings: Sequence[Sighting]) -> dict[str, Any]:
    """Returns sightings as the scripts take them; they compare moments as bytes, so exactly."""
    return {
        "ids": [sighting.worker_id for sighting in sightings],
        "last": [_MOMENT.pack(sighting.last_at) for sighting in sightings],
        "seen": [_MOMENT.pack(sighting.seen_at) for sighting in sightings],
    }


def read_worker(raw: bytes, seen: bytes | bool) -> WorkerProfile:
    """Builds a worker from its bytes and the moment that stands beside them.

    An engine of a version without such moments writes the bytes alone: then theirs may be the later one.
    """
    worker = decode_worker(raw)
    if not isinstance(seen, bytes):
        return worker
    return replace(worker, seen_at=max(worker.seen_at, _MOMENT.unpack(seen)[0]))


def _task_row(task: Task) -> list[Any]:
    """Returns the id, the bytes and the facts of a task.

    The facts are what the scripts must know of it, and what they change of it themselves: ``read_task`` lays those over
    the bytes.
    """
    facts: dict[str, Any] = {
        "job": task.job_id,
        "status": str(task.status),
        "open": task.status.is_open,
        "attempt": task.attempt,
        "worker": task.worker_id,
        "queue": task.queue,
        "rank": sortable(-task.rank) + sortable(task.created_at),
        "priority": task.rank,
        "created": task.created_at,
        "kind": Document.of(needs_of(task), "Task").raw,
        "signal": [task.strategy, task.preferred, task.affinity_seconds],
        "timeout": task.timeout_seconds,
        "confirmed": task.confirmed,
        "deliveries": task.deliveries,
    }
    if task.limits:
        facts["limits"] = list(task.limits.items())
    for name in ("claimed_at", "lease_until", "ended_at"):
        moment = getattr(task, name)
        if moment is not None:
            facts[name] = moment
    return [task.id, encode_task(task), facts]


def read_queue(name: bytes, kind: bytes, length: int = 0, oldest_at: float | None = None) -> Queue:
    """Builds a queue from its name and the needs of its tasks."""
    return queue_of(text(name), Document(kind).value(), length, None if oldest_at is None else float(oldest_at))


_TASK_STATUSES = {status.encode(): status for status in TaskStatus}


def read_task(raw: bytes, packed: bytes) -> Task:
    """Builds a task from its bytes and its facts."""
    facts: Packed = unpack(packed)
    return replace(
        decode_task(raw),
        status=_TASK_STATUSES[facts[b"status"]],
        worker_id=text(facts[b"worker"]),
        claimed_at=_moment(facts, b"claimed_at"),
        lease_until=_moment(facts, b"lease_until"),
        confirmed=facts[b"confirmed"],
        deliveries=facts[b"deliveries"],
        ended_at=_moment(facts, b"ended_at"),
    )


def _moment(facts: Packed, name: bytes) -> float | None:
    moment = facts.get(name)
    return None if moment is None else float(moment)


def read_tasks(rows: Sequence[Sequence[bytes]]) -> list[Task]:
    """Builds tasks and puts them in order: by creation, then by index, then as they came."""
    placed = [(read_task(raw, packed), unpack(packed)[b"seq"]) for raw, packed in rows]
    placed.sort(key=lambda pair: (pair[0].created_at, pair[0].index, pair[1]))
    return [task for task, _ in placed]


# --- messages ---


def _message_row(message: Message) -> list[Any]:
    """Returns the id, the bytes and the facts of a message; ``read_message`` lays the facts over the bytes."""
    facts = {
        "topic": message.topic,
        "job": message.job_id,
        "due": message.due_at,
        "attempts": message.attempts,
        "error": message.error,
    }
    return [message.id, encode_message(message), facts]


def read_message(raw: bytes, packed: bytes) -> Message:
    """Builds a message from its bytes and its facts."""
    facts: Packed = unpack(packed)
    return replace(
        decode_message(raw),
        due_at=float(facts[b"due"]),
        attempts=facts[b"attempts"],
        error=text(facts[b"error"]),
        buried_at=_moment(facts, b"buried"),
    )


def dead_letter_arguments(topic: str | None, before: tuple[float, str] | None) -> dict[str, Any]:
    """Returns the stretch of the list of dead letters in which those of a topic stand, or all."""
    prefix = b"a" if topic is None else b"t" + _sized(topic)
    high = _AFTER_ALL_PLACES if before is None else struct.pack(">d", before[0]) + before[1].encode()
    return {"low": b"[" + prefix, "high": b"(" + prefix + high, "skip": len(prefix) + 9}


# --- records ---


def record_name(space: str, key: str) -> bytes:
    """Returns what a record is found by: those of a space follow each other, in the order of their keys."""
    return _sized(space) + key.encode("utf-8", "surrogatepass")


def write_arguments(write: RecordWrite) -> dict[str, Any]:
    """Returns a write as the scripts take it.

    Raises:
        DocumentError: the space or the key is no text.
    """
    check_name(write.space, write.key)
    arguments: dict[str, Any] = {"name": record_name(write.space, write.key)}
    if write.value is not None:
        arguments["value"] = write.value.raw
    if write.expected is not None:
        arguments["expected"] = write.expected
    if write.ttl is not None:
        arguments["ttl"] = write.ttl
    return arguments


def read_record(space: str, key: str, packed: bytes) -> Record:
    """Builds a record from what is stored of it."""
    stored: Packed = unpack(packed)
    return Record(space, key, Document(stored[b"value"]), stored[b"version"], _moment(stored, b"ends"))


# --- signals ---


def signal_row(signal: Signal) -> list[Any]:
    """Returns a signal as the scripts publish it."""
    queue = signal.queue
    row: list[Any] = [signal.kind, signal.key, signal.at, signal.final]
    if queue is None:
        return row
    needs = [queue.task_type, queue.requirements, queue.max_cost, *([queue.limits] if queue.limits else [])]
    return [*row, Document.of(needs, "Task").raw, [signal.strategy, signal.preferred, signal.patience]]


def read_signals(rows: Sequence[Sequence[Any]]) -> list[Signal]:
    """Builds signals from what a script told."""
    return [_read_signal(*row) for row in rows]


def _read_signal(
    kind: bytes, key: bytes, at: float, final: bool, needs: bytes = b"", choice: Sequence[Any] = ()
) -> Signal:
    signal = Signal(text(kind), text(key), float(at), bool(final))
    if not needs:
        return signal
    strategy, preferred, patience = choice
    queue = read_queue(key, needs)
    return replace(signal, queue=queue, strategy=text(strategy), preferred=text(preferred), patience=float(patience))


# --- batches ---

# What else a batch may bring, and how it is sent; None for as it is.
_PARTS: Mapping[str, Callable[[Any], Any] | None] = {
    "claim": None,
    "keep_claim": None,
    "cancel_open_tasks": None,
    "finish": None,
    "ready": asdict,
    "hold": asdict,
    "dedupe": asdict,
    "save_tasks": _each(_task_row),
    "queue_tasks": _each(_task_row),
    "set_timers": _each(_timer_row),
    "clear_timers": _each(_timer_key),
    "task_claims": _each(claim_arguments),
    "messages": _each(_message_row),
    "records": _each(write_arguments),
}
