"""The operations page in a real browser: a token is entered, jobs are watched, requeued, decided and cancelled."""

from __future__ import annotations

import re
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

from avtomatika import ActionFactory, StateMachineBlueprint

from .conftest import CLIENT, OTHER, Api, StartApi

CHROMIUM = "/usr/bin/chromium"


def asking() -> StateMachineBlueprint:
    """Returns a blueprint that asks a person."""
    bp = StateMachineBlueprint("asking", api_endpoint="/asking")

    @bp.handler_for("ask", is_start=True)
    async def ask(actions: ActionFactory) -> None:
        actions.await_human_approval("Ship it? <b>now</b>", {"approved": "shipped", "rejected": "kept"})

    @bp.handler_for("shipped", is_end=True)
    async def shipped() -> None: ...

    @bp.handler_for("kept", is_end=True)
    async def kept() -> None: ...

    return bp


@pytest.fixture
async def browser(missing_server: Callable[[str], NoReturn]) -> AsyncIterator[Any]:
    """A browser without a page."""
    if shutil.which(CHROMIUM) is None:
        missing_server("There is no chromium (Debian: apt-get install chromium).")
    playwright = pytest.importorskip("playwright.async_api")
    async with playwright.async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        await browser.close()


async def shown(browser: Any, api: Api, token: str = CLIENT) -> Any:
    """Returns the page with a token entered; what its console said stands in ``page.complaints``."""
    page = await browser.new_page(viewport={"width": 1300, "height": 1000})
    page.complaints = []
    page.on("console", lambda message: page.complaints.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    await page.goto(f"{api.origin}/_public/ui")
    await page.get_by_label("Client token").fill(token)
    await page.get_by_role("button", name="Enter").click()
    return page


async def test_page_shows_what_the_engine_has_and_does_what_is_asked(
    start_api: StartApi, browser: Any, tmp_path: Path
) -> None:
    """One visit of an operator: every part, a job with its graph, a decision, a requeue, a cancel."""
    path = tmp_path / "schedules.toml"
    path.write_text('[nightly]\nblueprint = "quick"\ndaily_at = "02:30"\n')
    api = await start_api(SCHEDULES_CONFIG_PATH=str(path), JOB_MAX_RETRIES=0)
    api.engine.register_blueprint(asking())
    finished = await api.submit()
    await api.until(finished, "finished")
    waiting = await api.submit("/api/v2/shop/orders", {})
    await api.until(waiting, "waiting_for_worker")
    asked = await api.submit("/api/v1/asking", {})
    await api.until(asked, "waiting_for_human")
    # One branch that is given up leaves the job in quarantine.
    broken = await api.submit("/api/v1/fan", {})
    await api.until(broken, "waiting_for_parallel_tasks")
    await api.register("packer-1")
    page = await shown(browser, api)

    await page.get_by_role("link", name=finished).wait_for()
    await page.get_by_label("Status").select_option("finished")
    await page.get_by_role("link", name=waiting).wait_for(state="detached")
    await page.get_by_role("link", name=finished).click()
    await page.locator(".graph svg").wait_for()
    assert "start" in (await page.locator(".graph svg").text_content())
    await page.get_by_role("cell", name="job_completed").wait_for()
    await page.screenshot(path=tmp_path / "job.png")

    await page.get_by_role("link", name="Approvals").click()
    await page.get_by_text("Ship it? <b>now</b>").wait_for()
    await page.get_by_role("button", name="approved").click()
    assert (await api.until(asked, "finished"))["current_state"] == "shipped"

    for part, text in {"Workers": "packer-1", "Queues": "work", "Schedules": "daily at 02:30"}.items():
        await page.get_by_role("link", name=part, exact=True).click()
        await page.get_by_text(re.compile(re.escape(text))).first.wait_for()

    await page.goto(f"{api.origin}/_public/ui#job/{waiting}")
    await page.get_by_role("button", name="Cancel").click()
    await api.until(waiting, "cancelled")
    await page.locator(".status.cancelled").wait_for()
    assert [line for line in page.complaints if "401" not in line] == []


async def test_quarantine_is_emptied_by_a_click(start_api: StartApi, browser: Any) -> None:
    """Why it is there, and the way out."""
    api = await start_api(JOB_MAX_RETRIES=0)
    bp = StateMachineBlueprint("breaks", api_endpoint="/breaks")
    broken = [True]

    @bp.handler_for("only", is_start=True, is_end=True)
    async def only() -> None:
        if broken[0]:
            raise RuntimeError("<img src=x onerror=alert(1)>")

    api.engine.register_blueprint(bp)
    job_id = await api.submit("/api/v1/breaks", {})
    await api.until(job_id, "quarantined")
    page = await shown(browser, api)
    await page.get_by_role("link", name="Quarantine").click()

    await page.get_by_text("<img src=x onerror=alert(1)>").first.wait_for()
    broken[0] = False
    await page.get_by_role("button", name="Requeue").click()

    await api.until(job_id, "finished")
    assert await page.locator("main img").count() == 0


async def test_wrong_token_is_refused_and_forgotten(api: Api, browser: Any) -> None:
    """The page says so, and asks for another one; a good one shows its own jobs only."""
    job_id = await api.submit()
    page = await shown(browser, api, "no-such-token")

    await page.get_by_role("alert").get_by_text("is not valid here").wait_for()
    assert await page.evaluate("sessionStorage.length") == 0
    await page.get_by_label("Client token").fill(OTHER)
    await page.get_by_role("button", name="Enter").click()
    await page.get_by_text("No jobs.").wait_for()
    assert job_id not in await page.content()
    # The token stays in this tab: another one begins without it, and neither address nor storage of the site has it.
    assert OTHER not in page.url
    assert await page.evaluate("localStorage.length") == 0
    other = await browser.new_page()
    await other.goto(f"{api.origin}/_public/ui")
    await other.get_by_label("Client token").wait_for()


async def test_address_of_the_engine_leads_to_the_page(api: Api, start_api: StartApi) -> None:
    """Whoever clicks it in the log finds something; without a client API that is the documentation."""
    plain = await start_api(ENABLE_CLIENT_API=False)

    found = [await one.http.get(f"{one.origin}/", allow_redirects=False) for one in (api, plain)]

    assert [(answer.status, answer.headers["Location"]) for answer in found] == [
        (302, "_public/ui"),
        (302, "_public/docs"),
    ]


async def test_page_allows_nothing_from_elsewhere(api: Api) -> None:
    """No script of a job, no frame, no other host."""
    answer = await api.get("/_public/ui", token=None)
    script = await api.get("/_public/ui/ui.js", token=None)

    assert "default-src 'none'; script-src 'self'" in answer.headers["Content-Security-Policy"]
    assert "http" not in re.sub(r"<!doctype.*?>", "", answer.body)
    assert script.status == 200
    assert (await api.get("/_public/ui/docs.html", token=None)).status == 404
    tag = {name.lower(): value for name, value in script.headers.items()}["etag"]
    assert (await api.get("/_public/ui/ui.js", token=None, headers={"If-None-Match": tag})).status == 304


async def test_graph_of_a_job_shows_its_way(api: Api) -> None:
    """As the notebook draws it; another client's job has none."""
    job_id = await api.submit()
    await api.until(job_id, "finished")

    answer = await api.get(f"/api/v1/jobs/{job_id}/graph")

    assert answer.headers["Content-Type"].startswith("image/svg+xml")
    assert "style-src 'unsafe-inline'" in answer.headers["Content-Security-Policy"]
    assert "taken" in answer.body
    assert (await api.get(f"/api/v1/jobs/{job_id}/graph", token=OTHER)).status == 404
