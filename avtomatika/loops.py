"""The event loop of a program that has none yet, uvloop's where it is installed; and the rest of a server's process."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

try:
    import uvloop
except ModuleNotFoundError:  # the extra "speed"; there is no uvloop for Windows
    _new_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
else:
    _new_loop = uvloop.new_event_loop

T = TypeVar("T")

# So many objects more than before let Python look for unreachable ones. A request makes hundreds that go by themselves;
# at Python's own 700 every other request pays for a look that finds nothing.
_NEW_OBJECTS = 10_000


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


@contextlib.contextmanager
def rare_collections() -> Iterator[None]:
    """Lets Python collect garbage less often: for a process that serves, once everything is loaded.

    What is there at the start (modules, blueprints) stays until the end, so it is not looked through each time.
    """
    thresholds = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS, *thresholds[1:])
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()


def _is_running() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
