"""The parts of an engine that request handlers find in the application."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import tzinfo
from ipaddress import IPv4Network, IPv6Network

from aiohttp import web

from avtomatika.core.job import Client
from avtomatika.history.base import History
from avtomatika.observability.base import Meter, Tracer
from avtomatika.payloads.base import PayloadStore
from avtomatika.runtime.approvals import Approvals
from avtomatika.runtime.dispatcher import Dispatcher
from avtomatika.runtime.feed import Feed
from avtomatika.runtime.health import Health
from avtomatika.runtime.historian import Historian
from avtomatika.runtime.jobs import Jobs
from avtomatika.runtime.pasts import Pasts
from avtomatika.runtime.postman import Postman
from avtomatika.runtime.registry import Registry
from avtomatika.runtime.reputations import Reputations
from avtomatika.runtime.runner import Runner
from avtomatika.runtime.sampling import Sampler
from avtomatika.runtime.scheduler import Scheduler
from avtomatika.runtime.sockets import Sockets
from avtomatika.runtime.workers import Workers
from avtomatika.security.tokens import TokenTable
from avtomatika.server.access import Access, Proof
from avtomatika.server.ended_tokens import EndedTokens
from avtomatika.server.limits import Limiter, Quotas
from avtomatika.server.signatures import Signatures
from avtomatika.server.sts import TokenService
from avtomatika.server.targets import Targets
from avtomatika.storage.base import Storage


@dataclass(frozen=True, slots=True)
class Settings:
    """What the server needs of the configuration, as plain values.

    Args:
        api_prefix: first path segment of the client API, without slashes.
        client_api: whether the client API exists.
        max_body: largest body of a client, bytes.
        max_result: largest body of a worker, bytes.
        poll_timeout: longest time that a poll is held, seconds.
        zone: time zone of the moments in answers.
        instance_id: name of this engine.
        cors_origins: origins whose pages may use the client API.
        trusted_proxies: networks of proxies whose word counts about where a request comes from.
        public_url: address at which others reach the engine, without a slash at its end; empty if not known.
        file_store: the fingerprint of the object store, or empty.
        max_file: largest file of a client, bytes.
        traced: whether requests are followed by a tracer.
    """

    api_prefix: str
    client_api: bool
    max_body: int
    max_result: int
    poll_timeout: float
    zone: tzinfo
    instance_id: str
    cors_origins: frozenset[str] = frozenset()
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    public_url: str = ""
    file_store: str = ""
    max_file: int = 5 * 1024**3
    traced: bool = False


@dataclass(slots=True)
class Exposure:
    """Who may be served; known when the server starts, since settings may change until then.

    Args:
        refusal: why only this machine is served, as a sentence, while a public default token is in force; else empty.
    """

    refusal: str = ""


STORAGE_KEY = web.AppKey("storage", Storage)
HISTORY_KEY = web.AppKey("history", History)
PAYLOADS_KEY = web.AppKey("payloads", PayloadStore)
POSTMAN_KEY = web.AppKey("postman", Postman)
HISTORIAN_KEY = web.AppKey("historian", Historian)
REGISTRY_KEY = web.AppKey("registry", Registry)
FEED_KEY = web.AppKey("feed", Feed)
HEALTH_KEY = web.AppKey("health", Health)
JOBS_KEY = web.AppKey("jobs", Jobs)
WORKERS_KEY = web.AppKey("workers", Workers)
SOCKETS_KEY = web.AppKey("sockets", Sockets)
DISPATCHER_KEY = web.AppKey("dispatcher", Dispatcher)
REPUTATIONS_KEY = web.AppKey("reputations", Reputations)
RUNNER_KEY = web.AppKey("runner", Runner)
TRACER_KEY = web.AppKey("tracer", Tracer)
METER_KEY = web.AppKey("meter", Meter)
SAMPLER_KEY = web.AppKey("sampler", Sampler)
SETTINGS_KEY = web.AppKey("settings", Settings)
EXPOSURE_KEY = web.AppKey("exposure", Exposure)
PASTS_KEY = web.AppKey("pasts", Pasts)
APPROVALS_KEY = web.AppKey("approvals", Approvals)
CLIENT_TOKENS_KEY = web.AppKey("client_tokens", TokenTable[Client])
WORKER_TOKENS_KEY = web.AppKey("worker_tokens", TokenTable[str])
CLIENT_KEY = web.RequestKey("client", Client)
"""The client that a request's token belongs to."""
SCHEDULER_KEY = web.AppKey("scheduler", Scheduler)
TARGETS_KEY = web.AppKey("targets", Targets)
LIMITER_KEY = web.AppKey("limiter", Limiter)
QUOTAS_KEY = web.AppKey("quotas", Quotas)
STS_KEY = web.AppKey("sts", TokenService)
ENDED_TOKENS_KEY = web.AppKey("ended_tokens", EndedTokens)
ACCESS_KEY = web.AppKey("access", Access)
SIGNATURES_KEY = web.AppKey("signatures", Signatures)
RAW_KEY = web.RequestKey("raw", bytes)
"""The body of a worker's message as it was sent."""
WORKER_KEY = web.RequestKey("worker", Proof)
"""What a worker's token or certificate proves."""
