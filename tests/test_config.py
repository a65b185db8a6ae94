"""Settings: read from the environment, checked, and never showing a token."""

from __future__ import annotations

import datetime
import os
import zoneinfo
from pathlib import Path

import pytest

from avtomatika.config import DEFAULT_CLIENT_TOKEN, DEFAULT_WORKER_TOKEN, Config, reference
from avtomatika.errors import ConfigError

OWN_TOKENS = {"CLIENT_TOKEN": "my-client-secret", "GLOBAL_WORKER_TOKEN": "my-worker-secret"}
CONTRACT_DEFAULTS = {
    "API_HOST": "0.0.0.0",
    "API_PORT": 8080,
    "ENABLE_CLIENT_API": True,
    "CLIENT_API_PREFIX": "api",
    "STORAGE_URI": "memory:",
    "CLIENT_TOKEN": "secure-orchestrator-token",
    "GLOBAL_WORKER_TOKEN": "secure-worker-token",
    "TZ": "UTC",
    "LOG_LEVEL": "INFO",
    "LOG_FORMAT": "json",
    "WORKER_TIMEOUT_SECONDS": 300,
    "WORKER_POLL_TIMEOUT_SECONDS": 30,
    "WORKER_HEALTH_CHECK_INTERVAL_SECONDS": 60,
    "JOB_MAX_RETRIES": 3,
    "WATCHER_INTERVAL_SECONDS": 20,
    "EXECUTOR_MAX_CONCURRENT_JOBS": 100,
    "MAX_TRANSITIONS_PER_JOB": 1000,
    "HISTORY_DATABASE_URI": "",
}


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hides the settings of the machine that runs the tests."""
    for name in Config.model_fields.keys() & os.environ.keys():
        monkeypatch.delenv(name)


@pytest.mark.parametrize(("name", "default"), CONTRACT_DEFAULTS.items())
def test_config_without_environment_has_contract_default(name: str, default: object) -> None:
    """The defaults are those of the public contract."""
    assert getattr(Config(), name) == default


def test_config_environment_variable_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable of the environment becomes an attribute of its type."""
    monkeypatch.setenv("API_PORT", "9000")
    monkeypatch.setenv("ENABLE_CLIENT_API", "false")

    config = Config()

    assert (config.API_PORT, config.ENABLE_CLIENT_API) == (9000, False)


