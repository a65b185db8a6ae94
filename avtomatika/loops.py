"""The event loop of a program that has none yet: that of uvloop, where it is installed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

try:
    import uvloop
except ModuleNotFoundError:  # the extra "speed"; there is no uvloop for Windows
    _new_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
else:
    _new_loop = uvloop.new_event_loop

T = TypeVar("T")


def run(main: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine to its end in a new event loop, as ``asyncio.run`` does.

    Raises:
        RuntimeError: an event loop runs here already.
    """
    if _is_running():
        # Not refused: where nest_asyncio is in force, asyncio.run works inside a running loop.
        return asyncio.run(main)
    with asyncio.Runner(loop_factory=_new_loop) as runner:
        return runner.run(main)


def _is_running() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
