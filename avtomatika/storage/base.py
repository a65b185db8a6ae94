"""The storage's contract: every step that must be atomic, and nothing else.

A backend decides nothing. It compares versions, keeps queues in order and lets leases end; what should happen is
decided in ``core`` and arrives here as a ``Batch``. ``contract/`` has the parts, one subject each. The tests in
``tests/storage`` run over all backends.

Moments are Unix seconds of the storage's clock, durations are seconds. Every method raises StorageError when the
backend does not answer; a commit that raised may have happened, and may be repeated: it then returns Stale.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from avtomatika.core.job import Job, Task
from avtomatika.storage.contract.changes import Change, Changes, ChangeStorage
from avtomatika.storage.contract.commits import Batch, CommitStorage, Committed, Dedupe, Duplicate, Outcome, Stale
from avtomatika.storage.contract.jobs import Fault, JobQuery, JobStorage, Progress
from avtomatika.storage.contract.outbox import Message, OutboxStorage
from avtomatika.storage.contract.records import Count, Record, RecordStorage, RecordWrite
from avtomatika.storage.contract.signals import Listener, Signal
from avtomatika.storage.contract.tasks import Queue, TakenTasks, TaskClaim, TaskStorage
from avtomatika.storage.contract.wakes import Hold, JobClaim, Ready, Timer, WakeStorage, WakeUp
from avtomatika.storage.contract.workers import Sighting, WorkerStorage

__all__ = [
    "Batch",
    "Change",
    "Changes",
    "Committed",
    "Count",
    "Dedupe",
    "Duplicate",
    "Fault",
    "Hold",
    "JobClaim",
    "JobQuery",
    "Listener",
    "Message",
    "Outcome",
    "Progress",
    "Queue",
    "Ready",
    "Record",
    "RecordWrite",
    "Sighting",
    "Signal",
    "Stale",
    "Storage",
    "TakenTasks",
    "TaskClaim",
    "Timer",
    "WakeUp",
]


class Storage(
    CommitStorage,
    JobStorage,
    WakeStorage,
    TaskStorage,
    OutboxStorage,
    ChangeStorage,
    RecordStorage,
    WorkerStorage,
    Protocol,
):
    """What an engine needs of a database. See the module's docstring for what holds everywhere."""

    async def open(self) -> None:
        """Connects and creates what is missing. Idempotent."""
        ...

    async def close(self) -> None:
        """Gives up connections. Idempotent. Nothing committed is lost by it, except in memory."""
        ...

    def subscribe(self, listener: Listener, *kinds: str) -> Callable[[], None]:
        """Calls ``listener`` in the event loop for signals of all engines; returns the function that ends it.

        Of these ``kinds`` only; without any, of all. Signals come after what they tell of can be read. A backend that
        may lose signals of other engines says ``missed`` once it hears them again. A listener must not block nor raise;
        one that raises is logged, and neither the step nor the other listeners suffer.
        """
        ...

    async def now(self) -> float:
        """Returns the moment on the storage's clock, the only one that deadlines are measured by."""
        ...

    async def find_job_and_task(self, job_id: str, task_id: str) -> tuple[Job | None, Task | None]:
        """Returns what ``find_job`` and ``find_task`` do; the task is never older than the job.

        A storage that is elsewhere saves a way to it.
        """
        return await self.find_job(job_id), await self.find_task(task_id)
