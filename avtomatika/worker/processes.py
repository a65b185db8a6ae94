"""Functions that keep a processor busy, each in a process of its own, where nothing of the worker waits for them.

The processes are started when they are first needed and then kept for further tasks. A cancellation raises in the
function, as it does in a coroutine; a process that does not end then is killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import multiprocessing
import pickle
import signal
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from typing import Any

from avtomatika.errors import ConfigError
from avtomatika.protocol.messages import TaskMessage
from avtomatika.threads import ThreadCall
from avtomatika.worker import typed
from avtomatika.worker.context import Context, Outlet
from avtomatika.worker.task_errors import InternalError, ResourceExhaustedError, TaskError

_GRACE = 5.0
"""Seconds that a cancelled function has to clean up before its process is killed."""
# A child must not inherit threads and locks of a program that is full of them.
_SPAWN = multiprocessing.get_context("spawn")


class CancelledInProcessError(BaseException):
    """Raised in a function that runs in a process when its task is cancelled."""


def check_importable(function: Callable[..., Any], owner: str) -> None:
    """Checks that a process can find a function by its name.

    Args:
        function: to be called there.
        owner: the type of its tasks, for the message.

    Raises:
        ConfigError: it is a coroutine function, or defined where no other process sees it.
    """
    if asyncio.iscoroutinefunction(function):
        raise ConfigError(
            f"task '{owner}': process=True is for plain functions; an 'async def' runs in the event loop."
        )
    if "<" in getattr(function, "__qualname__", "<"):
        raise ConfigError(
            f"task '{owner}': process=True needs a function that another process can import; define it at the top of a "
            "module."
        )


def check_portable(events: Mapping[str, Any], owner: str) -> None:
    """Checks that a process can find the types of the events that are told there.

    Args:
        events: annotations by word.
        owner: the type of the tasks, for the message.

    Raises:
        ConfigError: it cannot.
    """
    for word, annotation in events.items():
        try:
            pickle.dumps(annotation)
        except Exception as error:  # whatever a type of the user's raises
            raise ConfigError(
                f"task '{owner}': with process=True the type of event '{word}' must be one that another process can "
                f"import; define it at the top of a module ({error})."
            ) from None


class Processes:
    """Processes that wait for work, or do it."""

    def __init__(self) -> None:
        self._idle: list[_Child] = []
        self._all: set[_Child] = set()

    def call(
        self, function: Callable[..., Any], arguments: dict[str, Any], task: TaskMessage, outlet: Outlet
    ) -> ProcessCall:
        """Begins to call a function in a process.

        Args:
            function: which another process can import.
            arguments: by name; a ``Context`` among them is made anew there.
            task: what for.
            outlet: where progress and events go.
        """
        child = self._idle.pop() if self._idle else _Child()
        self._all.add(child)
        return ProcessCall(self, child, function, arguments, task, outlet)

    def give_back(self, child: _Child) -> None:
        """Keeps a process for the next task, if it can be used again."""
        if child.is_usable:
            self._idle.append(child)
        else:
            self._all.discard(child)
            child.end()

    def close(self) -> None:
        """Ends all processes."""
        for child in self._all:
            child.end()
        self._all.clear()
        self._idle.clear()


class _Child:
    """One process and the pipe to it."""

    def __init__(self) -> None:
        self.pipe, theirs = _SPAWN.Pipe()
        self.process = _SPAWN.Process(
            target=_serve, args=(theirs, logging.getLogger().level), name="avtomatika-task", daemon=True
        )
        self.process.start()
        theirs.close()
        self.is_usable = True

    def interrupt(self) -> None:
        """Raises in its function; the process is not used again, since it may have been interrupted anywhere."""
        self.is_usable = False
        with contextlib.suppress(ValueError):  # closed: it has just ended
            self.process.terminate()

    def end(self) -> None:
        """Kills it."""
        self.is_usable = False
        self.pipe.close()
        with contextlib.suppress(ValueError):
            self.process.kill()
            self.process.join()
            self.process.close()


class ProcessCall:
    """One call in a process. Made by ``Processes.call``.

    Args:
        processes: where the process goes afterwards.
        child: the process.
        function: to be called.
        arguments: by name.
        task: what for.
        outlet: where progress and events go.
    """

    def __init__(
        self,
        processes: Processes,
        child: _Child,
        function: Callable[..., Any],
        arguments: dict[str, Any],
        task: TaskMessage,
        outlet: Outlet,
    ) -> None:
        self._processes = processes
        self._child = child
        self._call = (function, {name: value for name, value in arguments.items() if not isinstance(value, Context)})
        self._injected = {
            name: (value.events, value.place) for name, value in arguments.items() if isinstance(value, Context)
        }
        self._task = task
        self._outlet = outlet
        self._thread = ThreadCall(self._talk, f"task-{task.task_id}")
        self.ended = self._thread.ended
        """The process is free again, or gone."""

    async def result(self) -> Any:
        """Returns what the function returned.

        Raises:
            Exception: what it raised.
            TaskError: its process died.
        """
        try:
            return await self._thread.result
        except asyncio.CancelledError:
            self._child.interrupt()
            asyncio.get_running_loop().call_later(_GRACE, self._kill)
            raise

    def _kill(self) -> None:
        if not self.ended.is_set():
            self._child.process.kill()

    def _talk(self) -> Any:
        """Sends the call and hears until it has ended; in a thread, since pipes block."""
        try:
            self._child.pipe.send_bytes(pickle.dumps((*self._call, self._injected, self._task)))
            while True:
                kind, *rest = self._child.pipe.recv()
                if kind == "progress":
                    self._outlet.report(self._task, *rest)
                elif kind == "event":
                    self._outlet.tell(self._task, *rest)
                elif kind == "returned":
                    return rest[0]
                else:
                    raise rest[0]
        except (EOFError, OSError) as error:
            self._child.is_usable = False
            raise self._died() from error
        finally:
            self._processes.give_back(self._child)

    def _died(self) -> TaskError:
        code: int | None = None
        with contextlib.suppress(ValueError):  # closed with the worker
            self._child.process.join(_GRACE)
            code = self._child.process.exitcode
        if code == -signal.SIGKILL:
            return ResourceExhaustedError("the process of the task was killed; perhaps the memory ran out.")
        return InternalError(f"the process of the task ended with exit code {code}.")


# --- in the process ---


def _serve(pipe: Connection, level: int) -> None:
    """Does one call after another until the other side hangs up."""
    logging.basicConfig(level=level)
    # Ctrl-C reaches the whole group of processes: the worker decides what becomes of its tasks.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _cancel)
    with contextlib.suppress(EOFError, OSError, CancelledInProcessError):
        while True:
            _call(pipe, pipe.recv_bytes())


class _PipeOutlet:
    """Sends what a function says to the worker."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def report(self, _task: TaskMessage, value: float, message: str) -> None:
        self._pipe.send(("progress", value, message))

    def tell(self, _task: TaskMessage, word: str, payload: Mapping[str, Any]) -> None:
        self._pipe.send(("event", word, payload))


def _cancel(_number: int, _frame: object) -> None:
    raise CancelledInProcessError


def _call(pipe: Connection, packed: bytes) -> None:
    try:
        function, arguments, injected, task = pickle.loads(packed)  # noqa: S301 - from the worker itself
        contexts = {name: Context(task, _PipeOutlet(pipe), events, place) for name, (events, place) in injected.items()}
        returned = function(**arguments, **contexts)
        answer = ("returned", returned if _is_portable(returned) else typed.plain(returned))
        pipe.send(answer)
    except CancelledInProcessError:
        raise
    except BaseException as error:  # it goes to whoever waits, as from any call
        pipe.send(("raised", _portable(error)))


def _is_portable(value: Any) -> bool:
    try:
        pickle.loads(pickle.dumps(value))  # noqa: S301 - as above
    except Exception:
        return False
    return True


def _portable(error: BaseException) -> BaseException:
    """Returns an error that survives the way to the worker; one that does not is told by its name and sentence."""
    if isinstance(error, Exception) and _is_portable(error):
        return error
    return InternalError(f"{type(error).__name__}: {error}")
