"""A notebook as a task."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest

from avtomatika import ActionFactory, StateMachineBlueprint
from avtomatika.notebook import Workbench
from avtomatika.worker.notebooks import RECORD_MIME, notebook_task, record
from tests import jupyter_kernel

CELLS = [
    "until = 3",
    "from avtomatika.worker.notebooks import record\n\nif until < 0:\n    raise ValueError('nothing to count')",
    "record(total=sum(range(until)), until=until)",
]


@pytest.fixture
def workbench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Workbench]:
    """A workbench whose failed tasks are not tried again."""
    jupyter_kernel.keep_to(tmp_path, monkeypatch)
    with Workbench(JOB_MAX_RETRIES=0) as bench:
        yield bench


@pytest.fixture
def notebook(tmp_path: Path) -> Path:
    """A notebook with parameters that records what it found."""
    cells = [nbformat.v4.new_code_cell(cell, id=f"cell-{number}") for number, cell in enumerate(CELLS)]
    cells[0].metadata["tags"] = ["parameters"]
    file = tmp_path / "report.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), file)
    return file


@pytest.fixture
def report() -> StateMachineBlueprint:
    """A blueprint whose jobs let a notebook run."""
    bp = StateMachineBlueprint("reporting")

    @bp.handler_for("ask", is_start=True)
    async def ask(initial_data: dict[str, Any], actions: ActionFactory) -> None:
        actions.dispatch_task("report", initial_data, transitions={"success": "done"})

    @bp.handler_for("done", is_end=True)
    async def done(total: int, notebook: str) -> dict[str, Any]:
        return {"total": total, "notebook": notebook}

    return bp


@pytest.mark.acceptance
def test_notebook_runs_with_the_params_of_its_task(
    workbench: Workbench, notebook: Path, report: StateMachineBlueprint, tmp_path: Path
) -> None:
    """What it recorded is the result; the executed notebook is kept, also when a cell failed, with the reason told."""
    workbench.task("report")(notebook_task(notebook, output=tmp_path / "runs"))

    good = workbench.submit(report, {"until": 5}).result(60)
    bad = workbench.submit(report, {"until": -1}).wait(60)

    assert good["total"] == 10
    executed = nbformat.read(good["notebook"], as_version=4)
    assert executed.cells[-1].outputs[0]["data"][RECORD_MIME] == {"total": 10, "until": 5}
    assert "report.ipynb: ValueError: nothing to count" in bad.view["error_message"]
    assert len(list((tmp_path / "runs").glob("report-*.ipynb"))) == 2


def test_notebook_without_parameters_refuses_params(
    workbench: Workbench, notebook: Path, report: StateMachineBlueprint
) -> None:
    """A param that nothing takes would be lost silently."""
    written = nbformat.read(notebook, as_version=4)
    written.cells[0].metadata["tags"] = []
    nbformat.write(written, notebook)
    workbench.task("report")(notebook_task(notebook))

    job = workbench.submit(report, {"until": 5}).wait(60)

    assert job.status == "failed"
    assert "no cell tagged 'parameters', but got until" in job.view["error_message"]


def test_missing_notebook_is_told_where_it_was_named(tmp_path: Path) -> None:
    """Not at the first task."""
    with pytest.raises(FileNotFoundError, match="there is no notebook"):
        notebook_task(tmp_path / "gone.ipynb")


def test_value_without_a_json_form_is_refused_in_its_cell() -> None:
    """The result travels as JSON."""
    with pytest.raises(TypeError):
        record(total=object())
