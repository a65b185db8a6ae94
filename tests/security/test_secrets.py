"""Secrets are planted everywhere, and searched for in everything that comes out."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

from avtomatika import ActionFactory, Config, OrchestratorEngine, StateMachineBlueprint
from avtomatika.errors import AvtomatikaError
from avtomatika.observability.logging import setup_logging
from avtomatika.server.keys import HISTORIAN_KEY, HISTORY_KEY, METER_KEY, SAMPLER_KEY

SECRETS = {
    name: f"planted-{name}-6c1f9e"
    for name in ("client", "acme", "zeta", "worker", "gpu", "webhook", "wrong", "pasted", "key", "bucket")
}


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """Everything that the package logs, each line with all its facts."""
    logger = logging.getLogger("avtomatika")
    before = (logger.handlers[:], logger.level, logger.propagate)
    stream = io.StringIO()
    setup_logging("DEBUG", "json", stream=stream)
    yield stream
    logger.handlers[:], logger.propagate = before[0], before[2]
    logger.setLevel(before[1])


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """Settings full of secrets."""
    (tmp_path / "clients.toml").write_text(f'[acme]\ntoken = "{SECRETS["acme"]}"\nplan = "gold"\n')
    (tmp_path / "workers.toml").write_text(f'[gpu-1]\ntoken = "{SECRETS["gpu"]}"\n')
    return Config(
        API_HOST="127.0.0.1",
        API_PORT=0,
        CLIENT_TOKEN=SECRETS["client"],
        GLOBAL_WORKER_TOKEN=SECRETS["worker"],
        WEBHOOK_SECRET=SECRETS["webhook"],
        S3_ENDPOINT_URL="http://127.0.0.1:9",
        S3_ACCESS_KEY=SECRETS["key"],
        S3_SECRET_KEY=SECRETS["bucket"],
        CLIENTS_CONFIG_PATH=str(tmp_path / "clients.toml"),
        WORKERS_CONFIG_PATH=str(tmp_path / "workers.toml"),
        JOB_MAX_RETRIES=0,
        STORAGE_URI=f"sqlite:///{tmp_path / 'jobs.db'}",
    )


def blueprint() -> StateMachineBlueprint:
    """Returns a blueprint that asks a worker, and whose handler breaks afterwards."""
    bp = StateMachineBlueprint("work", api_endpoint="/work")

    @bp.handler_for("start", is_start=True)
    async def start(actions: ActionFactory) -> None:
        actions.dispatch_task("work", {}, {"success": "breaks"})

    @bp.handler_for("breaks", is_end=True)
    async def breaks(client: Any) -> None:
        raise RuntimeError(f"broken for {client}")

    return bp


class Outputs:
    """All that came out so far, by where."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}

    def add(self, place: str, value: object) -> None:
        """Remembers an output."""
        self.texts[f"{place} #{len(self.texts)}"] = value if isinstance(value, str) else repr(value)

    def leaks(self, secrets: dict[str, str]) -> list[str]:
        """Returns which secret was found where."""
        return [
            f"{name} in {place}"
            for name, secret in secrets.items()
            for place, text in self.texts.items()
            if secret in text
        ]


def stored(folder: Path) -> dict[str, str]:
    """Returns what the files of the storage hold."""
    return {path.name: path.read_bytes().decode("latin-1") for path in folder.glob("jobs.db*")}


async def ask(http: ClientSession, out: Outputs, method: str, url: str, **options: Any) -> Any:
    """Sends a request and remembers its answer, headers included."""
    async with http.request(method, url, **options) as answer:
        text = await answer.text()
        out.add(f"{method} {url.partition('?')[0]}", f"{answer.status} {dict(answer.headers)} {text}")
        return json.loads(text) if answer.content_type == "application/json" else text


