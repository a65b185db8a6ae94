"""The notebooks: each runs from beginning to end, twice alike, and shows nothing that needs a kernel."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
WIDGET_MIME = "application/vnd.jupyter.widget-view+json"


def _outputs(notebook: Any) -> list[Any]:
    return [output for cell in notebook.cells for output in cell.get("outputs", ())]


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_committed_notebook_is_source_alone(file: Path) -> None:
    """A run does not change what is committed; papermill finds the parameters; the first line asks the question."""
    notebook = nbformat.read(file, as_version=4)

    assert _outputs(notebook) == []
    assert {cell.get("execution_count") for cell in notebook.cells} == {None}
    assert [cell["id"] for cell in notebook.cells] == [f"cell-{number:02}" for number in range(len(notebook.cells))]
    assert [cell["id"] for cell in notebook.cells if "parameters" in cell["metadata"].get("tags", ())] == ["cell-01"]
    assert notebook.cells[0]["source"].startswith("# ")


@pytest.mark.acceptance
@pytest.mark.timeout(400)
def test_notebooks_run_and_run_again_alike(tmp_path: Path) -> None:
    """Through papermill, without an error, a warning or a widget; then through nbval, with the same outputs."""
    files = [file for file in NOTEBOOKS if file.stem != "quickstart"]  # that one has tests of its own
    environment = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}
    environment |= {"JUPYTER_PLATFORM_DIRS": "1", "IPYTHONDIR": str(tmp_path / "ipython")}

    run = _call(["notebooks/run.py", *files, "--output", tmp_path], ROOT, environment)
    assert run.returncode == 0, run.stdout + run.stderr
    for file in files:
        outputs = _outputs(nbformat.read(tmp_path / file.name, as_version=4))
        assert outputs, file
        assert [one for one in outputs if one["output_type"] == "error" or one.get("name") == "stderr"] == [], file
        assert [one for one in outputs if WIDGET_MIME in one.get("data", {})] == [], file

    options = ["-q", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", tmp_path, "--nbval"]
    options += ["--nbval-sanitize-with", ROOT / "notebooks" / "sanitize.cfg", *(file.name for file in files)]
    again = _call(["-m", "pytest", *options], tmp_path, environment)
    assert again.returncode == 0, again.stdout[-5000:] + again.stderr[-1000:]


def _call(arguments: list[Any], folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
