"""A worker's settings: what its author wrote, else the environment, else a default."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from avtomatika.errors import ConfigError
from avtomatika.protocol.identity import is_identifier

T = TypeVar("T")
PUBLIC_TOKEN = "secure-worker-token"  # noqa: S105 - the published default; engines take it on loopback only


@dataclass(frozen=True, slots=True)
class Settings:
    """What a worker must know before it starts.

    Args:
        worker_id: its identity.
        worker_type: its kind, for people.
        url: address of the engine, without ``/`` at its end.
        token: proves to the engine who this is.
        concurrency: how many tasks run at once.
        heartbeat_interval: seconds between two signs of life.
        poll_timeout: seconds that one question for a task may wait.
        shutdown_timeout: seconds that running tasks get to finish when the worker is stopped.
        retry_initial: seconds before the first repetition of a request that failed; doubled with each failure.
        retry_max: the longest such delay in seconds.
        batch: how many tasks or results go together where the engine can do that; 1 for each alone.
        delivery_timeout: seconds after which a result that nobody takes is given up.
        tls_ca: file of certificates to trust, or empty.
        tls_cert: file of the worker's own certificate, or empty.
        tls_key: file of that certificate's key, or empty.
        exit_on_refused: a refused token ends the worker; else it goes on asking once a minute.
        stop_when_stdin_closes: the worker stops at once when its standard input ends, as it does when a parent dies.
    """

    worker_id: str
    worker_type: str = "generic"
    url: str = "http://localhost:8080"
    token: str = PUBLIC_TOKEN
    concurrency: int = 10
    heartbeat_interval: float = 15.0
    poll_timeout: float = 30.0
    shutdown_timeout: float = 30.0
    retry_initial: float = 1.0
    retry_max: float = 15.0
    batch: int = 64
    delivery_timeout: float = 3600.0
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
    "concurrency": ("MAX_CONCURRENT_TASKS",),
    "heartbeat_interval": ("HEARTBEAT_INTERVAL",),
    "poll_timeout": ("TASK_POLL_TIMEOUT",),
    "shutdown_timeout": ("WORKER_SHUTDOWN_TIMEOUT",),
    "retry_initial": ("REGISTRATION_RETRY_INITIAL_DELAY",),
    "retry_max": ("REGISTRATION_RETRY_MAX_DELAY",),
    "batch": ("WORKER_BATCH",),
    "delivery_timeout": ("RESULT_DELIVERY_TIMEOUT",),
    "tls_ca": ("TLS_CA_PATH",),
    "tls_cert": ("TLS_CERT_PATH",),
    "tls_key": ("TLS_KEY_PATH",),
}
_MINIMA = {"concurrency": 1, "batch": 1, "heartbeat_interval": 0.01, "poll_timeout": 0.01, "shutdown_timeout": 0.0}
_WHOLE = frozenset({"concurrency", "batch"})
_SECONDS = frozenset(
    {"heartbeat_interval", "poll_timeout", "shutdown_timeout", "retry_initial", "retry_max", "delivery_timeout"}
)


def random_worker_id() -> str:
    """Returns an id for a worker that was given none."""
    return f"worker-{uuid.uuid4().hex[:12]}"


def read_settings(given: Mapping[str, Any], environment: Mapping[str, str], fallback_id: str) -> Settings:
    """Puts the settings together.

    Args:
        given: fields of ``Settings`` that the author set; None counts as not set.
        environment: variables; an empty one counts as not set.
        fallback_id: the worker's id if neither says one.

    Raises:
        ConfigError: a value is wrong; the message names the argument or variable.
    """
    values: dict[str, Any] = {"worker_id": fallback_id}
    for name, variables in _VARIABLES.items():
        for variable in variables:
            if environment.get(variable):
                values[name] = _checked(name, environment[variable], f"the variable {variable}")
                break
    for name, value in given.items():
        if value is not None:
            values[name] = _checked(name, value, name)
    return Settings(**values)


def _checked(name: str, value: Any, source: str) -> Any:
    if name in _WHOLE:
        return _number(int, value, source, _MINIMA[name])
    if name in _SECONDS:
        return _number(float, value, source, _MINIMA.get(name, 0.0))
    if name == "url":
        return _url(value, source)
    if name == "worker_id" and not is_identifier(str(value)):
        raise ConfigError(f"{source} is {value!r}; a worker's id has 1 to 128 of the characters A-Z a-z 0-9 _ and -.")
    return value


def _number(kind: Callable[[Any], T], value: Any, source: str, minimum: float) -> T:
    try:
        number = kind(value)
    except (TypeError, ValueError):
        number = None
    if number is None or not float(number) >= minimum or float(number) == float("inf"):  # type: ignore[arg-type]
        raise ConfigError(f"{source} is {value!r}; a number of at least {minimum} was expected.")
    return number


def _url(value: Any, source: str) -> str:
    url = str(value).rstrip("/")
    if not url.startswith(("http://", "https://")):
        raise ConfigError(f"{source} is {value!r}; an address such as http://localhost:8080 was expected.")
    return url
