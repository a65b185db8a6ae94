"""Short-lived tokens: taken, renewed and lost, while work goes on."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme

from avtomatika import ActionFactory, Config, OrchestratorEngine, StateMachineBlueprint
from avtomatika.app_keys import JOBS_KEY
from avtomatika.clock import SystemClock
from avtomatika.errors import AuthError, ConfigError
from avtomatika.security.signatures import Kind, is_signed_by, key_of
from avtomatika.security.tls import names_of, server_context
from avtomatika.server.keys import STS_KEY
from avtomatika.storage.memory import MemoryStorage
from avtomatika.testing import FakeClock
from avtomatika.worker import Worker
from avtomatika.worker.certificates import Certificates
from avtomatika.worker.credentials import Credentials
from avtomatika.worker.transport import Transport

from .conftest import PATIENCE, FakeEngine, Heard

EXPIRED = (401, {"error": "the access token has ended"})


def pair(number: int, lasts: int = 3600) -> dict[str, Any]:
    """Returns tokens as an engine issues them."""
    return {"access_token": f"a{number}", "refresh_token": f"r{number}", "expires_in": lasts, "worker_id": "w"}


def token(heard: Heard) -> str:
    """The token that a request showed."""
    return heard.headers["X-Worker-Token"]


@pytest.fixture
def echoing(worker: Worker) -> Worker:
    """A worker with a task."""

    @worker.task
    async def echo(n: int) -> int:
        return n

    return worker


@pytest.fixture
def issuing(engine: FakeEngine) -> FakeEngine:
    """An engine that answers a registration with tokens."""
    engine.script["register"] = [(200, {"status": "registered", **pair(1)})]
    return engine


async def test_token_of_the_registration_is_used_at_once(issuing: FakeEngine, echoing: Worker) -> None:
    """In place of the configured one."""
    async with echoing:
        heartbeat = await issuing.wait_for("heartbeat")
        issuing.put("echo", n=1)
        await issuing.result()

    assert (token(issuing.of("register")[0]), token(heartbeat)) == ("token", "a1")
    assert token(issuing.of("result")[0]) == "a1"
    assert (issuing.of("token"), issuing.of("refresh")) == ([], [])


async def test_result_that_meets_an_ended_token_is_delivered_with_the_next(
    issuing: FakeEngine, echoing: Worker
) -> None:
    """The very same result, after one refresh."""
    issuing.script |= {"result": [EXPIRED], "refresh": [(200, pair(2))]}

    async with echoing:
        issuing.put("echo", n=1)
        await issuing.wait_for("result", count=2)

    first, second = issuing.of("result")
    (refresh,) = issuing.of("refresh")
    assert (token(first), token(second), first.body == second.body) == ("a1", "a2", True)
    assert (refresh.body, token(refresh), refresh.headers["X-Worker-ID"]) == ({"refresh_token": "r1"}, "a1", "w")


async def test_calls_that_fail_together_bring_one_refresh(issuing: FakeEngine, echoing: Worker) -> None:
    """A second one with the same refresh token would look like theft."""
    echoing.configure(batch=1)
    issuing.script |= {"result": [EXPIRED] * 4, "refresh": [(200, pair(2))]}
    gate = asyncio.Event()

    @echoing.task
    async def wait() -> None:
        await gate.wait()

    async with echoing:
        for number in range(4):
            issuing.put("wait", f"t-{number}")
        await issuing.wait_for("heartbeat", lambda heard: len(heard.body["current_tasks"]) == 4)
        gate.set()
        await issuing.wait_for("result", lambda heard: token(heard) == "a2", count=4)

    assert len(issuing.of("refresh")) == 1


async def test_refused_refresh_token_leads_back_to_the_configured_one(issuing: FakeEngine, echoing: Worker) -> None:
    """An engine may have lost all it knew of tokens; the worker need not be restarted for that."""
    refused = (403, {"error": "unknown"})
    issuing.script |= {"result": [EXPIRED], "refresh": [refused], "token": [refused, (200, pair(3))]}

    async with echoing:
        issuing.put("echo", n=1)
        await issuing.wait_for("result", count=2)

    assert [token(heard) for heard in issuing.of("token")] == ["a1", "token"]
    assert token(issuing.of("result")[1]) == "a3"


async def test_result_is_kept_while_no_token_can_be_had(issuing: FakeEngine, echoing: Worker) -> None:
    """It is sent again until there is one; an engine in trouble is not asked in three ways."""
    issuing.script |= {"result": [EXPIRED, EXPIRED], "refresh": [(503, {"error": "later"}), (200, pair(2))]}

    async with echoing:
        issuing.put("echo", n=1)
        await issuing.wait_for("result", count=3)

    assert {heard.body["task_id"] for heard in issuing.of("result")} == {"t-1"}
    assert issuing.of("token") == []


async def test_token_that_is_about_to_end_is_renewed_before_it_does(engine: FakeEngine, echoing: Worker) -> None:
    """Nothing has to fail for that."""
    engine.script["register"] = [(200, {"status": "registered", **pair(1, lasts=0)})]
    engine.script["refresh"] = [(200, pair(2))]

    async with echoing:
        await engine.wait_for("heartbeat", lambda heard: token(heard) == "a2")

    assert {token(heard) for heard in engine.of("heartbeat")} == {"a2"}


async def test_engine_that_refuses_the_configured_token_for_good_ends_the_worker(
    engine: FakeEngine, echoing: Worker
) -> None:
    """The first releases of the engine say 401 for a wrong token, too."""
    engine.script |= {"register": [EXPIRED], "token": [(401, {"error": "who are you?"})]}

    async with echoing:
        with pytest.raises(AuthError, match="refuses worker 'w'"):
            await echoing.wait_until_registered()


async def test_messages_are_signed_with_the_token_that_goes_along(issuing: FakeEngine, echoing: Worker) -> None:
    """An engine that knows hashes alone can check no other; what is sent again is signed anew."""
    echoing.configure(sign_messages=True)
    issuing.script |= {"heartbeat": [EXPIRED], "refresh": [(200, pair(2))]}

    async with echoing:
        await issuing.wait_for("heartbeat", count=2)

    for heard in (*issuing.of("register"), *issuing.of("heartbeat")[:2]):
        kind = Kind.REGISTER if heard.kind == "register" else Kind.HEARTBEAT
        raw = heard.raw
        assert is_signed_by(heard.body["security"]["signature"], raw, kind, [key_of(token(heard))])


async def test_socket_opens_with_a_new_token(engine: FakeEngine, echoing: Worker) -> None:
    """A handshake may be what finds out that the token has ended."""
    echoing.configure(websockets=True, retry_initial=3600, retry_max=3600)
    engine.script |= {"socket": [EXPIRED], "token": [(200, pair(1))]}

    async with echoing, asyncio.timeout(PATIENCE), engine.news:
        await engine.news.wait_for(lambda: engine.sockets)

    assert [token(heard) for heard in engine.of("socket")] == ["token", "a1"]


def test_credentials_do_not_show_themselves() -> None:
    """Not in a log, nor in a traceback."""
    credentials = Credentials("secret")
    credentials.learn(pair(1), 0.0)

    assert repr(credentials) == "Credentials(issued=True)"


@pytest.mark.parametrize("answer", [None, {}, {"access_token": "a"}, {"access_token": "", "expires_in": 1}, []])
def test_answer_without_tokens_changes_nothing(answer: Any) -> None:
    """The configured token stays."""
    credentials = Credentials("secret")

    assert (credentials.learn(answer, 0.0), credentials.token, credentials.is_issued) == (False, "secret", False)


@pytest.fixture
def certificates(tmp_path: Path) -> dict[str, str]:
    """Files of a CA, of an engine on 127.0.0.1, and of the worker ``gpu-1``."""
    ca = trustme.CA()
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    for name, certificate in {
        "engine": ca.issue_cert("127.0.0.1"),
        "worker": ca.issue_cert(common_name="gpu-1"),
    }.items():
        certificate.private_key_pem.write_to_path(tmp_path / f"{name}.key")
        certificate.cert_chain_pems[0].write_to_path(tmp_path / f"{name}.pem")
    return {path.name: str(path) for path in tmp_path.iterdir()}


def shown(context: ssl.SSLContext, server: ssl.SSLContext) -> str:
    """Returns the name in the certificate that a client shows."""
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(back, there, server_hostname="127.0.0.1")
    other = server.wrap_bio(there, back, server_side=True)
    for _ in range(4):
        for side in (client, other):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
    return names_of(other.getpeercert())[0]


def test_renewed_certificate_is_taken(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """By new connections; one that does not fit its key yet is left until it does."""
    ca = trustme.CA()
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    server = ca.issue_cert("127.0.0.1")
    server.private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    cert, key = tmp_path / "w.pem", tmp_path / "w.key"

    def write(name: str, *paths: Path) -> None:
        issued = ca.issue_cert(common_name=name)
        for path in paths:
            blob = issued.private_key_pem if path == key else issued.cert_chain_pems[0]
            blob.write_to_path(path)

    write("old", cert, key)
    accepting = server_context(
        str(tmp_path / "server.pem"), str(tmp_path / "server.pem"), str(tmp_path / "ca.pem"), require_client_cert=True
    )
    settings = Worker(tls_ca=str(tmp_path / "ca.pem"), tls_cert=str(cert), tls_key=str(key)).settings
    certificates = Certificates(settings)
    assert certificates.context is not None
    names = [shown(certificates.context, accepting)]

    write("half", cert)
    certificates.look()
    write("new", cert, key)
    certificates.look()
    names.append(shown(certificates.context, accepting))

    assert names == ["old", "new"]
    assert "cannot be used" in caplog.text


async def test_certificate_is_looked_at_with_every_poll_and_heartbeat(
    engine: FakeEngine, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker without tasks only polls, one that is full only beats."""
    looks: list[Certificates] = []

    def look(certificates: Certificates) -> None:
        looks.append(certificates)

    monkeypatch.setattr(Certificates, "look", look)
    transport = Transport(worker.settings, SystemClock())

    await transport.poll({"timeout": "0"}, 0)
    await transport.heartbeat({})
    await transport.close()

    assert len(looks) == len(engine.heard) == 2


