"""The live views in a real JupyterLab, in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .lab import CHROMIUM, WIDGET_MIME, Lab, Notebook, launch

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(150)]

SETUP = """
import threading, time
from avtomatika import StateMachineBlueprint
from avtomatika.notebook import Workbench

wb = Workbench()
bp = StateMachineBlueprint("parcel")
steps = threading.Semaphore(0)

@bp.handler_for("pack", is_start=True)
async def pack(state_history, actions):
    state_history["boxes"] = 0
    actions.dispatch_task("step", {}, transitions={"success": "load"})

@bp.handler_for("load")
async def load(state_history, actions):
    state_history["boxes"] += 1
    target = "load" if state_history["boxes"] < 3 else "drive"
    actions.dispatch_task("step", {}, transitions={"success": target})

@bp.handler_for("drive")
async def drive(actions):
    actions.dispatch_task("step", {}, transitions={"success": "arrived"})

@bp.handler_for("arrived", is_end=True)
async def arrived(boxes):
    return {"boxes": boxes}

@wb.task("step")
def step(context):
    # One step for each that the notebook allows; looked at in between, as the worker may be stopped.
    while not steps.acquire(timeout=0.05):
        pass
    return {}

wb.register(bp)
"""
APPROVAL = """
ask = StateMachineBlueprint("asking")

@ask.handler_for("ask", is_start=True)
async def question(actions):
    actions.await_human_approval("Ship it?", transitions={"approved": "shipped", "rejected": "kept"})

@ask.handler_for("shipped", is_end=True)
async def shipped(): ...

@ask.handler_for("kept", is_end=True)
async def kept(): ...

asked = wb.submit(ask)
asked
"""
# What the graph shows is written down by the page itself, so that no state is too short to be seen.
WATCH = """
() => {
  window.seen = [];
  const look = () => {
    const name = document.querySelector('.avt g.state.current')?.dataset.state;
    if (name && window.seen.at(-1) !== name) window.seen.push(name);
  };
  new MutationObserver(look).observe(document.body, { subtree: true, childList: true, attributes: true });
}
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A server for all tests of this file."""
    pytest.importorskip("jupyterlab")
    running = Lab(tmp_path_factory.mktemp("lab"))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A browser for all tests of this file."""
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        running = launch(driver)
        yield running
        running.close()


@pytest.fixture
def page(request: pytest.FixtureRequest, missing_server: Any) -> Iterator[Any]:
    """A page of the browser."""
    if not CHROMIUM.exists():
        missing_server("There is no chromium (Debian: apt-get install chromium).")
    opened = request.getfixturevalue("browser").new_page(viewport={"width": 1280, "height": 1300})
    opened.set_default_timeout(30_000)
    yield opened
    opened.close()


def _open(page: Any, lab: Lab, name: str, *cells: str) -> Notebook:
    notebook = Notebook(page, lab, lab.write(name, SETUP, *cells))
    notebook.wait_for_kernel()
    notebook.run(0)
    return notebook


def test_job_lights_up_takes_clicks_while_a_cell_blocks_and_is_frozen(page: Any, lab: Lab) -> None:
    """The whole tour: live, asked while the kernel is busy, frozen, saved, and opened again without a kernel."""
    notebook = _open(
        page,
        lab,
        "tour.ipynb",
        "job = wb.submit(bp, {})\njob",
        "for _ in range(5): steps.release(); time.sleep(0.3)\nprint('stepped', job.wait(30).status)",
        "other = wb.submit(bp, {})\nother",
        "while not other.is_terminal: time.sleep(0.05)\nprint('awake', other.status)",
        APPROVAL,
        "while not asked.is_terminal: time.sleep(0.05)\nprint('decided', asked.state)",
    )
    page.evaluate(WATCH)

    notebook.run(1)
    view = notebook.cell(1).locator(".avt")
    view.wait_for()
    notebook.run(2)  # this cell blocks until the job has ended
    assert "stepped finished" in notebook.text(2)
    assert page.evaluate("window.seen") == ["pack", "load", "drive", "arrived"]
    frozen = notebook.cell(1).locator("img[src^='data:image/svg+xml']")
    frozen.wait_for()
    assert "finished" in notebook.text(1)
    assert view.count() == 0

    notebook.run(3)
    notebook.run(4, is_ended=False)  # blocks until somebody cancels the job
    live = notebook.cell(3).locator(".avt")
    live.locator("g.state[data-state=pack]").click()
    live.locator(".avt-source", has_text="@bp.handler_for").wait_for()
    live.locator(".avt-why", has_text="runs at worker notebook-1").wait_for()
    assert live.locator("g.edge:not(.taken) .label .word").first.get_attribute("transform") != "translate(0 0)"
    notebook.screenshot("job-live-light")
    notebook.theme("JupyterLab Dark")
    notebook.screenshot("job-live-dark")
    assert _luminance(live) < 0.2
    notebook.theme("JupyterLab Light")
    assert _luminance(live) > 0.8
    live.locator("button.cancel").click()
    notebook.cell(4).get_by_text("awake cancelled").wait_for()
    notebook.cell(3).locator("img[src^='data:image/svg+xml']").wait_for()

    notebook.run(5)
    notebook.run(6, is_ended=False)  # blocks until somebody decides
    notebook.cell(5).get_by_role("button", name="approved").click()
    notebook.cell(6).get_by_text("decided shipped").wait_for()
    notebook.cell(5).locator("img[src^='data:image/svg+xml']").wait_for()

    outputs = notebook.save()
    bundles = [output["data"] for output in outputs if "data" in output]
    assert not [bundle for bundle in bundles if WIDGET_MIME in bundle]
    assert max(len(str(bundle)) for bundle in bundles) < 200_000
    notebook.kernel("shutdown")
    again = Notebook(page, lab, notebook.file)
    again.cell(1).locator("img[src^='data:image/svg+xml']").wait_for()
    again.cell(1).get_by_text("finished").first.wait_for()
    again.cell(3).get_by_text("cancelled").first.wait_for()
    assert page.get_by_text("model not found").count() == 0
    again.screenshot("job-frozen-light")
    again.theme("JupyterLab Dark")
    again.screenshot("job-frozen-dark")
    again.theme("JupyterLab Light")
    again.kernel("shutdown")
    assert notebook.complaints == again.complaints == []


