"""A workbench over an engine elsewhere: the same views, over the HTTP API."""

from __future__ import annotations

import atexit
import contextlib
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

from aiohttp import web

from avtomatika.blueprints import Graph
from avtomatika.blueprints.render import graph_from_dict
from avtomatika.client import AsyncClient
from avtomatika.errors import AvtomatikaError, BlueprintError
from avtomatika.notebook.background import BackgroundLoop
from avtomatika.notebook.bench import CALL_SECONDS, Bench
from avtomatika.notebook.desk import Desk
from avtomatika.notebook.feed import Feed
from avtomatika.notebook.frames import job_history_frame
from avtomatika.notebook.gate import GATE_PATH, Gate
from avtomatika.notebook.handles import JobHandle
from avtomatika.notebook.live import Outputs

if TYPE_CHECKING:
    import pandas as pd

_STOP_SECONDS = 10.0


class RemoteWorkbench(Bench):
    """The views of a workbench over a running engine; made by ``Workbench.connect``.

    Args:
        url: address of the engine.
        token: the client token; its jobs are what can be seen.
        prefix: the engine's ``CLIENT_API_PREFIX``.
        live: as for ``Workbench``.

    Raises:
        ConfigError: the address or the token cannot be used.
        AuthError: the engine does not know the token.
        ConnectionFailedError: no engine answered.
    """

    def __init__(self, url: str, token: str, *, prefix: str = "api", live: bool | None = None) -> None:
        self.url = url
        with contextlib.ExitStack() as undo:
            self._background = BackgroundLoop("avtomatika-remote")
            undo.callback(self._background.stop)
            self._client = AsyncClient(url, token, prefix=prefix)
            self._feed = Feed(self._client, self._background)
            undo.callback(self._end)
            # A wrong token is told here, in the cell that gave it.
            self._background.call(self._client.dashboard(), CALL_SECONDS)
            gate = Gate()
            self._gate_runner = self._background.call(_serve(gate), CALL_SECONDS)
            port = self._gate_runner.addresses[0][1]
            outputs = Outputs(self._background, live)
            undo.callback(outputs.close)
            self._desk = Desk(
                self._client,
                self._background,
                outputs,
                gate,
                f"http://127.0.0.1:{port}{GATE_PATH}",
                self._client.events,
                self.history,
                lambda _blueprint, _version: {},
                _no_module,
                lambda _job_id: [],
            )
            self._undo = undo.pop_all()
        atexit.register(self.stop)

    _gate_runner: web.AppRunner | None = None

    def submit(self, blueprint: str, initial_data: Mapping[str, Any] | None = None) -> JobHandle:
        """Creates a job of a blueprint that has an endpoint.

        Args:
            blueprint: its name, or the endpoint with its leading ``/``.
            initial_data: what the job starts with.

        Raises:
            BlueprintError: there is no blueprint of that name, or it has no endpoint.
            DocumentError: the data is no JSON object.
        """
        return self.job(self._background.call(self._client.submit(blueprint, initial_data), CALL_SECONDS))

    def history(self, job: JobHandle | str) -> pd.DataFrame:
        """Returns the events of a job, oldest first, one row each.

        Those of many jobs are in the engine's history database: ``avtomatika.notebook.frames.HistoryReader`` reads it.
        """
        job_id = job.id if isinstance(job, JobHandle) else job
        return job_history_frame(self._background.call(self._client.history(job_id), CALL_SECONDS))

    def _graph(self, blueprint: str, version: str) -> Graph | None:
        try:
            graph = graph_from_dict(self._background.call(self._client.graph(blueprint, "json"), CALL_SECONDS))
        except AvtomatikaError:
            return None  # it is not registered any more
        del version  # the engine tells the latest one only; states that it lacks are not lit
        return graph

    def stop(self) -> None:
        """Freezes what is shown and closes the connections. Idempotent; the engine goes on."""
        self._background.check_caller()
        atexit.unregister(self.stop)
        self._undo.close()

    def _end(self) -> None:
        self._background.call(self._close(), _STOP_SECONDS)

    async def _close(self) -> None:
        await self._feed.stop()
        if self._gate_runner is not None:
            await self._gate_runner.cleanup()
        await self._background.cancel_others()
        await self._client.close()

    def __enter__(self) -> RemoteWorkbench:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"RemoteWorkbench({self.url if self.is_running else 'stopped'})"


async def _serve(gate: Gate) -> web.AppRunner:
    """Serves the gate on this machine: the engine may be where the browser cannot reach it."""
    app = web.Application()
    app.router.add_post(GATE_PATH, gate.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner


def _no_module(blueprint: str) -> str:
    raise BlueprintError(f"the handlers of '{blueprint}' are where its engine runs.")
