"""Calls in threads of their own, which never keep the process from ending."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Callable
from typing import Any


class ThreadCall:
    """A plain function that runs in a daemon thread.

    A pool would not do: its threads are waited for when the process ends, and a function that hangs would keep a
    program alive that was told to stop. How many run at once is limited by whoever calls.

    Args:
        function: what to call, without arguments.
        name: of the thread.
    """

    def __init__(self, function: Callable[[], Any], name: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._function = function
        self.result: asyncio.Future[Any] = self._loop.create_future()
        """What it returned or raised; may be cancelled, which does not stop the thread."""
        self.ended = asyncio.Event()
        """The thread has ended."""
        context = contextvars.copy_context()
        threading.Thread(target=context.run, args=(self._run,), name=name, daemon=True).start()

    def _run(self) -> None:
        returned, raised = None, None
        try:
            returned = self._function()
        except BaseException as error:  # it goes to whoever waits, as from any call
            raised = error
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._finish, returned, raised)

    def _finish(self, returned: Any, raised: BaseException | None) -> None:
        self.ended.set()
        if self.result.done():
            return
        if raised is None:
            self.result.set_result(returned)
        elif isinstance(raised, StopIteration):  # a future refuses this one
            self.result.set_exception(RuntimeError(f"StopIteration: {raised}"))
        else:
            self.result.set_exception(raised)
