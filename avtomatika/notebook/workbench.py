"""The workbench: an engine with its server, started from a notebook cell."""

from __future__ import annotations

import asyncio
import atexit
import secrets
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from avtomatika.app_keys import HISTORIAN_KEY, REGISTRY_KEY
from avtomatika.blueprints import Graph, StateMachineBlueprint
from avtomatika.client import AsyncClient
from avtomatika.config import Config
from avtomatika.core.job import Client as Owner
from avtomatika.engine import OrchestratorEngine
from avtomatika.errors import AvtomatikaError, BlueprintError
from avtomatika.notebook.background import BackgroundLoop
from avtomatika.notebook.frames import HistoryReader, jobs_frame, workers_frame
from avtomatika.notebook.handles import JobHandle
from avtomatika.notebook.processes import WorkerProcess
from avtomatika.notebook.ring import LogRing
from avtomatika.worker import Worker

if TYPE_CHECKING:
    import pandas as pd

F = TypeVar("F", bound=Callable[..., Any])

_START_SECONDS = 20.0
_STOP_SECONDS = 15.0


class Workbench:
    """An engine and its HTTP server on 127.0.0.1, in a thread of this process, with tokens of its own.

    Running the cell that made a workbench again gives the same workbench, and says so; ``wb.stop()`` ends it. It also
    ends with the kernel, together with the worker processes that it started.

    Args:
        name: several workbenches can live side by side under different names.
        port: port to listen on; 0 for a free one.
        history: file for the history; None for a temporary one that ends with the workbench.
        settings: any setting of ``Config``, such as ``JOB_MAX_RETRIES=1``.

    Attributes:
        name: as given.
        engine: the engine; its loop is another thread's, so use the methods of the workbench.

    Raises:
        ConfigError: a setting is wrong, or the port is taken.
    """

    _live: dict[str, Workbench] = {}  # noqa: RUF012 - what "the same workbench" means is a fact of the process
    _lock = threading.Lock()
    name: str

    def __new__(cls, name: str = "workbench", **_options: Any) -> Workbench:
        """Returns the live workbench of that name, or a new one."""
        with cls._lock:
            known = cls._live.get(name)
            return known if known is not None and known.is_running else super().__new__(cls)

    def __init__(
        self, name: str = "workbench", *, port: int = 0, history: str | Path | None = None, **settings: Any
    ) -> None:
        if self._live.get(name) is self:
            ignored = " The settings given now are not applied; wb.stop() first." if settings or port or history else ""
            print(f"{name} runs already at {self.url}.{ignored}")
            return
        self.name = name
        self._folder = tempfile.TemporaryDirectory(prefix="avtomatika-")
        self._history_file = Path(history) if history is not None else Path(self._folder.name) / "history.db"
        self._token = secrets.token_urlsafe(24)
        self._worker_token = secrets.token_urlsafe(24)
        self._processes: list[WorkerProcess] = []
        self._tasks: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {}
        self._worker: Worker | None = None
        self._worker_number = 0
        self._worker_change = asyncio.Lock()
        config = Config(
            **{
                "API_HOST": "127.0.0.1",
                "API_PORT": port,
                "CLIENT_TOKEN": self._token,
                "GLOBAL_WORKER_TOKEN": self._worker_token,
                "HISTORY_DATABASE_URI": f"sqlite:{self._history_file}",
                **settings,
            }
        )
        self.engine = OrchestratorEngine(config=config)
        self._ring = LogRing()
        self._ring.attach()
        self._background = BackgroundLoop(f"avtomatika-{name}")
        try:
            self._background.call(self.engine.start(), _START_SECONDS)
            self._url = self.engine.url
            self._client = self._background.call(self._connect())
        except BaseException:
            self._background.stop()
            self._ring.detach()
            self._folder.cleanup()
            raise
        self._live[name] = self
        atexit.register(self.stop)

    async def _connect(self) -> AsyncClient:
        return AsyncClient(self._url, self._token)

    # --- life ---

    @property
    def is_running(self) -> bool:
        """Whether the server answers."""
        return self._background.is_running

    @property
    def url(self) -> str:
        """The server's address on this machine."""
        return self._url

    @property
    def token(self) -> str:
        """The client token, for scripts and ``curl`` (header ``X-Client-Token``)."""
        return self._token

    def stop(self) -> None:
        """Ends worker processes, workers and the server. Idempotent. Jobs in memory are gone afterwards."""
        atexit.unregister(self.stop)
        if self._live.get(self.name) is self:
            del self._live[self.name]
        for process in self._processes:
            process.stop()
        if self._background.is_running:
            self._background.call(self._close(), _STOP_SECONDS)
        self._background.stop()
        self._ring.detach()
        self._folder.cleanup()

    async def _close(self) -> None:
        if self._worker is not None:
            await self._worker.stop()
        await self._client.close()
        await self.engine.stop()

    def __enter__(self) -> Workbench:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def logs(self, last: int | None = 50) -> list[str]:
        """Returns the newest log lines of the engine, oldest first; all that are kept if ``last`` is None."""
        return self._ring.lines(last)

    # --- blueprints and jobs ---

    def register(self, *blueprints: StateMachineBlueprint) -> None:
        """Takes blueprints in. Running the cell again swaps in the new version; running jobs keep theirs.

        Raises:
            ValidationError: a graph has faults; all of them are listed.
        """
        for blueprint in blueprints:
            self.engine.register_blueprint(blueprint)

    def submit(
        self, blueprint: str | StateMachineBlueprint, initial_data: Mapping[str, Any] | None = None
    ) -> JobHandle:
        """Creates a job.

        Args:
            blueprint: the name of a registered blueprint, or the blueprint itself, which is then registered.
            initial_data: what the job starts with.

        Returns:
            A handle; as the last line of a cell it shows the job.

        Raises:
            BlueprintError: nothing of that name is registered.
            DocumentError: the data hold something that cannot be stored.
        """
        if not isinstance(blueprint, str):
            self.register(blueprint)
            blueprint = blueprint.name
        create = self.engine.create_background_job(
            blueprint, initial_data or {}, source="notebook", client=Owner().name
        )
        job_id = self._background.call(create, _START_SECONDS)
        return self.job(job_id)

    def job(self, job_id: str) -> JobHandle:
        """Returns the handle of a job.

        Raises:
            JobNotFoundError: there is none of that id.
        """
        view = self._background.call(self._client.job(job_id), _START_SECONDS)
        return JobHandle(view, self._graph(view["blueprint_name"]), self._client, self._background, self.history)

    def _graph(self, blueprint: str) -> Graph | None:
        try:
            return self.engine.app[REGISTRY_KEY].get(blueprint).graph
        except BlueprintError:
            return None

    # --- tables ---

    def jobs(
        self,
        status: str | None = None,
        blueprint: str | None = None,
        since: Any = None,
        limit: int = 1000,
    ) -> pd.DataFrame:
        """Returns jobs, newest first, one row each.

        Args:
            status: only of this status.
            blueprint: only of this blueprint.
            since: only created since; Unix seconds or a datetime.
            limit: at most so many.
        """
        rows = self._background.call(
            self._client.jobs(status=status, blueprint=blueprint, since=since, limit=limit), _START_SECONDS
        )
        return jobs_frame(rows)

    def workers(self) -> pd.DataFrame:
        """Returns the workers that were heard of lately, one row each."""
        return workers_frame(self._background.call(self._client.workers(), _START_SECONDS))

    def history(self, job: JobHandle | str | None = None, **filters: Any) -> pd.DataFrame:
        """Returns events of jobs, oldest first, one row each.

        Args:
            job: only of this job.
            filters: ``event_type``, ``state``, ``blueprint``, ``since``, ``until``, ``limit``.
        """
        self._background.call(self.engine.app[HISTORIAN_KEY].flush(), _START_SECONDS)
        job_id = job.id if isinstance(job, JobHandle) else job
        return HistoryReader(self._history_file).job_history(job_id=job_id, **filters)

    # --- workers ---

    def worker_env(self) -> dict[str, str]:
        """Returns the environment variables with which any worker joins from a shell."""
        return {"ORCHESTRATOR_URL": self._url, "WORKER_TOKEN": self._worker_token}

    def task(self, name: str | Callable[..., Any] | None = None, **options: Any) -> Any:
        """Makes a function of the notebook do the tasks of one type; used as a decorator.

        The function runs in this process, in a thread if it is not async. Running the cell again replaces it.

        Args:
            name: the type of the tasks; the function's name if left out.
            options: as for ``avtomatika.worker.Worker.task``: ``cost``, ``concurrency``, ``description``.

        Raises:
            ConfigError: the name or an option is wrong.
        """
        if callable(name):
            return self.task(None)(name)

        def decorate(function: F) -> F:
            # An unfit function shall be told in its own cell, not later in the background.
            Worker("check", url=self._url, token=self._worker_token).add_task(function, name, **options)
            self._tasks[name or function.__name__] = (function, options)
            self._background.call(self._renew_worker(), _START_SECONDS)
            return function

        return decorate

    async def _renew_worker(self) -> None:
        """Lets a worker with the present functions take over from the one before, which ends its tasks."""
        async with self._worker_change:
            self._worker_number += 1
            before, self._worker = self._worker, None
            worker = Worker(f"notebook-{self._worker_number}", url=self._url, token=self._worker_token)
            for name, (function, options) in self._tasks.items():
                worker.add_task(function, name, **options)
            await worker.start()
            await worker.wait_until_registered()
            self._worker = worker
            if before is not None:
                # Its polls end first: no task of an old function is begun once the cell has returned.
                await before.stop()

    def start_workers(
        self, target: str | Path, count: int = 1, *, env: Mapping[str, str] | None = None
    ) -> list[WorkerProcess]:
        """Starts worker processes, which talk HTTP to the server like workers anywhere.

        Args:
            target: ``module:worker``, or a file such as ``weather_worker.py`` that calls its worker ``worker``.
            count: how many.
            env: further environment variables.

        Returns:
            The processes, registered and ready. They end with this process.

        Raises:
            AvtomatikaError: one of them ended at once (its output is in the message), or did not register in time.
        """
        path = Path(target)
        is_file = path.suffix == ".py"
        if is_file and not path.is_file():
            raise AvtomatikaError(f"there is no file {path.resolve()}; write it first, for example with %%writefile.")
        name = f"{path.stem}:worker" if is_file else str(target)
        folder = path.resolve().parent if is_file else Path.cwd()
        stem = name.partition(":")[0].replace(".", "-")
        started = []
        for _ in range(count):
            worker_id = f"{stem}-{len(self._processes) + 1}"
            log_file = Path(self._folder.name) / f"{worker_id}.log"
            process = WorkerProcess(name, folder, worker_id, {**self.worker_env(), **(env or {})}, log_file)
            self._processes.append(process)
            started.append(process)
        self._wait_until_registered(started)
        return started

    def _wait_until_registered(self, processes: Sequence[WorkerProcess]) -> None:
        ends_at = time.monotonic() + _START_SECONDS
        missing = {process.worker_id for process in processes}
        while missing:
            for process in processes:
                process.check()
            known = self._background.call(self._client.workers(), _START_SECONDS)
            missing -= {worker["worker_id"] for worker in known}
            if missing and time.monotonic() > ends_at:
                raise AvtomatikaError(
                    f"workers {', '.join(sorted(missing))} did not register within {_START_SECONDS:g} s; "
                    f"their output:\n{''.join(process.log() for process in processes)}"
                )
            if missing:
                time.sleep(0.05)

    # --- how it looks ---

    def __repr__(self) -> str:
        return f"Workbench({self.name!r}, {self._url if self.is_running else 'stopped'})"

    def _repr_mimebundle_(
        self, include: Collection[str] | None = None, exclude: Collection[str] | None = None
    ) -> dict[str, str]:
        del include, exclude  # the front end chooses among what is there
        names = ", ".join(f"<code>{blueprint.name}</code>" for blueprint in self.engine.app[REGISTRY_KEY]) or "none yet"
        state = f"serves at <code>{self._url}</code>" if self.is_running else "is stopped"
        alive = sum(process.is_alive for process in self._processes)
        page = (
            f"<div><b>avtomatika workbench</b> {state}<br>blueprints: {names}<br>"
            f"worker processes: {alive}, tasks of this notebook: {len(self._tasks)}</div>"
        )
        return {"text/plain": repr(self), "text/html": page}
