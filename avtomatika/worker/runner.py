"""Calls a task's function and turns whatever happens into a result."""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from avtomatika.protocol.messages import Result, TaskMessage
from avtomatika.threads import ThreadCall
from avtomatika.worker.context import Context, Outlet
from avtomatika.worker.event_types import EventTypes
from avtomatika.worker.files import Errand, FileDesk
from avtomatika.worker.functions import TaskFunction
from avtomatika.worker.outcome import cancelled, result_of_error, result_of_return
from avtomatika.worker.processes import ProcessCall, Processes
from avtomatika.worker.retries import again
from avtomatika.worker.task_errors import TaskError

logger = logging.getLogger("avtomatika.worker")

Proceed = Callable[[], Awaitable[Any]]
"""Goes on with the call; returns what the function returned."""
Middleware = Callable[[Context, Proceed], Awaitable[Any]]
"""Stands around every call: awaits ``proceed()`` and returns what that returned, or something else."""


class Calls:
    """Makes the calls of a worker.

    Args:
        functions: by the type of their tasks.
        middlewares: stand around each call, the first one outermost.
        desk: where files come from and go to.
        strict_events: tasks tell no events but those that they declare.
    """

    def __init__(
        self,
        functions: Mapping[str, TaskFunction],
        middlewares: Sequence[Middleware],
        desk: FileDesk,
        *,
        strict_events: bool = True,
    ) -> None:
        self.functions = functions
        self._desk = desk
        self._middlewares = middlewares
        self._processes = Processes()
        self._events = {
            name: EventTypes(function.events, name, strict=strict_events) for name, function in functions.items()
        }

    def of(self, task: TaskMessage, outlet: Outlet) -> Call | None:
        """Returns a call for a task; None if there is no function for it.

        Args:
            task: what for.
            outlet: where its progress and its events go.
        """
        function = self.functions.get(task.type)
        if function is None:
            return None
        errand = self._desk.errand(task)
        loop = asyncio.get_running_loop()
        context = Context(
            task,
            outlet,
            self._events[task.type],
            errand.folder,
            lambda: errand.files if function.is_async else errand.files.blocking(loop),
        )
        return Call(function, task, context, self._middlewares, self._processes, errand)

    async def close(self) -> None:
        """Ends the processes in which functions ran, and lets go of the store of files."""
        self._processes.close()
        await self._desk.close()


class Call:
    """One call of a function for one task.

    Args:
        function: what to call.
        task: what for.
        context: what the function may know and say.
        middlewares: stand around the call.
        processes: where functions run that want one.
        errand: moves the task's files.
    """

    def __init__(
        self,
        function: TaskFunction,
        task: TaskMessage,
        context: Context,
        middlewares: Sequence[Middleware],
        processes: Processes,
        errand: Errand,
    ) -> None:
        self._function = function
        self._task = task
        self.context = context
        self._middlewares = middlewares
        self._processes = processes
        self._errand = errand
        self._beside: ThreadCall | ProcessCall | None = None

    async def result(self) -> Result:
        """Calls the function and returns the result of the task, whatever the function does."""
        try:
            result = result_of_return(self._task, await self._surrounded(), self._function.returns)
            return await self._errand.send(result)
        except TaskError as error:
            logger.warning("task %s (%s) failed: %s", self._task.task_id, self._task.type, error)
            return result_of_error(self._task, error)
        except asyncio.CancelledError as error:
            return self._result_of_cancellation(error)
        except (Exception, SystemExit) as error:
            logger.exception("task %s (%s) raised", self._task.task_id, self._task.type)
            return result_of_error(self._task, error)

    async def settle(self) -> None:
        """Returns when nothing of the call runs any more; a cancelled thread or process may go on for a while."""
        if self._beside is not None:
            await self._beside.ended.wait()
        # Most tasks have no folder; a look is quicker than a thread.
        if self._errand.has_folder:
            await asyncio.to_thread(self._errand.remove)

    def abandon(self) -> None:
        """Removes what is left of the call on this machine; nobody waits for it any more."""
        self._errand.remove()

    async def _surrounded(self) -> Any:
        proceed: Proceed = self._call
        for middleware in reversed(self._middlewares):
            proceed = functools.partial(middleware, self.context, proceed)
        return await proceed()

    async def _call(self) -> Any:
        params = self.context.params
        if self._function.download:
            params = await self._errand.bring(params)
        arguments = self._function.arguments(params, self.context)
        if self._function.retry is None:
            return await self._once(arguments)
        return await again(self._function.retry, functools.partial(self._once, arguments))

    async def _once(self, arguments: dict[str, Any]) -> Any:
        if self._function.is_async:
            return await self._function.function(**arguments)
        if self._function.process:
            outlet = self.context.outlet
            process = self._beside = self._processes.call(self._function.function, arguments, self._task, outlet)
            return await process.result()
        call = functools.partial(self._function.function, **arguments)
        thread = self._beside = ThreadCall(call, f"task-{self._task.task_id}")
        returned = await thread.result
        # A decorated or partial async function looks like a plain one until it is called.
        return await returned if inspect.isawaitable(returned) else returned

    def _result_of_cancellation(self, error: asyncio.CancelledError) -> Result:
        if self.context.cancelled:
            return cancelled(self._task)
        current = asyncio.current_task()
        if current is not None and current.cancelling():
            raise error  # not the task but the worker is being torn down
        return result_of_error(self._task, error)  # something inside the function was cancelled
