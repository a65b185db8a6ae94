"""One step of a job: all that it writes, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from avtomatika.core.effects import RecordHistory
from avtomatika.core.job import Job, Task
from avtomatika.storage.contract.outbox import Message
from avtomatika.storage.contract.records import RecordWrite
from avtomatika.storage.contract.tasks import TaskClaim
from avtomatika.storage.contract.wakes import Hold, Ready, Timer


class Dedupe(Struct, frozen=True):
    """A key that makes the creation of a job happen once.

    Args:
        key: unique for the client and its idempotency key.
        fingerprint: digest of the request; another one under the same key is a conflict for the caller to report.
        ttl: seconds that the key is remembered.
    """

    key: str
    fingerprint: str
    ttl: float


class Batch(Struct, frozen=True):
    """All that one step writes, applied whole or not at all.

    Args:
        job: the new job; its version is one above the stored one (1 creates it). Its id, created_at, client and
            blueprint never change.
        changed: names of the job's fields to write; all of them when it is created, and the version always.
        at: the moment of the step.
        claim: token of the job claim that this step consumes, or empty. A step without one leaves a claim alone, unless
            it brings a new wake-up or ends the job.
        keep_claim: the claim stays, for a handler that is called next in the same breath.
        task_claims: each of these tasks must still be claimed so, else Stale; none if no result is involved.
        ready: the job's new wake-up in place of any other, or None. With ``keep_claim`` it is not queued: the claim
            holds it from the start, as its first delivery, and it comes forth when the claim ends by itself.
        hold: the same for a step that consumes no claim: ``ready``, due at once, is held by this new one. None to queue
            it.
        queue_tasks: tasks to write as they are and to hand out. The first time decides about the place among equals.
            What is no new attempt keeps ``worker_id`` and ``deliveries``, so that its last worker may still answer.
        save_tasks: tasks to write as they are and to take out of their queues and leases.
        cancel_open_tasks: close all open tasks of the job: status ``cancelled``, ``ended_at`` is ``at``, and forget the
            timers of its tasks. The tasks above and the timers below are written afterwards.
        set_timers: timers to write, replacing those of the same job, kind and task.
        clear_timers: timers to forget.
        finish: the job has ended: forget its wake-up, claim, timers and progress, whatever else the batch says of them.
        events: rows of its history, numbered by the storage in this order.
        dedupe: for a creation that must happen once.
        messages: what leaves the engine; each of this job, under an id of its own.
        records: what is written beside the job, one write for each key; if one does not meet the version that it
            expects, Stale.
    """

    job: Job
    changed: frozenset[str]
    at: float
    claim: str = ""
    keep_claim: bool = False
    task_claims: Sequence[TaskClaim] = ()
    ready: Ready | None = None
    hold: Hold | None = None
    queue_tasks: Sequence[Task] = ()
    save_tasks: Sequence[Task] = ()
    cancel_open_tasks: bool = False
    set_timers: Sequence[Timer] = ()
    clear_timers: Sequence[Timer] = ()
    finish: bool = False
    events: Sequence[RecordHistory] = ()
    dedupe: Dedupe | None = None
    messages: Sequence[Message] = ()
    records: Sequence[RecordWrite] = ()


class Committed(Struct, frozen=True):
    """The batch was applied."""

    version: int


class Stale(Struct, frozen=True):
    """Somebody else was faster, or holds the claim; nothing was written.

    Args:
        version: the stored version; 0 if there is no such job. If it is the one before the batch's, a claim was lost or
            a record was written meanwhile.
    """

    version: int


class Duplicate(Struct, frozen=True):
    """The dedupe key is known; nothing was written. A creation that is repeated sees its own.

    Args:
        job_id: the job that was created under it.
        fingerprint: digest of the request that created it.
    """

    job_id: str
    fingerprint: str


Outcome = Committed | Stale | Duplicate


class CommitStorage(Protocol):
    """The only way in which a job changes."""

    async def commit(self, batch: Batch) -> Outcome:
        """Applies all of ``batch``, or nothing.

        Checks before it writes: the dedupe key is new (else Duplicate); the stored version is ``job.version - 1``, the
        job claim and the task claim are the ones stored, and so are the versions of records (else Stale). Of two
        commits on the same version exactly one is applied. A claim that ended is still the one stored until somebody
        takes the job over.

        Raises:
            DocumentError: something in the batch cannot be stored; nothing was written.
        """
        ...
