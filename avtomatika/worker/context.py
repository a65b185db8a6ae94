"""What a task's function may know and say while it runs."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any, Protocol

from avtomatika.protocol.messages import TaskMessage
from avtomatika.worker.event_types import EventTypes
from avtomatika.worker.task_errors import TaskError


class Outlet(Protocol):
    """Where it goes what a task says on its way. Both may be called from any thread, and return at once."""

    def report(self, task: TaskMessage, value: float, message: str) -> None:
        """Takes a progress."""
        ...

    def tell(self, task: TaskMessage, word: str, payload: Mapping[str, Any]) -> None:
        """Takes an event."""
        ...


class Reported:
    """A progress or an event on its way; waiting for it is allowed, and lets other tasks run, but never needed."""

    __slots__ = ()

    def __await__(self) -> Generator[None, None, None]:
        """Gives way once, so that a cancellation can take effect."""
        yield


class Context:
    """The task that a function works on.

    Args:
        task: the task.
        outlet: where progress and events go.
        events: checks the latter.
        place: the folder that the task may have for itself, or None; it need not exist.
        files: makes ``task_files``, or None.
    """

    def __init__(
        self,
        task: TaskMessage,
        outlet: Outlet,
        events: EventTypes,
        place: Path | None = None,
        files: Callable[[], Any] | None = None,
    ) -> None:
        self._task = task
        self.outlet = outlet
        self.events = events
        self.place = place
        self._cancelled = False
        self._params: Mapping[str, Any] = task.params
        self._files = files

    @property
    def task_id(self) -> str:
        """Id of this attempt at the task."""
        return self._task.task_id

    @property
    def job_id(self) -> str:
        """Id of the job that waits for the result."""
        return self._task.job_id

    @property
    def task_type(self) -> str:
        """Name of the skill that was asked for."""
        return self._task.type

    @property
    def params(self) -> Mapping[str, Any]:
        """The params of the task as they came; a middleware may put others in their place."""
        return self._params

    @params.setter
    def params(self, params: Mapping[str, Any]) -> None:
        self._params = params

    @property
    def attempt(self) -> int:
        """Which try of the task this is, from 1; 0 at an engine that does not say."""
        return self._task.attempt

    @property
    def priority(self) -> float:
        """The task's priority; larger is more urgent."""
        return self._task.priority

    @property
    def deadline(self) -> int | None:
        """Unix seconds after which the result is too late, or None."""
        return self._task.deadline

    @property
    def tracing_context(self) -> Mapping[str, str]:
        """W3C trace context of the job."""
        return self._task.tracing_context

    @property
    def cancelled(self) -> bool:
        """Whether the result is not wanted any more.

        An async function is interrupted by itself; a plain function runs in a thread, which cannot be interrupted, so a
        long one looks here now and then and returns.
        """
        return self._cancelled

    @property
    def folder(self) -> Path:
        """A folder of the task's own, which is removed when the task has ended.

        A file or folder in it that the result names by its path is stored for the job, and the result has its address.

        Raises:
            TaskError: nothing of this task may be kept on this machine.
        """
        if self.place is None:
            raise TaskError("there is no folder for tasks here.", "DEPENDENCY_ERROR")
        self.place.mkdir(parents=True, exist_ok=True)
        return self.place

    @property
    def task_files(self) -> Any:
        """The files of the job, as a handler has them: with ``await`` in async functions, without it in plain ones.

        Raises:
            TaskError: the worker has no store of files.
        """
        if self._files is None:
            raise TaskError("there is no store of files here.", "DEPENDENCY_ERROR")
        return self._files()

    def progress(self, value: float, message: str = "") -> Reported:
        """Tells how far the work is. Works in async functions, with or without ``await``, and in plain ones.

        It never waits for the network: if reports come faster than they can be sent, the latest one counts.

        Args:
            value: 0 to 1.
            message: for people.
        """
        self.outlet.report(self._task, min(max(float(value), 0.0), 1.0), str(message))
        return Reported()

    def send_progress(self, value: float, message: str = "") -> Reported:
        """Tells how far the work is, as ``progress`` does, under the name that the published SDK gave it."""
        return self.progress(value, message)

    def event(self, word: str, payload: object = None) -> Reported:
        """Tells of something that happened in the task, for the history of its job; used as ``progress`` is.

        Events are sent in the background, each of them and in order, before the result.

        Args:
            word: the type of the event, one that the task declares: ``@worker.task(events=["page_found"])``.
            payload: a dict or a dataclass; what was declared, if types were.

        Raises:
            ContractViolationError: the event is not declared (see ``STRICT_EVENT_VALIDATION``), or its payload is not
                what was declared, or has more than 64 KiB.
        """
        self.outlet.tell(self._task, word, self.events.payload(word, payload))
        return Reported()

    def cancel(self) -> None:
        """Notes that the result is not wanted any more. For the worker, not for functions."""
        self._cancelled = True
