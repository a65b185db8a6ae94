"""An event loop without time, sockets and threads: when nothing is ready, it jumps to the next timer."""

from __future__ import annotations

import asyncio
import contextvars
from typing import Any


class NothingLeftError(RuntimeError):
    """Nothing is ready and no timer is set: the program would wait for ever."""


class SpinningError(RuntimeError):
    """So much happened in one moment that time will never pass again."""


# The busiest moment of an honest run takes some hundred turns of the loop.
_SPINNING = 20_000


class VirtualLoop(asyncio.BaseEventLoop):
    """An event loop whose time passes by jumps, so that an hour takes as long as its work.

    Whatever runs on it runs in the same order each time: there is nothing else that could interrupt.
    """

    def __init__(self) -> None:
        super().__init__()
        self._moment = 0.0
        self._turns = 0
        self._selector = self  # the loop asks it for events and nothing else
        self.set_task_factory(_create_task)

    def time(self) -> float:
        """Returns the virtual moment, in seconds from 0."""
        return self._moment

    def block(self, seconds: float) -> None:
        """Lets time pass while nothing runs, as a handler does that never awaits."""
        self._moment += seconds

    def select(self, timeout: float | None) -> tuple[()]:
        """Waits for events, of which there are none: the time is over at once.

        Raises:
            NothingLeftError: there is no timer either.
            SpinningError: the loop has turned and turned, and no time has passed.
        """
        if timeout is None:
            raise NothingLeftError("nothing is ready and no timer is set")
        self._turns = 0 if timeout else self._turns + 1
        if self._turns > _SPINNING:
            self._turns = 0
            raise SpinningError(f"the loop turned {_SPINNING} times at {self._moment:.3f} s, and no time passed")
        self._moment += timeout
        return ()

    def _process_events(self, event_list: Any) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        raise RuntimeError("the simulation has no threads")


class Process:
    """The tasks that one simulated process runs: whatever they start belongs to it as well."""

    def __init__(self) -> None:
        self._tasks: dict[asyncio.Task[Any], None] = {}  # a dict, since a set's order changes from run to run
        self._context = contextvars.copy_context()
        self._context.run(_process.set, self)

    @property
    def context(self) -> contextvars.Context:
        """A context in which tasks and callbacks belong to this process."""
        return self._context.copy()

    def spawn(self, work: Any) -> asyncio.Task[Any]:
        """Runs a coroutine in this process."""
        return asyncio.get_running_loop().create_task(work, context=self.context)

    def adopt(self, task: asyncio.Task[Any]) -> None:
        """Counts a task in until it has ended."""
        self._tasks[task] = None
        task.add_done_callback(self._forget)

    def kill(self) -> None:
        """Ends all tasks where they stand."""
        for task in tuple(self._tasks):
            task.cancel()

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._tasks.pop(task, None)
        if not task.cancelled():
            task.exception()  # looked at, so that nobody is told that it was not


_process: contextvars.ContextVar[Process | None] = contextvars.ContextVar("process", default=None)


def _create_task(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
    task: asyncio.Task[Any] = asyncio.Task(coroutine, loop=loop, **options)
    context = options.get("context")
    process = _process.get() if context is None else context.get(_process)
    if process is not None:
        process.adopt(task)
    return task
