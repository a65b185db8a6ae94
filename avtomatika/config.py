"""The settings: environment variables as attributes, checked when they are read and when they are assigned."""

from __future__ import annotations

import datetime
import ipaddress
import json
import re
import secrets
import socket
import zoneinfo
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, SettingsConfigDict

from avtomatika.errors import ConfigError, suggest

DEFAULT_CLIENT_TOKEN = "secure-orchestrator-token"  # noqa: S105 - public on purpose; bind_host keeps it on loopback
DEFAULT_WORKER_TOKEN = "secure-worker-token"  # noqa: S105 - as above
PUBLIC_TOKENS = frozenset({DEFAULT_CLIENT_TOKEN, DEFAULT_WORKER_TOKEN})
_SECRETS = frozenset(
    {
        "CLIENT_TOKEN",
        "GLOBAL_WORKER_TOKEN",
        "PARENT_TOKEN",
        "S3_ACCESS_KEY",
        "S3_SECRET_KEY",
        "TASK_SIGNING_KEY",
        "WEBHOOK_SECRET",
    }
)
_LOOPBACK = "127.0.0.1"

_SECONDS = "a positive number of seconds"
_SHARE = "a number from 0 to 1"
_TOKEN = "1 to 1024 printable ASCII characters without spaces"  # noqa: S105 - says what a token looks like


def _upper(value: Any) -> Any:
    return value.upper() if isinstance(value, str) else value


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _known_zone(name: str) -> str:
    """Returns ``name`` if it is a time zone; ``UTC`` is known even where no zone database is installed."""
    if name != "UTC":
        try:
            zoneinfo.ZoneInfo(name)
        except (zoneinfo.ZoneInfoNotFoundError, OSError) as error:  # OSError: the name of a directory, such as Europe
            raise ValueError("no such zone") from error
    return name


def _limits_of(text: str) -> dict[str, int]:
    """Returns what ``TASK_CONCURRENCY`` says.

    Raises:
        ValueError: a part of it is no type and number.
    """
    limits = {}
    for part in filter(None, map(str.strip, text.split(","))):
        name, equals, number = part.partition("=")
        if not equals or not re.fullmatch(r"[A-Za-z0-9_-]{1,128}", name.strip()) or int(number) < 1:
            raise ValueError(part)
        limits[name.strip()] = int(number)
    return limits


def _none_or_much(size: int) -> int:
    """Refuses sizes of which a reference would save nothing."""
    if size and size < 1024:
        raise ValueError("too small")
    return size


def _readable_limits(text: str) -> str:
    _limits_of(text)
    return text


def _own_instance_id() -> str:
    # Host name and process id are not enough: a restarted container has both again, and would take the claims of its
    # dead predecessor for its own.
    host = re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname())[:100] or "engine"
    return f"{host}-{secrets.token_hex(4)}"


def _setting(default: Any, meaning: str, allowed: str, **limits: Any) -> Any:
    """Declares one setting: its default, what it means, and what is allowed, in words."""
    return Field(default=default, description=meaning, json_schema_extra={"allowed": allowed}, **limits)


LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]
LogFormat = Literal["json", "text"]
SignatureMode = Literal["off", "verify", "require"]
AuthMode = Literal["mixed", "mtls-only", "token-only"]


