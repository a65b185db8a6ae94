"""Which job, task and worker a log line is about: bound once, found in every line below."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from types import MappingProxyType

CONTEXT_FIELDS = ("job_id", "task_id", "worker_id")
_CONTEXT: ContextVar[Mapping[str, str]] = ContextVar("avtomatika_log_context", default=MappingProxyType({}))


class log_context:  # noqa: N801 - used like a function
    """Adds ids to every line that is logged inside the ``with`` block, also by functions and tasks started there.

    A block inside another adds to it; None leaves what the outer block says.

    Args:
        job_id: the job.
        task_id: the task.
        worker_id: the worker.
    """

    # Not a generator: each request and each run of a job has such a block, and this takes a third of the time.
    __slots__ = ("_given", "_mark")

    def __init__(self, *, job_id: str | None = None, task_id: str | None = None, worker_id: str | None = None) -> None:
        self._given = (job_id, task_id, worker_id)

    def __enter__(self) -> None:
        ids = {**_CONTEXT.get()}
        job_id, task_id, worker_id = self._given
        if job_id is not None:
            ids["job_id"] = job_id
        if task_id is not None:
            ids["task_id"] = task_id
        if worker_id is not None:
            ids["worker_id"] = worker_id
        self._mark = _CONTEXT.set(ids)

    def __exit__(self, *_error: object) -> None:
        _CONTEXT.reset(self._mark)


def bound_ids() -> Mapping[str, str]:
    """Returns the ids that are bound where the caller stands."""
    return _CONTEXT.get()