async def test_planted_secrets_come_out_nowhere(config: Config, log: io.StringIO, tmp_path: Path) -> None:
    """Neither in an answer, nor in a log line, a row of history, the metrics, the storage or a webhook."""
    out = Outputs()
    secrets = dict(SECRETS)
    hooks: list[str] = []

    async def hook(request: web.Request) -> web.Response:
        hooks.append(f"{dict(request.headers)} {await request.text()}")
        return web.Response(status=410)

    receiver_app = web.Application()
    receiver_app.router.add_post("/hook", hook)
    engine = OrchestratorEngine(config=config)
    engine.register_blueprint(blueprint())
    worker, client = {"X-Worker-Token": SECRETS["worker"]}, {"X-Client-Token": SECRETS["acme"]}
    async with TestServer(receiver_app) as receiver, engine, ClientSession() as http:
        api, url = f"{engine.url}/api/v1", engine.url
        webhook = str(receiver.make_url("/hook"))
        made = await ask(
            http, out, "POST", f"{api}/work", headers=client, json={"initial_data": {}, "webhook_url": webhook}
        )
        job_id = made["job_id"]
        profile = {"worker_id": "w1", "supported_skills": [{"name": "work", "type": "work"}]}
        await ask(http, out, "POST", f"{url}/_worker/workers/register", headers=worker, json=profile)
        tokens = await ask(http, out, "POST", f"{url}/_worker/auth/token", headers={**worker, "X-Worker-ID": "w1"})
        # These two are told to the worker that asked, and to nobody else.
        out.texts.popitem()
        secrets |= {"access": tokens["access_token"], "refresh": tokens["refresh_token"]}
        short = {"X-Worker-Token": tokens["access_token"]}
        task = await ask(http, out, "GET", f"{url}/_worker/workers/w1/tasks/next", headers=short)
        result = {"job_id": task["job_id"], "task_id": task["task_id"], "worker_id": "w1"}
        await ask(http, out, "POST", f"{url}/_worker/tasks/result", headers=short, json=result)
        while (job := await ask(http, out, "GET", f"{api}/jobs/{job_id}?wait=5", headers=client))[
            "status"
        ] != "quarantined":
            pass
        assert "broken for" in job["error_message"]
        while not (await ask(http, out, "GET", f"{api}/dead-letters", headers=client))["dead_letters"]:
            pass

        # Secrets in the wrong places, and wrong ones in the right places.
        wrong = {"X-Client-Token": SECRETS["wrong"], "X-Worker-Token": SECRETS["wrong"]}
        await ask(http, out, "GET", f"{api}/jobs", headers=wrong)
        await ask(http, out, "POST", f"{url}/_worker/workers/register", headers=wrong, json=profile)
        await ask(http, out, "POST", f"{url}/_worker/auth/token/refresh", json={"refresh_token": SECRETS["wrong"]})
        await ask(http, out, "POST", f"{url}/_worker/workers/register", headers=worker, json={"worker_id": "gpu-1"})
        pasted = f"http://user:{SECRETS['pasted']}@example.com/"
        await ask(http, out, "POST", f"{api}/work", headers=client, json={"initial_data": {}, "webhook_url": pasted})
        for name in ("clients", "workers"):
            (tmp_path / f"{name}.toml").write_text(f'[acme]\ntoken = "{SECRETS["zeta"]}"\nplan = 5\nx = 1\n')
        engine._files.look()
        await ask(http, out, "POST", f"{api}/admin/reload-workers", headers=client)

        # Everything that can be read.
        for route in engine.app.router.routes():
            path = route.resource.canonical if route.resource is not None else ""
            if route.method == "GET" and path.startswith(("/api/", "/_public/")) and "events" not in path:
                await ask(
                    http, out, "GET", url + path.replace("{job_id}", job_id).replace("{name}", "work"), headers=client
                )
        await engine.app[HISTORIAN_KEY].flush()
        out.add("history", [dict(row) for row in await engine.app[HISTORY_KEY].job_events(job_id)])
        written = engine.app[METER_KEY].write(await engine.app[SAMPLER_KEY].sample())
        out.add("metrics", written)
        out.add("settings", f"{config!r} {config}")
        out.add("engine", f"{engine!r} {vars(engine)} {dict(engine.app)}")
    for name, content in stored(tmp_path).items():
        out.add(name, content)
    out.add("webhooks", hooks)
    out.add("log", log.getvalue())

    assert hooks
    assert any(job_id in text for place, text in out.texts.items() if place.startswith("jobs.db"))
    assert out.leaks(secrets) == []


def test_secret_in_a_broken_setting_or_file_is_not_repeated(tmp_path: Path) -> None:
    """A mistake beside a secret does not show the secret."""
    path = tmp_path / "clients.toml"
    path.write_text(f'[acme]\ntoken = ["{SECRETS["acme"]}"]\n')
    faults = []
    for settings in (
        {"CLIENT_TOKEN": f"two words {SECRETS['client']}"},
        {"GLOBAL_WORKER_TOKEN": f"ü{SECRETS['worker']}"},
        {"HISTORY_DATABASE_URI": f"mysql://user:{SECRETS['pasted']}@host/db"},
        {"STORAGE_URI": f"mysql://user:{SECRETS['pasted']}@host/db"},
    ):
        with pytest.raises(AvtomatikaError) as caught:
            Config(**settings)
        faults.append(f"{caught.value} {caught.value.__cause__} {caught.value.__context__}")
    engine = OrchestratorEngine(config=Config(CLIENTS_CONFIG_PATH=str(path)))
    with pytest.raises(AvtomatikaError) as caught:
        engine._let_in(engine.app[next(key for key in engine.app if "access" in str(key))])
    faults.append(f"{caught.value} {caught.value.__cause__}")

    assert not [name for name, secret in SECRETS.items() if secret in " ".join(faults)]
