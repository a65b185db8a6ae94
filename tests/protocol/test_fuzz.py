"""The decoders take whatever comes: a bounded run of a fuzzer that is guided by which lines it reaches."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
RUNS = 20_000


@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris has no wheel for this interpreter")
def test_decoders_of_whatever_bytes_raise_protocol_errors_only(tmp_path: Path) -> None:
    """From the pinned messages on, twenty thousand variations; the seed is fixed, so that a red run can be repeated."""
    command = [HERE / "fuzz_program.py", f"-runs={RUNS}", "-seed=1", "-max_len=4096", "-print_final_stats=0"]

    done = subprocess.run(
        [sys.executable, *command, f"-artifact_prefix={tmp_path}/", tmp_path, HERE / "golden"],
        check=False,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr[-4000:]
