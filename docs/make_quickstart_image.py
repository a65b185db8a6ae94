"""Takes the picture in README.md of a quickstart notebook that was run.

make demo
python docs/make_quickstart_image.py [--chromium /usr/bin/chromium]

It shows the job and the report; the other cells, the code of the report and the raw result are left out.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parents[1]
_LEAVE_OUT = """
const cells = [...document.querySelectorAll(".jp-Cell")];
const begins = (cell, text) => cell.innerText.trim().startsWith(text);
let shown = false;
for (const cell of cells) {
  if (cell.querySelector(".jp-MarkdownOutput")) {
    shown = begins(cell, "A job") || begins(cell, "The report");
  }
  if (!shown) cell.style.display = "none";
  if (shown && /plot|pandas/.test(cell.innerText)) cell.querySelector(".jp-Cell-inputWrapper").style.display = "none";
}
document.querySelectorAll("details[open]").forEach((details) => details.removeAttribute("open"));
document.querySelectorAll(".anchor-link").forEach((link) => link.remove());
"""


def main() -> None:
    """Writes docs/images/quickstart.png."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chromium", default="/usr/bin/chromium", help="the browser's program")
    page_file = ROOT / "build" / "notebooks" / "quickstart.html"
    picture = ROOT / "docs" / "images" / "quickstart.png"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=parser.parse_args().chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1080, "height": 900}, device_scale_factor=1.25)
        page.goto(page_file.as_uri(), wait_until="networkidle")
        page.evaluate(f"() => {{ {_LEAVE_OUT} }}")
        page.locator("main").screenshot(path=str(picture))
        browser.close()


if __name__ == "__main__":
    main()
