"""A worker's settings: what its author wrote, else the environment, else a default."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from avtomatika.errors import ConfigError
from avtomatika.protocol.identity import is_identifier
from avtomatika.security.tls import names_in
from avtomatika.worker.engines import EngineAddress, Mode, read_engines, read_url

T = TypeVar("T")
_URL = "http://localhost:8080"
PUBLIC_TOKEN = "secure-worker-token"  # noqa: S105 - the published default; engines take it on loopback only


@dataclass(frozen=True, slots=True)
class Settings:
    """What a worker must know before it starts.

    Args:
        worker_id: its identity.
        worker_type: its kind, for people.
        url: address of the engine, without ``/`` at its end.
        token: proves to the engine who this is.
        engines: all engines that it works for, in the order in which they are asked; by default the one of ``url``.
        mode: how it shares itself out among them.
        concurrency: how many tasks run at once.
        heartbeat_interval: seconds between two signs of life; with nothing to do, a poll may be one.
        heartbeat_debounce: seconds from a change to its heartbeat, so that changes of one moment share one.
        heartbeat_cooldown: least seconds between two heartbeats.
        load_deadband: percent by which the machine's load must change to be told.
        load_interval: seconds after which the next heartbeat tells it anyway.
        poll_timeout: seconds that one question for a task may wait.
        idle_delay: seconds before the next poll where the engine answered at once that there is nothing.
        poll_retry_initial: seconds before the next poll after one that failed; more with each failure.
        poll_retry_max: the longest such delay in seconds.
        poll_retry_factor: by what the delay grows.
        refused_poll_delay: seconds after a poll that was refused for being one too many, if the engine does not say.
        shutdown_timeout: seconds that running tasks get to finish when the worker is stopped.
        retry_initial: seconds before the first repetition of a registration that failed; doubled with each failure.
        retry_max: the longest such delay in seconds.
        result_retry_initial: seconds before a result is sent again; doubled with each failure.
        result_attempts: how often a result is sent at most; 0 for as often as the time allows.
        batch: how many tasks or results go together where the engine can do that; 1 for each alone.
        delivery_timeout: seconds after which a result that nobody takes is given up.
        websockets: a WebSocket is kept open, over which cancellations come and progress goes.
        strict_events: tasks tell no events but those that they declare.
        sign_messages: messages carry a signature made with the token.
        task_key: the key with which the engine signs tasks, or empty.
        require_task_signature: with a key, tasks without a signature are refused.
        health_port: where the worker answers probes; None for nowhere, 0 lets the system choose.
        metrics: the numbers for Prometheus are told at ``health_port``, 8083 if none is set.
        skills_dir: folder of files with tasks, loaded at the start; None for ``skills``, if the worker is the whole
            program and there is such a folder; empty for none.
        tls_ca: file of certificates to trust, or empty.
        tls_cert: file of the worker's own certificate, or empty.
        tls_key: file of that certificate's key, or empty.
        exit_on_refused: a refused token ends the worker; else it goes on asking once a minute.
        stop_when_stdin_closes: the worker stops at once when its standard input ends, as it does when a parent dies.
    """

    worker_id: str
    worker_type: str = "generic"
    url: str = _URL
    token: str = PUBLIC_TOKEN
    engines: tuple[EngineAddress, ...] = ()
    mode: Mode = Mode.WATERFALL
    concurrency: int = 10
    heartbeat_interval: float = 15.0
    heartbeat_debounce: float = 0.1
    heartbeat_cooldown: float = 1.0
    load_deadband: float = 5.0
    load_interval: float = 60.0
    poll_timeout: float = 30.0
    idle_delay: float = 0.5
    poll_retry_initial: float = 1.0
    poll_retry_max: float = 15.0
    poll_retry_factor: float = 2.0
    refused_poll_delay: float = 30.0
    shutdown_timeout: float = 30.0
    retry_initial: float = 1.0
    retry_max: float = 15.0
    result_retry_initial: float = 1.0
    result_attempts: int = 0
    batch: int = 64
    delivery_timeout: float = 3600.0
    websockets: bool = False
    strict_events: bool = True
    sign_messages: bool = False
    task_key: str = ""
    require_task_signature: bool = True
    health_port: int | None = None
    metrics: bool = False
    skills_dir: str | None = None
    tls_ca: str = ""
    tls_cert: str = ""
    tls_key: str = ""
    exit_on_refused: bool = True
    stop_when_stdin_closes: bool = False

    def __repr__(self) -> str:
        return f"Settings(worker_id={self.worker_id!r}, url={self.url!r}, concurrency={self.concurrency})"


_VARIABLES: Mapping[str, tuple[str, ...]] = {
    "worker_id": ("WORKER_ID",),
    "worker_type": ("WORKER_TYPE",),
    "url": ("ORCHESTRATOR_URL",),
    "token": ("WORKER_INDIVIDUAL_TOKEN", "WORKER_TOKEN"),
    "engines": ("ORCHESTRATORS_CONFIG",),
    "mode": ("MULTI_ORCHESTRATOR_MODE",),
    "concurrency": ("MAX_CONCURRENT_TASKS",),
    "heartbeat_interval": ("HEARTBEAT_INTERVAL",),
    "heartbeat_debounce": ("WORKER_HEARTBEAT_DEBOUNCE_DELAY",),
    "heartbeat_cooldown": ("WORKER_HEARTBEAT_COOLDOWN",),
    "load_deadband": ("WORKER_TELEMETRY_DEADBAND",),
    "load_interval": ("WORKER_TELEMETRY_FORCE_INTERVAL",),
    "poll_timeout": ("TASK_POLL_TIMEOUT",),
    "idle_delay": ("IDLE_POLL_DELAY",),
    # The second is what the first releases called it.
    "poll_retry_initial": ("POLL_BACKOFF_INITIAL", "TASK_POLL_ERROR_DELAY"),
    "poll_retry_max": ("POLL_BACKOFF_MAX",),
    "poll_retry_factor": ("POLL_BACKOFF_FACTOR",),
    "refused_poll_delay": ("RATE_LIMIT_BACKOFF_FLOOR",),
    "shutdown_timeout": ("WORKER_SHUTDOWN_TIMEOUT",),
    "retry_initial": ("REGISTRATION_RETRY_INITIAL_DELAY",),
    "retry_max": ("REGISTRATION_RETRY_MAX_DELAY",),
    "result_retry_initial": ("RESULT_RETRY_INITIAL_DELAY",),
    "result_attempts": ("RESULT_MAX_RETRIES",),
    "batch": ("WORKER_BATCH",),
    "delivery_timeout": ("RESULT_DELIVERY_TIMEOUT",),
    "websockets": ("WORKER_ENABLE_WEBSOCKETS",),
    "strict_events": ("STRICT_EVENT_VALIDATION",),
    "sign_messages": ("WORKER_SIGN_MESSAGES",),
    # Not SECRET_KEY, which the newest published workers read as well: many programs have a variable of that name.
    "task_key": ("ORCHESTRATOR_SECRET_KEY",),
    "require_task_signature": ("REQUIRE_TASK_SIGNATURE",),
    "health_port": ("WORKER_PORT",),
    "metrics": ("WORKER_ENABLE_METRICS",),
    "skills_dir": ("WORKER_SKILLS_DIR",),
    "tls_ca": ("TLS_CA_PATH",),
    "tls_cert": ("TLS_CERT_PATH",),
    "tls_key": ("TLS_KEY_PATH",),
}
_MINIMA: Mapping[str, float] = {
    "concurrency": 1,
    "batch": 1,
    "result_attempts": 0,
    "health_port": 0,
    "heartbeat_interval": 0.01,
    "poll_timeout": 0.01,
    "poll_retry_factor": 1.0,
}
_WHOLE = frozenset({"concurrency", "batch", "result_attempts", "health_port"})
_NUMBERS = frozenset(
    {
        "heartbeat_interval",
        "heartbeat_debounce",
        "heartbeat_cooldown",
        "load_deadband",
        "load_interval",
        "poll_timeout",
        "idle_delay",
        "poll_retry_initial",
        "poll_retry_max",
        "poll_retry_factor",
        "refused_poll_delay",
        "shutdown_timeout",
        "retry_initial",
        "retry_max",
        "result_retry_initial",
        "delivery_timeout",
    }
)
_SWITCHES = frozenset(
    {
        "websockets",
        "strict_events",
        "metrics",
        "sign_messages",
        "require_task_signature",
        "exit_on_refused",
        "stop_when_stdin_closes",
    }
)
_METRICS_PORT = 8083
"""Where published workers answer, and ours if it is to tell numbers and was not told where."""
_YES, _NO = ("true", "1", "yes", "on"), ("false", "0", "no", "off")


def random_worker_id() -> str:
    """Returns an id for a worker that was given none."""
    return f"worker-{uuid.uuid4().hex[:12]}"


def read_settings(given: Mapping[str, Any], environment: Mapping[str, str], fallback_id: str) -> Settings:
    """Puts the settings together.

    Args:
        given: fields of ``Settings`` that the author set; None counts as not set.
        environment: variables; an empty one counts as not set.
        fallback_id: the worker's id if neither says one, and no certificate does.

    Raises:
        ConfigError: a value is wrong; the message names the argument or variable.
    """
    values: dict[str, Any] = {"worker_id": fallback_id}
    sources: dict[str, str] = {}
    for name, variables in _VARIABLES.items():
        for variable in variables:
            if environment.get(variable):
                values[name], sources[name] = environment[variable], f"the variable {variable}"
                break
    given = {name: value for name, value in given.items() if value is not None}
    if "url" in given and "engines" not in given:
        values.pop("engines", None)  # the one that the author named
    values |= given
    sources |= {name: name for name in given}
    if "worker_id" not in sources and values.get("tls_cert"):
        values["worker_id"] = _certified_id(str(values["tls_cert"])) or fallback_id
    checked = {name: _checked(name, value, sources.get(name, name)) for name, value in values.items()}
    if checked.get("metrics"):
        checked.setdefault("health_port", _METRICS_PORT)
    return Settings(**_with_engines(checked, sources.get("engines", "")))


def _certified_id(path: str) -> str:
    """Returns the id that a worker's certificate proves: engines take the worker under no other."""
    return next((name for name in names_in(path) if is_identifier(name)), "")