def test_config_keyword_argument_wins_over_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the program says counts more than what the environment says."""
    monkeypatch.setenv("API_PORT", "9000")

    assert Config(API_PORT=0).API_PORT == 0


def test_config_assignment_of_good_value_converts_it() -> None:
    """An assigned value is checked and converted like one of the environment."""
    config = Config()

    config.WORKER_TIMEOUT_SECONDS = "12.5"  # type: ignore[assignment]
    config.LOG_LEVEL = "debug"  # type: ignore[assignment]
    config.CLIENT_API_PREFIX = "/work/api/"

    assert (config.WORKER_TIMEOUT_SECONDS, config.LOG_LEVEL, config.CLIENT_API_PREFIX) == (12.5, "DEBUG", "work/api")


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("API_PORT", "70000", "a whole number from 0 to 65535"),
        ("API_PORT", "http", "a whole number from 0 to 65535"),
        ("API_HOST", "", "an IP address or a host name"),
        ("ENABLE_CLIENT_API", "perhaps", "true or false"),
        ("CLIENT_API_PREFIX", "_worker", "letters, digits"),
        ("INSTANCE_ID", "a b", "1 to 128 of the characters"),
        ("STORAGE_URI", "redis:", "memory:"),
        (
            "HISTORY_DATABASE_URI",
            "postgresql:",
            "empty, sqlite:path, sqlite:///path or postgresql://user:password@host/database",
        ),
        ("TZ", "Europe", "the name of a time zone"),
        ("LOG_FORMAT", "xml", "json or text"),
        ("WORKER_TIMEOUT_SECONDS", "0", "a positive number of seconds"),
        ("WORKER_TIMEOUT_SECONDS", "inf", "a positive number of seconds"),
        ("TASK_LEASE_SECONDS", "nan", "a positive number of seconds"),
        ("JOB_MAX_RETRIES", "-1", "a whole number from 0"),
        ("EXECUTOR_MAX_CONCURRENT_JOBS", "0", "a whole number from 1"),
        ("API_MAX_BODY_BYTES", "12", "a whole number from 1024"),
    ],
)
def test_config_wrong_value_names_variable_value_and_allowed(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, allowed: str
) -> None:
    """The message says which variable is wrong, what it is and what it may be, at reading and at assignment alike."""
    good = Config()
    monkeypatch.setenv(name, value)

    with pytest.raises(ConfigError) as read:
        Config()
    with pytest.raises(ConfigError) as assigned:
        setattr(good, name, value)

    assert str(read.value) == str(assigned.value)
    assert f"{name} is '{value}', but must be {allowed}" in str(read.value)
    assert getattr(good, name) != value


def test_config_several_wrong_values_are_all_named() -> None:
    """One start shows everything that is to be mended."""
    with pytest.raises(ConfigError) as caught:
        Config(API_PORT=-1, TZ="nowhere")

    assert [line.split()[0] for line in str(caught.value).splitlines()] == ["API_PORT", "TZ"]


@pytest.mark.parametrize(
    ("name", "value", "guess"), [("TZ", "Europe/Madrit", "Europe/Madrid"), ("LOG_LEVEL", "warn", "WARNING")]
)
def test_config_misspelt_word_is_guessed(name: str, value: str, guess: str) -> None:
    """Where the allowed words can be listed, the nearest one is offered."""
    with pytest.raises(ConfigError, match=f"Did you mean '{guess}'"):
        Config(**{name: value})


@pytest.mark.parametrize("token", ["", " padded ", "two words", "ключ", "x" * 1025, b"\xff"])
def test_config_unusable_token_is_refused_without_being_shown(token: object) -> None:
    """A token that no header can carry is refused, and the message does not repeat it."""
    with pytest.raises(ConfigError) as caught:
        Config(CLIENT_TOKEN=token)

    assert "printable ASCII" in str(caught.value)
    assert not token or str(token) not in str(caught.value)
    assert not token or str(token) not in str(caught.value.__context__)


def test_config_uri_with_password_is_shown_without_it() -> None:
    """The password of a database never reaches a message."""
    with pytest.raises(ConfigError) as caught:
        Config(HISTORY_DATABASE_URI="mysql://anna:hid@den@db/history")

    assert "@db/history" in str(caught.value)
    assert "hid@den" not in str(caught.value)
    assert "anna" not in str(caught.value)


@pytest.mark.parametrize("text", [repr, str])
def test_config_repr_shows_no_token(text: type[str]) -> None:
    """Settings can be printed and logged."""
    shown = text(Config(**OWN_TOKENS, API_PORT=1234))

    assert "API_PORT=1234" in shown
    assert "CLIENT_TOKEN=<hidden>" in shown
    assert not any(token in shown for token in OWN_TOKENS.values())
    assert "CLIENT_TOKEN=<public default>" in text(Config())


def test_config_unknown_name_is_refused_with_a_guess() -> None:
    """A misspelt setting is an error instead of an attribute that nobody reads."""
    config = Config()

    with pytest.raises(ConfigError, match="Did you mean 'API_PORT'"):
        config.API_PRT = 1
    with pytest.raises(ConfigError, match="Did you mean 'JOB_MAX_RETRIES'"):
        Config(job_max_retry=1)
    with pytest.raises(ConfigError, match=r"no setting 'COLOUR'\. Known: API_HOST, "):
        config.is_set("COLOUR")


def test_is_set_tells_default_from_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    """A default does not count as set; environment, keyword and assignment do, even with the default's value."""
    monkeypatch.setenv("API_PORT", "8080")
    config = Config(TZ="UTC")

    config.LOG_LEVEL = "INFO"

    assert [config.is_set(name) for name in ("API_HOST", "API_PORT", "TZ", "LOG_LEVEL")] == [False, True, True, True]


