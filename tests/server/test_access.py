"""Who may call: clients and workers of the files, with and without a restart."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiohttp import ClientSession, TCPConnector

from avtomatika import ActionFactory, Config, OrchestratorEngine, StateMachineBlueprint
from avtomatika.config import DEFAULT_CLIENT_TOKEN
from avtomatika.errors import ConfigError
from avtomatika.security.tokens import hash_of
from avtomatika.server.keys import JOBS_KEY
from avtomatika.worker import Worker

from .conftest import CLIENT, WORKER, Api, StartApi

ACME, ZETA = "acme-has-this-token", "zeta-has-that-token"
GPU, CPUS = "only-for-gpu-1", "for-all-cpu-workers"


@pytest.fixture
def clients(tmp_path: Path) -> Path:
    """A file with two clients."""
    path = tmp_path / "clients.toml"
    path.write_text(f'[acme]\ntoken = "{ACME}"\nplan = "gold"\nregion = "eu"\n\n[zeta]\ntoken = "{hash_of(ZETA)}"\n')
    return path


@pytest.fixture
def workers(tmp_path: Path) -> Path:
    """A file with a worker and a pattern."""
    path = tmp_path / "workers.toml"
    path.write_text(f'[gpu-1]\ntoken = "{GPU}"\n\n["cpu-*"]\ntoken = "{CPUS}"\n')
    return path


def write(path: Path, text: str) -> None:
    """Changes a file, as an editor does."""
    path.write_text(text)


async def knocks(api: Api, worker_id: str, token: str) -> int:
    """Registers a worker and returns the status."""
    body = {"worker_id": worker_id, "supported_skills": [{"name": "work", "type": "work"}]}
    return (await api.post("/_worker/workers/register", body, token=token)).status


# --- clients ---


async def test_clients_of_the_file_are_known_and_apart(start_api: StartApi, clients: Path) -> None:
    """Each has its token, written plainly or as a hash, and sees its own jobs only."""
    api = await start_api(CLIENTS_CONFIG_PATH=str(clients))
    job_id = await api.submit(token=ACME)

    assert (await api.get(f"/api/v1/jobs/{job_id}", token=ACME)).body["client"] == "acme"
    assert (await api.get(f"/api/v1/jobs/{job_id}", token=ZETA)).status == 404
    assert [job["id"] for job in (await api.get("/api/v1/jobs", token=ACME)).body] == [job_id]
    assert (await api.get("/api/v1/jobs", token=ZETA)).body == []


async def test_handlers_get_plan_and_params_of_their_client(start_api: StartApi, clients: Path) -> None:
    """What the file says of a client is there for blueprints to decide by; a condition may ask for it, too."""
    api = await start_api(CLIENTS_CONFIG_PATH=str(clients))
    bp = StateMachineBlueprint("plans", api_endpoint="/plans")

    @bp.handler_for("start", is_start=True).when("context.client.plan == 'gold'")
    async def gold(actions: ActionFactory) -> None:
        actions.transition_to("done")

    @bp.handler_for("start", is_start=True)
    async def other(actions: ActionFactory) -> None:
        actions.transition_to("refused")

    @bp.handler_for("done", is_end=True)
    async def done(client: Any) -> dict[str, Any]:
        return {"name": client.name, "params": dict(client.params)}

    @bp.handler_for("refused", is_end=True)
    async def refused() -> None: ...

    api.engine.register_blueprint(bp)
    one = await api.engine.app[JOBS_KEY].get(await api.submit("/api/v1/plans", token=ACME))
    other_id = await api.submit("/api/v1/plans", token=ZETA)

    jobs = api.engine.app[JOBS_KEY]
    while not (one := await jobs.wait(one.id, one.version, 1e9)).is_terminal:
        pass
    assert one.result.value() == {"name": "acme", "params": {"region": "eu"}}
    job = await jobs.get(other_id)
    while not job.is_terminal:
        job = await jobs.wait(job.id, job.version, 1e9)
    assert job.state == "refused"


async def test_default_token_is_not_taken_with_a_file(clients: Path) -> None:
    """What everybody knows opens nothing; a token of one's own in CLIENT_TOKEN still does."""
    config = Config(API_HOST="127.0.0.1", API_PORT=0, CLIENTS_CONFIG_PATH=str(clients), GLOBAL_WORKER_TOKEN=WORKER)
    async with OrchestratorEngine(config=config) as engine, ClientSession() as http:
        for token, status in ((DEFAULT_CLIENT_TOKEN, 401), (ACME, 200)):
            async with http.get(f"{engine.url}/api/v1/jobs", headers={"X-Client-Token": token}) as answer:
                assert answer.status == status
    config.API_HOST = "0.0.0.0"
    assert config.bind_host() == ("0.0.0.0", None)


