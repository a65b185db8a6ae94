"""Steps of the SQLite storage that write jobs: commits, wake-ups, timers, the outbox, retention."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

import msgpack
from msgspec.structs import replace

from avtomatika.core.job import Job
from avtomatika.core.states import TaskStatus
from avtomatika.errors import StorageError
from avtomatika.storage.base import (
    Batch,
    Committed,
    Duplicate,
    JobClaim,
    Outcome,
    Progress,
    Signal,
    Stale,
    TaskClaim,
    Timer,
)
from avtomatika.storage.codec import decode_task, encode_job_fields
from avtomatika.storage.records import is_held, signals_of
from avtomatika.storage.rows import HistoryStep, encode_rows, parse_step_id
from avtomatika.storage.sqlite_changes import append_change
from avtomatika.storage.sqlite_messages import send_messages
from avtomatika.storage.sqlite_reads import DOCUMENTS, load_job, timer_of
from avtomatika.storage.sqlite_records import is_expected, put_record
from avtomatika.storage.sqlite_step import Row, Step
from avtomatika.storage.sqlite_tasks import forget_tasks, write_rows, write_task

_FORGET = (
    "forget_ready",
    "forget_timers",
    "forget_progress",
    "forget_messages",
    "forget_documents",
    "forget_job",
)

# --- commits ---


def commit(step: Step, batch: Batch) -> Outcome:
    """Applies the batch, or nothing."""
    if batch.dedupe is not None:
        first = step.row("find_dedupe", key=batch.dedupe.key, now=step.now)
        if first is not None:
            return Duplicate(*first)
    stored = step.row("find_stored", job_id=batch.job.id)
    if not _is_current(step, stored, batch):
        return Stale(0 if stored is None else stored[0])
    if stored is None:
        _create(step, batch)
    else:
        _update(step, batch, stored)
    _write_tasks(step, batch)
    _write_timers(step, batch)
    _write_wake_up(step, batch)
    if batch.messages:
        send_messages(step, batch.job.id, batch.messages)
    for write in batch.records:
        put_record(step, write)
    if batch.finish:
        step.write("forget_timers", job_id=batch.job.id)
        step.write("forget_progress", job_id=batch.job.id)
    append_change(step, batch.job)
    step.tell(*signals_of(batch))
    return Committed(batch.job.version)


def _is_current(step: Step, stored: Row | None, batch: Batch) -> bool:
    """Whether nobody was faster."""
    version, token = (0, None) if stored is None else (stored[0], stored[4])
    if batch.job.version != version + 1 or (batch.claim and batch.claim != token):
        return False
    if batch.records and not all(is_expected(step, write) for write in batch.records):
        return False
    return all(_is_held(step, claim) for claim in batch.task_claims)


def _is_held(step: Step, claim: TaskClaim) -> bool:
    task = step.row("find_task_row", task_id=claim.task_id)
    return task is not None and is_held(claim, *task[1:4])


def _create(step: Step, batch: Batch) -> None:
    job = batch.job
    if batch.dedupe is not None:
        step.write("forget_dedupe", now=step.now)
        until = step.now + batch.dedupe.ttl
        step.write("put_dedupe", key=batch.dedupe.key, job_id=job.id, fingerprint=batch.dedupe.fingerprint, until=until)
    step.write(
        "insert_job",
        job_id=job.id,
        version=job.version,
        status=job.status.value,
        state=job.state,
        created_at=job.created_at,
        client=job.client.name,
        blueprint=job.blueprint,
        rows=_write_events(step, batch, 0),
        ended_at=job.updated_at if job.is_terminal else None,
        fields=_write_documents(step, job.id, {}, encode_job_fields(job)),
    )
    step.write("add_to_count", name="created", change=1)
    step.write("add_to_count", name=job.status.value, change=1)


def _update(step: Step, batch: Batch, stored: Row) -> None:
    job = batch.job
    _, status, rows, fields, _ = stored
    encoded = encode_job_fields(job, batch.changed | {"version"})
    step.write(
        "update_job",
        job_id=job.id,
        version=job.version,
        status=job.status.value,
        state=job.state,
        rows=_write_events(step, batch, rows),
        ended_at=job.updated_at if job.is_terminal else None,
        fields=_write_documents(step, job.id, msgpack.unpackb(fields), encoded),
    )
    if job.status != status:
        step.write("add_to_count", name=status, change=-1)
        step.write("add_to_count", name=job.status.value, change=1)


def _write_documents(step: Step, job_id: str, fields: dict[str, bytes], encoded: dict[str, bytes]) -> bytes:
    """Writes the large ones of the encoded fields apart; returns ``fields`` with the others laid over, as bytes."""
    apart = [(job_id, name, encoded.pop(name)) for name in DOCUMENTS if name in encoded]
    if apart:
        step.write_many("put_document", apart)
    packed: bytes = msgpack.packb(fields | encoded)
    return packed


def _write_events(step: Step, batch: Batch, rows: int) -> int:
    """Appends to the outbox; returns how many rows the history has had then."""
    if batch.events:
        write_rows(step, batch.job.id, rows + 1, encode_rows(batch.job.blueprint, batch.at, batch.events))
    return rows + len(batch.events)


def _write_tasks(step: Step, batch: Batch) -> None:
    # A batch may close all open tasks and say more of some of them: what it says in particular comes last.
    if batch.cancel_open_tasks:
        for (raw,) in step.rows("open_tasks_of_job", job_id=batch.job.id):
            write_task(step, replace(decode_task(raw), status=TaskStatus.CANCELLED, ended_at=batch.at))
    for task in batch.save_tasks:
        write_task(step, task)
    for task in batch.queue_tasks:
        write_task(step, task, in_queue=True)


def _write_timers(step: Step, batch: Batch) -> None:
    if batch.cancel_open_tasks:
        step.write("forget_timers_of_tasks", job_id=batch.job.id)
    if batch.clear_timers:
        step.write_many("forget_timer", [(t.job_id, t.kind.value, t.task_id) for t in batch.clear_timers])
    if batch.set_timers:
        step.write_many("put_timer", [(t.job_id, t.kind.value, t.task_id, t.at, t.at) for t in batch.set_timers])


def _write_wake_up(step: Step, batch: Batch) -> None:
    job_id, ready = batch.job.id, batch.ready
    if batch.finish:
        step.write("forget_ready", job_id=job_id)
    elif batch.claim and batch.keep_claim:
        if ready is not None:
            step.write("renew_ready", job_id=job_id, at=ready.at, priority=ready.priority)
    elif ready is not None:
        step.write("put_ready", job_id=job_id, at=ready.at, priority=ready.priority, now=step.now)
        if batch.hold is not None:
            until = step.now + batch.hold.lease
            step.write("claim_ready", job_id=job_id, token=batch.hold.token, owner=batch.hold.owner, until=until)
    elif batch.claim:
        step.write("forget_ready", job_id=job_id)


def put_progress(step: Step, job_id: str, progress: Progress) -> None:
    """Remembers the progress of a live job."""
    written = step.write(
        "put_progress",
        job_id=job_id,
        value=progress.value,
        message=progress.message,
        task_id=progress.task_id,
        at=progress.at,
    )
    if written:
        step.tell(Signal("progress", job_id))


# --- the ready queue ---


def claim_jobs(step: Step, owner: str, limit: int, lease: float) -> list[JobClaim]:
    """Takes due wake-ups."""
    until = step.now + lease
    step.write("refresh_ready", now=step.now)
    claims = []
    for job_id, deliveries in step.rows("list_due_ready", limit=limit):
        # The job's id makes the token findable without an index, the rest makes it the only one of its kind.
        token = f"{job_id}/{secrets.token_hex(8)}"
        step.write("claim_ready", job_id=job_id, token=token, owner=owner, until=until)
        claims.append(JobClaim(_stored_job(step, job_id), token, deliveries))
    if claims:
        step.tell(Signal("timer", at=until))
    return claims


def _stored_job(step: Step, job_id: str) -> Job:
    job = load_job(step, job_id)
    if job is None:
        raise StorageError(f"job {job_id} has a wake-up, but is not stored. Run the audit of the storage.")
    return job


def extend_claims(step: Step, tokens: Sequence[str], lease: float) -> list[str]:
    """Moves the ends of claims; returns the tokens that are lost."""
    until = step.now + lease
    lost = [
        token for token in tokens if not step.write("extend_ready", job_id=_job_of(token), token=token, until=until)
    ]
    if len(lost) < len(tokens):
        step.tell(Signal("timer", at=until))
    return lost


def release_claims(step: Step, tokens: Sequence[str]) -> None:
    """Gives claims back."""
    for token in tokens:
        job_id = _job_of(token)
        if token and step.write("release_ready", job_id=job_id, token=token, now=step.now):
            step.tell(Signal("ready", at=step.value("find_ready", job_id=job_id)))


def _job_of(token: str) -> str:
    return token.partition("/")[0]


# --- time ---


def claim_timers(step: Step, limit: int, lease: float) -> list[Timer]:
    """Takes timers that are due."""
    until = step.now + lease
    timers = [timer_of(row) for row in step.rows("list_due_timers", now=step.now, limit=limit)]
    for timer in timers:
        step.write("delay_timer", job_id=timer.job_id, kind=timer.kind.value, task_id=timer.task_id, until=until)
    if timers:
        step.tell(Signal("timer", at=until))
    return timers


# --- the outbox and retention ---


def ack_events(step: Step, step_ids: Sequence[str]) -> None:
    """Forgets rows of the history."""
    for step_id in step_ids:
        raw = step.value("find_rows", step_id=step_id)
        if raw is not None:
            job_id, first = parse_step_id(step_id)
            number = len(HistoryStep(job_id, first, raw).decode())
            step.write("forget_rows", step_id=step_id)
            step.write("acknowledge_rows", job_id=job_id, number=number)


def purge_jobs(step: Step, ended_before: float, limit: int) -> list[str]:
    """Forgets jobs that ended long ago, with all that is theirs."""
    rows = step.rows("list_purgeable", ended_before=ended_before, limit=limit)
    for job_id, status in rows:
        forget_tasks(step, job_id)
        for query in _FORGET:
            step.write(query, job_id=job_id)
        step.write("add_to_count", name=status, change=-1)
        step.write("add_to_count", name="created", change=-1)
    return [job_id for job_id, _ in rows]
