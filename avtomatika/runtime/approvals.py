"""Approvals: the tokens by which people decide, and their decisions."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets

from avtomatika.core.document import Document
from avtomatika.core.events import Decided, Event
from avtomatika.core.job import Job, Task
from avtomatika.core.waits import ApprovalWait
from avtomatika.errors import AuthError, DecisionError, JobNotFoundError, JobStateError, StorageError
from avtomatika.runtime.performer import Performer
from avtomatika.storage.base import RecordWrite, Storage

_SPACE, _KEY = "secrets", "approvals"
_SECRET_BYTES = 32


class Approvals:
    """What people can do with jobs that wait for a decision.

    A token belongs to one wait of one job. It is made from a secret that all engines on a storage share, so that each
    can show it to the job's owner and recognise it, and none is stored. It can be used once, for the wait ends by it.

    Args:
        storage: where jobs and the secret are.
        performer: writes the decisions.
    """

    def __init__(self, storage: Storage, performer: Performer) -> None:
        self._storage = storage
        self._performer = performer
        self._secret: bytes | None = None

    async def token(self, job: Job) -> str | None:
        """Returns the token of the wait that the job is in, or None if it does not wait for a person."""
        wait = job.wait
        return await self._sign(job.id, wait.number) if isinstance(wait, ApprovalWait) else None

    async def prove(self, job_id: str, token: str) -> int:
        """Returns the number of the wait that the token is for; the wait may be over.

        Raises:
            AuthError: it is no token of this job.
        """
        number, _, _ = token.partition(".")
        is_number = number.isascii() and number.isdecimal() and len(number) < 10
        genuine = await self._sign(job_id, int(number) if is_number else 0)
        if not hmac.compare_digest(genuine.encode(), token.encode("utf-8", "replace")):
            raise AuthError(
                "the approval token is not valid for this job; take it from 'approval.url' of the job, or send the "
                "owner's client token."
            )
        return int(number)

    async def decide(
        self, job_id: str, decision: str, wait: int | None = None, *, by: str = "", via: str = "", comment: str = ""
    ) -> Job:
        """Lets the job go on as a person decided.

        Args:
            job_id: the job.
            decision: one of those offered.
            wait: number of the wait that the decision is for; None for whichever the job is in.
            by: who decided, as far as that is known.
            via: ``client`` or ``token``: how they proved that they may.
            comment: what else they said.

        Raises:
            JobNotFoundError: no such job.
            JobStateError: it does not wait for a decision, or not for this one.
            DecisionError: the decision was not offered.
        """

        async def find_event(job: Job, _task: Task | None) -> tuple[Event, Task | None]:
            current = job.wait
            if not isinstance(current, ApprovalWait) or wait not in {None, current.number}:
                raise _not_waiting(job)
            if decision not in current.decisions:
                raise DecisionError(decision, current.decisions)
            return Decided(current.number, decision, by, via, comment), None

        found = await self._storage.find_job(job_id)
        if found is None:
            raise JobNotFoundError(job_id)
        outcome = await self._performer.happen(job_id, find_event)
        if outcome.ignored:
            raise _not_waiting(outcome.job)
        return outcome.job

    async def _sign(self, job_id: str, number: int) -> str:
        if self._secret is None:
            self._secret = await self._find_secret()
        digest = hmac.digest(self._secret, f"approval {job_id} {number}".encode(), hashlib.sha256)
        return f"{number}.{base64.urlsafe_b64encode(digest).decode().rstrip('=')}"

    async def _find_secret(self) -> bytes:
        """Returns the secret of all engines on this storage; the first one to need it makes it."""
        fresh = Document.of(secrets.token_bytes(_SECRET_BYTES))
        await self._storage.put_record(RecordWrite(_SPACE, _KEY, fresh, expected=0))
        record = await self._storage.find_record(_SPACE, _KEY)
        if record is None:
            raise StorageError("the secret for approval tokens was written and is gone; try again.")
        secret: bytes = record.value.value()
        return secret


def _not_waiting(job: Job) -> JobStateError:
    return JobStateError(
        f"job '{job.id}' does not wait for this decision (any more); it is {job.status} in state '{job.state}'."
    )
