"""What the tests of the examples share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .programs import Example


@pytest.fixture
def example(tmp_path: Path) -> Iterator[Callable[[str], Example]]:
    """Returns what opens an example by the name of its folder; its programs end with the test."""
    opened: list[Example] = []

    def open_example(name: str) -> Example:
        opened.append(Example(name, tmp_path))
        return opened[-1]

    yield open_example
    for one in opened:
        one.close()
