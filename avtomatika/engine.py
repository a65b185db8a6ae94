"""The engine: puts the parts together, starts them and stops them."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import logging
import re
import signal
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from aiohttp import web

from avtomatika import loops
from avtomatika.backends import (
    make_history,
    make_meter,
    make_payloads,
    make_signer,
    make_storage,
    make_tracer,
    offload_bytes,
)
from avtomatika.blueprints import RetryPolicy, StateMachineBlueprint
from avtomatika.blueprints.loader import load_folder
from avtomatika.clock import Clock, SystemClock
from avtomatika.config import PUBLIC_TOKENS, Config
from avtomatika.core.job import INTERNAL, Client
from avtomatika.core.reputation import Scale
from avtomatika.core.steps import Limits
from avtomatika.errors import AvtomatikaError, ConfigError
from avtomatika.history.base import History
from avtomatika.history.noop import NoopHistory
from avtomatika.history.uris import parse_history_uri
from avtomatika.holon import Holon
from avtomatika.observability.base import UNTRACED, Meter
from avtomatika.observability.logging import setup_logging
from avtomatika.protocol.files import store_fingerprint
from avtomatika.runtime.approvals import Approvals
from avtomatika.runtime.auditor import Auditor
from avtomatika.runtime.children import ChildCarrier, ParentCarrier
from avtomatika.runtime.depot import Depot
from avtomatika.runtime.dispatcher import Dispatcher
from avtomatika.runtime.feed import Feed
from avtomatika.runtime.file_watch import FileWatch
from avtomatika.runtime.health import Health
from avtomatika.runtime.historian import Historian
from avtomatika.runtime.jobs import Jobs
from avtomatika.runtime.outgoing import Outgoing
from avtomatika.runtime.pasts import Pasts
from avtomatika.runtime.performer import Performer
from avtomatika.runtime.postman import Postman
from avtomatika.runtime.promises import Promises
from avtomatika.runtime.pulse import Pulse
from avtomatika.runtime.registry import Registry
from avtomatika.runtime.reputations import Reputations
from avtomatika.runtime.runner import Runner
from avtomatika.runtime.sampling import Sampler
from avtomatika.runtime.scheduler import Scheduler
from avtomatika.runtime.shelves import with_shelves
from avtomatika.runtime.sockets import Sockets
from avtomatika.runtime.sweeper import Sweeper
from avtomatika.runtime.tidying import FilesCarrier
from avtomatika.runtime.watcher import Watcher
from avtomatika.runtime.workers import Workers
from avtomatika.schedules import read_schedules
from avtomatika.security.tls import load_certificate, server_context
from avtomatika.security.tokens import TokenTable
from avtomatika.server import refusals
from avtomatika.server.access import ANYBODY, Access
from avtomatika.server.app import build_app
from avtomatika.server.ended_tokens import EndedTokens
from avtomatika.server.keys import (
    ACCESS_KEY,
    APPROVALS_KEY,
    CLIENT_TOKENS_KEY,
    DISPATCHER_KEY,
    ENDED_TOKENS_KEY,
    EXPOSURE_KEY,
    FEED_KEY,
    HEALTH_KEY,
    HISTORIAN_KEY,
    HISTORY_KEY,
    JOBS_KEY,
    LIMITER_KEY,
    METER_KEY,
    PASTS_KEY,
    PAYLOADS_KEY,
    POSTMAN_KEY,
    QUOTAS_KEY,
    REGISTRY_KEY,
    REPUTATIONS_KEY,
    RUNNER_KEY,
    SAMPLER_KEY,
    SCHEDULER_KEY,
    SIGNATURES_KEY,
    SOCKETS_KEY,
    STORAGE_KEY,
    STS_KEY,
    TARGETS_KEY,
    TRACER_KEY,
    WORKER_TOKENS_KEY,
    WORKERS_KEY,
    Exposure,
    Settings,
)
from avtomatika.server.limits import Limiter, Quotas, Rates
from avtomatika.server.middleware.auth import CLIENT_HEADER, WORKER_HEADER
from avtomatika.server.remote import parse_networks
from avtomatika.server.signatures import Signatures
from avtomatika.server.sts import TokenService
from avtomatika.server.targets import Targets
from avtomatika.storage.base import Storage
from avtomatika.webhooks.carrier import WebhookCarrier
from avtomatika.webhooks.targets import TargetPolicy, parse_hosts
from avtomatika.worker.parent import watch_parent

log = logging.getLogger(__name__)

# A history in memory must not grow for ever; a database keeps everything.
_ROWS_IN_MEMORY = 100_000
# What a stop may take: requests in flight, handlers in flight, the last rows of history.
_STOP_GRACE = 5.0


class OrchestratorEngine:
    """Runs jobs through their blueprints.

    Either ``engine.run()`` in a script, or ``await engine.start()`` and ``await engine.stop()`` (or ``async with
    engine:``) in an application, or ``engine.app`` under an aiohttp server such as Gunicorn's
    ``aiohttp.GunicornWebWorker``.

    Args:
        storage: where jobs live; None for what the configuration names.
        config: settings; None to read them from the environment.
        history: where history goes; None for what the configuration names.
        clock: for tests that move time by hand; it must be the storage's clock.
        tracer_provider: of OpenTelemetry; None for the program's own, or the collector that the configuration names.

    Attributes:
        app: the aiohttp application.
        config: the settings.

    Raises:
        ConfigError: a setting is wrong.
    """

    def __init__(
        self,
        storage: Storage | None = None,
        config: Config | None = None,
        *,
        history: History | None = None,
        clock: Clock | None = None,
        tracer_provider: Any = None,
    ) -> None:
        self.config = config if config is not None else Config()
        self._clock: Clock = clock or SystemClock()
        self._storage: Storage = storage if storage is not None else make_storage(self.config, self._clock)
        uri = parse_history_uri(self.config.HISTORY_DATABASE_URI)
        self._history: History = history if history is not None else make_history(self.config)
        self._payloads = make_payloads(self.config, self._storage)
        self._registry = Registry()
        self._tracer = make_tracer(self.config, tracer_provider)
        self._site: web.BaseSite | None = None
        self._listener: socket.socket | None = None
        self._app_runner: web.AppRunner | None = None
        self._stopped = False
        self._host = ""
        keep = _ROWS_IN_MEMORY if history is None and uri.kind == "memory" else None
        self._build(keep=0 if isinstance(history, NoopHistory) else keep)
        if self.config.BLUEPRINTS_DIR:
            for blueprint in load_folder(Path(self.config.BLUEPRINTS_DIR)):
                self.register_blueprint(blueprint)

    def _build(self, keep: int | None) -> None:
        """Puts the parts together."""
        config = self.config
        limits = Limits(
            retry=RetryPolicy(
                1 + config.JOB_MAX_RETRIES, config.RETRY_DELAY_SECONDS, max_delay=config.RETRY_MAX_DELAY_SECONDS
            ),
            max_transitions=config.MAX_TRANSITIONS_PER_JOB,
            task_timeout=config.WORKER_TIMEOUT_SECONDS,
            concurrency=config.task_concurrency(),
            ageing=config.PRIORITY_AGEING_SECONDS,
            max_data=config.JOB_MAX_DATA_BYTES,
            clean_files=config.S3_AUTO_CLEANUP,
            retention=config.JOB_RETENTION_SECONDS,
        )
        meter = make_meter()
        self._storage.subscribe(lambda signal: meter.storage_lost(signal.key), "loss")
        reputations = Reputations(
            self._storage,
            self._clock,
            config.REPUTATION_MIN_THRESHOLD,
            Scale(
                config.REPUTATION_PENALTY_CONTRACT_VIOLATION,
                config.REPUTATION_PENALTY_TASK_FAILURE,
                config.REPUTATION_REWARD_SUCCESS,
            ),
        )
        depot = Depot(self._storage, self._payloads, offload_bytes(config, self._storage), self._clock)
        performer = Performer(self._storage, self._registry, limits, meter, self._tracer, reputations, depot)
        file_store = store_fingerprint(config.S3_ENDPOINT_URL, config.S3_ACCESS_KEY, config.S3_DEFAULT_BUCKET)
        historian = Historian(self._storage, self._history, self._clock, keep, depot)
        self.app = build_app(
            Settings(
                api_prefix=config.CLIENT_API_PREFIX,
                client_api=config.ENABLE_CLIENT_API,
                max_body=config.API_MAX_BODY_BYTES,
                max_result=config.RESULT_MAX_BODY_BYTES,
                poll_timeout=config.WORKER_POLL_TIMEOUT_SECONDS,
                zone=config.zone,
                instance_id=config.INSTANCE_ID,
                cors_origins=config.cors_origins(),
                trusted_proxies=parse_networks(config.TRUSTED_PROXIES),
                public_url=config.PUBLIC_URL,
                file_store=file_store,
                max_file=config.FILE_MAX_BYTES,
                traced=self._tracer is not UNTRACED,
            )
        )
        app = self.app
        app[ENGINE_KEY] = self
        app[STORAGE_KEY] = self._storage
        app[HISTORY_KEY] = self._history
        app[PAYLOADS_KEY] = self._payloads
        app[HISTORIAN_KEY] = historian
        app[REGISTRY_KEY] = self._registry
        app[JOBS_KEY] = Jobs(self._storage, performer, self._clock, self._tracer, depot)
        app[PASTS_KEY] = Pasts(self._storage, performer, self._registry, historian, self._history, depot)
        app[APPROVALS_KEY] = Approvals(self._storage, performer)
        app[SIGNATURES_KEY] = Signatures()
        app[DISPATCHER_KEY] = Dispatcher(
            self._storage,
            self._clock,
            config.TASK_LEASE_SECONDS,
            meter,
            reputations,
            config.INSTANCE_ID,
            performer.recent,
            Outgoing(self._storage, depot, performer),
        )
        app[REPUTATIONS_KEY] = reputations
        app[SOCKETS_KEY] = Sockets(self._storage, self._clock)
        app[HEALTH_KEY] = Health(self._storage, config.INSTANCE_ID)
        app[FEED_KEY] = Feed(self._storage, self._clock)
        app[WORKERS_KEY] = Workers(
            self._storage,
            performer,
            historian,
            app[SOCKETS_KEY],
            self._clock,
            ttl=config.WORKER_TTL_SECONDS,
            lease=config.TASK_LEASE_SECONDS,
            meter=meter,
            promises=Promises(check=config.CHECK_SKILL_SCHEMAS),
            files=file_store,
        )
        app[RUNNER_KEY] = Runner(
            self._storage,
            performer,
            self._registry,
            self._clock,
            owner=config.INSTANCE_ID,
            max_jobs=config.EXECUTOR_MAX_CONCURRENT_JOBS,
            meter=meter,
            tracer=self._tracer,
            payloads=self._payloads,
            depot=depot,
        )
        self._watcher = Watcher(
            self._storage,
            performer,
            self._clock,
            config.WATCHER_INTERVAL_SECONDS,
            retention=config.JOB_RETENTION_SECONDS,
            wake=app[RUNNER_KEY].wake,
            meter=meter,
        )
        self._build_postman(performer, depot, meter)
        self._sweeper = Sweeper(self._storage, self._payloads, self._clock)
        self._auditor = Auditor(self._storage, self._clock, config.AUDIT_INTERVAL_SECONDS)
        self._pulse = Pulse(lambda: self.app[SAMPLER_KEY].note(meter))
        app[METER_KEY] = meter
        app[TRACER_KEY] = self._tracer
        app[SAMPLER_KEY] = Sampler(self._storage, app[DISPATCHER_KEY], app[RUNNER_KEY], self._auditor, self._pulse)
        app[EXPOSURE_KEY] = Exposure()
        app[CLIENT_TOKENS_KEY] = TokenTable(CLIENT_HEADER)
        app[WORKER_TOKENS_KEY] = TokenTable(WORKER_HEADER)
        app[STS_KEY] = TokenService(self._storage, config.STS_TOKEN_SECONDS)
        app[ENDED_TOKENS_KEY] = EndedTokens()
        app[ACCESS_KEY] = Access(app[CLIENT_TOKENS_KEY], app[WORKER_TOKENS_KEY], app[STS_KEY], PUBLIC_TOKENS)
        app[SCHEDULER_KEY] = Scheduler(self._storage, app[JOBS_KEY], self._registry, self._clock)
        app[TARGETS_KEY] = Targets()
        app[LIMITER_KEY] = Limiter(self._storage, meter)
        app[QUOTAS_KEY] = Quotas(self._storage, meter, config.zone)
        self._files = FileWatch(self._clock)
        app.cleanup_ctx.append(self._serve)
        app.on_shutdown.append(self._let_go)

    def _build_postman(self, performer: Performer, depot: Depot, meter: Meter) -> None:
        """Puts together what leaves the engine."""
        config, app = self.config, self.app
        self._webhooks = WebhookCarrier(self._clock, meter, make_signer(config.WEBHOOK_SECRET))
        self._holon = Holon(app[JOBS_KEY], self._registry, self._storage, self._clock, app[WORKERS_KEY].events.upward)
        self._postman = app[POSTMAN_KEY] = Postman(
            self._storage,
            self._clock,
            [
                self._webhooks,
                ChildCarrier(self._storage, performer, self._registry),
                ParentCarrier(performer),
                FilesCarrier(self._storage, self._payloads, depot),
                self._holon,
            ],
        )

    # --- blueprints and jobs ---

    def register_blueprint(self, blueprint: StateMachineBlueprint) -> None:
        """Validates a blueprint and takes it in; a registered one of the same name is replaced for new jobs.

        Raises:
            ValidationError: its graph has faults; all of them are listed.
            BlueprintError: another blueprint has its endpoint.
        """
        self._registry.add(with_shelves(blueprint.compile(), self._storage))

    async def create_background_job(
        self,
        blueprint_name: str,
        initial_data: Mapping[str, Any],
        source: str = "internal",
        *,
        client: str = INTERNAL.name,
    ) -> str:
        """Creates a job without HTTP.

        Args:
            blueprint_name: a registered blueprint, with or without an endpoint.
            initial_data: what the job starts with.
            source: how it came to be, for its record.
            client: name of the client that may see it over HTTP; ``default`` is the holder of ``CLIENT_TOKEN``.

        Returns:
            The job's id.

        Raises:
            BlueprintError: the blueprint is not registered.
            DocumentError: the data hold something that cannot be stored.
        """
        blueprint = self._registry.get(blueprint_name)
        job_id, _ = await self.app[JOBS_KEY].create(blueprint, initial_data, client=Client(client), source=source)
        return job_id

    # --- life ---

    @property
    def port(self) -> int:
        """The port that the server listens on.

        Raises:
            AvtomatikaError: it does not run.
        """
        if self._app_runner is None or not self._app_runner.addresses:
            raise AvtomatikaError("the engine does not run; await engine.start() first.")
        port: int = self._app_runner.addresses[0][1]
        return port

    @property
    def url(self) -> str:
        """The address for clients and workers on this machine."""
        host = self._host
        if host in {"0.0.0.0", "::"}:  # noqa: S104 - compared, not bound
            host = "127.0.0.1"
        scheme = "https" if self.config.TLS_ENABLED else "http"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{self.port}"

    async def start(self) -> None:
        """Starts the server and the background work; returns when requests are answered.

        Raises:
            ConfigError: a setting forbids it, or the port is taken.
            AvtomatikaError: it runs already, or was stopped.
        """
        if self._app_runner is not None or self._stopped:
            state = "was stopped; make a new OrchestratorEngine" if self._stopped else "runs already"
            raise AvtomatikaError(f"this engine {state}. The same storage may be used again.")
        self._host, notice = self.config.bind_host()
        tls = self._tls()
        if notice:
            log.warning("%s", notice, extra={"action": "default_tokens"})
        self._app_runner = web.AppRunner(self.app, access_log=None, shutdown_timeout=_STOP_GRACE, logger=refusals.log)
        try:
            await self._app_runner.setup()
            if self._listener is None:
                self._site = web.TCPSite(self._app_runner, self._host, self.config.API_PORT, ssl_context=tls)
            else:
                self._site = web.SockSite(self._app_runner, self._listener, ssl_context=tls)
            await self._site.start()
        except OSError as error:
            await self.stop()
            raise _cannot_listen(error, self._host, self.config.API_PORT) from error
        except BaseException:
            await self.stop()
            raise
        log.info("the engine serves at %s", self.url, extra={"action": "engine_started"})

    async def stop(self) -> None:
        """Takes nothing new, lets requests and handlers finish for some seconds, and closes everything. Idempotent."""
        if self._app_runner is None:
            return
        app_runner, self._app_runner, self._stopped = self._app_runner, None, True
        await app_runner.cleanup()
        log.info("the engine has stopped", extra={"action": "engine_stopped"})

    async def __aenter__(self) -> OrchestratorEngine:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def run(self, *, listener: socket.socket | None = None, stop_with_parent: bool = False) -> None:
        """Serves until SIGINT or SIGTERM; for scripts in which the engine is the only part.

        Args:
            listener: a socket that listens already, perhaps shared with other processes; None opens ``API_PORT``.
            stop_with_parent: also stop when standard input closes, as it does when the parent process has ended.

        Raises:
            ConfigError: a setting forbids it, or the port is taken.
            AvtomatikaError: an event loop runs already, as in a notebook.
        """
        setup_logging(self.config.LOG_LEVEL, self.config.LOG_FORMAT, self.config.zone)
        self._listener = listener
        serving = self._run(stop_with_parent)
        try:
            loops.run(serving)
        except RuntimeError as error:
            serving.close()
            if "running event loop" not in str(error):
                raise
            raise AvtomatikaError(
                "engine.run() blocks, and an event loop runs here already. In a notebook use "
                "avtomatika.notebook.Workbench; in an application, await engine.start() and await engine.stop()."
            ) from None

    async def _run(self, stop_with_parent: bool) -> None:
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        # Before the start: a supervisor may stop the engine as soon as it answers, or while it is still starting.
        for number in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(NotImplementedError):  # Windows
                loop.add_signal_handler(number, ended.set)
        if stop_with_parent:
            watch_parent(ended.set)
        await self.start()
        try:
            with loops.rare_collections():
                await ended.wait()
        finally:
            await self.stop()

    # --- the application's life, whoever serves it ---

    async def _serve(self, app: web.Application) -> AsyncIterator[None]:
        """Starts the background work before the first request, and ends it after the last one."""
        self._let_in(app[ACCESS_KEY])
        self._plan(app[SCHEDULER_KEY])
        app[EXPOSURE_KEY].refusal = self.config.refusal()
        app[LIMITER_KEY].rates = self._rates()
        self._webhooks.policy = app[TARGETS_KEY].policy = TargetPolicy(
            self.config.WEBHOOK_ALLOW_PRIVATE or self.config.serves_loopback(self._host),
            parse_hosts(self.config.WEBHOOK_ALLOWED_HOSTS),
        )
        app[SIGNATURES_KEY].configure(
            self.config.WORKER_SIGNATURES, self.config.GLOBAL_WORKER_TOKEN, self.config.TASK_SIGNING_KEY
        )
        if self.config.PARENT_URL:
            self._holon.configure(
                self.config.PARENT_URL,
                self.config.PARENT_TOKEN,
                self.config.HOLON_ID or re.sub(r"[^A-Za-z0-9_-]", "-", self.config.INSTANCE_ID),
                self.config.EXECUTOR_MAX_CONCURRENT_JOBS,
            )
        await self._storage.open()
        try:
            await self._history.open()
        except BaseException:
            await self._storage.close()
            raise
        app[HISTORIAN_KEY].start()
        app[RUNNER_KEY].start()
        app[SOCKETS_KEY].start()
        app[WORKERS_KEY].start()
        self._watcher.start()
        self._auditor.start()
        self._sweeper.start()
        self._pulse.start()
        self._postman.start()
        self._files.start()
        app[SCHEDULER_KEY].start()
        await self._holon.start()
        yield
        await self._holon.stop()
        await app[SCHEDULER_KEY].stop()
        await self._files.stop()
        await self._pulse.stop()
        await self._sweeper.stop()
        await self._auditor.stop()
        await self._watcher.stop()
        await asyncio.gather(
            app[RUNNER_KEY].stop(_STOP_GRACE), self._postman.stop(_STOP_GRACE), app[DISPATCHER_KEY].leave()
        )
        await app[WORKERS_KEY].stop()
        await self._webhooks.close()
        await app[HISTORIAN_KEY].stop()
        await self._history.close()
        await self._storage.close()
        await self._payloads.close()
        await self._tracer.close()

    def _let_in(self, access: Access) -> None:
        """Reads who may call, and again whenever a file changes."""
        config = self.config
        access.mode = config.WORKER_AUTH_MODE
        if not (config.CLIENTS_CONFIG_PATH and config.CLIENT_TOKEN in PUBLIC_TOKENS):
            access.clients.add(config.CLIENT_TOKEN, Client())
        access.workers.add(config.GLOBAL_WORKER_TOKEN, ANYBODY)
        for path, read in (
            (config.CLIENTS_CONFIG_PATH, access.read_clients),
            (config.WORKERS_CONFIG_PATH, access.read_workers),
        ):
            if path:
                again = functools.partial(read, path)
                self._files.add([path], again)
                again()

    def _plan(self, scheduler: Scheduler) -> None:
        """Reads the schedules, and again whenever their file changes."""
        path = self.config.SCHEDULES_CONFIG_PATH
        if not path:
            return

        def read() -> None:
            blueprints = {blueprint.name: blueprint for blueprint in self._registry}
            scheduler.replace(read_schedules(path, self.config.zone, blueprints))

        self._files.add([path], read)
        read()

    def _rates(self) -> Rates | None:
        config = self.config
        if not config.limits_calls(self._host):
            return None
        return Rates(
            config.RATE_LIMIT_PERIOD,
            config.RATE_LIMIT_LIMIT,
            config.RATE_LIMIT_HEARTBEAT_LIMIT,
            config.RATE_LIMIT_POLL_LIMIT,
        )

    def _tls(self) -> ssl.SSLContext | None:
        """Returns what the server speaks TLS with, if it does; a changed certificate is for new connections.

        Raises:
            ConfigError: the settings contradict each other, or a file cannot be used.
        """
        config = self.config
        if config.WORKER_AUTH_MODE == "mtls-only" and not (config.TLS_ENABLED and config.TLS_CA_PATH):
            raise ConfigError(
                "WORKER_AUTH_MODE is 'mtls-only', but the engine asks for no certificates: no worker could come in. "
                "Set TLS_ENABLED=true and TLS_CA_PATH."
            )
        if not config.TLS_ENABLED:
            return None
        files = (config.TLS_CERT_PATH, config.TLS_KEY_PATH)
        context = server_context(*files, config.TLS_CA_PATH, require_client_cert=config.TLS_REQUIRE_CLIENT_CERT)
        self._files.add(files, functools.partial(load_certificate, context, *files))
        return context

    async def _let_go(self, app: web.Application) -> None:
        """Answers whoever waits, so that no held request delays the stop."""
        app[HEALTH_KEY].stop()
        app[DISPATCHER_KEY].close()
        app[JOBS_KEY].close()
        app[WORKERS_KEY].close()
        await app[SOCKETS_KEY].stop()
        app[FEED_KEY].close()


ENGINE_KEY = web.AppKey("engine", OrchestratorEngine)


def _cannot_listen(error: OSError, host: str, port: int) -> ConfigError:
    if error.errno == errno.EADDRINUSE:
        return ConfigError(
            f"port {port} on {host} is in use by another program. Stop it, or set API_PORT to a free port "
            "(0 chooses one)."
        )
    if error.errno == errno.EACCES:
        return ConfigError(f"port {port} on {host} needs rights that this process lacks. Set API_PORT above 1023.")
    return ConfigError(f"cannot listen on {host}, port {port}: {error.strerror or error}. Check API_HOST and API_PORT.")
