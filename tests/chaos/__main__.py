"""``python -m tests.chaos --minutes 30``: kills processes for as long as wanted, and counts what is left."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time

from .trial import Trial, folder_for_trial


def main() -> int:
    """Runs one trial and prints its report; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--storage", choices=("redis", "sqlite"), default="redis", help="where jobs are kept")
    parser.add_argument("--minutes", type=float, default=5.0, help="how long to kill")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="decides who is killed when")
    given = parser.parse_args()
    print(f"storage {given.storage}, seed {given.seed}, {given.minutes:g} minutes", flush=True)
    with folder_for_trial() as folder:
        trial = Trial(given.storage, folder, jobs=0, kills=1, seconds=given.minutes * 60, seed=given.seed)
        report = asyncio.run(trial.run())
    print(report)
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main())
