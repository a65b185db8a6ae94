"""The documentation page in a real browser: tokens are entered, and every kind of call is tried."""

from __future__ import annotations

import re
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

from avtomatika.server import documentation

from .conftest import CLIENT, WORKER, Api

CHROMIUM = "/usr/bin/chromium"


@pytest.fixture
async def page(api: Api, missing_server: Callable[[str], NoReturn]) -> AsyncIterator[Any]:
    """The page, shown; what its console said stands in ``page.complaints``, what it asked for in ``page.asked``."""
    if shutil.which(CHROMIUM) is None:
        missing_server("There is no chromium (Debian: apt-get install chromium).")
    playwright = pytest.importorskip("playwright.async_api")
    async with playwright.async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = await browser.new_page(viewport={"width": 1200, "height": 1400})
        page.complaints, page.asked = [], []
        page.on("console", lambda message: page.complaints.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.on("request", lambda request: page.asked.append(request.url))
        # No test asks how long the page takes.
        page.set_default_timeout(120_000)
        await page.goto(f"{api.origin}/_public/docs")
        await page.wait_for_selector(".opblock")
        yield page
        await browser.close()


async def authorize(page: Any) -> None:
    """Enters both tokens."""
    await page.get_by_role("button", name="Authorize").first.click()
    for number, token in enumerate((CLIENT, WORKER)):
        form = page.locator(".auth-container").nth(number)
        await form.locator("input").fill(token)
        await form.get_by_role("button", name="Apply credentials").click()
    await page.get_by_role("button", name="Close").last.click()


async def call(page: Any, method: str, path: str, *, body: str = "", **parameters: str) -> tuple[int, str]:
    """Opens a call, fills it in, sends it, and returns the status and the body that the page shows."""
    block = page.locator(f".opblock-{method.lower()}").filter(
        has=page.locator(".opblock-summary-path", has_text=re.compile(f"^{re.escape(path)}$".replace("/", "/\u200b?")))
    )
    await block.locator(".opblock-summary-control").click()
    for name, value in parameters.items():
        await block.locator(f"tr[data-param-name='{name}'] input").fill(value)
    if body:
        await block.locator("textarea.body-param__text").fill(body)
    await block.get_by_role("button", name="Execute").click()
    row = block.locator(".live-responses-table tbody tr.response").first
    status = int(await row.locator(".response-col_status").inner_text())
    text = await row.locator(
        ".response-col_description .highlight-code, .response-col_description pre"
    ).first.inner_text()
    return status, text


async def test_page_shows_every_call_and_tries_it(api: Api, page: Any, tmp_path: Path) -> None:
    """With both tokens, a job is created, looked up and cancelled, and a worker registers, all from the page."""
    title = await page.locator(".info .title").inner_text()
    assert title.startswith("avtomatika")
    unknown, _ = await call(page, "GET", "/api/v1/workers")
    await authorize(page)

    created, answer = await call(page, "POST", "/api/v2/shop/orders", body='{"initial_data": {"n": 1}}')
    job_id = re.search(r'"job_id": "([^"]+)"', answer)[1]
    await api.until(job_id, "waiting_for_worker")
    shown, job = await call(page, "GET", "/api/v1/jobs/{job_id}", job_id=job_id)
    listed, _ = await call(page, "GET", "/api/v1/jobs", limit="1")
    registered, _ = await call(page, "POST", "/_worker/workers/register", body='{"worker_id": "from-the-page"}')
    cancelled, _ = await call(page, "POST", "/api/v1/jobs/{job_id}/cancel", job_id=job_id)
    status, _ = await call(page, "GET", "/_public/status")
    await page.screenshot(path=tmp_path / "docs.png", full_page=True)

    assert (unknown, created, shown, listed, registered, cancelled, status) == (401, 202, 200, 200, 200, 200, 200)
    assert job_id in job
    assert (await api.job(job_id))["status"] == "cancelled"


async def test_page_asks_nobody_else_and_breaks_no_rule(api: Api, page: Any) -> None:
    """Everything comes from this engine, and the browser finds nothing that the page's policy forbids."""
    operations = await page.locator(".opblock").count()

    assert operations > 20
    assert page.asked
    assert all(url.startswith((api.origin, "data:", "blob:")) for url in page.asked)
    assert page.complaints == []


async def test_assets_are_served_with_types_and_tags(api: Api) -> None:
    """A browser that has them asks only whether they are new; nothing else lies there."""
    for name, kind in (
        ("docs.js", "text/javascript"),
        ("swagger-ui-bundle.js", "text/javascript"),
        ("swagger-ui.css", "text/css"),
    ):
        first = await api.get(f"/_public/docs/{name}", token=None)
        again = await api.get(f"/_public/docs/{name}", token=None, headers={"If-None-Match": first.headers["Etag"]})
        assert (first.status, again.status) == (200, 304)
        assert first.headers["Content-Type"].startswith(kind)
        assert "script-src 'self'" in first.headers["Content-Security-Policy"]
    for name in ("LICENSE.swagger-ui.txt", "..%2fapp.py", "%2e%2e/app.py", "nothing.js"):
        assert (await api.get(f"/_public/docs/{name}", token=None)).status == 404


async def test_installation_without_the_assets_says_what_to_do(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Out of a checkout that was never built, the page is missing and not broken."""
    monkeypatch.setattr(documentation.resources, "files", lambda _: Path("/nonexistent"))
    monkeypatch.setattr(documentation, "_PACKAGE", "no_such_package")
    documentation._load.cache_clear()

    answer = await api.get("/_public/docs", token=None)

    documentation._load.cache_clear()
    assert (answer.status, answer.body["code"]) == (501, "docs_unavailable")
    assert "pip install" in answer.body["error"]
