"""A harness for tests: runs the functions of a worker as the worker does, without an engine, a network or a clock.

    ended = await TaskHarness(worker).run("resize", {"width": 64})
    assert ended.status == "success" and ended.data == {"width": 64}

What a function gets and what becomes of it is what happens in a worker: params are checked and become arguments,
middlewares and retries apply, and what is returned or raised becomes a result that could be sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from avtomatika.errors import ConfigError, suggest
from avtomatika.protocol.codec import to_json
from avtomatika.protocol.messages import Result, TaskMessage
from avtomatika.worker.runner import Call, Calls
from avtomatika.worker.worker import Worker


@dataclass(frozen=True, slots=True)
class Ended:
    """What came of a task.

    Args:
        status: ``success``, ``failure``, ``cancelled`` or a word of the function's own.
        data: what it returned, as JSON values.
        error_code: of a failure, else empty.
        error_message: of a failure, else empty.
        error_details: of a failure; for params that do not fit, ``{"path": ...}``.
        progress: what it reported, in order: value and message.
        events: what it told, in order: word and payload.
        files: address of each stored file that the data name, by its path in them.
    """

    status: str
    data: Any
    error_code: str
    error_message: str
    error_details: Any
    progress: tuple[tuple[float, str], ...]
    events: tuple[tuple[str, Mapping[str, Any]], ...]
    files: Mapping[str, str]


class _Heard:
    """What a task has said so far."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.progress: list[tuple[float, str]] = []
        self.events: list[tuple[str, Mapping[str, Any]]] = []
        self.moved = asyncio.Event()

    def report(self, _task: TaskMessage, value: float, message: str) -> None:
        def note() -> None:
            self.progress.append((value, message))
            self.moved.set()

        self._loop.call_soon_threadsafe(note)

    def tell(self, _task: TaskMessage, word: str, payload: Mapping[str, Any]) -> None:
        self._loop.call_soon_threadsafe(self.events.append, (word, payload))


class RunningTask:
    """A task that a harness has started. Made by ``TaskHarness.start``."""

    def __init__(self, call: Call, heard: _Heard) -> None:
        self._call = call
        self._heard = heard
        self._running: asyncio.Task[Result] = asyncio.create_task(call.result(), name="harness-call")

    @property
    def progress(self) -> tuple[tuple[float, str], ...]:
        """What it has reported so far: value and message."""
        return tuple(self._heard.progress)

    @property
    def events(self) -> tuple[tuple[str, Mapping[str, Any]], ...]:
        """What it has told so far: word and payload."""
        return tuple(self._heard.events)

    async def wait_for_progress(self, value: float = 0.0) -> None:
        """Returns when the task has reported at least so much.

        Args:
            value: 0 to 1.

        Raises:
            AssertionError: it has ended before.
        """
        while not any(told >= value for told, _ in self._heard.progress):
            if self._running.done():
                raise AssertionError(
                    f"the task has ended without a progress of {value:g}; it reported {self.progress}."
                )
            self._heard.moved.clear()
            waiting = asyncio.ensure_future(self._heard.moved.wait())
            await asyncio.wait({waiting, self._running}, return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()

    def cancel(self) -> None:
        """Interrupts the task, as the engine does for a job that is cancelled."""
        self._call.context.cancel()
        self._running.cancel()

    async def ended(self) -> Ended:
        """Returns what came of the task, when nothing of it runs any more."""
        result = await self._running
        await self._call.settle()
        # What a thread has said is on their way through the event loop.
        await asyncio.sleep(0)
        return Ended(
            result.status,
            result.data,
            result.error_code,
            result.error_message,
            result.error_details,
            self.progress,
            self.events,
            {path: facts.uri for path, facts in result.data_metadata.items()},
        )


class TaskHarness:
    """Runs the functions of a worker.

    Args:
        worker: a worker, or one function as ``worker.task`` takes it.

    Raises:
        ConfigError: the function can be no task.
    """

    def __init__(self, worker: Worker | Callable[..., Any]) -> None:
        if not isinstance(worker, Worker):
            function, worker = worker, Worker()
            worker.add_task(function)
        self._calls: Calls = worker.calls()

    async def run(self, name: str | Callable[..., Any], params: Mapping[str, Any] | None = None, **facts: Any) -> Ended:
        """Does one task and returns what came of it.

        Args:
            name: type of the task, or its function.
            params: of the task.
            facts: what else is known of it: ``job_id``, ``task_id``, ``attempt``, ``priority``, ``deadline``,
                ``tracing_context``.

        Raises:
            ConfigError: the worker has no such task.
            ProtocolError: the params have no JSON form.
        """
        return await self.start(name, params, **facts).ended()

    def run_sync(self, name: str | Callable[..., Any], params: Mapping[str, Any] | None = None, **facts: Any) -> Ended:
        """Does what ``run`` does, where no event loop runs."""
        return asyncio.run(self.run(name, params, **facts))

    def start(
        self, name: str | Callable[..., Any], params: Mapping[str, Any] | None = None, **facts: Any
    ) -> RunningTask:
        """Starts a task in the running event loop, to be looked at and cancelled on its way.

        Args:
            name: type of the task, or its function.
            params: of the task.
            facts: as of ``run``.

        Raises:
            ConfigError: the worker has no such task.
            ProtocolError: the params have no JSON form.
        """
        heard = _Heard()
        type_ = self._name_of(name)
        message = TaskMessage(
            **{"job_id": "job", "task_id": "task", "attempt": 1, **facts}, type=type_, params=_sent(params)
        )
        call = self._calls.of(message, heard)
        if call is None:
            known = self._calls.functions
            raise ConfigError(
                f"the worker has no task '{type_}'; it has: {', '.join(known) or 'none'}.{suggest(type_, known)}"
            )
        return RunningTask(call, heard)

    async def close(self) -> None:
        """Ends the processes in which functions ran; only needed after tasks with ``process=True``, or with S3."""
        await self._calls.close()

    def _name_of(self, name: str | Callable[..., Any]) -> str:
        if isinstance(name, str):
            return name
        found = [known for known, function in self._calls.functions.items() if function.function is name]
        return found[0] if found else str(getattr(name, "__name__", name))


def _sent(params: Mapping[str, Any] | None) -> dict[str, Any]:
    """Returns params as they arrive at a worker."""
    arrived: dict[str, Any] = to_json(dict(params or {}), "params")
    return arrived
