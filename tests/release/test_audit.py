"""The audit: fails for a known vulnerability, and for nothing else."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from release.audit import audit

GOOD = {"name": "yarl", "version": "1.0", "vulns": []}
BAD = {"name": "idna", "version": "3.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["3.7"]}]}
UNKNOWN = {"name": "yarl", "skip_reason": "yarl (1.0) could not be audited"}
# Answers as pip-audit does, from a file: by service, one answer for each call. It writes down what it was asked.
PROGRAM = """
import json, pathlib, sys
folder = pathlib.Path(sys.argv[1])
option = lambda name: sys.argv[sys.argv.index(name) + 1]
service, asked = option("--vulnerability-service"), pathlib.Path(option("--requirement")).read_text().split()
with (folder / "asked").open("a") as file:
    file.write(f"{service} {len(asked)} {'--ignore-vuln' in sys.argv}\\n")
answers = json.loads((folder / "answers.json").read_text())
if service not in answers:
    sys.exit("cannot resolve the host")
known = {one["name"]: one for one in answers[service]}
print(json.dumps({"dependencies": [known[pin.partition("==")[0]] for pin in asked]}))
sys.exit(any(one.get("vulns") for one in known.values()))
"""


@pytest.fixture
def answering(tmp_path: Path) -> Callable[..., list[str]]:
    """Returns what makes a program that answers like pip-audit, for each service with these packages."""

    def make(**answers: list[dict[str, Any]]) -> list[str]:
        (tmp_path / "answers.json").write_text(json.dumps(answers))
        (tmp_path / "program.py").write_text(PROGRAM)
        return [sys.executable, str(tmp_path / "program.py"), str(tmp_path)]

    return make


PINS: Sequence[str] = ("yarl==1.0", "idna==3.0")


def test_known_vulnerability_fails_and_is_named(
    answering: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    """With the version that mends it."""
    assert audit(answering(pypi=[GOOD, BAD]), PINS) == 1

    printed = capsys.readouterr().out
    assert "idna 3.0: PYSEC-1; mended in: 3.7" in printed
    assert "2 packages audited, 1 vulnerabilities" in printed


def test_packages_without_vulnerabilities_pass(answering: Callable[..., list[str]], tmp_path: Path) -> None:
    """One service is enough; what is accepted is passed on."""
    assert audit(answering(pypi=[GOOD, {**GOOD, "name": "idna"}]), PINS, ["PYSEC-1"]) == 0

    assert (tmp_path / "asked").read_text().splitlines() == ["pypi 1 True", "pypi 2 True"]


def test_index_that_knows_nothing_is_not_taken_for_a_clean_bill(
    answering: Callable[..., list[str]], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """pip-audit calls that "no known vulnerabilities"; here the next service is asked, and it knows."""
    assert audit(answering(pypi=[UNKNOWN], osv=[GOOD, BAD]), PINS) == 1

    assert "pypi does not answer: yarl (1.0) could not be audited" in capsys.readouterr().out
    assert (tmp_path / "asked").read_text().splitlines() == ["pypi 1 False", "osv 1 False", "osv 2 False"]


def test_missing_network_passes_and_says_that_nothing_was_audited(
    answering: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    """It is no fault of the code."""
    assert audit(answering(), PINS) == 0

    printed = capsys.readouterr().out
    assert "osv does not answer: cannot resolve the host" in printed
    assert "NOT AUDITED" in printed
