"""``python -m tests.acceptance.sdk_matrix --all`` tries all published releases and prints a table in Markdown."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from .matrix import Matrix, try_releases
from .releases import ALL, GENERATIONS, Release

_AT_ONCE = 7
"""Releases that run at the same time; each has two to four processes."""


def main() -> int:
    """Prints the table, and what went wrong to standard error; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.acceptance.sdk_matrix", description=__doc__)
    parser.add_argument("--all", action="store_true", help="all releases; else one of each generation")
    parser.add_argument("releases", nargs="*", help="only these, such as 1.0b5")
    options = parser.parse_args()
    chosen = [Release(int(name.rpartition("b")[2])) for name in options.releases]
    releases = chosen or list(ALL if options.all else GENERATIONS)
    matrix = Matrix(())
    for start in range(0, len(releases), _AT_ONCE):
        some = releases[start : start + _AT_ONCE]
        sys.stderr.write(f"trying {', '.join(release.name for release in some)} ...\n")
        with tempfile.TemporaryDirectory(prefix="sdk-matrix-") as home:
            matrix.join(asyncio.run(try_releases(some, Path(home))))
    sys.stdout.write(matrix.table())
    sys.stderr.writelines(matrix.faults)
    return 1 if matrix.faults else 0


if __name__ == "__main__":
    sys.exit(main())