def _with_engines(values: dict[str, Any], source: str) -> dict[str, Any]:
    """Adds the list of engines; the address of the first is that of the worker."""
    token = values.get("token", PUBLIC_TOKEN)
    if "engines" not in values:
        return {**values, "engines": (EngineAddress(values.get("url", _URL), token),)}
    engines = read_engines(values["engines"], token, source)
    return {**values, "engines": engines, "url": engines[0].url}


def _checked(name: str, value: Any, source: str) -> Any:
    if name in _WHOLE:
        return _number(int, value, source, _MINIMA[name])
    if name in _NUMBERS:
        return _number(float, value, source, _MINIMA.get(name, 0.0))
    if name in _SWITCHES:
        return _switch(value, source)
    if name == "url":
        return read_url(value, source)
    if name == "mode":
        return _mode(value, source)
    if name == "worker_id" and not is_identifier(str(value)):
        raise ConfigError(f"{source} is {value!r}; a worker's id has 1 to 128 of the characters A-Z a-z 0-9 _ and -.")
    return value


def _number(kind: Callable[[Any], T], value: Any, source: str, minimum: float) -> T:
    try:
        number = kind(value)
    except (TypeError, ValueError):
        number = None
    if number is None or not float(number) >= minimum or float(number) == float("inf"):  # type: ignore[arg-type]
        raise ConfigError(f"{source} is {value!r}; a number of at least {minimum:g} was expected.")
    return number


def _switch(value: Any, source: str) -> bool:
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    if word not in _YES + _NO:
        raise ConfigError(f"{source} is {value!r}; true or false was expected.")
    return word in _YES


def _mode(value: Any, source: str) -> Mode:
    try:
        return Mode(str(value).upper())
    except ValueError:
        raise ConfigError(f"{source} is {value!r}; one of {', '.join(Mode)} was expected.") from None
