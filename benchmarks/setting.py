"""What every benchmark says of its setting, and the storages that it measures."""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from redis import Redis

from avtomatika.version import __version__
from tests.redis_server import RedisServer, find_program

DURABILITY = {
    "memory": "gone with the process",
    "sqlite": "WAL, synchronous=FULL: survives a power cut",
    "redis": "appendonly, appendfsync everysec: a crash of its machine may lose the last second",
}
"""What survives what, for each kind of storage."""


def options_of(doc: str | None, storages: Sequence[str] = ()) -> argparse.ArgumentParser:
    """Returns a parser to which a benchmark adds its options.

    Args:
        doc: of its module; the first line says what it measures.
        storages: what ``--storage`` is if it is not given; without any there is no such option.
    """
    parser = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    if storages:
        parser.add_argument("--storage", nargs="+", default=storages, metavar="NAME_OR_URI")
    return parser


def describe(what: str) -> str:
    """Returns one line: the versions, the machine, how busy it was, and what is measured."""
    extras = ", ".join(name for name in ("uvloop", "hiredis") if find_spec(name))
    load = f"load {os.getloadavg()[0]:.1f} at the start" if hasattr(os, "getloadavg") else "load unknown"
    return (
        f"avtomatika {__version__}, Python {platform.python_version()}, {extras or 'neither uvloop nor hiredis'}, "
        f"{os.cpu_count()} cores ({load}), {what}"
    )


def kind_of(uri: str) -> str:
    """Returns which kind of storage a URI means."""
    return uri.partition(":")[0]


@contextmanager
def storage_uri(name: str) -> Iterator[str]:
    """Gives the URI of a storage: ``memory``, ``sqlite`` and ``redis`` are new and empty, anything else is a URI."""
    if name == "sqlite":
        with tempfile.TemporaryDirectory(prefix="avtomatika-bench-") as folder:
            yield f"sqlite:{Path(folder) / 'jobs.db'}"
    elif name == "redis":
        program = find_program()
        if program is None:
            raise SystemExit("redis-server is not installed here; install it, or give --storage redis://host:port.")
        server = RedisServer(program)
        try:
            server.start()
            yield f"redis://127.0.0.1:{server.port}"
        finally:
            server.remove()
    else:
        yield "memory:" if name == "memory" else name


def server_time(uri: str) -> float:
    """Returns the seconds of processor time that a Redis server has used; 0 for a storage that has no server."""
    if kind_of(uri) != "redis":
        return 0.0
    with Redis.from_url(uri) as client:
        used = client.info("cpu")
    return float(used["used_cpu_user"]) + float(used["used_cpu_sys"])
