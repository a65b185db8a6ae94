"""The rules that the tests themselves follow."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NoReturn

import pytest
from hypothesis import HealthCheck, settings

Miss = Callable[[str], NoReturn]


def test_missing_server_at_home_skips(missing_server: Miss, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has no Redis can run the tests all the same."""
    monkeypatch.delenv("CI", raising=False)

    with pytest.raises(pytest.skip.Exception, match="no Redis"):
        missing_server("no Redis.")


def test_missing_server_in_ci_fails(missing_server: Miss, monkeypatch: pytest.MonkeyPatch) -> None:
    """In CI nothing is skipped for want of a server."""
    monkeypatch.setenv("CI", "true")

    with pytest.raises(pytest.fail.Exception, match=r"no Redis\. In CI every server must be there"):
        missing_server("no Redis.")


def test_examples_in_ci_are_the_same_every_time() -> None:
    """In CI no test fails by chance or by the clock, and a failure says how to repeat it."""
    profile = settings.get_profile("ci")

    assert profile.derandomize
    assert profile.deadline is None
    assert profile.print_blob
    assert HealthCheck.too_slow in profile.suppress_health_check
    assert settings.get_current_profile_name() == "ci" or not os.environ.get("CI")
