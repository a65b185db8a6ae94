"""Unmodified workers of the published SDK, one release of each generation, keep every promise."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from . import environments
from .matrix import try_releases
from .promises import PROMISES
from .releases import ALL, GENERATIONS

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "published-workers.md"


@pytest.mark.acceptance
@pytest.mark.timeout(600)  # the first run installs seven releases
async def test_published_workers_of_each_generation_keep_every_promise(
    tmp_path: Path, missing_server: Callable[[str], NoReturn]
) -> None:
    """All at the same time against one engine, which is stopped twice; see ``promises`` for what is tried."""
    try:
        environments.interpreters([release.name for release in GENERATIONS])
    except subprocess.CalledProcessError as error:
        missing_server(f"the published SDK cannot be installed: {error}.")

    matrix = await try_releases(GENERATIONS, tmp_path)

    assert not matrix.faults, "\n".join([matrix.table(), *matrix.faults])
    assert len(matrix.marks) == len(GENERATIONS) * len(PROMISES)


def test_page_of_published_workers_has_every_release_and_promise() -> None:
    """The table of the manual was printed by the command, after the last promise was added."""
    page = PAGE.read_text(encoding="utf-8")

    assert f"| release | generation | {' | '.join(PROMISES)} |" in page
    rows = [line for line in page.splitlines() if line.startswith("| `1.0b")]
    assert [row.split("`")[1] for row in rows] == [release.name for release in ALL]
    assert not any("✗" in row or "|  |" in row for row in rows)
