"""Examples of an engine without workers: a person decides, the clock makes jobs, a receiver is told."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable

import pytest

from avtomatika.client import Client
from avtomatika.config import DEFAULT_CLIENT_TOKEN

from .programs import Example

pytestmark = pytest.mark.acceptance


def test_article_is_published_by_whom_the_readme_asks(example: Callable[[str], Example]) -> None:
    """The commands of the README, in their order; the address in the job shows the question."""
    articles = example("approval")
    articles.serve("avtomatika run")
    job = articles.request("curl")["job_id"]
    client = Client(articles.addresses["http://127.0.0.1:8080"], DEFAULT_CLIENT_TOKEN)
    version = client.job(job)["version"]
    while "approval" not in client.job(job):
        version = client.job(job, wait=10, version=version)["version"]

    listed = articles.run("jobs list")
    shown = json.loads(articles.run("jobs show", job=job))
    page = urllib.request.urlopen(urllib.request.Request(shown["approval"]["url"], headers={"Accept": "text/html"}))
    articles.run("jobs approve", job=job)

    assert job in listed
    assert "Publish &#39;On parcels&#39;?" in page.read().decode().replace("&#x27;", "&#39;")
    assert client.wait(job, timeout=30)["result"] == {"title": "On parcels", "became": "published", "by": "Ada"}


def test_disk_is_checked_by_the_clock(example: Callable[[str], Example]) -> None:
    """The file says what comes, and the engine makes it."""
    disk = example("schedule")

    planned = disk.run("avtomatika schedules")
    disk.serve("avtomatika run")
    client = Client(disk.addresses["http://127.0.0.1:8080"], DEFAULT_CLIENT_TOKEN)
    made = next(event for event in client.changes(blueprint="disk_check") if event.type == "job")
    job = client.wait(made.data["job_id"], timeout=30)

    assert all(name in planned for name in ("every_two_seconds", "weekly", "on_working_days"))
    assert job["id"].startswith("every_two_seconds-")
    assert (job["status"], job["result"]["folder"]) == ("finished", "/")
    assert job["id"] in disk.run("avtomatika jobs list")


def test_receiver_is_told_of_the_end_and_refuses_strangers(example: Callable[[str], Example]) -> None:
    """The webhook comes, signed; the same request from somebody else is answered 401."""
    orders = example("webhook_receiver")
    receiver = orders.start("receiver.py", "0")
    orders.addresses["http://127.0.0.1:8090"] = address = receiver.says(r"(http://127\.0\.0\.1:\d+)")[1]
    orders.serve("avtomatika run")

    job = orders.request("curl")["job_id"]

    receiver.says(f"job_finished {job}: {{'items': 1}}")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{address}/hooks", b'{"event": "job_finished"}')
    assert refused.value.code == 401
    refused.value.close()
    assert receiver.says("refused")
