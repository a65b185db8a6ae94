"""``avtomatika run --processes``: several processes of one engine on one port, each started again when it dies."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import socket
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from avtomatika import loops
from avtomatika.children import Child, environment, on_stop_signals
from avtomatika.engine import OrchestratorEngine
from avtomatika.errors import ConfigError
from avtomatika.observability.logging import setup_logging

log = logging.getLogger(__name__)

_WRONG = 2
"""The exit code of a command whose settings are wrong."""
_BACKLOG = 1024
_METRICS = "PROMETHEUS_MULTIPROC_DIR"
# A process that lived so long had started well.
_STEADY_SECONDS = 10.0
_LONGEST_PAUSE = 30.0


def run(engine: OrchestratorEngine, arguments: Sequence[str], count: int) -> int:
    """Serves with several processes until SIGINT or SIGTERM.

    Args:
        engine: one as each process will have it; it is not started here.
        arguments: of the ``avtomatika run`` of a process.
        count: how many processes.

    Returns:
        The exit code: 0, or 2 if the first processes end at once because a setting is wrong.

    Raises:
        ConfigError: the processes could not share their jobs, or the port is taken.
    """
    _check(engine)
    setup_logging(engine.config.LOG_LEVEL, engine.config.LOG_FORMAT, engine.config.zone)
    with _listen(engine) as listener, _metrics_folder() as folder:
        return loops.run(_keep(engine, listener, arguments, count, folder))


def open_listener(fd: int) -> socket.socket:
    """Returns the listening socket that this process was started with.

    Raises:
        ConfigError: the number is not that of a listening socket.
    """
    try:
        listener = socket.socket(fileno=fd)
        listens = listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise ConfigError(
            f"--fd {fd} is no open socket here ({error.strerror}); leave --fd out to use a port."
        ) from error
    if not listens:
        listener.detach()
        raise ConfigError(f"--fd {fd} is a socket that does not listen; leave --fd out to use a port.")
    return listener


def _check(engine: OrchestratorEngine) -> None:
    config = engine.config
    kind = config.storage_uri().partition(":")[0]
    if kind not in {"redis", "rediss", "unix"}:
        raise ConfigError(
            f"several processes share their jobs through Redis, but the storage is '{kind}:'. Set "
            "STORAGE_URI=redis://host:6379/0, or leave --processes out."
        )
    for name in ("INSTANCE_ID", "HOLON_ID"):
        value = getattr(config, name)
        if value and config.is_set(name) and os.environ.get(name) != value:
            raise ConfigError(
                f"{name} is fixed to '{value}' by the program, but each of several processes needs its own. Leave it "
                "out there; set as an environment variable it becomes the beginning of each name."
            )


def _listen(engine: OrchestratorEngine) -> socket.socket:
    host, _ = engine.config.bind_host()
    try:
        return socket.create_server(
            (host, engine.config.API_PORT), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=_BACKLOG
        )
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {host}, port {engine.config.API_PORT}: {error.strerror or error}. "
            "Check API_HOST and API_PORT."
        ) from error


@contextlib.contextmanager
def _metrics_folder() -> Iterator[str]:
    """Gives the folder in which the processes share their metrics: the one that the environment names, or a new one."""
    given = os.environ.get(_METRICS)
    if given:
        Path(given).mkdir(parents=True, exist_ok=True)
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="avtomatika-metrics-") as folder:
        yield folder


async def _keep(
    engine: OrchestratorEngine, listener: socket.socket, arguments: Sequence[str], count: int, folder: str
) -> int:
    """Starts the processes and keeps them until this one is told to stop."""
    told, wrong = asyncio.Event(), asyncio.Event()
    on_stop_signals(told)
    if not engine.config.HISTORY_DATABASE_URI:
        log.warning(
            "each process keeps a history of its own in memory; set HISTORY_DATABASE_URI for one that all share",
            extra={"action": "history_apart"},
        )
    log.info("%s processes serve port %s", count, listener.getsockname()[1], extra={"action": "processes_started"})
    places = [
        asyncio.create_task(_keep_one(listener.fileno(), arguments, wrong, number, folder)) for number in range(count)
    ]
    waits = [asyncio.create_task(told.wait()), asyncio.create_task(wrong.wait())]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for task in (*places, *waits):
        task.cancel()
    ends = await asyncio.gather(*places, *waits, return_exceptions=True)
    for end in ends:
        if isinstance(end, Exception):
            raise end
    return _WRONG if wrong.is_set() else 0


async def _keep_one(fd: int, arguments: Sequence[str], wrong: asyncio.Event, number: int, folder: str) -> None:
    """Keeps one process: whenever it ends by itself, another takes its place."""
    pause, is_first = 0.0, True
    while True:
        child = Child([*arguments, "--fd", str(fd)], _environment(number, folder), [fd])
        started = time.monotonic()
        try:
            await child.start()
            code = await child.wait()
        finally:
            await child.stop()
            _forget(child.pid, folder)
        lived = time.monotonic() - started
        if code == _WRONG and is_first and lived < _STEADY_SECONDS:
            wrong.set()  # it has said what; another would say the same
            return
        is_first = False
        # At once after a good life; ever later if it cannot even start.
        pause = 0.0 if lived >= _STEADY_SECONDS else min(_LONGEST_PAUSE, 2 * pause or 0.25)
        log.warning(
            "process %s %s; another takes its place %s",
            child.pid,
            f"was ended by signal {-code}" if code < 0 else f"ended with code {code}",
            f"in {pause:g} s" if pause else "at once",
            extra={"action": "process_ended"},
        )
        await asyncio.sleep(pause)


def _forget(pid: int, folder: str) -> None:
    """Lets the others no longer tell what a process that has ended has in hand; what it counted stays."""
    # Named by the library, whose own function for it would need the library here as well.
    for path in Path(folder).glob(f"gauge_live*_{pid}.db"):
        path.unlink(missing_ok=True)


def _environment(number: int, folder: str) -> dict[str, str]:
    """Returns the environment of a process: a name given to all of them becomes the beginning of each one's own.

    Args:
        number: of the process, the same for the one that takes its place: a holon is known to its parent by its id.
        folder: where they share their metrics.
    """
    changes = {_METRICS: folder}
    if name := os.environ.get("INSTANCE_ID"):
        changes["INSTANCE_ID"] = f"{name[:119]}-{secrets.token_hex(4)}"
    if name := os.environ.get("HOLON_ID"):
        changes["HOLON_ID"] = f"{name[:124]}-{number}"
    return environment(**changes)
