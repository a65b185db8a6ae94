"""Which job, task and worker a log line is about: bound once, found in every line below."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType

CONTEXT_FIELDS = ("job_id", "task_id", "worker_id")
_CONTEXT: ContextVar[Mapping[str, str]] = ContextVar("avtomatika_log_context", default=MappingProxyType({}))


@contextmanager
def log_context(
    *, job_id: str | None = None, task_id: str | None = None, worker_id: str | None = None
) -> Iterator[None]:
    """Adds ids to every line that is logged inside the ``with`` block, also by functions and tasks started there.

    A block inside another adds to it; None leaves what the outer block says.
    """
    given = {"job_id": job_id, "task_id": task_id, "worker_id": worker_id}
    mark = _CONTEXT.set({**_CONTEXT.get(), **{name: value for name, value in given.items() if value is not None}})
    try:
        yield
    finally:
        _CONTEXT.reset(mark)


def bound_ids() -> Mapping[str, str]:
    """Returns the ids that are bound where the caller stands."""
    return _CONTEXT.get()
