"""The simulation: thousands of schedules with faults, and no promise broken."""

from __future__ import annotations

import itertools
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from .faults import KINDS
from .run import run
from .summary import Summary

IN_CI = os.environ.get("CI", "").lower() in {"1", "true"}
SEEDS = int(os.environ.get("SIMULATION_SEEDS", "2000" if IN_CI else "200"))
PROCESSES = (os.cpu_count() or 1) if IN_CI else 1
ROOT = Path(__file__).parents[2]
# Below this a kind of fault is too rare to prove anything; for each thousand runs.
RARELY = 30

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def summary(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    """What came of all runs; ``SIMULATION_SEEDS`` says how many.

    They run in processes of their own: with the coverage of a test run they would take several times as long.
    """
    folder = tmp_path_factory.mktemp("simulation")
    bounds = [SEEDS * part // PROCESSES for part in range(PROCESSES + 1)]
    summary = Summary()
    parts = []
    for first, last in itertools.pairwise(bounds):
        saved = folder / f"{first}.pickle"
        command = [sys.executable, "-m", "tests.simulation", "--seeds", f"{first}-{last}", "--save", str(saved)]
        parts.append((subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL), saved))
    for process, saved in parts:
        assert process.wait() in {0, 1}
        summary.join(pickle.loads(saved.read_bytes()))
    print(summary)
    return summary


def test_runs_with_any_faults_break_no_promise(summary: Summary) -> None:
    """Nothing acknowledged is lost, nothing counts twice, every job ends as it may; else the story is told."""
    assert not summary.broken, str(summary.broken[0])


def test_every_kind_of_fault_strikes_often_enough(summary: Summary) -> None:
    """A fault that never strikes proves nothing."""
    rare = {kind: summary.fired[kind] for kind in KINDS if summary.fired[kind] * 1000 < RARELY * SEEDS}

    assert not rare


def test_calls_outside_fault_windows_succeed(summary: Summary) -> None:
    """An engine that only waits for the end of all faults would break no promise either."""
    assert summary.success >= 0.95
    assert summary.calls > 20 * SEEDS


def test_jobs_end_in_every_way_and_mostly_well(summary: Summary) -> None:
    """All ways to end occur, and most jobs that may finish do."""
    jobs = sum(summary.statuses.values())

    assert set(summary.statuses) == {"finished", "failed", "quarantined", "cancelled"}
    assert summary.statuses["finished"] > jobs / 2
    assert summary.poisoned <= jobs / 200


def test_same_seed_tells_the_same_story() -> None:
    """A failure can be replayed: the story depends on nothing but the seed, not even on the hashes of strings."""
    stories = {_story_with_hash_seed(hash_seed) for hash_seed in ("1", "2")}

    assert stories == {run(9, trace=True).story + "\n" + run(10, trace=True).story}


def _story_with_hash_seed(hash_seed: str) -> str:
    script = (
        "from tests.simulation.run import run\n"
        "print(run(9, trace=True).story + '\\n' + run(10, trace=True).story, end='')"
    )
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    told = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    return told.stdout
