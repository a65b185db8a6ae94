"""What goes out: tasks that were just claimed get their large params back before they go to their worker."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Sequence

from avtomatika.core.document import NULL, LostDocument
from avtomatika.core.events import Event, TaskReported
from avtomatika.core.job import Failure, Job, Task
from avtomatika.errors import JobNotFoundError, StorageError
from avtomatika.runtime.depot import Depot
from avtomatika.runtime.performer import Performer
from avtomatika.storage.base import Storage, TaskClaim


class Outgoing:
    """Makes claimed tasks whole.

    Args:
        storage: where they are claimed.
        depot: has their large params.
        performer: fails those whose params are lost.
    """

    def __init__(self, storage: Storage, depot: Depot, performer: Performer) -> None:
        self._storage = storage
        self._depot = depot
        self._performer = performer

    async def whole(self, tasks: Sequence[Task]) -> Sequence[Task]:
        """Returns those of the tasks that can go out, with all their params.

        What cannot be had now goes back to its queue, as if it had not been claimed. What is lost fails, like an
        attempt of its worker.

        Raises:
            StorageError: none can be had now; or what failed could not be written.
        """
        if not any(task.params.is_away for task in tasks):
            return tasks
        try:
            fetched = await asyncio.gather(*map(self._depot.fetch_task, tasks), return_exceptions=True)
        except asyncio.CancelledError:
            await self._put_back(tasks)
            raise
        await self._put_back(task for task, one in zip(tasks, fetched, strict=True) if isinstance(one, BaseException))
        found = [one for one in fetched if isinstance(one, Task)]
        for task in found:
            if isinstance(task.params, LostDocument):
                await self._fail(task, task.params.reason)
        whole = [task for task in found if not isinstance(task.params, LostDocument)]
        trouble = next((one for one in fetched if isinstance(one, BaseException)), None)
        if trouble is not None and not whole:
            raise trouble
        return whole

    async def _put_back(self, tasks: Iterable[Task]) -> None:
        for task in tasks:
            # If this fails, the claim ends by itself.
            with contextlib.suppress(StorageError):
                await self._storage.release_task(TaskClaim(task.id, task.attempt, task.worker_id))

    async def _fail(self, task: Task, reason: str) -> None:
        failure = Failure("PAYLOAD_LOST_ERROR", reason)

        async def find_event(_job: Job, stored: Task | None) -> tuple[Event, Task | None]:
            return TaskReported(stored, task.attempt, task.worker_id, "failure", NULL, failure), stored

        with contextlib.suppress(JobNotFoundError):
            await self._performer.happen(task.job_id, find_event, task.id)