@pytest.mark.parametrize("wrong", ["ca", "cert"])
def test_certificate_that_cannot_be_read_is_named(certificates: dict[str, str], wrong: str) -> None:
    """Before anything is sent."""
    files = {"tls_ca": certificates["ca.pem"], "tls_cert": certificates["worker.pem"]}
    files |= {"tls_key": certificates["worker.key"], f"tls_{wrong}": "gone.pem"}

    with pytest.raises(ConfigError, match=rf"TLS_{wrong.upper()}_PATH.*gone\.pem"):
        Certificates(Worker(**files).settings)


async def test_worker_with_a_certificate_works_on_when_its_token_has_ended(certificates: dict[str, str]) -> None:
    """Over TLS, at an engine of our own: named by its certificate, with a token that the engine lets end."""
    blueprint, clock = StateMachineBlueprint("echoing"), FakeClock()

    @blueprint.handler_for("start", is_start=True)
    async def start(actions: ActionFactory) -> None:
        actions.dispatch_task("echo", {"n": 1}, {"success": "end"})

    @blueprint.handler_for("end", is_end=True)
    async def end() -> None: ...

    config = Config(
        API_PORT=0,
        API_HOST="127.0.0.1",
        GLOBAL_WORKER_TOKEN="shared",
        WORKER_AUTH_MODE="token-only",
        STS_TOKEN_SECONDS=60,
        TLS_ENABLED=True,
        TLS_CERT_PATH=certificates["engine.pem"],
        TLS_KEY_PATH=certificates["engine.key"],
        TLS_CA_PATH=certificates["ca.pem"],
    )
    engine = OrchestratorEngine(MemoryStorage(clock), config, clock=clock)
    engine.register_blueprint(blueprint)
    tokens: list[str] = []

    async def run_job() -> str:
        job_id = await engine.create_background_job("echoing", {})
        jobs = engine.app[JOBS_KEY]
        job = await jobs.get(job_id)
        while not job.is_terminal:
            job = await jobs.wait(job_id, job.version, 1e9)
        return str(job.status)

    async with engine:
        sts = engine.app[STS_KEY]
        refresh = sts.refresh

        async def noted(refresh_token: str) -> Any:
            issued = await refresh(refresh_token)
            tokens.append(issued.granted.names[0])
            return issued

        sts.refresh = noted  # type: ignore[method-assign]
        worker = Worker(
            url=engine.url,
            token="shared",
            poll_timeout=0.2,
            tls_ca=certificates["ca.pem"],
            tls_cert=certificates["worker.pem"],
            tls_key=certificates["worker.key"],
        )
        worker.add_task(lambda n: n, "echo")
        async with worker, asyncio.timeout(PATIENCE):
            await worker.wait_until_registered()
            first = await run_job()
            await clock.advance(config.STS_TOKEN_SECONDS + 1)
            # Whichever call comes first with the old token, the engine's clock stands still until the job has ended.
            second = await run_job()

    assert worker.settings.worker_id == "gpu-1"
    assert (first, second, tokens[:1]) == ("finished", "finished", ["gpu-1"])
