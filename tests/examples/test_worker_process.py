"""The example worker_process: three programs that talk over HTTP."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "examples" / "worker_process"

pytestmark = pytest.mark.acceptance


def start(*command: str, **environment: str) -> subprocess.Popen[str]:
    """Starts a Python program in the folder of the example."""
    return subprocess.Popen(
        [sys.executable, *command],
        cwd=FOLDER,
        env={**os.environ, **environment},
        stderr=subprocess.PIPE,
        text=True,
    )


def stop(process: subprocess.Popen[str]) -> int:
    """Ends a program as a service manager does and returns its exit code."""
    process.terminate()
    process.communicate(timeout=30)
    return process.returncode


@pytest.fixture
def engine() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The engine on a free port, and its address as its log tells it."""
    process = start("-m", "avtomatika", "run", "texts:engine", "--port", "0")
    try:
        assert process.stderr is not None
        found = (re.search(r"the engine serves at (http://[\d.:]+)", line) for line in process.stderr)
        yield process, next(match[1] for match in found if match)
    finally:
        process.kill()
        process.communicate()


def test_text_is_counted_by_the_worker_process(engine: tuple[subprocess.Popen[str], str]) -> None:
    """The client gets the answer that the README shows, and both programs stop in good order."""
    process, url = engine
    worker = start("-m", "avtomatika.worker", "counter:worker", ORCHESTRATOR_URL=url, WORKER_ID="ada")
    try:
        client = subprocess.run(
            [sys.executable, "submit.py", url],
            check=False,
            cwd=FOLDER,
            input="one two\nthree\n",
            capture_output=True,
            text=True,
            timeout=60,
        )

        assert client.stdout == "finished {'words': 3, 'workers': ['ada']}\n", client.stderr
        assert f"`{client.stdout.strip()}`" in (FOLDER / "README.md").read_text()
        assert (stop(worker), stop(process)) == (0, 0)
    finally:
        worker.kill()
        worker.communicate()
