"""The background loop: an event loop in a thread of its own, so that cells and server never block each other."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

# An interrupt reaches the main thread only between waits: this is the longest that a person waits for it.
_SLICE = 0.25


class BackgroundLoop:
    """An event loop that runs until it is stopped.

    Args:
        name: of the thread.
    """

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        # An empty context: what a cell has set for itself, such as IPython's output streams, is not the server's.
        run = contextvars.Context().run
        self._thread = threading.Thread(target=run, args=(self._serve,), name=name, daemon=True)
        self._thread.start()

    @property
    def is_running(self) -> bool:
        """Whether it still takes work."""
        return self._thread.is_alive() and self._loop.is_running()

    def submit(self, work: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """Begins ``work`` in the background."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def call(self, work: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
        """Waits for ``work`` from another thread. An interrupt ends the wait and cancels the work.

        Raises:
            TimeoutError: it took longer than ``timeout`` seconds.
        """
        future = self.submit(work)
        try:
            return wait(future, timeout)
        except BaseException:
            future.cancel()
            raise

    def stop(self) -> None:
        """Ends the loop and waits for its thread. Idempotent."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(5.0)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            left = asyncio.all_tasks(self._loop)
            for task in left:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()


def wait(future: concurrent.futures.Future[T], timeout: float | None) -> T:
    """Waits for a future in slices, so that an interrupt is noticed soon.

    Raises:
        TimeoutError: it took longer than ``timeout`` seconds; the future goes on.
    """
    left = timeout
    while True:
        slice_ = _SLICE if left is None else min(_SLICE, left)
        done, _ = concurrent.futures.wait([future], slice_)
        if done:
            return future.result()
        if left is not None:
            left -= slice_
            if left <= 0:
                raise TimeoutError
