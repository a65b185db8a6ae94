"""``python -m tests.simulation --seeds 1000-2000``: any number of runs, or one of them with its story."""

from __future__ import annotations

import argparse
import pickle
import sys
import time
from pathlib import Path

from .run import run
from .summary import Summary


def main() -> int:
    """Plays the runs and prints what came of them; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", default="0-2000", help="one seed, or FIRST-LAST without the last one")
    parser.add_argument("--trace", action="store_true", help="print the story of each run")
    parser.add_argument("--save", type=Path, help="write the summary to this file, for the tests")
    given = parser.parse_args()
    first, _, last = given.seeds.partition("-")
    seeds = range(int(first), int(last) if last else int(first) + 1)
    began, summary = time.process_time(), Summary()
    for seed in seeds:
        report = run(seed, trace=given.trace)
        summary.add(report)
        if report.violations:
            print(report)
        elif given.trace:
            print(report.story)
    print(summary)
    if given.save is not None:
        given.save.write_bytes(pickle.dumps(summary))
    print(f"{(time.process_time() - began) / len(seeds) * 1000:.0f} ms of processor time a run")
    return 1 if summary.broken else 0


if __name__ == "__main__":
    sys.exit(main())
