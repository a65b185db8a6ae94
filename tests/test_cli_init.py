"""A new project: it works as it was made, and nothing that was there is touched."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from avtomatika.cli import main


def init(monkeypatch: pytest.MonkeyPatch, folder: Path) -> int:
    """Runs the command and returns its exit code."""
    monkeypatch.setattr(sys, "argv", ["avtomatika", "init", str(folder)])
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0)


def test_new_project_passes_its_own_tests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the command makes works before anybody has changed a line."""
    folder = tmp_path / "words"

    assert init(monkeypatch, folder) == 0

    tests = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-W", "error"]
    ended = subprocess.run(tests, cwd=folder, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "2 passed" in ended.stdout


def test_new_project_passes_its_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine of the project has its blueprint, under the name of the project."""
    folder = tmp_path / "two-words"
    init(monkeypatch, folder)

    check = [sys.executable, "-m", "avtomatika", "check", "engine:engine"]
    ended = subprocess.run(check, cwd=folder, capture_output=True, text=True, check=False)

    assert ended.returncode == 0, ended.stderr
    assert "1 blueprint: two-words" in ended.stdout


def test_notebook_and_readme_of_a_new_project_bear_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No placeholder is left, and the cells are Python."""
    folder = tmp_path / "words"
    init(monkeypatch, folder)

    cells = json.loads((folder / "notebook.ipynb").read_text())["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    for cell in code:
        compile(cell, "cell", "exec")
    assert any('wb.submit("words"' in cell for cell in code)
    readme = (folder / "README.md").read_text()
    assert readme.startswith("# words\n")
    assert len(readme.splitlines()) == 10
    assert not [path for path in folder.rglob("*.*") if path.is_file() and "{{" in path.read_text()]


def test_folder_with_something_in_it_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody loses a file by making a project in the wrong place."""
    (tmp_path / "worker.py").write_text("mine")

    assert init(monkeypatch, tmp_path) == 2

    assert "not an empty folder" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["worker.py"]
    assert (tmp_path / "worker.py").read_text() == "mine"


@pytest.mark.parametrize("name", ["2nd", "a b", "dots.in.it", "ä"])
def test_name_that_is_no_endpoint_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The name becomes that of the blueprint and part of an address."""
    assert init(monkeypatch, tmp_path / name) == 2

    assert "no name for a project" in capsys.readouterr().err
    assert not (tmp_path / name).exists()
