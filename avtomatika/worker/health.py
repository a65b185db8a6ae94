"""The worker's own address for probes: whether it works, and for whom."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aiohttp import web

from avtomatika.errors import ConfigError

_UNAVAILABLE = 503
State = Callable[[], tuple[bool, dict[str, Any]]]
"""Says whether the worker works, and what a person wants to know of it."""


class HealthServer:
    """Answers ``GET /health``: 200 while the worker is registered at an engine, else 503.

    Args:
        port: where to listen, on all addresses; 0 lets the system choose.
        state: is asked at each request.
    """

    def __init__(self, port: int, state: State) -> None:
        self._port = port
        self._state = state
        app = web.Application()
        app.router.add_get("/health", self._answer)
        self._runner = web.AppRunner(app, access_log=None)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._runner.addresses[0][1])

    async def start(self) -> None:
        """Begins to answer.

        Raises:
            ConfigError: the port is taken.
        """
        await self._runner.setup()
        try:
            # All addresses of both families have one port only if it is given.
            host = None if self._port else "0.0.0.0"  # noqa: S104 - a probe comes from elsewhere
            await web.TCPSite(self._runner, host, self._port).start()
        except OSError as error:
            await self._runner.cleanup()
            raise ConfigError(
                f"cannot answer probes on port {self._port}: {error.strerror or error}. Set WORKER_PORT to another one."
            ) from error

    async def stop(self) -> None:
        """Answers no more."""
        await self._runner.cleanup()

    async def _answer(self, _request: web.Request) -> web.Response:
        is_well, told = self._state()
        return web.json_response(
            {"status": "ok" if is_well else "unavailable", **told}, status=200 if is_well else _UNAVAILABLE
        )
