"""The quickstart notebook, run as a newcomer runs it: ``make demo``."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import nbformat
import pytest
from vega_datasets import local_data

from release import environment

pytestmark = pytest.mark.acceptance

ROOT = Path(__file__).parents[2]
CHROMIUM = "/usr/bin/chromium"


def _run(
    notebook: Path, output: Path, folder: Path = ROOT, python: str | Path = sys.executable, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python, folder / "notebooks" / "run.py", notebook, "--output", output],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
        env={name: value for name, value in os.environ.items() if name != "MPLBACKEND"} | environment,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the notebooks in a folder whose name has spaces."""
    folder = tmp_path_factory.mktemp("a folder with spaces")
    shutil.copytree(ROOT / "notebooks", folder / "notebooks", ignore=shutil.ignore_patterns("weather_worker.py"))
    return folder


@pytest.fixture(scope="module")
def run(folder: Path) -> subprocess.CompletedProcess[str]:
    """The notebook, run once for all tests."""
    return _run(Path("notebooks/quickstart.ipynb"), folder / "out put", folder)


@pytest.fixture(scope="module")
def executed(folder: Path, run: subprocess.CompletedProcess[str]) -> Any:
    """The executed notebook."""
    assert run.returncode == 0, run.stdout + run.stderr
    return nbformat.read(folder / "out put" / "quickstart.ipynb", as_version=4)


@pytest.fixture(scope="module")
def told(folder: Path, executed: Any) -> dict[str, Any]:
    """What the notebook wrote down for whoever runs it."""
    told: dict[str, Any] = json.loads((folder / "out put" / "quickstart.json").read_text())
    return told


@pytest.fixture
def page(folder: Path, executed: Any, missing_server: Callable[[str], NoReturn]) -> Iterator[Any]:
    """The HTML copy in a browser, with what its console said as ``page.complaints``."""
    if not Path(CHROMIUM).exists():
        missing_server("There is no chromium.")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        page.complaints = []
        page.on("console", lambda message: page.complaints.append(message.text))
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.on("requestfailed", lambda request: page.complaints.append(request.url))
        page.goto((folder / "out put" / "quickstart.html").as_uri(), wait_until="load")
        yield page
        browser.close()


def _outputs(notebook: Any) -> list[Any]:
    return [output for cell in notebook.cells for output in cell.get("outputs", ())]


def test_run_ends_well_and_prints_the_summary(run: subprocess.CompletedProcess[str], told: dict[str, Any]) -> None:
    """The demo says what was found, and where the notebook and its page are."""
    assert run.returncode == 0
    assert f"Seattle, 1,461 days of weather, by job {told['job']}" in run.stdout
    assert told["table"] in run.stdout
    assert "out put/quickstart.ipynb" in run.stdout
    assert "out put/quickstart.html" in run.stdout


def test_executed_notebook_shows_graph_job_and_plot_without_errors(executed: Any, told: dict[str, Any]) -> None:
    """No cell failed or warned, and what the reader came for is there."""
    outputs = _outputs(executed)
    pages = [output["data"].get("text/html", "") for output in outputs if "data" in output]
    graphs = [page for page in pages if "data:image/svg+xml;base64," in page]

    assert [output for output in outputs if output["output_type"] == "error" or output.get("name") == "stderr"] == []
    assert len(graphs) == 3  # of the blueprint, of the job, and of the one with bad input
    assert "✔ finished" in graphs[1]
    assert told["job"] in graphs[1]
    assert "✖ failed" in graphs[2]
    assert "of 1 days, 1 lack a measurement" in graphs[2]
    assert any("image/png" in output.get("data", {}) for output in outputs)


def test_numbers_of_the_report_are_those_of_the_data(told: dict[str, Any]) -> None:
    """What two worker processes found is what pandas finds in the data set."""
    weather = local_data.seattle_weather().set_index("date")
    columns = {"hottest": "temp_max", "wettest": "precipitation", "windiest": "wind"}

    assert told["days"] == len(weather) == 1461
    assert [year["year"] for year in told["years"]] == [2012, 2013, 2014, 2015]
    for year in told["years"]:
        days = weather[weather.index.year == year["year"]]
        for what, column in columns.items():
            assert year[what] == {"date": f"{days[column].idxmax():%Y-%m-%d}", "value": days[column].max()}
        months = days.groupby(days.index.month).agg({"temp_max": "mean", "precipitation": "sum"})
        assert len(months) == len(year["months"]) == 12
        for month, row in months.iterrows():
            found = year["months"][f"{year['year']}-{month:02}"]
            assert found["high"] == pytest.approx(row["temp_max"])
            assert found["rain"] == pytest.approx(row["precipitation"])


def test_page_shows_the_graph_in_a_browser(page: Any) -> None:
    """The HTML copy needs no network and no script of ours: pictures are seen, nothing is complained of."""
    images = page.locator("img[src^='data:image/svg+xml']")

    sizes = images.evaluate_all(
        "images => images.map(i => [i.complete, i.naturalWidth, i.clientWidth, i.clientHeight])"
    )

    assert len(sizes) == 3
    for complete, natural_width, width, height in sizes:
        assert complete
        assert min(natural_width, width, height) > 100
    assert page.complaints == []


def test_run_can_be_repeated_with_the_published_wheel(
    folder: Path, executed: Any, told: dict[str, Any], wheel: Path, tmp_path: Path
) -> None:
    """Installed where there is nothing else, it gives the same report; the files of the first run are replaced."""
    python = environment.make(tmp_path / "environment", wheel, ["notebook"], also=["vega_datasets"])
    # The templates of nbconvert and the like are data, which lie outside of the packages.
    data = str(Path(sys.prefix, "share", "jupyter"))

    run = _run(Path("notebooks/quickstart.ipynb"), folder / "out put", folder, python, PYTHONPATH="", JUPYTER_PATH=data)

    again = json.loads((folder / "out put" / "quickstart.json").read_text())
    assert run.returncode == 0, run.stdout + run.stderr
    assert again["job"] != told["job"]
    assert again["years"] == told["years"]


def test_failing_cell_makes_the_run_fail_with_a_sentence(tmp_path: Path) -> None:
    """Which cell, which error, and where to look; the exit code is for CI."""
    cells = [nbformat.v4.new_code_cell("1 / 0", id="cell-00")]
    notebook = nbformat.v4.new_notebook(
        cells=cells, metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    )
    file = tmp_path / "faulty.ipynb"
    nbformat.write(notebook, file)

    run = _run(file, tmp_path / "out")

    assert run.returncode == 1
    assert f"of {file} failed: ZeroDivisionError: division by zero" in run.stdout
    assert f"The executed notebook shows where: {tmp_path / 'out' / 'faulty.ipynb'}" in run.stdout


def test_committed_notebook_has_no_outputs_and_stable_ids() -> None:
    """What is committed is the source alone, so that a run does not change it."""
    notebook = nbformat.read(ROOT / "notebooks" / "quickstart.ipynb", as_version=4)

    assert _outputs(notebook) == []
    assert {cell.get("execution_count") for cell in notebook.cells} == {None}
    assert [cell["id"] for cell in notebook.cells] == [f"cell-{number:02}" for number in range(len(notebook.cells))]
