"""The example first_blueprint does what its README says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "examples" / "first_blueprint"


def run(*command: str) -> str:
    """Returns what a Python program prints that runs in the folder of the example."""
    ended = subprocess.run(
        [sys.executable, "-W", "error", *command], check=False, cwd=FOLDER, capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_program_prints_what_its_readme_says() -> None:
    """The two jobs end as the README says, line for line."""
    printed = run("loan.py").splitlines()

    assert printed == ["finished: {'pay_back': 2300.0}", "failed: {'reason': '50000 is above 10000'}"]
    assert all(f"`{line}`" in (FOLDER / "README.md").read_text() for line in printed)


def test_graph_command_of_readme_draws_all_states() -> None:
    """The graph is read from the example's handlers."""
    drawn = run("-m", "avtomatika", "graph", "loan:bp", "--format", "mermaid")

    assert drawn.startswith("stateDiagram-v2")
    assert all(f'state "{name}"' in drawn for name in ("check", "approved", "rejected"))
