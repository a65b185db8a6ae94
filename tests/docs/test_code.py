"""The code in the manual runs, and prints what the manual says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

NOT_RUN = {
    "docs/howto/run-notebooks.md": "starts a kernel, as the test of examples/notebook_task does",
    "docs/howto/workers.md": "the same",
}


def _program(page: Any) -> str:
    """Returns the Python of a page as one program in which every line has the number that it has in the page."""
    lines: list[str] = []
    for block in page.blocks:
        if block.language == "python":
            lines += [""] * (block.first_line - 1 - len(lines))
            lines += block.text.splitlines()
    return "\n".join(lines) + "\n"


def test_code_of_page_runs_and_prints_what_the_page_shows(code_page: Any, tmp_path: Path) -> None:
    """The Python blocks of a page are one program; its ``text`` blocks are what it prints."""
    program = tmp_path / f"{code_page.path.stem.replace('-', '_')}_page.py"
    program.write_text(_program(code_page), encoding="utf-8")

    ended = subprocess.run(
        [sys.executable, "-W", "error", program],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
        env={key: value for key, value in os.environ.items() if not key.startswith(("COV_", "PYTEST"))},
    )

    assert ended.returncode == 0, f"{code_page.name} (the line numbers are those of the page):\n{ended.stderr}"
    assert ended.stdout.strip() == code_page.printed.strip()


def test_python_that_is_not_run_here_is_run_elsewhere(pages: dict[str, Any]) -> None:
    """A ``py`` block is left out of the program of its page for a reason, and is Python all the same."""
    blocks = {name: [block for block in page.blocks if block.language == "py"] for name, page in pages.items()}

    assert {name for name, found in blocks.items() if found} == set(NOT_RUN)
    for name in NOT_RUN:
        for block in blocks[name]:
            compile(block.text, name, "exec")


def test_json_of_page_can_be_parsed(page: Any) -> None:
    """A ``json`` block is JSON."""
    for block in page.blocks:
        if block.language == "json":
            json.loads(block.text)


def test_runner_notices_code_that_fails_and_output_that_differs(tmp_path: Path, pages: dict[str, Any]) -> None:
    """The check itself can fail: an exception is told with its line in the page, and so is a wrong output."""
    page = type(pages["README.md"])(tmp_path / "page.md")

    page.path.write_text("Prose.\n\n```python\n1 / 0\n```\n", encoding="utf-8")
    with pytest.raises(AssertionError, match="line 4"):
        test_code_of_page_runs_and_prints_what_the_page_shows(page, tmp_path)

    page.path.write_text("```python\nprint('a')\n```\n\n```text\nb\n```\n", encoding="utf-8")
    with pytest.raises(AssertionError):
        test_code_of_page_runs_and_prints_what_the_page_shows(page, tmp_path)
