"""A Redis of the tests' own: no server of the machine is used or started."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from .server_process import ServerProcess, free_port


def find_program() -> str | None:
    """Returns the path of ``redis-server`` or of ``valkey-server``, or None; ``REDIS_SERVER`` names another one."""
    return os.environ.get("REDIS_SERVER") or shutil.which("redis-server") or shutil.which("valkey-server")


class RedisServer:
    """A server in a temporary folder, on a free port of 127.0.0.1.

    Args:
        program: the path of the server.
        options: lines of its configuration, such as ``appendfsync="always"``.
    """

    def __init__(self, program: str, **options: str) -> None:
        self._program = program
        self._options = {"appendonly": "yes", "appendfsync": "everysec", "save": "", **options}
        self._folder = Path(tempfile.mkdtemp(prefix="avtomatika-redis-"))
        self._process = ServerProcess("Redis", "Ready to accept connections")
        self._prefixes = itertools.count(1)
        self._copies = itertools.count(1)
        self.port = free_port()

    def like(self, **options: str) -> RedisServer:
        """Returns another server of the same program, not started, with options of its own."""
        return RedisServer(self._program, **options)

    def start(self) -> None:
        """Starts the server and returns when it answers."""
        options = {"port": str(self.port), "bind": "127.0.0.1", "dir": str(self._folder), **self._options}
        command = [self._program]
        for name, value in options.items():
            command += [f"--{name}", *(value.split() or [""])]
        self._process.start(command)

    def kill(self) -> None:
        """Ends the server as a power cut would end it. Idempotent."""
        self._process.kill()

    def keep(self) -> Path:
        """Copies what the server has written so far; returns the copy, for ``bring_back``."""
        copy = self._folder.with_name(f"{self._folder.name}-kept-{next(self._copies)}")
        shutil.copytree(self._folder, copy)
        return copy

    def bring_back(self, copy: Path) -> None:
        """Puts an older copy in the place of what the server has written, while it is down."""
        shutil.rmtree(self._folder)
        copy.rename(self._folder)

    def forget(self) -> None:
        """Removes what the server has written, while it is down."""
        shutil.rmtree(self._folder)
        self._folder.mkdir()

    def remove(self) -> None:
        """Ends the server and removes its files."""
        self.kill()
        shutil.rmtree(self._folder)

    def client(self, **options: Any) -> Redis:
        """Returns a client that has not connected yet."""
        return Redis(host="127.0.0.1", port=self.port, **options)

    def new_prefix(self) -> str:
        """Returns a prefix under which there is nothing."""
        return f"t{next(self._prefixes)}"
