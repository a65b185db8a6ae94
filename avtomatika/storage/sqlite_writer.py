"""The writer of the SQLite storage: one thread, and one transaction for all steps that wait when it begins.

What makes a commit slow is the disk's confirmation, and a transaction needs one however much it writes. So steps that
arrive while the disk works share the next transaction. Each has a savepoint of its own: one that fails is undone alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from avtomatika.clock import Clock
from avtomatika.errors import StorageError
from avtomatika.storage.base import Signal
from avtomatika.storage.sqlite_file import failure, open_writer
from avtomatika.storage.sqlite_signals import SignalLog
from avtomatika.storage.sqlite_step import Step

log = logging.getLogger(__name__)
T = TypeVar("T")

_GROUP_STEPS = 256
# A group takes in what arrives while it runs, so long at most: its first step waits for it. Measured: 2 ms cuts groups
# at about 15 steps, and costs a fifth of the commits or more; nobody ever waits for company.
_GROUP_SECONDS = 0.01
_LISTEN_SECONDS = 0.2  # how often the writer asks whether another process has written

Tell = Callable[[Sequence[Signal]], None]


class _Work:
    """A step that waits, and then what came of it."""

    __slots__ = ("call", "error", "future", "loop", "result", "signals")

    def __init__(self, call: Callable[[Step], Any], loop: asyncio.AbstractEventLoop) -> None:
        self.call = call
        self.loop = loop
        self.future: asyncio.Future[Any] = loop.create_future()
        self.result: Any = None
        self.error: BaseException | None = None
        self.signals: Sequence[Signal] = ()


class Writer:
    """A thread that runs steps in transactions.

    Args:
        path: the file.
        clock: gives the moment of each step; it is asked in the thread.
        tell: called in the event loop with the signals of written steps, before their callers go on.
    """

    def __init__(self, path: str, clock: Clock, tell: Tell) -> None:
        self._path = path
        self._clock = clock
        self._tell = tell
        self._queue: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._closing = False
        self._listened_at = 0.0

    async def open(self) -> None:
        """Opens the file and starts the thread.

        Raises:
            ConfigError: the file cannot be used.
            StorageError: another process keeps it locked.
        """
        self._loop = asyncio.get_running_loop()
        opened, self._closed = self._loop.create_future(), self._loop.create_future()
        # A daemon: a program that forgets to close the storage must still be able to end. What was not acknowledged
        # then is undone by SQLite when the file is opened again.
        threading.Thread(target=self._serve, args=(opened,), name="avtomatika-sqlite", daemon=True).start()
        try:
            await opened
        except asyncio.CancelledError:
            self._queue.put(None)
            raise

    async def close(self) -> None:
        """Finishes what waits, then closes the file."""
        if not self._closing:
            self._closing = True
            self._queue.put(None)
        await asyncio.shield(self._closed)

    def submit(self, call: Callable[[Step], T]) -> asyncio.Future[T]:
        """Runs a step in the next transaction.

        If the future is cancelled before the step began, the step is left out; later, it is written all the same.

        Raises:
            StorageError: the writer is closed.
        """
        if self._closing:
            raise StorageError(f"storage '{self._path}' is closed; await storage.open() first.")
        work = _Work(call, asyncio.get_running_loop())
        self._queue.put(work)
        return work.future

    # --- the thread ---

    def _serve(self, opened: asyncio.Future[None]) -> None:
        try:
            self._connection = open_writer(self._path)
            self._signals = SignalLog(self._connection)
        except BaseException as error:
            self._settle(opened, error)
            return
        self._settle(opened)
        try:
            while (work := self._next()) is not None:
                self._run_group(work)
        finally:
            self._connection.close()
            self._settle(self._closed)

    def _next(self) -> _Work | None:
        """Waits for work; listens to other processes meanwhile."""
        while True:
            if time.monotonic() - self._listened_at >= _LISTEN_SECONDS:
                self._listen()
            with contextlib.suppress(queue.Empty):
                return self._queue.get(timeout=_LISTEN_SECONDS)

    def _listen(self) -> None:
        self._listened_at = time.monotonic()
        try:
            signals = self._signals.hear()
        except sqlite3.Error as error:
            log.warning("%s", failure(self._path, error), extra={"action": "listen_failed"})
            return
        if signals:
            _call_in(self._loop, self._tell, signals)

    def _run_group(self, first: _Work) -> None:
        group: list[_Work] = []
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            ends = time.monotonic() + _GROUP_SECONDS
            work: _Work | None = first
            while work is not None:
                if not work.future.cancelled():
                    group.append(work)
                    self._run(work)
                work = self._more() if len(group) < _GROUP_STEPS and time.monotonic() < ends else None
            self._signals.append([signal for work in group for signal in work.signals])
            self._connection.execute("COMMIT")
            self._signals.confirm()
        except BaseException as error:
            self._undo()
            for work in group or [first]:
                work.error, work.signals = self._as_ours(error), ()
        self._deliver(group or [first])

    def _more(self) -> _Work | None:
        """Returns a step that has arrived meanwhile."""
        with contextlib.suppress(queue.Empty):
            work = self._queue.get_nowait()
            if work is None:
                self._queue.put(None)  # the end: for the next look, as this group is to be written first
            return work
        return None

    def _run(self, work: _Work) -> None:
        """Runs one step in a savepoint.

        Raises:
            BaseException: SQLite has undone the whole transaction.
        """
        step = Step(self._connection, self._clock.now())
        self._connection.execute("SAVEPOINT step")
        try:
            work.result = work.call(step)
            work.signals = step.signals
        except BaseException as error:
            if not self._connection.in_transaction:
                raise
            self._connection.execute("ROLLBACK TO step")
            work.error = self._as_ours(error)
        self._connection.execute("RELEASE step")

    def _undo(self) -> None:
        if self._connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")

    def _as_ours(self, error: BaseException) -> BaseException:
        if not isinstance(error, sqlite3.Error):
            return error
        ours = failure(self._path, error)
        ours.__cause__ = error
        return ours

    def _deliver(self, group: Sequence[_Work]) -> None:
        for loop in {work.loop: None for work in group}:
            _call_in(loop, self._finish, [work for work in group if work.loop is loop])

    def _finish(self, group: Sequence[_Work]) -> None:
        """In the event loop: tells what was written, and lets the callers go on."""
        for work in group:
            self._tell(work.signals)
            if work.future.done():
                continue
            if work.error is None:
                work.future.set_result(work.result)
            else:
                work.future.set_exception(work.error)

    def _settle(self, future: asyncio.Future[None], error: BaseException | None = None) -> None:
        def settle() -> None:
            if future.done():
                return
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)

        _call_in(self._loop, settle)


def _call_in(loop: asyncio.AbstractEventLoop, call: Callable[..., object], *values: object) -> None:
    """Calls in the event loop; a loop that has ended takes its callers with it."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(call, *values)
