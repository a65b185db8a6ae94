"""Each benchmark runs, and says what it measured; how fast is not asserted."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(module: str, *options: str) -> str:
    """Returns what a benchmark printed."""
    command = [sys.executable, "-m", f"benchmarks.{module}", *options]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("module", "options", "ratio"),
    [
        ("chain", ["--jobs", "3", "--rounds", "1", "--storage", "memory", "sqlite"], "times the bare loop"),
        ("claims", ["--workers", "2", "5", "--claims", "4", "--rounds", "1", "--storage", "memory"], "times the cost"),
        ("creation", ["--jobs", "4", "--lines", "2", "--rounds", "1", "--storage", "memory"], "of the bare server"),
        (
            "large_state",
            ["--jobs", "1", "--bytes", "300000", "--transitions", "2", "--rounds", "1", "--storage", "memory"],
            "times the time",
        ),
        (
            "round_trips",
            ["--tasks", "6", "--workers", "2", "--rounds", "1", "--fan-out", "1", "3", "--storage", "memory"],
            "of the bare server",
        ),
    ],
)
def test_benchmark_prints_setting_durability_and_ratio(module: str, options: list[str], ratio: str) -> None:
    """Versions, machine and load come first; each figure stands with its durability and its ratio in one line."""
    first, *lines = run(module, *options).splitlines()

    assert "Python" in first
    assert "load" in first
    assert lines
    for line in lines:
        assert "gone with the process" in line or "survives a power cut" in line
        assert ratio in line


def test_benchmark_of_storages_compares_them() -> None:
    """The backends stand beside each other."""
    text = run("storage", "--backends", "memory,sqlite", "--jobs", "2", "--steps", "3", "--rounds", "1")

    assert "times memory" in text