class Config(BaseSettings):
    """The settings of an engine.

    Each is read from the environment variable of its name; a keyword argument wins over the environment, and an
    attribute can be assigned later. ``docs/reference/configuration.md`` lists them all.

    Args: any of the settings, by name.

    Raises:
        ConfigError: a value is wrong (all wrong ones are listed), or there is no setting of that name.
    """

    model_config = SettingsConfigDict(
        case_sensitive=True, validate_assignment=True, allow_inf_nan=False, hide_input_in_errors=True
    )

    API_HOST: str = _setting(
        "0.0.0.0",  # noqa: S104 - the contract's default; bind_host narrows it while a public token is in force
        "Address or host name that the server listens on. While a public default token is in force and this is not "
        "set, the server listens on 127.0.0.1 only.",
        "an IP address or a host name",
        pattern=r"^[A-Za-z0-9._:%-]+$",
    )
    API_PORT: int = _setting(
        8080,
        "Port that the server listens on; 0 lets the system choose a free one.",
        "a whole number from 0 to 65535",
        ge=0,
        le=65535,
    )
    PUBLIC_URL: Annotated[str, AfterValidator(lambda url: url.rstrip("/"))] = _setting(
        "",
        "Address at which others reach this engine, with the path under which a proxy serves it; for links in answers. "
        "Empty takes host and scheme of the request.",
        "empty or an address such as https://example.org/flows, without ? and #",
        pattern=r"^(https?://[^/\s?#@]+(/[^\s?#]*)?)?$",
    )
    ENABLE_CLIENT_API: bool = _setting(
        True,
        "Whether the client API exists. Without it, work comes through the worker protocol only.",
        "true or false",
    )
    CLIENT_API_PREFIX: Annotated[str, AfterValidator(lambda prefix: prefix.strip("/"))] = _setting(
        "api",
        "First part of the paths of the client API, without slashes at its ends.",
        "letters, digits, - and _, not beginning with _; parts separated by /",
        pattern=r"^/?[A-Za-z0-9-][A-Za-z0-9_-]*(/[A-Za-z0-9_-]+)*/?$",
    )
    INSTANCE_ID: str = Field(
        default_factory=_own_instance_id,
        description="Name of this engine among several on one storage; no two may share it.",
        json_schema_extra={
            "allowed": "1 to 128 of the characters A-Z a-z 0-9 . _ -",
            "default": "host name and a random part",
        },
        pattern=r"^[A-Za-z0-9._-]{1,128}$",
    )
    STORAGE_URI: str = _setting(
        "memory:",
        "Where jobs are kept. `memory:` keeps them in the process: they end with it. `sqlite:///file` keeps them on "
        "one machine, `redis://host:port/db` lets any number of engines share them.",
        "memory:, sqlite:///file or redis://[user:password@]host:port/db",
        pattern=r"^(memory:|sqlite:.+|rediss?://.+|unix://.+)$",
    )
    REDIS_HOST: str = _setting(
        "", "Host of a Redis for jobs; the same as a `STORAGE_URI` of `redis://`, which wins.", "empty or a host name"
    )
    REDIS_PORT: int = _setting(6379, "Port of that Redis.", "a whole number from 1 to 65535", ge=1, le=65535)
    REDIS_DB: int = _setting(0, "Database number of that Redis.", "a whole number from 0", ge=0)
    HISTORY_DATABASE_URI: str = _setting(
        "",
        "Where the history is kept. Empty keeps the newest events in the process.",
        "empty, sqlite:path, sqlite:///path or postgresql://user:password@host/database",
        pattern=r"^((sqlite|postgres(ql)?):.+)?$",
    )
    CLIENT_TOKEN: str = _setting(
        DEFAULT_CLIENT_TOKEN,
        "Secret that clients send as `X-Client-Token`. The default is public: set your own.",
        _TOKEN,
        pattern=r"^[\x21-\x7e]{1,1024}$",
    )
    GLOBAL_WORKER_TOKEN: str = _setting(
        DEFAULT_WORKER_TOKEN,
        "Secret that workers send as `X-Worker-Token`. The default is public: set your own.",
        _TOKEN,
        pattern=r"^[\x21-\x7e]{1,1024}$",
    )
    PARENT_URL: str = _setting(
        "",
        "Address of another engine that this one works for, as a holon: its blueprints become skills there, and each "
        "task becomes a job here.",
        "empty or an address such as http://parent:8080",
        pattern=r"^(https?://\S+)?$",
    )
    PARENT_TOKEN: str = _setting(
        DEFAULT_WORKER_TOKEN,
        "Secret that this engine sends to its parent as `X-Worker-Token`.",
        _TOKEN,
        pattern=r"^[\x21-\x7e]{1,1024}$",
    )
    HOLON_ID: str = _setting(
        "",
        "Id of this engine among the workers of its parent. Empty takes `INSTANCE_ID`, which is another one after a "
        "restart: set it, so that the parent knows the engine again.",
        "empty or 1 to 128 of the characters A-Z a-z 0-9 _ -",
        pattern=r"^[A-Za-z0-9_-]{0,128}$",
    )
    WORKER_SIGNATURES: Annotated[SignatureMode, BeforeValidator(_lower)] = _setting(
        "verify",
        "What becomes of the signatures that workers of 1.0b12 and later make of their messages: a wrong one is "
        "refused (`verify`), so is a missing one of a worker that has registered with one (`require`), or none is "
        "looked at (`off`).",
        "off, verify or require",
    )
    TASK_SIGNING_KEY: str = _setting(
        "",
        "Secret that tasks are signed with; workers of 1.0b19 and later check it if they have the same in "
        "`ORCHESTRATOR_SECRET_KEY`. Empty signs nothing.",
        "empty or 1 to 1024 printable ASCII characters without spaces",
        pattern=r"^[\x21-\x7e]{0,1024}$",
    )
    CLIENTS_CONFIG_PATH: str = _setting(
        "",
        "File of clients, `clients.toml`: each has a token and a plan of its own. With it, the public default "
        "of `CLIENT_TOKEN` is no longer taken. A change of the file takes effect without a restart.",
        "empty or the path of a file",
    )
    WORKERS_CONFIG_PATH: str = _setting(
        "",
        "File of workers, `workers.toml`: each worker, or pattern of workers, has a token of its own. A change of the "
        "file takes effect without a restart.",
        "empty or the path of a file",
    )
    WORKER_AUTH_MODE: Annotated[AuthMode, BeforeValidator(_lower)] = _setting(
        "mixed",
        "What workers prove their identity with: a client certificate if they have one, else a token (`mixed`), or "
        "only one of the two.",
        "mixed, mtls-only or token-only",
    )
    TLS_ENABLED: bool = _setting(False, "Whether the engine itself speaks TLS.", "true or false")
    TLS_CERT_PATH: str = _setting(
        "",
        "Certificate of the server, with its chain. A change of the file takes effect without a restart.",
        "empty or the path of a PEM file",
    )
    TLS_KEY_PATH: str = _setting("", "Key of that certificate.", "empty or the path of a PEM file without password")
    TLS_CA_PATH: str = _setting(
        "",
        "Certificates that sign those of workers. With it, a worker may show a certificate, whose common name (or one "
        "of its DNS names) is then the worker's id.",
        "empty or the path of a PEM file",
    )
    TLS_REQUIRE_CLIENT_CERT: bool = _setting(
        False, "Whether connections without a client certificate are refused.", "true or false"
    )
    SCHEDULES_CONFIG_PATH: str = _setting(
        "",
        "File of schedules, `schedules.toml`: jobs that are made by the clock. A change of the file takes effect "
        "without a restart.",
        "empty or the path of a file",
    )
    BLUEPRINTS_DIR: str = _setting(
        "",
        "Folder whose `.py` files define blueprints: an engine registers all that stand in them. Files whose names "
        "begin with `_` are left to the others.",
        "empty or the path of a folder",
    )
    STS_TOKEN_SECONDS: int = _setting(
        3600,
        "How long a short-lived token of a worker lasts; workers that use TLS renew theirs by themselves.",
        "a whole number from 60",
        ge=60,
    )
    RATE_LIMITING_ENABLED: bool = _setting(
        True,
        "Whether calls are limited. An engine that serves loopback only limits nobody, unless this or one of the "
        "limits is set.",
        "true or false",
    )
    RATE_LIMIT_LIMIT: int = _setting(
        100,
        "Calls of a client in a period; registrations, events and tokens of a worker; calls with a wrong token from an "
        "address.",
        "a whole number from 1",
        ge=1,
    )
    RATE_LIMIT_PERIOD: float = _setting(60.0, "Length of that period.", _SECONDS, gt=0)
    RATE_LIMIT_HEARTBEAT_LIMIT: int = _setting(
        120, "Heartbeats of a worker in a period.", "a whole number from 1", ge=1
    )
    RATE_LIMIT_POLL_LIMIT: int = _setting(
        60, "Polls of a worker in a period that brought no task.", "a whole number from 1", ge=1
    )
    TRUSTED_PROXIES: str = _setting(
        "",
        "Addresses or networks of proxies whose `X-Forwarded-For` counts, separated by commas.",
        "empty or such as 127.0.0.1, 10.0.0.0/8",
    )
    WEBHOOK_SECRET: str = _setting(
        "",
        "Secret that webhooks are signed with (Standard Webhooks); best `whsec_` and base64. Empty signs none.",
        "empty or a secret",
    )
    WEBHOOK_ALLOW_PRIVATE: bool = _setting(
        False,
        "Whether webhooks may go to loopback and private addresses. An engine that serves loopback only may.",
        "true or false",
    )
    WEBHOOK_ALLOWED_HOSTS: str = _setting(
        "",
        "Hosts to which webhooks may go although their addresses are private, separated by commas.",
        "empty or such as hooks.internal, *.svc.local, 10.0.0.7",
    )
    ALLOW_DEFAULT_TOKENS: bool = _setting(
        False,
        "Whether the public default tokens may serve on other addresses than loopback. Then anyone who reaches the "
        "port can create jobs and take tasks.",
        "true or false",
    )
    TZ: Annotated[str, AfterValidator(_known_zone)] = _setting(
        "UTC",
        "Time zone of moments in logs and in the history's answers.",
        "the name of a time zone, such as UTC or Europe/Madrid",
    )
    LOG_LEVEL: Annotated[LogLevel, BeforeValidator(_upper)] = _setting(
        "INFO", "Least severity that is logged.", "DEBUG, INFO, WARNING, ERROR or CRITICAL"
    )
    LOG_FORMAT: Annotated[LogFormat, BeforeValidator(_lower)] = _setting(
        "json", "Shape of a log line: one JSON object, or text for people.", "json or text"
    )
    OTEL_EXPORTER_OTLP_ENDPOINT: str = _setting(
        "",
        "Collector that spans are sent to (OTLP over HTTP). Empty makes no spans, unless the program sets a tracer "
        "provider of its own.",
        "empty or an address such as http://localhost:4318",
        pattern=r"^(https?://.+)?$",
    )
    OTEL_SERVICE_NAME: str = _setting("avtomatika", "Name of this service in traces.", "a name")
    WORKER_TIMEOUT_SECONDS: float = _setting(
        300.0, "How long a task may run where its blueprint does not say.", _SECONDS, gt=0
    )
    WORKER_POLL_TIMEOUT_SECONDS: float = _setting(
        30.0, "How long a worker's poll is held open while there is no task.", _SECONDS, gt=0
    )
    WORKER_HEALTH_CHECK_INTERVAL_SECONDS: float = _setting(
        60.0, "Seconds between two looks for workers that fell silent.", _SECONDS, gt=0
    )
    WORKER_TTL_SECONDS: float = _setting(120.0, "How long a silent worker is still listed.", _SECONDS, gt=0)
    REPUTATION_MIN_THRESHOLD: float = _setting(
        0.0,
        "Workers whose reputation is below it get no tasks until it has recovered; 0 gives tasks to all.",
        _SHARE,
        ge=0,
        le=1,
    )
    REPUTATION_PENALTY_CONTRACT_VIOLATION: float = _setting(
        0.2, "What a CONTRACT_VIOLATION_ERROR takes from a worker's reputation.", _SHARE, ge=0, le=1
    )
    REPUTATION_PENALTY_TASK_FAILURE: float = _setting(
        0.05,
        "What a PERMANENT_ERROR, SECURITY_ERROR or DEPENDENCY_ERROR takes from a worker's reputation, or a task "
        "that it vanished with.",
        _SHARE,
        ge=0,
        le=1,
    )
    REPUTATION_REWARD_SUCCESS: float = _setting(
        0.001, "What a task that succeeded adds to a worker's reputation, up to 1.", _SHARE, ge=0, le=1
    )
    TASK_CONCURRENCY: Annotated[str, AfterValidator(_readable_limits)] = _setting(
        "",
        "How many tasks of a type may run at a time, over all workers and engines.",
        "empty, or types and whole numbers from 1 such as render=4,mail=10",
    )
    PRIORITY_AGEING_SECONDS: float = _setting(
        0.0,
        "Seconds of waiting that weigh as much as one unit of priority, so that no task waits for ever behind more "
        "urgent ones. 0 lets priority alone decide, and age among equals.",
        "a number of seconds from 0",
        ge=0,
    )
    JOB_MAX_DATA_BYTES: int = _setting(
        16 * 1024**2,
        "Largest initial data, largest state_history and largest params of a task; larger data belong into files.",
        "a whole number from 1024",
        ge=1024,
    )
    PAYLOAD_OFFLOAD_BYTES: Annotated[int, AfterValidator(_none_or_much)] = _setting(
        256 * 1024,
        "Initial data, state_history, results and params above this size are kept with the files of the job; 0 keeps "
        "them in the storage. With Redis or memory and files in a directory, it holds only if it is set.",
        "0, or a whole number from 1024",
    )
    CHECK_SKILL_SCHEMAS: bool = _setting(
        True,
        "Whether the data of a success must fit the output schema that the worker itself declares for the skill.",
        "true or false",
    )
    TASK_LEASE_SECONDS: float = _setting(
        60.0,
        "How long a task stays a worker's after its last heartbeat; then another worker gets it. Several heartbeats "
        "(15 s apart) should fit into it.",
        _SECONDS,
        gt=0,
    )
    JOB_MAX_RETRIES: int = _setting(3, "How often a failed attempt is repeated.", "a whole number from 0", ge=0)
    RETRY_DELAY_SECONDS: float = _setting(
        1.0, "Upper bound of the first random delay before a retry; it doubles with each attempt.", _SECONDS, gt=0
    )
    RETRY_MAX_DELAY_SECONDS: float = _setting(60.0, "Upper bound of every delay before a retry.", _SECONDS, gt=0)
    MAX_TRANSITIONS_PER_JOB: int = _setting(
        1000, "How many changes of state a job may make before it counts as a loop.", "a whole number from 1", ge=1
    )
    WATCHER_INTERVAL_SECONDS: float = _setting(
        20.0, "Longest pause between two looks for timers and leases that are due.", _SECONDS, gt=0
    )
    AUDIT_INTERVAL_SECONDS: float = _setting(
        300.0, "Seconds between two looks for jobs that nothing will wake; there must be none.", _SECONDS, gt=0
    )
    EXECUTOR_MAX_CONCURRENT_JOBS: int = _setting(
        100, "How many jobs' handlers one engine runs at once.", "a whole number from 1", ge=1
    )
    JOB_RETENTION_SECONDS: float = _setting(
        7 * 24 * 3600.0,
        "How long a job is kept after its end; 0 keeps it for ever. Its history is kept by the history database.",
        "a number of seconds from 0",
        ge=0,
    )
    CORS_ORIGINS: str = _setting(
        "",
        "Origins whose pages may use the client API from a browser, separated by commas. A page sends a token with "
        "every call; without this setting no page of another origin can read an answer.",
        "empty, or origins such as https://app.example.org:8443; no *",
        pattern=r"^$|^https?://[^/\s,*]+(\s*,\s*https?://[^/\s,*]+)*$",
    )
    API_MAX_BODY_BYTES: int = _setting(
        4 * 1024**2, "Largest request of a client; larger data belongs into files.", "a whole number from 1024", ge=1024
    )
    RESULT_MAX_BODY_BYTES: int = _setting(
        64 * 1024**2,
        "Largest request of a worker. It is large because a result above it fails its job.",
        "a whole number from 1024",
        ge=1024,
    )

    S3_ENDPOINT_URL: Annotated[str, AfterValidator(lambda url: url.rstrip("/"))] = _setting(
        "",
        "Address of an S3 store in which the files of jobs are kept. Empty keeps them in a directory.",
        "empty or an address such as https://s3.eu-central-1.amazonaws.com, without a bucket",
        pattern=r"^(https?://[^/\s?#@]+/?)?$",
    )
    S3_ACCESS_KEY: str = _setting(
        "",
        "Key of that store. Empty takes the credentials that the machine has (variables of AWS, a role).",
        "empty or printable ASCII characters without spaces",
        pattern=r"^[\x21-\x7e]{0,1024}$",
    )
    S3_SECRET_KEY: str = _setting(
        "",
        "Secret of that key.",
        "empty or printable ASCII characters without spaces",
        pattern=r"^[\x21-\x7e]{0,1024}$",
    )
    S3_DEFAULT_BUCKET: str = _setting(
        "avtomatika-payloads",
        "Bucket of the files; it must exist.",
        "3 to 63 of the characters a-z 0-9 . -",
        pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$",
    )
    S3_REGION: str = _setting(
        "us-east-1", "Region of the bucket.", "the name of a region", pattern=r"^[A-Za-z0-9-]{1,64}$"
    )
    S3_MAX_CONCURRENCY: int = _setting(
        100,
        "How many transfers of one engine wait for the store at a time; further ones wait for their turn. A file that "
        "is written takes up to 40 MB of memory, one that is read 10 MB.",
        "a whole number from 1",
        ge=1,
    )
    S3_AUTO_CLEANUP: bool = _setting(
        True,
        "Whether the files of a job are removed by themselves, in a bucket as in a directory: those that its result "
        "does not name when it has finished, the others with the job.",
        "true or false",
    )
    TASK_FILES_DIR: str = _setting(
        "",
        "Directory of the files of jobs, where there is no S3 store. Several engines must share it. Empty takes a "
        "directory beside the SQLite file of `STORAGE_URI`, `avtomatika-files` where the engine was started with a "
        "Redis, and a temporary one, which ends with the engine, for jobs in memory.",
        "empty or the path of a directory; it is made when the first file comes",
    )
    FILE_MAX_BYTES: int = _setting(
        5 * 1024**3, "Largest file that a client may send to a job.", "a whole number from 1024", ge=1024
    )

    def __init__(self, **values: Any) -> None:
        for name in values:
            if not name.startswith("_"):
                _require_known(name)
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise _config_error(error) from None  # pydantic's error holds the tokens

    @classmethod
    def plain(cls, **values: Any) -> Config:
        """Returns settings that the environment has no part in: those given, and defaults.

        Raises:
            ConfigError: a value is wrong, or there is no such setting.
        """
        defaults = {name: info.default for name, info in cls.model_fields.items() if info.default_factory is None}
        return cls(**{**defaults, "INSTANCE_ID": _own_instance_id(), **values})

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_"):
            _require_known(name)
        try:
            super().__setattr__(name, value)
        except ValidationError as error:
            raise _config_error(error) from None

    def __repr__(self) -> str:
        parts = (f"{name}={_shown(name, getattr(self, name))}" for name in type(self).model_fields)
        return f"Config({', '.join(parts)})"

    __str__ = __repr__

    def is_set(self, name: str) -> bool:
        """Returns whether the setting came from the environment, a keyword argument or an assignment.

        Raises:
            ConfigError: there is no setting of that name.
        """
        _require_known(name)
        return name in self.model_fields_set

    def cors_origins(self) -> frozenset[str]:
        """Returns the origins that ``CORS_ORIGINS`` names, as browsers write them."""
        return frozenset(origin.strip().lower() for origin in self.CORS_ORIGINS.split(",") if origin.strip())

    def task_concurrency(self) -> dict[str, int]:
        """Returns how many tasks of a type may run at a time, for the types that ``TASK_CONCURRENCY`` names."""
        return _limits_of(self.TASK_CONCURRENCY)

    def storage_uri(self) -> str:
        """Returns where jobs are kept: ``STORAGE_URI``, or what ``REDIS_HOST`` means where only that is set."""
        if self.REDIS_HOST and not self.is_set("STORAGE_URI"):
            host = f"[{self.REDIS_HOST}]" if ":" in self.REDIS_HOST else self.REDIS_HOST
            return f"redis://{host}:{self.REDIS_PORT}/{self.REDIS_DB}"
        return self.STORAGE_URI

    @property
    def zone(self) -> datetime.tzinfo:
        """The time zone that ``TZ`` names."""
        return datetime.UTC if self.TZ == "UTC" else zoneinfo.ZoneInfo(self.TZ)

    def bind_host(self) -> tuple[str, str | None]:
        """Decides where the server may listen: the public default tokens are for loopback only.

        Returns:
            The host to bind, and a sentence for the log if it is not simply ``API_HOST`` or not safe, else None.

        Raises:
            ConfigError: ``API_HOST`` was set to reach beyond loopback while a public default token is in force.
        """
        public = self._public_tokens()
        if not public or _is_loopback(self.API_HOST):
            return self.API_HOST, None
        names = " and ".join(public)
        facts = f"{names} {'is a public default' if len(public) == 1 else 'are public defaults'}"
        if self.ALLOW_DEFAULT_TOKENS:
            return self.API_HOST, f"{facts}: anyone who reaches {self.API_HOST} can use this engine. Set {names}."
        if not self.is_set("API_HOST"):
            return _LOOPBACK, f"{facts}, so the engine serves {_LOOPBACK} only. Set {names} to serve other machines."
        raise ConfigError(
            f"API_HOST is '{self.API_HOST}', but {facts}, which serve on loopback only. Set {names} to a secret of "
            f"your own (or API_HOST to {_LOOPBACK}, or ALLOW_DEFAULT_TOKENS=true where nobody else reaches the port)."
        )

    def limits_calls(self, host: str) -> bool:
        """Returns whether calls are limited.

        Args:
            host: what the server listens on; empty if somebody else decides that.
        """
        if not self.RATE_LIMITING_ENABLED:
            return False
        # Nobody outside reaches loopback; whoever sets a limit means it there, too.
        return not _is_loopback(host) or any(name.startswith("RATE_LIMIT") for name in self.model_fields_set)

    @staticmethod
    def serves_loopback(host: str) -> bool:
        """Returns whether a host that the server listens on is one that only this machine reaches."""
        return _is_loopback(host)

    def refusal(self) -> str:
        """Returns why only this machine may be served, or an empty text.

        For servers that somebody else binds (Gunicorn), where ``bind_host`` is not asked.
        """
        public = self._public_tokens()
        if not public or self.ALLOW_DEFAULT_TOKENS:
            return ""
        names = " and ".join(public)
        return f"this engine has public default tokens, which serve on loopback only. Set {names} in its environment."

    def _public_tokens(self) -> list[str]:
        """Returns the names of the tokens in force that everybody knows."""
        in_force = []
        # With a file of clients the public token is not taken; one that somebody chose is.
        if self.ENABLE_CLIENT_API and not self.CLIENTS_CONFIG_PATH:
            in_force.append("CLIENT_TOKEN")
        if self.WORKER_AUTH_MODE != "mtls-only":
            in_force.append("GLOBAL_WORKER_TOKEN")
        return [name for name in in_force if getattr(self, name) in PUBLIC_TOKENS]


