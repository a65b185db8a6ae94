"""``python -m tests.security``: breaks one guard after another in a copy of the tree, and sees a test fail each time.

``guards.toml`` lists them. Numbers choose some of them: ``python -m tests.security 7 12``.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
_PARTS = ("avtomatika", "widgets", "tests", "docs", "pyproject.toml")
# How long tests may go on when a guard is broken, seconds: what should have been refused may hang for ever.
_PATIENCE = 300


def main() -> int:
    """Breaks the guards and prints what came of it; returns 1 if no test noticed one, or one is not where it was."""
    parser = argparse.ArgumentParser(prog="python -m tests.security", description=__doc__)
    parser.add_argument("numbers", nargs="*", type=int, help="guards of the list, from 0; all if left out")
    given = parser.parse_args()
    guards = tomllib.loads((ROOT / "tests/security/guards.toml").read_text())["guard"]
    unnoticed = 0
    with tempfile.TemporaryDirectory(prefix="avtomatika-guards-") as folder:
        copy = _copy(Path(folder))
        for number in given.numbers or range(len(guards)):
            guard = guards[number]
            verdict = _try(copy, guard)
            unnoticed += verdict != "noticed"
            print(f"{number:4} {verdict:10} {guard['file']}: {' '.join(guard['line'].split())[:90]}", flush=True)
    print(f"{unnoticed} of {len(given.numbers or guards)} guards could be broken without a test that fails")
    return 1 if unnoticed else 0


def _copy(folder: Path) -> Path:
    for name in _PARTS:
        place = ROOT / name
        if place.is_dir():
            shutil.copytree(place, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.db"))
        elif place.exists():
            shutil.copy(place, folder / name)
    return folder


def _try(copy: Path, guard: dict[str, Any]) -> str:
    """Returns whether a test noticed that the guard was broken."""
    path = copy / "avtomatika" / guard["file"]
    whole = path.read_text()
    if guard["line"] not in whole:
        return "not there"
    environment = {**os.environ, "PYTHONPATH": f"{copy}{os.pathsep}{copy / 'widgets'}"}
    options = ("-x", "-q", "-n", "0", "-p", "no:cacheprovider", "--timeout", "30")
    path.write_text(whole.replace(guard["line"], guard["broken"], 1))
    try:
        ended = subprocess.run(
            [sys.executable, "-m", "pytest", *options, *guard["tests"]],
            check=False,
            cwd=copy,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PATIENCE,
        )
    except subprocess.TimeoutExpired:
        return "noticed"
    finally:
        path.write_text(whole)
    return {0: "UNNOTICED", 1: "noticed"}.get(ended.returncode, f"code {ended.returncode}")


if __name__ == "__main__":
    sys.exit(main())
