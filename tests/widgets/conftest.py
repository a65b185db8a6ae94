"""A fake front end: what widgets send is kept, and the test speaks for the browser."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

pytest.importorskip("anywidget")

import comm

from avtomatika import StateMachineBlueprint
from avtomatika.notebook import Workbench
from tests import flows


class FakeComm:
    """One widget's connection to the front end."""

    def __init__(self, target_name: str = "", data: Any = None, metadata: Any = None, **_: Any) -> None:
        self.comm_id = f"comm-{id(self)}"
        self.sent: list[dict[str, Any]] = [data] if data is not None else []
        self.closed = threading.Event()
        self.arrived = threading.Condition()
        self._hear: Callable[[Any], None] = lambda message: None

    def send(self, data: Any = None, metadata: Any = None, buffers: Any = None) -> None:
        """Keeps a message; two that are sent at the same time would be a race."""
        with self.arrived:
            self.sent.append(data)
            self.arrived.notify_all()

    def close(self, *_: Any, **__: Any) -> None:
        """Takes note."""
        self.closed.set()

    def on_msg(self, hear: Callable[[Any], None]) -> None:
        """Sets who hears the browser."""
        self._hear = hear

    def on_close(self, _hear: object) -> None:
        """The browser never closes it."""

    def say(self, content: Mapping[str, Any]) -> None:
        """Says something as the view's script does."""
        self._hear({"content": {"data": {"method": "custom", "content": dict(content)}}, "buffers": []})

    def set(self, **state: Any) -> None:
        """Sets traits as the view's script does."""
        self._hear({"content": {"data": {"method": "update", "state": state, "buffer_paths": []}}, "buffers": []})

    def custom(self, kind: str) -> list[dict[str, Any]]:
        """Returns the custom messages of a kind."""
        with self.arrived:
            return [m["content"] for m in self.sent if m.get("method") == "custom" and m["content"]["kind"] == kind]

    def wait_for(self, kind: str) -> dict[str, Any]:
        """Returns the newest custom message of a kind, waiting for the first one."""
        with self.arrived:
            assert self.arrived.wait_for(lambda: self.custom(kind), 10), f"no message {kind}"
        return self.custom(kind)[-1]

    def state(self) -> dict[str, Any]:
        """Returns the traits as the front end has them."""
        state: dict[str, Any] = {}
        with self.arrived:
            for message in self.sent:
                state.update(message.get("state") or {})
        return state


@pytest.fixture(autouse=True)
def comms(monkeypatch: pytest.MonkeyPatch) -> list[FakeComm]:
    """The connections that were opened."""
    opened: list[FakeComm] = []

    def create(**options: Any) -> FakeComm:
        opened.append(FakeComm(**options))
        return opened[-1]

    monkeypatch.setattr(comm, "create_comm", create)
    return opened


class FakeScreen:
    """The cells."""

    def __init__(self) -> None:
        self.outputs: dict[str, list[dict[str, Any]]] = {}
        self.frozen = threading.Event()

    def show(self, bundle: Mapping[str, Any], display_id: str) -> None:
        """Shows an output."""
        self.outputs[display_id] = [dict(bundle)]

    def replace(self, bundle: Mapping[str, Any], display_id: str) -> None:
        """Replaces an output."""
        self.outputs[display_id].append(dict(bundle))
        self.frozen.set()


@pytest.fixture
def screen() -> FakeScreen:
    """Where outputs appear."""
    return FakeScreen()


@pytest.fixture
def workbench(screen: FakeScreen) -> Iterator[Workbench]:
    """A workbench whose outputs are live."""
    with Workbench(live=True) as bench:
        bench._desk.outputs._screen = screen
        yield bench


@pytest.fixture
def patient() -> StateMachineBlueprint:
    """A blueprint whose jobs wait for a worker that can do ``shout``."""
    return flows.patient()
