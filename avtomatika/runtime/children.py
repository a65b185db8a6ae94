"""Children: carries what a job wants of its child, and how a child has ended."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from avtomatika.core.document import Document
from avtomatika.core.events import CancelRequested, ChildEnded, Event
from avtomatika.core.job import Failure, Job, Task
from avtomatika.core.states import JobStatus
from avtomatika.core.steps import CHILD_TOPIC, PARENT_TOPIC
from avtomatika.core.waits import ChildWait
from avtomatika.errors import JobNotFoundError
from avtomatika.runtime.performer import Performer
from avtomatika.runtime.registry import Registry
from avtomatika.storage.base import Message, Storage

_LONGEST_PAUSE = 30.0


class _Carrier:
    """What both have in common: they never give up, for a job waits at the other end."""

    limit = 20
    timeout = 20.0

    def retry_after(self, message: Message, error: Exception) -> float | None:
        """Returns how long to wait before the next attempt: longer each time."""
        del error
        return min(_LONGEST_PAUSE, 0.25 * 2.0 ** min(message.attempts, 10))


class ChildCarrier(_Carrier):
    """Starts children, and ends those that nobody waits for any more.

    Args:
        storage: where jobs live.
        performer: writes what happens to them.
        registry: the loaded blueprints.
    """

    topic = CHILD_TOPIC

    def __init__(self, storage: Storage, performer: Performer, registry: Registry) -> None:
        self._storage = storage
        self._performer = performer
        self._registry = registry

    async def carry(self, message: Message) -> None:
        """Does what the message says; again, it changes nothing.

        Raises:
            BlueprintError: this engine does not have the child's blueprint.
            StorageError: the storage does not answer.
        """
        order: Mapping[str, Any] = message.body.value()
        child_id = str(order["child"])
        if order["do"] == "start" and await self._waiting_parent(message.job_id, child_id) is not None:
            await self._start(message.job_id, child_id, order)
            if await self._waiting_parent(message.job_id, child_id) is not None:
                return
        # The parent ended or went another way, perhaps in the very moment in which the child was started.
        await self._end(child_id, message.job_id)

    async def _waiting_parent(self, job_id: str, child_id: str) -> Job | None:
        job = await self._storage.find_job(job_id)
        is_waiting = job is not None and isinstance(job.wait, ChildWait) and job.wait.child_id == child_id
        return job if is_waiting else None

    async def _start(self, parent_id: str, child_id: str, order: Mapping[str, Any]) -> None:
        parent = await self._storage.find_job(parent_id)
        if parent is None:
            return
        blueprint = self._registry.get(str(order["blueprint"]))
        now = await self._storage.now()
        child = Job(
            id=child_id,
            blueprint=blueprint.name,
            blueprint_version=blueprint.graph.version,
            status=JobStatus.PENDING,
            state=blueprint.graph.start.name,
            created_at=now,
            updated_at=now,
            initial_data=Document.of(order["initial_data"], "initial_data"),
            client=parent.client,
            source="blueprint",
            parent_job_id=parent.id,
            depth=parent.depth + 1,
            dispatch_timeout=parent.dispatch_timeout,
            tracing_context=parent.tracing_context,
        )
        # A child that is there already makes this stale: the message was carried before.
        await self._performer.submit(child)

    async def _end(self, child_id: str, parent_id: str) -> None:
        async def find_event(_job: Job, _task: Task | None) -> tuple[Event, Task | None]:
            return CancelRequested(f"job {parent_id}"), None

        with contextlib.suppress(JobNotFoundError):
            await self._performer.happen(child_id, find_event)


class ParentCarrier(_Carrier):
    """Tells parents how their children have ended.

    Args:
        performer: writes what follows.
    """

    topic = PARENT_TOPIC

    def __init__(self, performer: Performer) -> None:
        self._performer = performer

    async def carry(self, message: Message) -> None:
        """Tells the parent; one that waits for something else by now is left alone.

        Raises:
            StorageError: the storage does not answer.
        """
        report: Mapping[str, Any] = message.body.value()
        failure = report["failure"]
        event = ChildEnded(
            str(report["child"]),
            JobStatus(report["status"]),
            Document.of(report["result"]),
            Failure(failure["code"], failure["message"]) if failure else None,
        )

        async def find_event(_job: Job, _task: Task | None) -> tuple[Event, Task | None]:
            return event, None

        with contextlib.suppress(JobNotFoundError):
            await self._performer.happen(message.key, find_event)
