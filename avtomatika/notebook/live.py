"""Live outputs: shown in a cell, kept up to date by one pump, and replaced by static HTML when they are over."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import logging
import sys
import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from avtomatika.errors import AvtomatikaError
from avtomatika.notebook.background import BackgroundLoop

PUMP_SECONDS = 0.15
"""Time between two looks: a change is seen soon, and hundreds of changes a second cost no more than seven."""
_REST_SECONDS = 1.0
"""The same while only frozen views are left, which wait for their page to let them go."""
_CLOSE_SECONDS = 5.0
_PACKAGES = ("ipywidgets", "anywidget", "avtomatika_widgets")

log = logging.getLogger(__name__)

Bundle = Mapping[str, Any]
"""One output by MIME type."""


class Live(Protocol):
    """A live view."""

    is_seen: bool
    """Whether a front end shows it; while none does, nothing is sent."""
    is_over: bool
    """Whether nothing more will happen, so that it can be frozen."""

    def refresh(self) -> None:
        """Sends what has changed to the front end; called by the pump alone."""
        ...

    def bundle(self) -> Bundle:
        """Returns the output that shows it live."""
        ...

    def still(self) -> Bundle:
        """Returns the static output that takes its place."""
        ...

    def close(self) -> None:
        """Gives up what it holds. Idempotent."""
        ...


class Screen(Protocol):
    """Where outputs appear."""

    def show(self, bundle: Bundle, display_id: str) -> None:
        """Shows an output in the running cell."""
        ...

    def replace(self, bundle: Bundle, display_id: str) -> None:
        """Replaces an output, in whichever cell it is."""
        ...


class CellScreen:
    """The cells of a notebook. May be used from any thread."""

    def show(self, bundle: Bundle, display_id: str) -> None:
        """Shows an output in the running cell."""
        from IPython.display import display  # noqa: PLC0415 - comes with the notebook, which is optional

        display(dict(bundle), raw=True, display_id=display_id)

    def replace(self, bundle: Bundle, display_id: str) -> None:
        """Replaces an output, in whichever cell it is."""
        from IPython.display import update_display  # noqa: PLC0415 - as above

        update_display(dict(bundle), raw=True, display_id=display_id)


def shows_widgets() -> bool:
    """Whether whoever runs this cell shows widgets.

    The packages must be there, and the cell must come from a front end with a person before it: those name the cell in
    their request. Papermill, nbclient and a terminal do not, and get everything static.
    """
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    kernel = getattr(shell, "kernel", None)
    if kernel is None or not all(importlib.util.find_spec(name) for name in _PACKAGES):
        return False
    request: Mapping[str, Any] = {}
    with contextlib.suppress(Exception):  # a kernel of another make knows no parent: then static is right
        request = kernel.get_parent("shell")
    return "cellId" in (request.get("metadata") or {})


@dataclass(slots=True)
class _Shown:
    """A live view and the output that it is in; once frozen it is kept until no front end shows it."""

    live: Live
    display_id: str
    is_frozen: bool = False


class Outputs:
    """The live outputs of a workbench.

    Args:
        background: the loop in which the pump runs.
        is_live: whether to show things live; None to see for each cell.
        screen: where outputs appear.

    Attributes:
        is_closed: whether everything was frozen for good.
    """

    def __init__(self, background: BackgroundLoop, is_live: bool | None = None, screen: Screen | None = None) -> None:
        self._background = background
        self._is_live = is_live
        self._screen = screen if screen is not None else CellScreen()
        self._shown: list[_Shown] = []
        self._lock = threading.Lock()
        self._is_pumping = False
        self.is_closed = False

    def are_live(self) -> bool:
        """Whether a view that is shown now would be live."""
        if self.is_closed or not self._background.is_running:
            return False
        return shows_widgets() if self._is_live is None else self._is_live

    def show(self, live: Live) -> None:
        """Shows a view in the running cell and keeps it up to date."""
        shown = _Shown(live, f"avtomatika-{uuid.uuid4().hex}")
        self._screen.show(live.bundle(), shown.display_id)
        with self._lock:
            self._shown.append(shown)
            must_start, self._is_pumping = not self._is_pumping, True
        if must_start:
            with contextlib.suppress(AvtomatikaError):  # stopped this very moment: close() freezes it
                self._background.submit(self._pump())

    def close(self) -> None:
        """Freezes everything that is shown. Idempotent."""
        self.is_closed = True
        with contextlib.suppress(AvtomatikaError, TimeoutError):
            # In the pump's own thread, so that the two never touch a view at the same time.
            self._background.call(self._freeze_all(), _CLOSE_SECONDS)

    async def _freeze_all(self) -> None:
        with self._lock:
            shown = list(self._shown)
            self._shown.clear()
        for one in shown:
            self._freeze(one)
            # What a front end still shows keeps its last state: closed, it would leave a hole in a page that was
            # loaded anew and so did not hear of the replacement.

    async def _pump(self) -> None:
        while True:
            with self._lock:
                shown = list(self._shown)
                if not shown:
                    self._is_pumping = False
                    return
            for one in shown:
                self._attend(one)
            await asyncio.sleep(_REST_SECONDS if all(one.is_frozen for one in shown) else PUMP_SECONDS)

    def _attend(self, one: _Shown) -> None:
        try:
            if one.is_frozen:
                if not one.live.is_seen:
                    self._let_go(one)
            elif one.live.is_over:
                self._freeze(one)
            elif one.live.is_seen:
                one.live.refresh()
        except Exception:  # one view in trouble must not stop the others
            log.exception("a live view could not be kept up to date", extra={"action": "view_failed"})
            self._let_go(one)

    def _freeze(self, one: _Shown) -> None:
        if one.is_frozen:
            return
        one.is_frozen = True
        with contextlib.suppress(Exception):  # the front end may be gone, with the kernel that is ending
            one.live.refresh()  # for pages that do not hear of the replacement
            self._screen.replace(one.live.still(), one.display_id)

    def _let_go(self, one: _Shown) -> None:
        with self._lock, contextlib.suppress(ValueError):
            self._shown.remove(one)
        one.live.close()