async def test_own_client_token_is_taken_beside_the_file(start_api: StartApi, clients: Path) -> None:
    """Who has set CLIENT_TOKEN has meant it."""
    api = await start_api(CLIENTS_CONFIG_PATH=str(clients))

    assert (await api.get("/api/v1/jobs", token=CLIENT)).status == 200


async def test_changed_clients_file_takes_effect_without_restart(start_api: StartApi, clients: Path) -> None:
    """New clients come in, removed ones stay out; a file that is broken changes nothing."""
    api = await start_api(CLIENTS_CONFIG_PATH=str(clients))

    write(clients, '[nova]\ntoken = "nova-is-new-here"\n')
    await api.clock.advance(4)
    after = [(await api.get("/api/v1/jobs", token=token)).status for token in (ACME, ZETA, "nova-is-new-here")]
    write(clients, '[nova]\ntoken = ""\n')
    await api.clock.advance(4)

    assert after == [401, 401, 200]
    assert (await api.get("/api/v1/jobs", token="nova-is-new-here")).status == 200


@pytest.mark.parametrize("setting", ["CLIENTS_CONFIG_PATH", "WORKERS_CONFIG_PATH"])
async def test_broken_file_stops_the_start(tmp_path: Path, setting: str) -> None:
    """Never half a start: nothing listens, and the message has file, line, field and remedy."""
    path = tmp_path / "broken.toml"
    path.write_text("[acme]\ntoken = 17\n")
    engine = OrchestratorEngine(config=Config(API_HOST="127.0.0.1", API_PORT=0, **{setting: str(path)}))

    with pytest.raises(ConfigError, match=r"broken\.toml, line 2: 'token' of \[acme\] is a whole number; expected"):
        await engine.start()

    assert engine._app_runner is None


async def test_file_with_the_token_of_the_settings_stops_the_start(clients: Path) -> None:
    """Two identities cannot share a token."""
    config = Config(API_HOST="127.0.0.1", API_PORT=0, CLIENTS_CONFIG_PATH=str(clients), CLIENT_TOKEN=ACME)

    with pytest.raises(ConfigError, match="default and acme have the same X-Client-Token"):
        await OrchestratorEngine(config=config).start()


# --- workers ---


@pytest.mark.parametrize(
    ("worker_id", "token", "status"),
    [
        ("gpu-1", GPU, 200),
        ("gpu-2", GPU, 403),
        ("cpu-1", CPUS, 200),
        ("cpu-2", CPUS, 200),
        ("gpu-1", CPUS, 403),
        ("other", WORKER, 200),
        ("gpu-1", WORKER, 403),
        ("cpu-9", WORKER, 403),
        ("other", "nobody-has-this", 403),
    ],
)
async def test_worker_token_is_for_its_workers_only(
    start_api: StartApi, workers: Path, worker_id: str, token: str, status: int
) -> None:
    """Nobody takes the place of a worker that has a token of its own, not even with the global one."""
    api = await start_api(WORKERS_CONFIG_PATH=str(workers))

    assert await knocks(api, worker_id, token) == status


async def test_reload_takes_new_tokens_at_once(start_api: StartApi, workers: Path) -> None:
    """An operator need not wait for the next look at the file."""
    api = await start_api(WORKERS_CONFIG_PATH=str(workers))
    write(workers, f'[gpu-2]\ntoken = "{GPU}"\n')

    answer = await api.post("/api/v1/admin/reload-workers")

    assert (answer.status, answer.body) == (200, {"status": "worker_configs_reloaded", "sections": 1})
    assert [await knocks(api, "gpu-1", GPU), await knocks(api, "gpu-2", GPU)] == [403, 200]
    assert await knocks(api, "cpu-1", WORKER) == 200


