"""Examples of several programs: certificates, two engines on one Redis, an engine below an engine, a notebook."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from avtomatika.client import Client
from avtomatika.config import DEFAULT_CLIENT_TOKEN
from tests.redis_server import RedisServer

from .programs import Example

pytestmark = pytest.mark.acceptance


def test_coin_is_pressed_for_whom_the_mint_knows(example: Callable[[str], Example]) -> None:
    """The worker of the certificate does it; one that says it is another worker is refused."""
    mint = example("secure")
    written = mint.run("prepare.py")
    mint.serve("avtomatika run")
    stranger = mint.start("avtomatika.worker", "--id", "press-2")
    mint.start("avtomatika.worker")
    printed = mint.run("buy.py")
    _, environment = mint.command("buy.py")

    assert "press-1.key" in written
    assert (mint.folder / "private" / "press-1.key").stat().st_mode & 0o077 == 0
    assert f"`{printed.strip()}`" in mint.readme
    assert stranger.process.wait(60) == 1
    assert environment["CLIENT_TOKEN"] not in (mint.folder / "private" / "clients.toml").read_text()


def test_parcel_goes_on_at_the_other_engine_when_one_is_killed(
    example: Callable[[str], Example], start_redis: Callable[..., RedisServer]
) -> None:
    """Created at the first engine, which dies; packed and ended at the second one."""
    parcels = example("two_engines")
    server, _ = parcels.command("redis-server")
    redis = start_redis(**{"maxmemory-policy": server[server.index("--maxmemory-policy") + 1]})
    parcels.addresses["redis://127.0.0.1:6390"] = f"redis://127.0.0.1:{redis.port}"
    north = parcels.serve("INSTANCE_ID=north")

    job_id = parcels.request("curl")["job_id"]
    parcels.serve("INSTANCE_ID=south")
    client = Client(parcels.addresses["http://127.0.0.1:8082"], DEFAULT_CLIENT_TOKEN)
    job = client.job(job_id)
    while job["status"] != "waiting_for_worker":
        job = client.job(job_id, wait=10, version=job["version"])
    north.kill()
    parcels.start("avtomatika.worker")
    job = client.wait(job_id, timeout=60)

    assert job["result"] == {"box": "large", "received_at": "north", "packed_at": "south"}
    assert json.loads(parcels.run("jobs show", job=job_id))["result"] == job["result"]


def test_car_is_painted_by_the_engine_below(example: Callable[[str], Example]) -> None:
    """The result is that of the README, and a colour that the holon refuses fails the car."""
    factory = example("holon")
    factory.serve("avtomatika run")
    factory.serve("avtomatika holon")
    client = Client(factory.addresses["http://127.0.0.1:8080"], DEFAULT_CLIENT_TOKEN)

    job = client.wait(factory.request("curl")["job_id"], timeout=60)
    green = client.wait(client.submit("/cars", {"colour": "green"}), timeout=60)

    assert f"`{json.dumps(job['result'])}`" in factory.readme
    assert json.loads(factory.run("jobs show", job=job["id"]))["result"] == job["result"]
    assert (green["status"], green["current_state"]) == ("failed", "bare_failed")


def test_report_is_what_the_notebook_recorded(example: Callable[[str], Example]) -> None:
    """The numbers of the task came into the notebook; one whose cell fails fails the job."""
    reports = example("notebook_task")
    reports.serve("avtomatika run")
    reports.start("avtomatika.worker")
    client = Client(reports.addresses["http://127.0.0.1:8080"], DEFAULT_CLIENT_TOKEN)

    jobs = [reports.request("curl")["job_id"], client.submit("/reports", {"values": [1]})]
    good, bad = (client.wait(job, timeout=100) for job in jobs)

    assert good["result"]["mean"] == 3.0
    assert '"mean": 3.0' in reports.readme
    assert f"{20 * '#'} 6" in Path(good["result"]["notebook"]).read_text()
    assert bad["status"] == "failed"
