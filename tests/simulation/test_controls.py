"""Negative controls: with one guard removed the simulation must find a broken promise.

A fault model that lets one of these pass would prove nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from typing import Any
from unittest import mock

import pytest
from msgspec.structs import replace

from avtomatika.core import tasks
from avtomatika.core.document import Document
from avtomatika.core.events import TaskReported
from avtomatika.core.job import Task
from avtomatika.core.states import TaskStatus
from avtomatika.core.steps import Step
from avtomatika.runtime import worker_events
from avtomatika.runtime.depot import Depot
from avtomatika.storage.base import Batch, Message, Outcome
from avtomatika.storage.mailbox import Mailbox
from avtomatika.storage.memory import MemoryStorage
from avtomatika.storage.queues import ReadyQueue

from .run import run

SEEDS = 400

pytestmark = pytest.mark.timeout(600)

_is_current = MemoryStorage._is_current
_commit = MemoryStorage.commit
_claim = Mailbox.claim
_reported = tasks.reported
_put = Depot.put


def any_version(self: MemoryStorage, row: Any, batch: Batch) -> bool:
    """Applies a batch whatever version it was decided on."""
    version = 1 if row is None else row.job.version + 1
    return _is_current(self, row, replace(batch, job=replace(batch.job, version=version)))


def any_job_claim(self: MemoryStorage, row: Any, batch: Batch) -> bool:
    """Applies a step under a claim that somebody has taken over."""
    return _is_current(self, row, replace(batch, claim=""))


def any_task_claim(self: MemoryStorage, row: Any, batch: Batch) -> bool:
    """Applies a result although the task was handed on meanwhile."""
    return _is_current(self, row, replace(batch, task_claims=()))


async def any_creation(self: MemoryStorage, batch: Batch) -> Outcome:
    """Creates a job for each request, also for a repeated one."""
    return await _commit(self, replace(batch, dedupe=None))


def any_sender(step: Step, event: TaskReported) -> str:
    """Takes a result from any worker."""
    task = event.task
    return _reported(step, event if task is None else replace(event, worker_id=task.worker_id))


def any_attempt(step: Step, event: TaskReported) -> str:
    """Takes a result of any attempt."""
    task = event.task
    if task is None:
        return _reported(step, event)
    return _reported(step, replace(event, attempt=task.attempt if task.deliveries else task.attempt - 1))


def any_time(step: Step, event: TaskReported) -> str:
    """Takes a result of a task that has ended."""
    task = event.task
    if task is None or task.status.is_open:
        return _reported(step, event)
    return _reported(step, replace(event, task=replace(task, status=TaskStatus.CLAIMED)))


async def no_expired_tasks(self: MemoryStorage, limit: int) -> list[Task]:
    """Hands no task on whose worker is gone."""
    return []


def no_expired_claims(self: ReadyQueue, now: float) -> None:
    """Hands no job on whose engine is gone."""
    for job_id in self._later.pop_until(now):
        self._put_due(job_id)


def endless_claims(self: Mailbox, topics: Sequence[str], limit: int, now: float, until: float) -> list[Message]:
    """Carries no message whose engine is gone."""
    return _claim(self, topics, limit, now, until + 1e9)


def sent_beside(self: MemoryStorage, row: Any, batch: Batch) -> bool:
    """Sends the messages of a batch that is then refused."""
    is_current = _is_current(self, row, batch)
    for message in () if is_current else batch.messages:
        self._mailbox.put(replace(message, id=f"{message.id}x"))
    return is_current


def no_name(text: str) -> bool:
    """Takes the id of an event for no id, so that nobody remembers it."""
    del text
    return False


async def referred_to_first(self: Depot, batch: Batch) -> Batch:
    """Lets a commit refer to documents that are put away a moment later."""
    large = {document.raw for document in self._documents(batch) if self._is_large(document)}
    if not large:
        return batch
    asyncio.get_running_loop().call_later(0.1, lambda: asyncio.ensure_future(_put(self, batch)))
    references = {raw: Document.away(hashlib.sha256(raw).hexdigest(), len(raw)) for raw in large}
    return self._with_references(batch, references)


@pytest.mark.parametrize(
    ("owner", "guard", "without", "kinds"),
    [
        (MemoryStorage, "_is_current", any_version, ("slow_storage", "frozen_engine")),
        (MemoryStorage, "_is_current", any_job_claim, ("slow_storage", "frozen_engine", "late_signal")),
        (MemoryStorage, "_is_current", any_task_claim, ("result_at_handover",)),
        (MemoryStorage, "commit", any_creation, ("repeated_creation", "lost_creation_answer")),
        (tasks, "reported", any_sender, ("foreign_result",)),
        (tasks, "reported", any_attempt, ("wrong_attempt",)),
        (tasks, "reported", any_time, ("duplicate_result", "lost_result_answer")),
        (MemoryStorage, "expired_tasks", no_expired_tasks, ("dies_in_task", "lost_poll_answer")),
        (ReadyQueue, "_refresh", no_expired_claims, ("engine_crash", "crash_after_commit")),
        (Mailbox, "claim", endless_claims, ("engine_crash", "slow_receiver")),
        (MemoryStorage, "_is_current", sent_beside, ("slow_storage", "frozen_engine")),
        (worker_events, "is_identifier", no_name, ("lost_answer",)),
        (Depot, "put", referred_to_first, ("engine_crash", "crash_after_commit")),
    ],
    ids=[
        "version",
        "job claim",
        "task claim",
        "dedupe key",
        "sender of a result",
        "attempt of a result",
        "result of an ended task",
        "lease of a task",
        "lease of a job",
        "lease of a message",
        "message in the commit",
        "id of an event",
        "document before the commit",
    ],
)
def test_simulation_without_a_guard_finds_a_violation(
    owner: Any, guard: str, without: Callable[..., Any], kinds: tuple[str, ...]
) -> None:
    """Each guard is needed, and the simulation would notice its loss.

    All faults together find it as well, in more runs: each kind is one among many then.
    """
    with mock.patch.object(owner, guard, without):
        found = next((report for seed in range(SEEDS) if (report := run(seed, kinds=kinds)).violations), None)

    assert found is not None, f"{SEEDS} runs without the guard broke no promise: the faults are too weak"