def test_cells_run_again_interrupts_and_restarts_leave_the_page_whole(page: Any, lab: Lab) -> None:
    """A person runs, stops and starts anew, as persons do."""
    notebook = _open(page, lab, "again.ipynb", "job = wb.submit(bp, {})\njob", "job.result()")
    notebook.run(1)
    view = notebook.cell(1).locator(".avt")
    view.wait_for()
    first = view.locator(".avt-id").inner_text()

    notebook.run(1)
    page.wait_for_function("(first) => document.querySelector('.avt .avt-id')?.textContent !== first", arg=first)
    assert view.count() == 1

    notebook.run(2, is_ended=False)
    page.wait_for_function("() => jupyterapp.shell.currentWidget.sessionContext.session.kernel.status === 'busy'")
    notebook.kernel("interrupt")
    notebook.cell(2).get_by_text("KeyboardInterrupt").first.wait_for()
    assert "goes on. job.cancel() ends it." in notebook.text(2)
    assert view.locator(".avt-badge").inner_text() != ""

    notebook.kernel("restart")
    notebook.wait_for_kernel()
    view.get_by_text("The kernel that followed this job is gone. Run the cell again.").wait_for()
    notebook.run(0)
    notebook.run(1)
    page.wait_for_function("(first) => document.querySelector('.avt .avt-id')?.textContent.length === 36", arg=first)
    view.locator("button.cancel").click()
    notebook.cell(1).locator("img[src^='data:image/svg+xml']").wait_for()
    assert "cancelled" in notebook.text(1)
    notebook.kernel("shutdown")
    assert notebook.complaints == []


def test_history_can_be_gone_through_and_a_whole_engine_watched(page: Any, lab: Lab) -> None:
    """Time travel over an ended job by mouse and keys; a dashboard whose table filters, sorts and cancels."""
    notebook = _open(
        page,
        lab,
        "boards.ipynb",
        "for _ in range(5): steps.release()\njob = wb.submit(bp, {}).wait(30)\njob.watch()",
        "waiting = [wb.submit(bp, {}) for _ in range(40)]\nwb.dashboard()",
        "wb.stop()",
    )
    notebook.run(1)
    view = notebook.cell(1).locator(".avt").first
    slider = view.locator("input[type=range]")
    slider.focus()
    slider.press("Home")
    view.locator(".avt-travel.past output", has_text="#1 job_created").wait_for()
    slider.fill("3")
    view.get_by_role("tab", name="Data").click()
    view.locator(".avt-table", has_text="boxes").wait_for()
    assert view.locator("g.state.current").get_attribute("data-state") == "pack"
    view.get_by_role("button", name="fork from here").click()
    view.locator("code", has_text="wb.job(").wait_for()
    notebook.screenshot("history")
    view.get_by_role("tab", name="Data").press("ArrowLeft")
    assert view.get_by_role("tab", name="Events").get_attribute("aria-selected") == "true"

    notebook.run(2)
    board = notebook.cell(2).locator(".avt")
    rows = board.locator("table[aria-label=jobs] tbody tr")
    board.get_by_text("42 jobs").wait_for()
    assert rows.count() == 15
    board.get_by_label("next page").click()
    board.get_by_text("2 / 3").wait_for()
    board.get_by_label("status", exact=True).select_option("finished")
    board.get_by_text("1 job", exact=True).wait_for()
    assert rows.count() == 1
    board.get_by_label("status", exact=True).select_option("")
    board.get_by_role("button", name="status").click()
    page.wait_for_function("() => document.querySelector('[aria-sort=descending]')?.textContent.startsWith('status')")
    notebook.screenshot("dashboard-light")
    rows.first.locator("button.cancel").click()
    board.locator(".avt-numbers", has_text="cancelled").wait_for()
    notebook.theme("JupyterLab Dark")
    notebook.screenshot("dashboard-dark")
    notebook.theme("JupyterLab Light")

    notebook.run(3)
    notebook.cell(2).get_by_text("Workers").first.wait_for()
    page.wait_for_function("() => document.querySelectorAll('.avt').length === 0")
    assert not [output for output in notebook.save() if WIDGET_MIME in output.get("data", {})]
    notebook.kernel("shutdown")
    assert notebook.complaints == []


def _luminance(view: Any) -> float:
    """Returns how bright the background of a view is, from 0 to 1."""
    colour = view.evaluate("(element) => getComputedStyle(element).backgroundColor")
    numbers = [float(part) for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    return sum(numbers) / 3 / 255


def test_script_follows_the_renderer_rules_of_vs_code(page: Any, tmp_path: Path) -> None:
    """Dark colours under the attribute that VS Code puts on its output page, without any network."""
    from avtomatika_widgets.base import styles  # noqa: PLC0415 - needs anywidget

    html = f"<style>{styles()}</style><body data-vscode-theme-kind='KIND'><section class='avt'>x</section></body>"
    found = {}
    for kind in ("vscode-light", "vscode-dark", "vscode-high-contrast"):
        page.set_content(html.replace("KIND", kind))
        found[kind] = _luminance(page.locator(".avt")) < 0.2

    assert found == {"vscode-light": False, "vscode-dark": True, "vscode-high-contrast": True}
