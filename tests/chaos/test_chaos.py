"""Chaos: processes die at random and at named points, and nothing that was acknowledged is lost or done twice."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from tests.redis_server import find_program

from .trial import RESUMES_WITHIN, Trial

IN_CI = os.environ.get("CI", "").lower() in {"1", "true"}

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(900)]


async def test_redis_and_its_engines_are_killed_and_nothing_is_lost(
    tmp_path: Path, missing_server: Callable[[str], NoReturn]
) -> None:
    """Two engines, three workers and a Redis die again and again; every job ends once, as it should."""
    if find_program() is None:
        missing_server("Redis is not installed (Debian: apt-get install redis-server).")
    jobs, kills = (5_000, 50) if IN_CI else (300, 5)

    report = await Trial("redis", tmp_path, jobs=jobs, kills=kills).run()

    print(report)
    assert not report.faults, str(report)
    assert (report.jobs >= jobs, report.kills >= kills) == (True, True)
    assert max(report.resumed) <= RESUMES_WITHIN


async def test_engines_on_a_file_are_killed_and_nothing_is_lost(tmp_path: Path) -> None:
    """Two engines that share a SQLite file, and their workers, die again and again; every job ends once."""
    jobs, kills = (1_000, 10) if IN_CI else (200, 4)

    report = await Trial("sqlite", tmp_path, jobs=jobs, kills=kills).run()

    print(report)
    assert not report.faults, str(report)
    assert (report.jobs >= jobs, report.kills >= kills) == (True, True)
    assert max(report.resumed) <= RESUMES_WITHIN
