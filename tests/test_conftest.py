"""The rules that the tests themselves follow."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

import pytest

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
