"""Files that change while the engine runs."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from avtomatika.errors import ConfigError
from avtomatika.runtime.file_watch import FileWatch
from avtomatika.testing import FakeClock


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file that exists."""
    path = tmp_path / "some.toml"
    path.write_text("one")
    return path


async def test_changed_file_is_read_again_once(path: Path, clock: FakeClock) -> None:
    """Within seconds, and not again until it changes again."""
    read: list[str] = []
    watch = FileWatch(clock)
    watch.add([path], lambda: read.append(path.read_text()))
    watch.start()

    await clock.advance(4)
    path.write_text("other")  # noqa: ASYNC240 - a few bytes
    await clock.advance(4)
    await watch.stop()

    assert read == ["other"]


def test_replaced_file_of_the_same_size_and_moment_is_noticed(path: Path, clock: FakeClock) -> None:
    """Editors and orchestrators put another file in the place of the old one."""
    read: list[str] = []
    watch = FileWatch(clock)
    watch.add([path], lambda: read.append(path.read_text()))
    new = path.with_name("new")
    new.write_text("two")
    os.utime(new, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))

    new.replace(path)
    watch.look()

    assert read == ["two"]


def test_file_that_is_gone_is_waited_for(path: Path, clock: FakeClock) -> None:
    """A file that vanishes for a moment takes nothing away."""
    read: list[str] = []
    watch = FileWatch(clock)
    watch.add([path], lambda: read.append(path.read_text()))

    path.unlink()
    watch.look()
    path.write_text("back")
    watch.look()

    assert read == ["back"]


def test_broken_file_is_logged_and_watched_further(
    path: Path, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The engine goes on with what it has, and says why; when the file is mended, it is taken."""
    read: list[str] = []

    def reload() -> None:
        if path.read_text() == "broken":
            raise ConfigError("line 1: this is broken.")
        read.append(path.read_text())

    watch = FileWatch(clock)
    watch.add([path, ""], reload)
    path.write_text("broken")
    with caplog.at_level(logging.ERROR):
        watch.look()
    path.write_text("mended")
    watch.look()

    assert read == ["mended"]
    assert "nothing is changed: line 1: this is broken." in caplog.text