async def test_reload_of_a_broken_file_changes_nothing_and_says_why(start_api: StartApi, workers: Path) -> None:
    """Not even its good half is taken."""
    api = await start_api(WORKERS_CONFIG_PATH=str(workers))
    write(workers, f'[gpu-2]\ntoken = "{GPU}"\n\n[gpu-3]\n')

    answer = await api.post("/api/v1/admin/reload-workers")

    assert (answer.status, answer.body["code"]) == (400, "invalid_config")
    assert "line 4: [gpu-3] has no 'token'" in answer.body["error"]
    assert [await knocks(api, "gpu-1", GPU), await knocks(api, "gpu-2", GPU)] == [200, 403]


async def test_reload_without_a_file_is_no_error(api: Api) -> None:
    """There is nothing to read, and nothing is wrong."""
    answer = await api.post("/api/v1/admin/reload-workers")

    assert answer.body == {"status": "worker_configs_reloaded", "sections": 0}
    assert (await api.post("/api/v1/admin/reload-workers", token=None)).status == 401


async def test_changed_workers_file_takes_effect_by_itself(start_api: StartApi, workers: Path) -> None:
    """Nobody has to call anything."""
    api = await start_api(WORKERS_CONFIG_PATH=str(workers))

    write(workers, "")
    await api.clock.advance(4)

    assert [await knocks(api, "gpu-1", GPU), await knocks(api, "gpu-1", WORKER)] == [403, 200]


# --- certificates ---


