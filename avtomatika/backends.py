"""The backends that the settings mean: storage, history, metrics, traces; imported only when they are chosen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from avtomatika.clock import Clock
from avtomatika.config import Config
from avtomatika.errors import ConfigError, suggest
from avtomatika.history.base import History
from avtomatika.history.uris import parse_history_uri
from avtomatika.observability.base import SILENT, UNTRACED, Meter, Tracer
from avtomatika.observability.provider import open_spans
from avtomatika.payloads.base import PayloadStore
from avtomatika.payloads.local import LocalPayloads, TemporaryPayloads
from avtomatika.payloads.optional import load_s3
from avtomatika.storage.base import Storage
from avtomatika.storage.memory import MemoryStorage
from avtomatika.webhooks.carrier import Signs

_SCHEMES = ("memory", "sqlite", "redis", "rediss", "unix")


def make_storage(config: Config, clock: Clock) -> Storage:
    """Returns the storage that ``STORAGE_URI`` names, or ``REDIS_HOST`` where only that is set.

    Raises:
        ConfigError: the URI is wrong, or the package that the backend needs is not installed.
    """
    uri = config.storage_uri()
    match uri.partition(":")[0]:
        case "memory":
            return MemoryStorage(clock)
        case "sqlite":
            from avtomatika.storage.sqlite import SQLiteStorage

            return SQLiteStorage(uri, clock)
        case "redis" | "rediss" | "unix":
            from avtomatika.storage.redis import RedisStorage

            # Moments are the server's, which all engines share; this machine's clock may differ from theirs.
            return RedisStorage.from_url(uri)
        case unknown:
            raise ConfigError(
                f"STORAGE_URI has the unknown scheme '{unknown}'; known: memory:, sqlite:///file, redis://host:port/db."
                f"{suggest(unknown, _SCHEMES)}"
            )


def make_payloads(config: Config, storage: Storage) -> PayloadStore:
    """Returns where the files of jobs are: the bucket that the settings name, or else a directory.

    Nothing is connected or made yet: an engine whose jobs have no files needs neither.

    Args:
        config: the settings.
        storage: where the jobs are: without other settings, their files last as long as they do.

    Raises:
        ConfigError: the settings contradict each other, or the package that the backend needs is not installed.
    """
    if not config.S3_ENDPOINT_URL:
        return _local_payloads(config, storage)
    if bool(config.S3_ACCESS_KEY) != bool(config.S3_SECRET_KEY):
        missing = "S3_SECRET_KEY" if config.S3_ACCESS_KEY else "S3_ACCESS_KEY"
        raise ConfigError(f"{missing} is empty, but its other half is set. Set both, or none for the machine's own.")
    return load_s3()(
        config.S3_ENDPOINT_URL,
        config.S3_DEFAULT_BUCKET,
        config.S3_ACCESS_KEY,
        config.S3_SECRET_KEY,
        region=config.S3_REGION,
        max_concurrency=config.S3_MAX_CONCURRENCY,
    )


def offload_bytes(config: Config, storage: Storage) -> int:
    """Returns the size above which documents leave their jobs for the store of files; 0 if none do."""
    if config.S3_ENDPOINT_URL or config.is_set("PAYLOAD_OFFLOAD_BYTES") or getattr(storage, "path", ""):
        return config.PAYLOAD_OFFLOAD_BYTES
    # A directory beside a Redis may be one that other engines on it do not see: somebody has to say that it is not.
    return 0


def _local_payloads(config: Config, storage: Storage) -> PayloadStore:
    if config.TASK_FILES_DIR:
        return LocalPayloads(config.TASK_FILES_DIR)
    if isinstance(storage, MemoryStorage):
        return TemporaryPayloads()
    # Of SQLite, a file; other storages are elsewhere, and say nothing of this machine.
    file = getattr(storage, "path", "")
    if file:
        return LocalPayloads(f"{file}-files")
    directory = Path("avtomatika-files").absolute()
    return LocalPayloads(
        directory,
        f"files of jobs are kept in {directory}: engines and workers on other machines do not see them. Set "
        "S3_ENDPOINT_URL, or TASK_FILES_DIR to a directory that all share.",
    )


def make_history(config: Config) -> History:
    """Returns the history that ``HISTORY_DATABASE_URI`` names.

    Raises:
        ConfigError: the URI is wrong, or the package that the backend needs is not installed.
    """
    uri = config.HISTORY_DATABASE_URI
    if parse_history_uri(uri).kind == "postgresql":
        from avtomatika.history.postgres import PostgresHistory

        return PostgresHistory(uri)
    from avtomatika.history.sqlite import SQLiteHistory

    return SQLiteHistory(uri)


def make_meter() -> Meter:
    """Returns what counts for Prometheus, or nothing that counts where its package is not installed."""
    try:
        from avtomatika.observability.metrics import PrometheusMeter
    except ModuleNotFoundError as error:
        if error.name != "prometheus_client":
            raise
        return SILENT
    return PrometheusMeter()


def make_tracer(config: Config, provider: Any = None) -> Tracer:
    """Returns what makes spans, or nothing that does where nobody wants any.

    Args:
        config: the settings.
        provider: a tracer provider of OpenTelemetry; None for the one that the program has set, or the collector that
            the settings name.

    Raises:
        ConfigError: a collector is named, but the packages are not installed.
    """
    spans = open_spans(config.OTEL_EXPORTER_OTLP_ENDPOINT, config.OTEL_SERVICE_NAME, config.INSTANCE_ID, provider)
    if spans is None:
        return UNTRACED
    from avtomatika.observability.tracing import SpanTracer

    return SpanTracer(spans)


def make_signer(secret: str) -> Signs | None:
    """Returns what signs webhooks, or None without a secret.

    Raises:
        ConfigError: the package that signs is not installed.
    """
    if not secret:
        return None
    try:
        from avtomatika.webhooks.signer import Signer
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"WEBHOOK_SECRET is set, but a package is not installed here ({error.name}). Run "
            "pip install 'avtomatika[webhooks]', or unset it."
        ) from error
    return Signer(secret)