def test_instance_id_of_two_engines_differs() -> None:
    """Two engines never take each other's claims for their own."""
    assert Config().INSTANCE_ID != Config().INSTANCE_ID


def test_zone_is_the_named_time_zone() -> None:
    """The zone is an object that dates understand, also for UTC on a machine without a zone database."""
    assert Config().zone is datetime.UTC
    assert Config(TZ="Asia/Tokyo").zone == zoneinfo.ZoneInfo("Asia/Tokyo")


def test_bind_host_with_default_tokens_is_loopback_and_says_so() -> None:
    """A fresh engine is not open to the network with tokens that everybody knows."""
    host, notice = Config().bind_host()

    assert host == "127.0.0.1"
    assert notice is not None
    assert "CLIENT_TOKEN and GLOBAL_WORKER_TOKEN are public defaults" in notice


@pytest.mark.parametrize("public", ["CLIENT_TOKEN", "GLOBAL_WORKER_TOKEN"])
def test_bind_host_with_one_default_token_names_that_one(public: str) -> None:
    """One public token is enough to stay on loopback, and the sentence names the one to set."""
    own = {name: value for name, value in OWN_TOKENS.items() if name != public}

    host, notice = Config(**own).bind_host()

    assert host == "127.0.0.1"
    assert notice is not None
    assert notice.startswith(f"{public} is a public default")


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "example.org"])
def test_bind_host_with_default_tokens_and_open_host_is_refused(host: str) -> None:
    """Reaching beyond loopback with a public token stops the start and names what to set."""
    with pytest.raises(ConfigError, match=r"Set CLIENT_TOKEN and GLOBAL_WORKER_TOKEN .* ALLOW_DEFAULT_TOKENS=true"):
        Config(API_HOST=host).bind_host()


def test_bind_host_with_the_other_public_token_is_refused() -> None:
    """Swapping the two public tokens does not make them secret."""
    with pytest.raises(ConfigError):
        Config(
            API_HOST="0.0.0.0", CLIENT_TOKEN=DEFAULT_WORKER_TOKEN, GLOBAL_WORKER_TOKEN=DEFAULT_CLIENT_TOKEN
        ).bind_host()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.9", "::1", "localhost"])
def test_bind_host_with_default_tokens_on_loopback_is_kept(host: str) -> None:
    """The public tokens serve on loopback without a word."""
    assert Config(API_HOST=host).bind_host() == (host, None)


def test_bind_host_with_own_tokens_is_api_host() -> None:
    """With secrets of one's own the engine listens where it is told, by default everywhere."""
    assert Config(**OWN_TOKENS).bind_host() == ("0.0.0.0", None)


def test_bind_host_with_defaults_allowed_warns() -> None:
    """Whoever allows the public tokens gets the host, and a warning."""
    host, notice = Config(API_HOST="0.0.0.0", ALLOW_DEFAULT_TOKENS=True).bind_host()

    assert host == "0.0.0.0"
    assert notice is not None
    assert "anyone who reaches 0.0.0.0" in notice


def test_bind_host_without_client_api_ignores_client_token() -> None:
    """A token that opens nothing is not in force."""
    config = Config(ENABLE_CLIENT_API=False, GLOBAL_WORKER_TOKEN="my-worker-secret")

    assert config.bind_host() == ("0.0.0.0", None)


def test_reference_page_is_up_to_date() -> None:
    """The manual lists what the code reads; the page itself says how to make it anew."""
    page = Path(__file__).parents[1] / "docs" / "reference" / "configuration.md"

    assert page.read_text(encoding="utf-8") == reference()


def test_redis_host_alone_means_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    """The older variables name the same thing as the URI, which wins."""
    monkeypatch.setenv("REDIS_HOST", "redis.local")
    monkeypatch.setenv("REDIS_DB", "2")

    assert Config().storage_uri() == "redis://redis.local:6379/2"
    assert Config(REDIS_HOST="::1").storage_uri() == "redis://[::1]:6379/2"
    assert Config(STORAGE_URI="sqlite:///jobs.db").storage_uri() == "sqlite:///jobs.db"
