"""The worker's own address: probes ask there whether it works, and Prometheus for its numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aiohttp import web

from avtomatika.errors import ConfigError

_UNAVAILABLE = 503
State = Callable[[], tuple[bool, dict[str, Any]]]
"""Says whether the worker works, and what a person wants to know of it."""
Write = Callable[[str], tuple[bytes, str]]


class HealthServer:
    """Answers ``GET /health``: 200 while the worker is registered at an engine, else 503; and ``GET /metrics``.

    Args:
        port: where to listen, on all addresses; 0 lets the system choose.
        state: is asked at each request.
        write: returns the numbers in the form that an ``Accept`` header asks for, and its type; None for none.
    """

    def __init__(self, port: int, state: State, write: Write | None = None) -> None:
        self._port = port
        self._state = state
        self._write = write
        app = web.Application()
        app.router.add_get("/health", self._answer)
        app.router.add_get("/metrics", self._metrics)
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

    async def _metrics(self, request: web.Request) -> web.Response:
        if self._write is None:
            return web.json_response(
                {"error": "no metrics are counted here. Set WORKER_ENABLE_METRICS=true."}, status=404
            )
        text, content_type = self._write(request.headers.get("Accept", ""))
        return web.Response(body=text, headers={"Content-Type": content_type})

    async def _answer(self, _request: web.Request) -> web.Response:
        is_well, told = self._state()
        return web.json_response(
            {"status": "ok" if is_well else "unavailable", **told}, status=200 if is_well else _UNAVAILABLE
        )
