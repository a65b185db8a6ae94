"""Tasks: the queues in which they wait, and the claims of the workers that have them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from msgspec import Struct, field

from avtomatika.core.job import Job, Task


class TaskClaim(Struct, frozen=True):
    """Proof that a result belongs to the claim that the storage knows.

    It holds as long as the task is open, at this attempt, and was last claimed by this worker: also when the lease has
    ended, and when the task waits in its queue again, until another worker takes it over.
    """

    task_id: str
    attempt: int
    worker_id: str


class Queue(Struct, frozen=True):
    """Tasks of one kind that wait.

    Args:
        name: as in ``Task.queue``.
        task_type: the skill needed.
        requirements: what else the worker must have, or None.
        max_cost: highest cost of the skill, or None.
        length: how many wait.
        oldest_at: creation of the oldest, or None.
        limits: what its tasks share with others, to how many of those may be claimed at a time.
    """

    name: str
    task_type: str
    requirements: Mapping[str, object] | None = None
    max_cost: float | None = None
    length: int = 0
    oldest_at: float | None = None
    limits: Mapping[str, int] = field(default_factory=dict)


class TakenTasks(Struct, frozen=True):
    """Tasks that a worker claimed in one step.

    Args:
        tasks: as claimed, in the order in which they were taken.
        left: how many still wait in the queues that were asked for.
        jobs: those jobs of theirs that came along, by id, as they are then.
    """

    tasks: Sequence[Task]
    left: int
    jobs: Mapping[str, Job] = field(default_factory=dict)


class TaskStorage(Protocol):
    """What a storage does with tasks."""

    async def claim_task(self, worker_id: str, queues: Sequence[str], lease: float) -> Task | None:
        """Takes the first task of ``queues``: higher ``Task.rank`` first, then older, then first queued.

        A task is passed over, with its whole queue, while as many tasks are claimed as one of its ``limits`` allows: a
        task counts under all names in its limits from its claim until it is closed, released or queued again. The
        counts are those of all engines, and no race makes them exceed a limit.

        The task becomes ``claimed`` by the worker for ``lease`` seconds, but not beyond its ``timeout_seconds``;
        ``deliveries`` rises by one, and an event ``task_started`` joins the job's history. The job's version stays. No
        task is ever claimed twice at a time; one whose lease ends stays claimed until a commit says otherwise.
        """
        ...

    async def claim_tasks(
        self, worker_id: str, queues: Sequence[str], lease: float, limit: int, job_limit: int = 0
    ) -> TakenTasks:
        """Takes tasks, each as ``claim_task`` would take it after the one before, in one step.

        Args:
            worker_id: who takes them.
            queues: names of queues.
            lease: seconds.
            limit: how many at most.
            job_limit: jobs whose data have no more bytes than this come along where that is no other way to the
                storage; none with 0.
        """
        ...

    async def claim_task_and_job(
        self,
        worker_id: str,
        queues: Sequence[str],
        lease: float,
        limit: int,  # noqa: ARG002 - for those to whom it is a way
    ) -> tuple[Task, Job | None] | None:
        """Does what ``claim_task`` does, and returns the task's job as it is then.

        Args:
            worker_id: who takes it.
            queues: names of queues.
            lease: seconds.
            limit: a job whose data have more bytes need not come along.

        Returns:
            The task, and its job or None where that would be another way to the storage; None if there is no task.
        """
        task = await self.claim_task(worker_id, queues, lease)
        return None if task is None else (task, None)

    async def renew_tasks(self, claims: Sequence[TaskClaim], lease: float) -> list[TaskClaim]:
        """Lets claims end ``lease`` seconds from now and marks them confirmed: their workers run these tasks.

        A claim never lasts beyond ``claimed_at + timeout_seconds``. A task that is queued again after its lease ended,
        at the same attempt, and that nobody has taken over, is claimed again by the same worker while that moment has
        not come; ``claimed_at`` and ``deliveries`` stay.

        Returns:
            The claims that do not hold: the task is closed, unknown, at another attempt, or another worker's.
        """
        ...

    async def list_claims(self, worker_id: str) -> list[TaskClaim]:
        """Returns the claims that the worker holds, by task id, also those whose lease has ended."""
        ...

    async def release_task(self, claim: TaskClaim) -> None:
        """Puts a task back that was never delivered, to its old place, as if it had not been claimed.

        Ignored if the task is not claimed as ``claim`` says.
        """
        ...

    async def find_task(self, task_id: str) -> Task | None:
        """Returns the task as stored, open or ended."""
        ...

    async def list_tasks(self, job_id: str, fan_out: str | None = None) -> list[Task]:
        """Returns the tasks of a job (of one fan-out, if ``fan_out`` is its id), by creation, then by index."""
        ...

    async def list_queues(self) -> list[Queue]:
        """Returns the queues in which tasks wait, by name."""
        ...
