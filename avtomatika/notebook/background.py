"""The background loop: an event loop in a thread of its own, so that cells and server never block each other."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import logging
import threading
import time
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

from avtomatika.errors import AvtomatikaError

T = TypeVar("T")

log = logging.getLogger(__name__)

# An interrupt reaches the main thread only between waits: this is the longest that a person waits for it.
_SLICE = 0.25
_JOIN_SECONDS = 5.0


class BackgroundLoop:
    """An event loop that runs until it is stopped.

    Args:
        name: of the thread.
    """

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(_log_stray)
        self._is_stopping = False
        # An empty context: what a cell has set for itself, such as IPython's output streams, is not the server's.
        run = contextvars.Context().run
        self._thread = threading.Thread(target=run, args=(self._serve,), name=name, daemon=True)
        self._thread.start()

    @property
    def is_running(self) -> bool:
        """Whether it takes work."""
        return self._thread.is_alive() and not self._is_stopping

    def submit(self, work: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """Begins ``work`` in the background.

        Raises:
            AvtomatikaError: the loop is stopped.
        """
        try:
            if self.is_running:
                return asyncio.run_coroutine_threadsafe(work, self._loop)
        except RuntimeError:  # it was closed this very moment
            pass
        work.close()
        raise AvtomatikaError("the workbench is stopped, and its jobs with it. Workbench() makes a new one.")

    def call(self, work: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
        """Waits for ``work`` from another thread. An interrupt ends the wait and cancels the work.

        Raises:
            AvtomatikaError: the loop is stopped, or this is its own thread.
            TimeoutError: it took longer than ``timeout`` seconds.
        """
        try:
            self.check_caller()
        except AvtomatikaError:
            work.close()
            raise
        future = self.submit(work)
        try:
            is_done = self.wait(future, timeout)
        except BaseException:
            future.cancel()
            raise
        if not is_done:
            future.cancel()
            raise TimeoutError(
                f"the engine did not answer within {timeout:g} s. wb.logs() may say why; an async handler that blocks "
                "(time.sleep, a long computation) stops the engine: make it a plain def."
            )
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            raise AvtomatikaError("the workbench was stopped meanwhile. Workbench() makes a new one.") from None
        except AvtomatikaError as error:
            # Its sentence says everything: below the cell, the engine's own lines would only bury it.
            cause: BaseException | None = error
            while cause is not None:
                cause.__traceback__, cause = None, cause.__cause__
            raise

    def wait(self, future: concurrent.futures.Future[Any], timeout: float | None = None) -> bool:
        """Waits for a future in slices, so that an interrupt is noticed soon.

        Returns:
            Whether it is done; if not, ``timeout`` seconds have passed, and it goes on.

        Raises:
            AvtomatikaError: this is the loop's own thread.
        """
        self.check_caller()
        ends_at = None if timeout is None else time.monotonic() + timeout
        while True:
            left = _SLICE if ends_at is None else ends_at - time.monotonic()
            done, _ = concurrent.futures.wait([future], min(_SLICE, max(0.0, left)))
            if done or left <= 0:
                return bool(done)

    def check_caller(self) -> None:
        """Refuses to let the loop wait for itself, which would never end.

        Raises:
            AvtomatikaError: this is the loop's own thread.
        """
        if threading.current_thread() is self._thread:
            raise AvtomatikaError(
                "an async function that the workbench runs cannot wait for the workbench: both would wait for ever. "
                "Make it a plain def, which runs in a thread of its own, or use actions.run_blueprint."
            )

    async def cancel_others(self) -> None:
        """Cancels every task of the loop but the one that calls, and waits for them."""
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for other in others:
            other.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def stop(self) -> None:
        """Ends the loop and waits for its thread. Idempotent.

        Raises:
            AvtomatikaError: this is the loop's own thread.
        """
        self.check_caller()
        self._is_stopping = True
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(_JOIN_SECONDS)

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
            # Connections that were closed a moment ago let go of their sockets in the next round.
            self._loop.run_until_complete(asyncio.sleep(0))
            self._loop.close()


def _log_stray(_loop: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
    """Logs what nobody waits for; asyncio's own way would print it between the cells."""
    log.error("in the background: %s", context.get("message", "an error"), exc_info=context.get("exception"))
