"""Each benchmark runs, and says what it measured; how fast is not asserted."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.compare import JOBS, PEERS, Found, ratio, table
from tests.redis_server import RedisServer

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
        ("frames", ["--rows", "500", "--rounds", "1"], "times a bare read"),
        ("claims", ["--workers", "2", "5", "--claims", "4", "--rounds", "1", "--storage", "memory"], "times the cost"),
        ("creation", ["--jobs", "4", "--lines", "2", "--rounds", "1", "--storage", "memory"], "of the bare server"),
        (
            "large_state",
            ["--jobs", "1", "--bytes", "300000", "--transitions", "2", "--rounds", "1", "--storage", "memory"],
            "times the time",
        ),
        ("files", ["--bytes", "200000", "--store", "directory"], "of the file"),
        (
            "round_trips",
            [
                "--tasks",
                "6",
                "--workers",
                "2",
                "--rounds",
                "1",
                "--fan-out",
                "1",
                "3",
                "--like",
                "single",
                "batches",
                "--storage",
                "memory",
            ],
            "of the bare server",
        ),
        (
            "idle_workers",
            ["--workers", "3", "--seconds", "0.2", "--tasks", "3", "--storage", "memory"],
            "times the bare server's",
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


def test_comparison_does_every_job_and_draws(tmp_path: Path, redis_server: RedisServer) -> None:
    """This library alone, so that nothing is installed: each job has a rate, its ratio is 1, and there is a picture."""
    text = run("compare", "--rounds", "1", "--size", "0.02", "--only", "nobody", "--output", str(tmp_path))

    row = next(line for line in text.splitlines() if line.startswith("| avtomatika |"))
    assert row.count("/s, 1.00 |") == len(JOBS)
    assert "AOF everysec" in row
    assert json.loads((tmp_path / "peers.json").read_text())["rates"]["avtomatika"].keys() == JOBS.keys()
    assert row in (tmp_path / "peers.md").read_text()
    assert "<svg" in (tmp_path / "peers.svg").read_text()


def test_ratio_is_that_of_the_same_round() -> None:
    """A slow round of the machine slows both: the median of the rates would tell less than the median of the ratios."""
    found = {"avtomatika": Found(), "other": Found()}
    found["avtomatika"].rates["chain"] = [100.0, 10.0, 50.0]
    found["other"].rates["chain"] = [50.0, 5.0, 10.0]

    assert ratio(found, "other", "chain") == 0.5


def test_peer_that_fails_has_its_reason_in_the_table() -> None:
    """The others are compared all the same."""
    peers = [peer for peer in PEERS if peer.name in {"avtomatika", "Celery"}]
    found = {peer.name: Found({job: [1.0] for job in JOBS}) for peer in peers}
    found["Celery"].trouble = "failed with code 1; see celery.log"

    lines = table(peers, found).splitlines()

    assert lines[2].startswith("| avtomatika | 1.0/s, 1.00 |")
    assert lines[3].startswith("| Celery | failed with code 1; see celery.log |")


def test_versions_of_all_peers_are_pinned() -> None:
    """Each line of the pins names one version, and each peer has its program and its pins."""
    folder = ROOT / "benchmarks" / "peers"
    for peer in PEERS:
        assert (folder / peer.program).is_file()
        for pins in filter(None, (peer.pins, peer.worker_pins)):
            lines = (folder / f"{pins}.txt").read_text().splitlines()
            assert lines
            assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9._+-]+", line) for line in lines), pins