def reference() -> str:
    """Returns the reference page of all settings, as Markdown."""
    return "\n".join([_REFERENCE_HEAD, *(_row(name, info) for name, info in Config.model_fields.items()), ""])


_REFERENCE_HEAD = """\
# Configuration

`Config()` reads these environment variables. Each is an attribute of the same name, can be given as a keyword argument
(which wins over the environment) and assigned later; it is checked every time. A wrong value raises `ConfigError`,
which names the variable, the value and what is allowed. Names are case-sensitive; an empty variable counts as set.

```python
from avtomatika.config import Config

config = Config(API_PORT=0)
config.JOB_MAX_RETRIES = 5
```

While `CLIENT_TOKEN` or `GLOBAL_WORKER_TOKEN` is a public default, the engine listens on 127.0.0.1 unless `API_HOST` is
set; set to anything but loopback, the engine refuses to start until you choose tokens of your own (or say
`ALLOW_DEFAULT_TOKENS=true`).

This page is made from the code: `python -c "from avtomatika.config import reference; print(reference(), end='')"`.

| Variable | Default | Allowed | Meaning |
|---|---|---|---|"""


def _is_loopback(host: str) -> bool:
    """Returns whether the host is one that only this machine reaches."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _require_known(name: str) -> None:
    """Raises ConfigError if there is no setting of that name."""
    known = Config.model_fields
    if name not in known:
        raise ConfigError(
            f"there is no setting '{name}'.{suggest(name.upper(), known) or ' Known: ' + ', '.join(known) + '.'}"
        )


def _config_error(error: ValidationError) -> ConfigError:
    """Turns the faults that pydantic found into sentences of ours, one a line."""
    faults = {str(fault["loc"][0]): fault["input"] for fault in error.errors(include_url=False, include_context=False)}
    return ConfigError("\n".join(_fault(name, value) for name, value in faults.items()))


def _fault(name: str, value: Any) -> str:
    """Says what is wrong with one setting."""
    info = Config.model_fields[name]
    guess = suggest(value, _choices(name)) if isinstance(value, str) else ""
    return f"{name} is {_shown(name, value)}, but must be {_allowed(info)}.{guess}"


def _choices(name: str) -> Iterable[str]:
    """Returns the words that are allowed, if they can be listed."""
    if name == "TZ":
        return zoneinfo.available_timezones()
    return [choice for choice in get_args(Config.model_fields[name].annotation) if isinstance(choice, str)]


def _shown(name: str, value: Any) -> str:
    """Returns the value as people may see it: no tokens, and no password of a URI."""
    if name in _SECRETS:
        if isinstance(value, str) and value in PUBLIC_TOKENS:
            return "<public default>"
        return "empty" if value == "" else "<hidden>"
    return re.sub(r"//[^/]*@", "//<hidden>@", repr(value))


def _row(name: str, info: FieldInfo) -> str:
    """Returns the setting's line of the reference table."""
    return f"| `{name}` | {_default_text(info)} | {_allowed(info)} | {info.description} |"


def _allowed(info: FieldInfo) -> str:
    """Returns what is allowed, in words."""
    return str(_notes(info)["allowed"])


def _notes(info: FieldInfo) -> Mapping[str, Any]:
    """Returns what ``_setting`` noted beside the limits."""
    return info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}


def _default_text(info: FieldInfo) -> str:
    """Returns the default as one would write it into the environment."""
    if "default" in _notes(info):
        return str(_notes(info)["default"])
    if isinstance(info.default, str):
        return f"`{info.default}`" if info.default else "empty"
    if isinstance(info.default, float):
        return f"`{info.default:g}`"
    return f"`{json.dumps(info.default)}`"