class Field:
    """An engine with TLS, and certificates for workers.

    Args:
        folder: where the files go.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ca = trustme.CA()
        self.ca.cert_pem.write_to_path(folder / "ca.pem")
        self.issue("server", self.ca.issue_cert("127.0.0.1"))
        self.issue("w1", self.ca.issue_cert("w2.example", common_name="w1"))
        self.issue("stranger", trustme.CA().issue_cert("x.example", common_name="w1"))

    def issue(self, name: str, cert: trustme.LeafCert) -> None:
        """Writes the files of a certificate."""
        cert.private_key_pem.write_to_path(self.folder / f"{name}.key")
        cert.cert_chain_pems[0].write_to_path(self.folder / f"{name}.pem")

    def config(self, **settings: Any) -> Config:
        """Returns the settings of an engine with TLS."""
        tls = {
            "TLS_ENABLED": True,
            "TLS_CERT_PATH": str(self.folder / "server.pem"),
            "TLS_KEY_PATH": str(self.folder / "server.key"),
            "TLS_CA_PATH": str(self.folder / "ca.pem"),
        }
        tokens = {"CLIENT_TOKEN": CLIENT, "GLOBAL_WORKER_TOKEN": WORKER}
        return Config(API_HOST="127.0.0.1", API_PORT=0, **(tls | tokens | settings))

    async def knock(
        self, engine: OrchestratorEngine, worker_id: str, cert: str = "", token: str = WORKER
    ) -> tuple[int, str]:
        """Registers a worker with a certificate; returns status and code of the answer."""
        context = ssl.create_default_context(cafile=str(self.folder / "ca.pem"))
        if cert:
            context.load_cert_chain(self.folder / f"{cert}.pem", self.folder / f"{cert}.key")
        body = {"worker_id": worker_id, "supported_skills": [{"name": "work", "type": "work"}]}
        async with (
            ClientSession(connector=TCPConnector(ssl=context), headers={"X-Worker-Token": token}) as http,
            http.post(f"{engine.url}/_worker/workers/register", json=body) as answer,
        ):
            return answer.status, (await answer.json()).get("code", "")


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> Field:
    """Certificates of a CA made on the spot."""
    return Field(tmp_path_factory.mktemp("tls"))


@pytest.fixture
async def engine(field: Field) -> AsyncIterator[OrchestratorEngine]:
    """An engine that takes certificates and tokens."""
    async with OrchestratorEngine(config=field.config()) as engine:
        yield engine


async def test_certificate_is_the_identity_of_a_worker(field: Field, engine: OrchestratorEngine) -> None:
    """With its common name, or one of its DNS names, as id, and no other; then no token is needed."""
    assert engine.url.startswith("https://")
    assert await field.knock(engine, "w1", "w1", token="none") == (200, "")
    assert await field.knock(engine, "w3", "w1") == (403, "worker_mismatch")
    assert await field.knock(engine, "w3", "", token=WORKER) == (200, "")
    assert await field.knock(engine, "w3", "", token="none") == (403, "forbidden")


async def test_dns_name_of_a_certificate_is_an_identity_too(field: Field, tmp_path: Path) -> None:
    """One certificate may serve several workers of a machine."""
    field.issue("many", field.ca.issue_cert("gpu-1", "gpu-2", common_name="host"))
    async with OrchestratorEngine(config=field.config()) as engine:
        assert await field.knock(engine, "gpu-2", "many", token="none") == (200, "")
        assert await field.knock(engine, "gpu-3", "many", token="none") == (403, "worker_mismatch")


@pytest.mark.parametrize(
    ("mode", "with_cert", "with_token"),
    [
        ("mixed", (200, ""), (200, "")),
        ("mtls-only", (200, ""), (403, "forbidden")),
        ("token-only", (403, "forbidden"), (200, "")),
    ],
)
async def test_auth_mode_decides_what_counts(
    field: Field, mode: str, with_cert: tuple[int, str], with_token: tuple[int, str]
) -> None:
    """Certificates, tokens, or either."""
    async with OrchestratorEngine(config=field.config(WORKER_AUTH_MODE=mode)) as engine:
        assert await field.knock(engine, "w1", "w1", token="none") == with_cert
        assert await field.knock(engine, "w1", "", token=WORKER) == with_token


async def test_certificate_of_another_ca_opens_no_connection(field: Field, engine: OrchestratorEngine) -> None:
    """A name alone proves nothing."""
    with pytest.raises((ssl.SSLError, OSError)):
        await field.knock(engine, "w1", "stranger")


async def test_required_certificate_keeps_everybody_else_out(field: Field) -> None:
    """Not even the public paths answer without one."""
    async with OrchestratorEngine(config=field.config(TLS_REQUIRE_CLIENT_CERT=True)) as engine:
        assert await field.knock(engine, "w1", "w1") == (200, "")
        with pytest.raises((ssl.SSLError, OSError)):
            await field.knock(engine, "w1", "")


@pytest.mark.parametrize("settings", [{"TLS_CA_PATH": ""}, {"TLS_ENABLED": False}])
async def test_certificates_only_without_asking_for_any_is_refused(field: Field, settings: dict[str, Any]) -> None:
    """An engine that lets nobody in is a mistake."""
    engine = OrchestratorEngine(config=field.config(WORKER_AUTH_MODE="mtls-only", **settings))

    with pytest.raises(ConfigError, match="Set TLS_ENABLED=true and TLS_CA_PATH"):
        await engine.start()


async def test_renewed_certificate_is_used_without_restart(field: Field, tmp_path: Path) -> None:
    """Certificates end; engines go on."""
    field.issue("renewed", field.ca.issue_cert("127.0.0.1", common_name="old"))
    config = field.config(
        TLS_CERT_PATH=str(field.folder / "renewed.pem"), TLS_KEY_PATH=str(field.folder / "renewed.key")
    )
    async with OrchestratorEngine(config=config) as engine:
        field.issue("renewed", field.ca.issue_cert("127.0.0.1", common_name="new"))
        engine._files.look()

        context = ssl.create_default_context(cafile=str(field.folder / "ca.pem"))
        _, writer = await asyncio.open_connection("127.0.0.1", engine.port, ssl=context)
        subject = writer.get_extra_info("peercert")["subject"]
        writer.close()
        await writer.wait_closed()

    assert (("commonName", "new"),) in subject


async def test_worker_of_our_sdk_comes_in_with_its_certificate(field: Field, engine: OrchestratorEngine) -> None:
    """The files of the worker's settings are all it needs."""
    worker = Worker(
        "w1",
        url=engine.url,
        token="none",
        tls_ca=str(field.folder / "ca.pem"),
        tls_cert=str(field.folder / "w1.pem"),
        tls_key=str(field.folder / "w1.key"),
    )
    worker.add_task(lambda: None, "work")

    async with worker:
        await worker.wait_until_registered()
