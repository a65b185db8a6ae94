"""What an engine remembers of the tasks that it handed out and of their jobs, so that a result needs no look at either.

It may be old: another engine may have written meanwhile. What is decided on it is written only if the storage still has
the same version of the job and the same claim of the task, so being old costs a try and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from avtomatika.core.job import Job, Task

REMEMBERED_BYTES = 16 * 1024
"""Larger jobs and tasks are not remembered: to read them again costs less than to keep thousands of them."""
# Of so many tasks that are with workers; those handed out longest ago are forgotten first.
_MOST_TASKS = 4096


@dataclass(slots=True)
class _Known:
    """A job as it was last seen, and those of its tasks that are with workers."""

    job: Job
    tasks: dict[str, Task] = field(default_factory=dict)


class Recent:
    """Tasks that are with workers, by job."""

    def __init__(self) -> None:
        # Those of which a task was handed out last come last.
        self._jobs: dict[str, _Known] = {}
        self._tasks = 0

    def hand_out(self, task: Task, job: Job) -> None:
        """Remembers a task that a worker has got, and its job as it is then."""
        known = self._jobs.pop(job.id, None)
        if len(job.initial_data) + len(job.state_history) + len(task.params) > REMEMBERED_BYTES:
            self._tasks -= 0 if known is None else len(known.tasks)
            return
        if known is None:
            known = _Known(job)
        elif job.version > known.job.version:
            known.job = job
        self._tasks += task.id not in known.tasks
        known.tasks[task.id] = task
        self._jobs[job.id] = known
        while self._tasks > _MOST_TASKS:
            self._forget(next(iter(self._jobs)))

    def take(self, job_id: str, task_id: str) -> tuple[Job, Task] | None:
        """Returns a job and a task that is remembered, and forgets the task: it has one result."""
        known = self._jobs.get(job_id)
        task = known.tasks.pop(task_id, None) if known is not None else None
        if known is None or task is None:
            return None
        self._tasks -= 1
        if not known.tasks:
            del self._jobs[job_id]
        return known.job, task

    def find(self, job_id: str) -> Job | None:
        """Returns a job that is remembered, as it was last seen."""
        known = self._jobs.get(job_id)
        return None if known is None else known.job

    def note(self, job: Job) -> None:
        """Remembers what has become of a job if tasks of it are with workers."""
        known = self._jobs.get(job.id)
        if known is None:
            return
        if job.is_terminal:
            self._forget(job.id)
        elif job.version > known.job.version:
            known.job = job

    def _forget(self, job_id: str) -> None:
        self._tasks -= len(self._jobs.pop(job_id).tasks)
