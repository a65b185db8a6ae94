"""The commands ``avtomatika check`` and ``avtomatika token``: what is right before anything starts."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Annotated

import typer

from avtomatika.backends import make_history, make_payloads, make_signer, make_storage
from avtomatika.clock import SystemClock
from avtomatika.config import PUBLIC_TOKENS, Config
from avtomatika.engine import OrchestratorEngine
from avtomatika.errors import AvtomatikaError
from avtomatika.history.uris import parse_history_uri
from avtomatika.loading import load_object
from avtomatika.schedules import read_schedules
from avtomatika.security.clients import read_clients
from avtomatika.security.tls import server_context
from avtomatika.security.tokens import PRINTABLE, hash_of, new_token
from avtomatika.security.workers import read_workers
from avtomatika.server.keys import REGISTRY_KEY

_WRONG = 2
_Check = Callable[[], str]


def check(
    target: Annotated[str, typer.Argument(help="Where the engine is: module:engine; left out, only settings.")] = "",
) -> None:
    """Check settings, files and blueprints without starting anything; every fault is listed."""
    faults = 0
    for run in _checks(target):
        try:
            typer.echo(f"ok: {run()}")
        except AvtomatikaError as error:
            faults += 1
            typer.echo(f"error: {error}", err=True)
    if faults:
        raise typer.Exit(_WRONG)


def token(
    hash_only: Annotated[bool, typer.Option("--hash", help="Hash a token of standard input.")] = False,
) -> None:
    """Make a token and the hash of it that a file may hold in its place."""
    made = sys.stdin.readline().strip() if hash_only else new_token()
    if not PRINTABLE.match(made):
        raise typer.BadParameter("the token must have 1 to 1024 printable ASCII characters without spaces")
    if not hash_only:
        typer.echo(f"token: {made}")
    typer.echo(f'for clients.toml or workers.toml: token = "{hash_of(made)}"')


def _checks(target: str) -> Iterator[_Check]:
    """Yields what is to be checked; what cannot be read at all ends it."""
    engine: OrchestratorEngine | None = None
    if target:
        engine = load_object(target, OrchestratorEngine, "engine")
        names = [blueprint.name for blueprint in engine.app[REGISTRY_KEY]]
        yield lambda: f"{_many(len(names), 'blueprint')}: {', '.join(names) or 'none'}"
        config = engine.config
    else:
        config = Config()
    yield lambda: _settings(config)
    yield lambda: _backends(config)
    if config.CLIENTS_CONFIG_PATH:
        path = config.CLIENTS_CONFIG_PATH
        yield lambda: f"{path}: {len(read_clients(path, PUBLIC_TOKENS))} clients"
    if config.WORKERS_CONFIG_PATH:
        workers = config.WORKERS_CONFIG_PATH
        yield lambda: f"{workers}: {len(read_workers(workers, PUBLIC_TOKENS))} workers or patterns"
    if config.SCHEDULES_CONFIG_PATH:
        schedules = config.SCHEDULES_CONFIG_PATH
        known = {blueprint.name: blueprint for blueprint in engine.app[REGISTRY_KEY]} if engine else None
        yield lambda: f"{schedules}: {_many(len(read_schedules(schedules, config.zone, known)), 'schedule')}"
    yield lambda: f"files of jobs: {make_payloads(config, make_storage(config, SystemClock()))}"
    if config.TLS_ENABLED:
        yield lambda: _tls(config)


def _settings(config: Config) -> str:
    host, notice = config.bind_host()
    return f"settings; the engine serves {host}, port {config.API_PORT}{'. ' + notice if notice else ''}"


def _backends(config: Config) -> str:
    """Makes what the settings name, which opens and connects to nothing, but needs the packages.

    The storage is made where files are looked for, which may lie beside it.
    """
    make_history(config)
    make_signer(config.WEBHOOK_SECRET)
    history = parse_history_uri(config.HISTORY_DATABASE_URI).kind
    return f"storage in {config.storage_uri().partition(':')[0]}, history in {history}"


def _tls(config: Config) -> str:
    server_context(
        config.TLS_CERT_PATH,
        config.TLS_KEY_PATH,
        config.TLS_CA_PATH,
        require_client_cert=config.TLS_REQUIRE_CLIENT_CERT,
    )
    return f"certificate {config.TLS_CERT_PATH} and its key"


def _many(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"
