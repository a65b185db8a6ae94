"""Fixtures that all tests share."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NoReturn

import pytest

from avtomatika.testing import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    """Returns a clock that a test moves by hand."""
    return FakeClock()


@pytest.fixture
def missing_server() -> Callable[[str], NoReturn]:
    """Returns what a fixture calls when the server it needs is not there: skips at home, fails in CI.

    A test that is skipped everywhere proves nothing, and nobody notices.
    """

    def miss(reason: str) -> NoReturn:
        if os.environ.get("CI", "").lower() in {"1", "true"}:
            pytest.fail(f"{reason} In CI every server must be there.")
        pytest.skip(reason)

    return miss
