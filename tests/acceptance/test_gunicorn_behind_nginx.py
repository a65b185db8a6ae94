"""Gunicorn with several processes on Redis behind NGINX, under a path, set up as the manual says."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import NamedTuple, NoReturn

import aiohttp
import pytest

from avtomatika.client import AsyncClient
from avtomatika.worker import Worker
from tests.redis_server import RedisServer
from tests.running import Running

pytestmark = pytest.mark.acceptance

CLIENT, WORKER = "the-token-of-the-client", "the-token-of-the-workers"
MANUAL = Path(__file__).parents[2] / "docs/howto/deploy.md"
MODULE = """
from avtomatika import OrchestratorEngine, StateMachineBlueprint

bp = StateMachineBlueprint("office", api_endpoint="/office")


@bp.handler_for("begin", is_start=True, transitions=["done", "ask"])
async def begin(initial_data, actions):
    actions.dispatch_task("work", {}, {"success": "ask" if initial_data.get("ask") else "done"})


@bp.handler_for("ask")
async def ask(actions):
    actions.await_human_approval("Well?", {"approved": "done"})


@bp.handler_for("done", is_end=True)
async def done(by):
    return {"by": by}


engine = OrchestratorEngine()
engine.register_blueprint(bp)
app = engine.app
"""
# What surrounds the server of the manual: everything of this NGINX stays in the test's folder.
NGINX = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
{server}
}}
"""


class Office(NamedTuple):
    """What runs: the address that others use, the servers, and who asks them."""

    url: str
    gunicorn: Running
    client: AsyncClient
    http: aiohttp.ClientSession

    async def until_both_answer(self) -> None:
        """Returns when two processes have answered, each under a name of its own."""
        names: set[str] = set()
        while len(names) < 2:
            with contextlib.suppress(aiohttp.ClientError):
                async with self.http.get(f"{self.url}/_public/status") as response:
                    if response.status == 200:
                        names.add((await response.json())["instance_id"])
                        continue
            await asyncio.sleep(0.02)

    async def jobs_counted(self) -> set[str]:
        """Returns how many jobs were created, as several answers tell it."""
        found = set()
        for _ in range(4):
            async with self.http.get(f"{self.url}/_public/metrics") as response:
                found |= set(re.findall(r"^orchestrator_jobs_total\{.*", await response.text(), re.MULTILINE))
        return found


def block(language: str) -> str:
    """Returns a block of the manual."""
    found = re.search(rf"```{language}\n(.*?)```", MANUAL.read_text(), re.DOTALL)
    assert found is not None
    return found[1]


def free_port() -> int:
    """Returns a port that nobody uses at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def kill_one(parent: int) -> None:
    """Kills one of the processes that another one keeps."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGKILL)


@pytest.fixture
async def office(
    redis_server: RedisServer, missing_server: Callable[[str], NoReturn], tmp_path: Path
) -> AsyncIterator[Office]:
    """Two processes behind a proxy, with a worker that knows nothing but the proxy's address."""
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if nginx is None:
        missing_server("NGINX is not installed (Debian: apt-get install nginx).")
    (tmp_path / "office.py").write_text(MODULE)
    (tmp_path / "metrics").mkdir()
    (tmp_path / "gunicorn.conf.py").write_text(block("python"))
    port = free_port()
    url = f"http://127.0.0.1:{port}/flows"
    settings = {
        "STORAGE_URI": f"redis://127.0.0.1:{redis_server.port}/13",
        "CLIENT_TOKEN": CLIENT,
        "GLOBAL_WORKER_TOKEN": WORKER,
        "PUBLIC_URL": url,
        "TRUSTED_PROXIES": "127.0.0.1",
        "PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "metrics"),
    }
    command = [sys.executable, "-m", "gunicorn", "office:app", "-k", "aiohttp.GunicornWebWorker", "-w", "2"]
    async with contextlib.AsyncExitStack() as stack:
        gunicorn = Running([*command, "-b", "127.0.0.1:0", "--graceful-timeout", "20"], tmp_path, settings)
        stack.callback(gunicorn.end)
        address = (await asyncio.to_thread(gunicorn.reads, r"Listening at: http://(\S+)"))[1]
        for _ in range(2):
            await asyncio.to_thread(gunicorn.reads, "Booting worker")
        server = block("nginx").replace("listen 80;", f"listen 127.0.0.1:{port};").replace("127.0.0.1:8080", address)
        assert server.count("127.0.0.1:") == 2
        (tmp_path / "nginx.conf").write_text(NGINX.format(folder=tmp_path, server=server))
        proxy = Running([nginx, "-c", str(tmp_path / "nginx.conf"), "-p", str(tmp_path)], tmp_path, {})
        stack.callback(proxy.end)
        http = await stack.enter_async_context(aiohttp.ClientSession())
        client = await stack.enter_async_context(AsyncClient(url, CLIENT, attempts=20))
        worker = Worker("w1", url=url, token=WORKER, shutdown_timeout=0.0, retry_initial=0.05, retry_max=0.2)
        worker.add_task(lambda: {"by": "w1"}, "work")
        await stack.enter_async_context(worker)
        office = Office(url, gunicorn, client, http)
        await office.until_both_answer()
        yield office


async def test_processes_behind_a_proxy_are_one_engine_under_its_path(office: Office) -> None:
    """Jobs, workers, links, streams and metrics work through the proxy, whichever process answers; one is killed."""
    job_id = await office.client.submit("/office", {"ask": True})
    seen = []
    async for job in office.client.events(job_id):
        seen.append(job["status"])
        if "approval" in job:
            link = job["approval"]["url"]
            async with office.http.post(link, json={"decision": "approved"}) as response:
                assert response.status == 200
    async with office.http.get(f"{office.url}/_public/openapi.json") as response:
        document = await response.json()

    assert link.startswith(office.url)
    assert seen[-1] == "finished"
    assert document["servers"] == [{"url": office.url}]
    assert await office.jobs_counted() == {'orchestrator_jobs_total{blueprint="office"} 1.0'}

    kill_one(office.gunicorn.process.pid)
    ids = [await office.client.submit("/office", {}, idempotency_key=f"k{number}") for number in range(6)]
    ends = [await office.client.wait(one, timeout=60) for one in ids]
    await asyncio.to_thread(office.gunicorn.reads, "Booting worker")

    assert {end["status"] for end in ends} == {"finished"}
    await office.until_both_answer()
    assert await office.jobs_counted() == {'orchestrator_jobs_total{blueprint="office"} 7.0'}
