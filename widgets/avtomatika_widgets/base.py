"""What all live widgets share: one lock, questions from the browser, and a place for errors."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from avtomatika.notebook.desk import Desk
from avtomatika.notebook.gate import LIFETIME, answer
from avtomatika.notebook.theme import live_stylesheet

LOCK = threading.RLock()
"""Held by whoever touches a widget: ipywidgets keeps no order among threads, and the pump is another thread than the
one in which messages of the browser arrive. Never wait for the workbench's loop while holding it."""

_STATIC = Path(__file__).parent / "static"
_FIRST_HANDOVERS = 4


def script(draw: str, *files: str) -> str:
    """Returns the ES module of a widget.

    Args:
        draw: name of the function that returns its elements.
        files: where that function and those that it needs are, besides the shared ones.
    """
    parts = [(_STATIC / f"{name}.js").read_text(encoding="utf-8") for name in ("shared", *files)]
    return "\n".join([*parts, f"export default {{ render: (context) => mount(context, {draw}) }};\n"])


def styles() -> str:
    """Returns the style sheet of all widgets, with the colours of light and dark front ends."""
    return live_stylesheet() + (_STATIC / "styles.css").read_text(encoding="utf-8")


class LiveWidget(anywidget.AnyWidget):
    """A live view.

    Args:
        desk: of the workbench.

    Attributes:
        trouble: what went wrong with something that the person asked for; shown in the view.
    """

    _css = styles()

    trouble = traitlets.Unicode("").tag(sync=True)

    def __init__(self, desk: Desk, **members: Any) -> None:
        self._desk = desk
        self._view_id = uuid.uuid4().hex
        self._handovers = 0
        self._next_handover = 0.0
        self._shows = 0
        self._was_hidden = False
        with LOCK:
            super().__init__(**members)
            self.on_msg(self._on_message)
        desk.gate.open(self._view_id, self.ask)

    # --- what the outputs need (avtomatika.notebook.live.Live) ---

    @property
    def is_seen(self) -> bool:
        """Whether a front end shows it; taken for granted until one has said that it does not any more."""
        return self._shows > 0 or not self._was_hidden

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen."""
        return False

    def refresh(self) -> None:
        """Sends what has changed, and a capability from time to time."""
        model = self.model()
        with LOCK:
            if self.comm is None:
                return
            with self.hold_sync():
                for name, value in model.items():
                    if getattr(self, name) != value:
                        setattr(self, name, value)
            self._hand_over_capability()

    def model(self) -> Mapping[str, Any]:
        """Returns the values of traits as they should be now."""
        raise NotImplementedError

    def bundle(self) -> Mapping[str, Any]:
        """Returns the output that shows it live; other programs find the static form beside it."""
        with LOCK:
            shown = self._repr_mimebundle_()
        live = shown[0] if isinstance(shown, tuple) else shown
        return {**self.still(), **(live or {}), "text/plain": self.still()["text/plain"]}

    def still(self) -> Mapping[str, Any]:
        """Returns the static output that takes its place."""
        raise NotImplementedError

    def close(self) -> None:
        """Gives up its connection to the front end. Idempotent."""
        self._desk.gate.close(self._view_id)
        with LOCK:
            super().close()

    # --- what the browser says ---

    async def ask(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """Answers a question of the view; called in the workbench's loop."""
        raise NotImplementedError

    def _handle_msg(self, msg: Any) -> None:
        """Takes a message of the browser; it may come in any thread, depending on the kernel."""
        with LOCK:
            super()._handle_msg(msg)

    def _on_message(self, _widget: object, content: Mapping[str, Any], _buffers: object) -> None:
        match content:
            case {"kind": "shown"}:
                self._shows += 1
                self._next_handover, self._handovers = 0.0, 0
            case {"kind": "hidden"}:
                self._shows = max(0, self._shows - 1)
                self._was_hidden = True
                if not self.is_seen and self._desk.outputs.is_closed:
                    self.close()  # it stayed for a page that still showed it when the workbench was stopped
            case {"kind": "ask", "number": number, "ask": dict(question)}:
                # Only handed on: this may be a thread that must not wait, and answers take their time.
                self._desk.background.submit(self._reply(number, question))
            case _:
                pass

    async def _reply(self, number: object, question: Mapping[str, Any]) -> None:
        told = await answer(self.ask, question)
        with LOCK:
            if self.comm is not None:
                self.send({"kind": "answer", "number": number, "answer": told})

    def _hand_over_capability(self) -> None:
        """Sends a fresh capability in a message of its own: traits may be saved to disk.

        Often in the beginning, as a message that comes before the page is ready is lost, and whether one arrived cannot
        be said while a cell blocks.
        """
        now = time.monotonic()
        if now < self._next_handover:
            return
        self._handovers += 1
        self._next_handover = now + (0.5 if self._handovers <= _FIRST_HANDOVERS else LIFETIME / 4)
        secret = self._desk.gate.issue(self._view_id)
        self.send({"kind": "gate", "url": self._desk.gate_url, "view": self._view_id, "capability": secret})
