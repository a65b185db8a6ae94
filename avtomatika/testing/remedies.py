"""Remedies: what a test can do to make a job go on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from avtomatika.core.job import Job, Task
from avtomatika.core.matching import is_qualified
from avtomatika.core.states import TaskStatus
from avtomatika.core.waits import ApprovalWait
from avtomatika.protocol.messages import WorkerProfile
from avtomatika.storage.base import WakeUp
from avtomatika.testing.tested_job import TestedJob


def remedies(
    job: Job, wake_up: WakeUp, workers: Sequence[WorkerProfile], children: Iterable[TestedJob], due_in: float | None
) -> list[str]:
    """Returns what to write into the test, one sentence for each way.

    Args:
        job: that does not go on by itself.
        wake_up: what it waits for.
        workers: the fake ones.
        children: jobs that it started.
        due_in: seconds until something happens by itself, or None.
    """
    queued: dict[str, list[Task]] = {}
    for task in wake_up.tasks:
        if task.status is TaskStatus.QUEUED:
            queued.setdefault(task.type, []).append(task)
    found = [_for_tasks(task_type, tasks, workers) for task_type, tasks in queued.items()]
    if isinstance(job.wait, ApprovalWait):
        found.append(f"Decide: await job.approve('{job.wait.decisions[0]}').")
    found += [
        f"Its child is {child!r}; await job.children[-1].waits_for() says more."
        for child in children
        if not child.is_terminal
    ]
    if due_in is not None:
        found.append(f"Time stands still; something is due in {due_in:g} s: await t.advance(...).")
    return [one for one in found if one]


def _for_tasks(task_type: str, tasks: Sequence[Task], workers: Sequence[WorkerProfile]) -> str:
    if not any(task_type in worker.skill_names for worker in workers):
        return f"There is no worker for '{task_type}'; add one: t.worker('{task_type}', returns={{}})."
    if any(is_qualified(worker, one.type, one.requirements, one.max_cost) for one in tasks for worker in workers):
        return ""
    needs = [f"max_cost {tasks[0].max_cost:g}"] if tasks[0].max_cost is not None else []
    needs += [str(dict(tasks[0].requirements))] if tasks[0].requirements else []
    return f"No worker for '{task_type}' has what the task needs ({', '.join(needs)}): t.worker(..., profile={{...}})."
