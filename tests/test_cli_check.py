"""``avtomatika check`` and ``avtomatika token``."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from avtomatika.cli import main
from avtomatika.config import Config
from avtomatika.security.tokens import hash_of

MODULE = """
from avtomatika import Config, OrchestratorEngine, StateMachineBlueprint

flow = StateMachineBlueprint("flow")

@flow.handler_for("start", is_start=True, is_end=True)
async def start(): ...

engine = OrchestratorEngine(config=Config(API_HOST="127.0.0.1", CLIENTS_CONFIG_PATH="clients.toml"))
engine.register_blueprint(flow)
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, and none of the machine's settings."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    for name in Config.model_fields:
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Runs the command and returns its exit code."""
    monkeypatch.setattr(sys, "argv", ["avtomatika", *arguments])
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_check_of_a_good_set_up_says_what_it_looked_at(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    """Settings, files and blueprints, one line each."""
    (folder / "checked_shop.py").write_text(MODULE)
    (folder / "clients.toml").write_text('[acme]\ntoken = "x"\n')

    code = run(monkeypatch, "check", "checked_shop:engine")

    out, err = capsys.readouterr()
    assert (code, err) == (0, "")
    assert "ok: 1 blueprint: flow" in out
    assert "ok: clients.toml: 1 clients" in out
    assert "ok: files of jobs: a temporary directory" in out
    assert "the engine serves 127.0.0.1, port 8080" in out


def test_check_lists_every_fault(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    """One run, all complaints, exit code 2; nothing was started."""
    (folder / "clients.toml").write_text("[acme]\n")
    (folder / "workers.toml").write_text("[w]\ntoken = 5\n")
    monkeypatch.setenv("API_HOST", "0.0.0.0")
    monkeypatch.setenv("CLIENTS_CONFIG_PATH", "clients.toml")
    monkeypatch.setenv("WORKERS_CONFIG_PATH", "workers.toml")
    monkeypatch.setenv("TLS_ENABLED", "true")

    code = run(monkeypatch, "check")

    err = capsys.readouterr().err
    assert code == 2
    assert [line for line in err.splitlines() if line.startswith("error: ")] == err.splitlines()
    for part in (
        "GLOBAL_WORKER_TOKEN is a public default",
        "clients.toml, line 1: [acme] has no 'token'",
        "workers.toml, line 2: 'token' of [w] is a whole number",
        "TLS_CERT_PATH is empty",
    ):
        assert part in err


def test_check_of_a_wrong_setting_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What cannot even be read ends the check."""
    monkeypatch.setenv("API_PORT", "http")

    assert run(monkeypatch, "check") == 2
    assert "API_PORT is 'http', but must be a whole number" in capsys.readouterr().err


def test_token_is_new_each_time_and_comes_with_its_hash(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line to keep secret, one for the file."""
    assert run(monkeypatch, "token") == 0

    first, second = capsys.readouterr().out.splitlines()
    token = first.removeprefix("token: ")
    assert len(token) >= 32
    assert second.endswith(f'token = "{hash_of(token)}"')
    run(monkeypatch, "token")
    assert token not in capsys.readouterr().out


def test_token_hash_of_a_given_token_does_not_show_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is read from standard input, so that no shell history has it."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("my-own-secret\n"))

    assert run(monkeypatch, "token", "--hash") == 0

    out = capsys.readouterr().out
    assert hash_of("my-own-secret") in out
    assert "my-own-secret" not in out
    monkeypatch.setattr(sys, "stdin", io.StringIO("two words\n"))
    assert run(monkeypatch, "token", "--hash") == 2


def test_check_tells_settings_of_files_that_contradict_each_other(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Half of the credentials of a bucket is found before anything starts, and the other half is not shown."""
    monkeypatch.setenv("S3_ENDPOINT_URL", "https://s3.example.org")
    monkeypatch.setenv("S3_SECRET_KEY", "planted-secret")

    code = run(monkeypatch, "check")

    out, err = capsys.readouterr()
    assert code == 2
    assert "error: S3_ACCESS_KEY is empty" in err
    assert "planted-secret" not in out + err
