"""The example files: a table goes in, totals come out."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .programs import Example

pytestmark = pytest.mark.acceptance


def test_totals_of_the_table_are_those_of_the_readme(example: Callable[[str], Example]) -> None:
    """The client prints what the README says; the file that the result names is kept."""
    totals = example("files")
    totals.serve("avtomatika run")

    printed = totals.run("send.py")

    assert f"`{printed.strip()}`" in totals.readme
    assert [path.name for path in (totals.folder / "kept").rglob("*.*") if path.is_file()] == ["totals.json"]
