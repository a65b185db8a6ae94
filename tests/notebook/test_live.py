"""Live outputs: kept up to date by one pump, frozen when they are over."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from avtomatika.notebook import live as live_module
from avtomatika.notebook.background import BackgroundLoop
from avtomatika.notebook.live import Outputs, shows_widgets


class Screen:
    """Remembers what was shown; ``heard`` is set by every change."""

    def __init__(self) -> None:
        self.outputs: dict[str, list[Any]] = {}
        self.replaced = threading.Event()

    def show(self, bundle: Mapping[str, Any], display_id: str) -> None:
        """Shows one."""
        self.outputs[display_id] = [dict(bundle)]

    def replace(self, bundle: Mapping[str, Any], display_id: str) -> None:
        """Replaces it."""
        self.outputs[display_id].append(dict(bundle))
        self.replaced.set()


class View:
    """A live view that counts what is done with it."""

    def __init__(self) -> None:
        self.is_seen, self.is_over, self.is_broken = True, False, False
        self.refreshed, self.closed = threading.Event(), threading.Event()
        self.refreshes = 0

    def refresh(self) -> None:
        """Counts."""
        self.refreshes += 1
        self.refreshed.set()
        if self.is_broken:
            raise RuntimeError("oops")

    def bundle(self) -> dict[str, Any]:
        """Is live."""
        return {"text/plain": "live"}

    def still(self) -> dict[str, Any]:
        """Is static."""
        return {"text/plain": "still"}

    def close(self) -> None:
        """Tells."""
        self.closed.set()


@pytest.fixture
def background(monkeypatch: pytest.MonkeyPatch) -> Iterator[BackgroundLoop]:
    """A loop for the pump, which does not let a test wait."""
    monkeypatch.setattr(live_module, "PUMP_SECONDS", 0.001)
    monkeypatch.setattr(live_module, "_REST_SECONDS", 0.001)
    loop = BackgroundLoop("test")
    yield loop
    loop.stop()


@pytest.fixture
def screen() -> Screen:
    """Where the outputs appear."""
    return Screen()


@pytest.fixture
def outputs(background: BackgroundLoop, screen: Screen) -> Outputs:
    """Outputs that are live."""
    return Outputs(background, is_live=True, screen=screen)


def _next_refresh(view: View) -> None:
    view.refreshed.clear()
    assert view.refreshed.wait(10)


def test_shown_view_is_kept_up_to_date_and_frozen_when_over(outputs: Outputs, screen: Screen) -> None:
    """The output is live first and static in the end; the view is let go when its page has let it go."""
    view = View()

    outputs.show(view)
    _next_refresh(view)
    view.is_over = True

    assert screen.replaced.wait(10)
    assert list(screen.outputs.values()) == [[{"text/plain": "live"}, {"text/plain": "still"}]]
    assert not view.closed.is_set()
    view.is_seen = False
    assert view.closed.wait(10)


def test_view_that_nobody_sees_is_not_refreshed(outputs: Outputs) -> None:
    """What was cleared away costs nothing, and comes back when it is seen again."""
    hidden, seen = View(), View()
    hidden.is_seen = False

    outputs.show(hidden)
    outputs.show(seen)
    _next_refresh(seen)
    _next_refresh(seen)

    assert hidden.refreshes == 0
    hidden.is_seen = True
    _next_refresh(hidden)


def test_view_in_trouble_does_not_stop_the_others(outputs: Outputs) -> None:
    """The pump goes on without it."""
    broken, sound = View(), View()
    broken.is_broken = True

    outputs.show(broken)
    outputs.show(sound)

    assert broken.closed.wait(10)
    _next_refresh(sound)


def test_close_freezes_everything_and_shows_nothing_live_any_more(outputs: Outputs, screen: Screen) -> None:
    """After a stop, a saved notebook has the last state of all."""
    views = [View(), View()]
    for view in views:
        outputs.show(view)

    outputs.close()
    outputs.close()

    assert [shown[-1] for shown in screen.outputs.values()] == [{"text/plain": "still"}] * 2
    assert not outputs.are_live()


def test_pump_ends_with_its_last_view_and_begins_again(outputs: Outputs) -> None:
    """No task is left behind, and a later view is served, too."""
    for _ in range(3):
        view = View()
        outputs.show(view)
        _next_refresh(view)
        view.is_over, view.is_seen = True, False
        assert view.closed.wait(10)


def test_screen_that_is_gone_does_no_harm(outputs: Outputs, screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    """The front end may have left before the kernel."""

    def fail(bundle: Mapping[str, Any], display_id: str) -> None:
        raise OSError("no front end")

    outputs.show(View())
    monkeypatch.setattr(screen, "replace", fail)

    outputs.close()


def test_plain_program_shows_nothing_live(background: BackgroundLoop) -> None:
    """Without a front end that names its cells, everything is static."""
    assert not shows_widgets()
    assert not Outputs(background).are_live()


class Kernel:
    """A kernel whose cells come from somebody."""

    def __init__(self, metadata: Mapping[str, Any]) -> None:
        self.metadata = metadata

    def get_parent(self, _channel: str) -> dict[str, Any]:
        """Returns the request of the running cell."""
        return {"metadata": self.metadata}


@pytest.mark.parametrize(
    ("metadata", "missing", "is_live"),
    [({"cellId": "a"}, "", True), ({}, "", False), ({"cellId": "a"}, "anywidget", False)],
)
def test_cell_is_live_where_a_front_end_names_it_and_widgets_are_installed(
    monkeypatch: pytest.MonkeyPatch, metadata: Mapping[str, Any], missing: str, is_live: bool
) -> None:
    """JupyterLab and VS Code name the cell, papermill and nbclient do not."""
    import IPython  # noqa: PLC0415 - the fake shell is put into it

    class Shell:
        kernel = Kernel(metadata)

    monkeypatch.setattr(IPython, "get_ipython", Shell)
    find = live_module.importlib.util.find_spec
    monkeypatch.setattr(live_module.importlib.util, "find_spec", lambda name: None if name == missing else find(name))

    assert shows_widgets() is is_live
