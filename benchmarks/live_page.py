"""How a page of JupyterLab feels while 10,000 jobs are in the table and 200 of them change in a second.

    python -m benchmarks.live_page [--seconds 10]

A real JupyterLab in Debian's Chromium shows the dashboard, whose events come from the script of ``benchmarks.live``. It
prints how much of the page's main thread is busy, how late frames come, how long a tap of a key takes until it is
painted, and how long a search in the table takes.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from benchmarks.setting import describe
from tests.widgets.lab import CHROMIUM, Lab, Notebook, launch

_SHOW = """
from benchmarks.live import bench_with_changes, fill
wb = bench_with_changes()
board = wb.dashboard()
fill(wb)
board
"""
# Gaps between frames, and tasks that keep the page from answering for more than 50 ms.
_WATCH = """
() => {
  window.gaps = []; window.long = [];
  let last = performance.now();
  const frame = (now) => { window.gaps.push(now - last); last = now; requestAnimationFrame(frame); };
  requestAnimationFrame(frame);
  new PerformanceObserver((list) => window.long.push(...list.getEntries().map((one) => one.duration)))
    .observe({ type: "longtask" });
}
"""
# From the event of the key to the second frame after it, when its result is on the screen.
_TAP = """
() => new Promise((done) => {
  const asked = performance.now();
  jupyterapp.shell.currentWidget.content.activeCell.model.sharedModel.setSource("x = " + asked);
  requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - asked)));
})
"""
_SEARCH = """
(text) => new Promise((done) => {
  const asked = performance.now(), field = document.querySelector(".avt input[type=search]");
  field.value = text; field.dispatchEvent(new Event("input"));
  const look = () => document.querySelector(".avt [role=status]").textContent === "10 jobs"
    ? done(performance.now() - asked) : requestAnimationFrame(look);
  look();
})
"""


def main() -> None:
    """Prints what a person feels."""
    parser = argparse.ArgumentParser(description="how the page of the live views feels")
    parser.add_argument("--seconds", type=float, default=10.0)
    seconds = parser.parse_args().seconds
    if not CHROMIUM.exists():
        sys.exit("There is no chromium (Debian: apt-get install chromium).")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        lab = Lab(Path(folder))
        browser = launch(driver)
        try:
            page = browser.new_page(viewport={"width": 1280, "height": 1300})
            page.set_default_timeout(60_000)
            notebook = Notebook(page, lab, lab.write("live.ipynb", _SHOW, "x = 0"))
            notebook.wait_for_kernel()
            metrics = page.context.new_cdp_session(page)
            metrics.send("Performance.enable")
            page.evaluate(_WATCH)
            idle = _share(page, metrics, seconds / 2)
            notebook.run(0)
            page.locator(".avt [role=status]").filter(has_text="10,000 jobs").wait_for()
            page.evaluate("() => { gaps.length = long.length = 0; }")
            busy = _share(page, metrics, seconds)
            gaps, long = page.evaluate("() => [gaps.slice(), long.slice()]")
            taps = [page.evaluate(_TAP) for _ in range(20)]
            search = page.evaluate(_SEARCH, "job-0012")
        finally:
            browser.close()
            lab.stop()
    print(describe("main thread of the page"))
    print(f"without views {idle:6.1%} of the main thread")
    print(f"a dashboard   {busy:6.1%} of the main thread; {len(long)} tasks above 50 ms, {sum(long):.0f} ms in all")
    print(f"frames        {len(gaps) / seconds:.0f} a second; the 99th of 100 after {_late(gaps):.0f} ms")
    print(f"a tap         painted after {statistics.median(taps):.0f} ms, at most {max(taps):.0f} ms")
    print(f"a search      answered after {search:.0f} ms, 200 of which wait for the next letter")


def _share(page: Any, metrics: Any, seconds: float) -> float:
    def worked() -> float:
        told = metrics.send("Performance.getMetrics")["metrics"]
        return float(next(one["value"] for one in told if one["name"] == "TaskDuration"))

    before = worked()
    page.wait_for_timeout(seconds * 1000)
    return (worked() - before) / seconds


def _late(gaps: list[float]) -> float:
    return sorted(gaps)[int(len(gaps) * 0.99)]


if __name__ == "__main__":
    main()
