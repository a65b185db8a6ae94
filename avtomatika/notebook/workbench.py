"""The workbench: an engine with its server, started from a notebook cell."""

from __future__ import annotations

import atexit
import contextlib
import html
import secrets
import tempfile
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from avtomatika.app_keys import HISTORIAN_KEY, JOBS_KEY, REGISTRY_KEY
from avtomatika.blueprints import Graph, StateMachineBlueprint
from avtomatika.client import TERMINAL_STATUSES, AsyncClient
from avtomatika.config import Config
from avtomatika.core.job import Client as Owner
from avtomatika.engine import OrchestratorEngine
from avtomatika.errors import BlueprintError, ConfigError, DocumentError
from avtomatika.notebook.answers import Sources
from avtomatika.notebook.background import BackgroundLoop
from avtomatika.notebook.bench import CALL_SECONDS, Bench
from avtomatika.notebook.cell_worker import CellWorker
from avtomatika.notebook.charts import Chart
from avtomatika.notebook.desk import Desk
from avtomatika.notebook.feed import Feed
from avtomatika.notebook.frames import HistoryReader
from avtomatika.notebook.gate import GATE_PATH, Gate
from avtomatika.notebook.handles import JobHandle
from avtomatika.notebook.history_views import HistoryViews
from avtomatika.notebook.live import Outputs
from avtomatika.notebook.processes import WorkerProcess, WorkerProcesses
from avtomatika.notebook.remote import RemoteWorkbench
from avtomatika.notebook.ring import LogRing
from avtomatika.notebook.sources import sources_of

if TYPE_CHECKING:
    import pandas as pd

F = TypeVar("F", bound=Callable[..., Any])

_STOP_SECONDS = 15.0
# Every change is told at once; this is for a report of progress that came between two looks.
_CHANGE_SECONDS = 60.0
_LOG_LINES = 100


class Workbench(Bench):
    """An engine and its HTTP server on 127.0.0.1, in a thread of this process, with tokens of its own.

    Running the cell that made a workbench again gives the same workbench, and says so; ``wb.stop()`` ends it. It also
    ends with the kernel, together with the worker processes that it started.

    Args:
        name: several workbenches can live side by side under different names.
        port: port to listen on; 0 for a free one.
        path: file for the jobs; a workbench that is started on it again finds them and goes on, once their blueprints
            are registered. None keeps jobs in memory: they end with the workbench.
        history: file for the history; None for one beside ``path``, or a temporary one that ends with the workbench.
        live: whether jobs and tables are shown live; None for live where a person's front end shows widgets, and static
            elsewhere, as under papermill.
        settings: any setting of ``Config``, such as ``JOB_MAX_RETRIES=1``.

    Attributes:
        name: as given.
        engine: the engine; its loop is another thread's, so use the methods of the workbench.

    Raises:
        ConfigError: a setting is wrong, or the port is taken.
    """

    _live: dict[str, Workbench] = {}  # noqa: RUF012 - what "the same workbench" means is a fact of the process
    name: str
    _given: dict[str, Any]

    def __new__(cls, name: str = "workbench", **_options: Any) -> Workbench:
        """Returns the live workbench of that name, or a new one."""
        known = cls._live.get(name)
        return known if known is not None and known.is_running else super().__new__(cls)

    def __init__(
        self,
        name: str = "workbench",
        *,
        path: str | Path | None = None,
        port: int = 0,
        history: str | Path | None = None,
        live: bool | None = None,
        **settings: Any,
    ) -> None:
        given = {"path": path, "port": port, "history": history, "live": live, **settings}
        if self._live.get(name) is self:
            ignored = "" if given == self._given else " The settings given now are not applied; wb.stop() first."
            print(f"{name} runs already at {self.url}.{ignored}")
            return
        self.name = name
        self._given = given
        self._blueprints: dict[str, StateMachineBlueprint] = {}
        self._ring = LogRing()
        with contextlib.ExitStack() as undo:
            self._folder = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="avtomatika-")))
            self._config = self._configure(path, port, history, settings)
            self.engine = OrchestratorEngine(config=self._config)
            gate = Gate()
            self.engine.app.router.add_post(GATE_PATH, gate.handle)
            self._ring.attach()
            undo.callback(self._ring.detach)
            self._background = BackgroundLoop(f"avtomatika-{name}")
            undo.callback(self._background.stop)
            self._background.call(self.engine.start(), CALL_SECONDS)
            undo.callback(self._end, self.engine.stop)
            self._url = self.engine.url
            self._client = AsyncClient(self._url, self._config.CLIENT_TOKEN, prefix=self._config.CLIENT_API_PREFIX)
            self._cell_worker = CellWorker(self._url, self._config.GLOBAL_WORKER_TOKEN)
            self._processes = WorkerProcesses(self._folder, self._worker_ids)
            self._feed = Feed(self._client, self._background)
            undo.callback(self._end, self._close)
            undo.callback(self._processes.stop)
            outputs = Outputs(self._background, live)
            undo.callback(outputs.close)
            self._desk = Desk(
                self._client,
                self._background,
                outputs,
                gate,
                f"{self._url}{GATE_PATH}",
                self._changes,
                self.history,
                self._sources,
                self._module,
                lambda job_id: self._ring.lines(_LOG_LINES, about=job_id),
            )
            self._undo = undo.pop_all()
        self._live[name] = self
        atexit.register(self.stop)

    def _configure(
        self, path: str | Path | None, port: int, history: str | Path | None, settings: Mapping[str, Any]
    ) -> Config:
        # Absolute, as a cell may change the working directory.
        jobs = None if path is None else Path(path).absolute()
        if history is not None:
            history_file = Path(history).absolute()
        else:
            history_file = self._folder / "history.db" if jobs is None else jobs.with_name(f"{jobs.name}.history")
        config = Config(
            **{
                "API_HOST": "127.0.0.1",
                "API_PORT": port,
                "ENABLE_CLIENT_API": True,
                "CLIENT_TOKEN": secrets.token_urlsafe(24),
                "GLOBAL_WORKER_TOKEN": secrets.token_urlsafe(24),
                "HISTORY_DATABASE_URI": f"sqlite:{history_file}",
                **({} if jobs is None else {"STORAGE_URI": f"sqlite:{jobs}"}),
                **settings,
            }
        )
        if not config.ENABLE_CLIENT_API:
            raise ConfigError("a workbench talks to its engine through the client API; leave ENABLE_CLIENT_API true.")
        return config

    @classmethod
    def running(cls) -> list[Workbench]:
        """Returns the workbenches of this process that run, the newest last."""
        return [bench for bench in cls._live.values() if bench.is_running]

    @staticmethod
    def connect(url: str, token: str, *, prefix: str = "api", live: bool | None = None) -> RemoteWorkbench:
        """Returns the same views over a running engine.

        Args:
            url: its address, such as ``https://jobs.example.org``.
            token: the client token; its jobs are what can be seen.
            prefix: the engine's ``CLIENT_API_PREFIX``.
            live: as for a workbench of one's own.

        Raises:
            ConfigError: the address or the token cannot be used.
            AuthError: the engine does not know the token.
            ConnectionFailedError: no engine answered.
        """
        return RemoteWorkbench(url, token, prefix=prefix, live=live)

    # --- life ---

    @property
    def url(self) -> str:
        """The server's address on this machine."""
        return self._url

    @property
    def token(self) -> str:
        """The client token, for scripts and ``curl`` (header ``X-Client-Token``)."""
        return self._config.CLIENT_TOKEN

    def stop(self) -> None:
        """Ends worker processes, workers and the server. Idempotent. Jobs in memory are gone afterwards.

        Raises:
            AvtomatikaError: it is called by an async function that the workbench itself runs.
            TimeoutError: something did not end in time; the rest is stopped all the same.
        """
        self._background.check_caller()
        atexit.unregister(self.stop)
        if self._live.get(self.name) is self:
            del self._live[self.name]
        self._undo.close()

    def _end(self, close: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._background.call(close(), _STOP_SECONDS)

    async def _close(self) -> None:
        await self._cell_worker.stop()
        await self._feed.stop()
        await self.engine.stop()
        # Handles that still follow their jobs would open new connections once these are closed.
        await self._background.cancel_others()
        await self._client.close()

    def __enter__(self) -> Workbench:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def logs(self, last: int | None = 50) -> list[str]:
        """Returns the newest log lines of the engines in this process, oldest first.

        Args:
            last: how many; None for all that are kept.
        """
        return self._ring.lines(last)

    # --- blueprints and jobs ---

    def register(self, *blueprints: StateMachineBlueprint) -> None:
        """Takes blueprints in. Running the cell again swaps in the new version; running jobs keep theirs.

        Args:
            blueprints: complete ones; a handler that a later cell defines anew counts from the next ``submit`` on.

        Raises:
            ValidationError: a graph has faults; all of them are listed.
            BlueprintError: something else than a blueprint was given.
        """
        for blueprint in blueprints:
            if not isinstance(blueprint, StateMachineBlueprint):
                raise BlueprintError(f"wb.register takes blueprints; got a {type(blueprint).__name__}.")
            self.engine.register_blueprint(blueprint)
            self._blueprints[blueprint.name] = blueprint

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
            ValidationError: a cell run since then has left its graph with faults.
            DocumentError: the data hold something that cannot be stored.
        """
        if initial_data is not None and not isinstance(initial_data, Mapping):
            raise DocumentError("initial_data", f"it is a {type(initial_data).__name__}, and a job starts with a dict")
        # Registered anew: a cell with one of its handlers may have been run again.
        known = self._blueprints.get(blueprint) if isinstance(blueprint, str) else blueprint
        if known is not None:
            self.register(known)
        name = known.name if known is not None else str(blueprint)
        create = self.engine.create_background_job(name, initial_data or {}, source="notebook", client=Owner().name)
        return self.job(self._background.call(create, CALL_SECONDS))

    def _graph(self, blueprint: str, version: str) -> Graph | None:
        graph: Graph = self.engine.app[REGISTRY_KEY].graph_of(blueprint, version)
        return graph if graph.states else None

    def _sources(self, blueprint: str, version: str) -> Sources:
        registry = self.engine.app[REGISTRY_KEY]
        found = registry.find_version(blueprint, version) or registry.find(blueprint)
        return sources_of(found) if found is not None else {}

    def _module(self, blueprint: str) -> str:
        known = self._blueprints.get(blueprint)
        if known is None:
            raise BlueprintError(f"blueprint '{blueprint}' was not registered with wb.register.")
        return known.module_text()

    async def _changes(self, job_id: str) -> AsyncIterator[dict[str, Any]]:
        """Yields the job now and after each change, until it has ended.

        The client's own ``events`` would hold a connection for each job, and a hundred waiting jobs all there are.
        """
        while True:
            job = await self._client.job(job_id)
            yield job
            if job["status"] in TERMINAL_STATUSES:
                return
            await self.engine.app[JOBS_KEY].wait(job_id, job["version"], _CHANGE_SECONDS)

    # --- tables ---

    def history(self, job: JobHandle | str | None = None, **filters: Any) -> pd.DataFrame:
        """Returns events of jobs, oldest first, one row each.

        Args:
            job: only of this job.
            filters: ``event_type``, ``state``, ``blueprint``, ``since``, ``until``, ``limit``.
        """
        self._flush()
        job_id = job.id if isinstance(job, JobHandle) else job
        return HistoryReader(self._config.HISTORY_DATABASE_URI).job_history(job_id=job_id, **filters)

    def tasks(self, job: JobHandle | str | None = None, **filters: Any) -> pd.DataFrame:
        """Returns the attempts of tasks, in order of their dispatch, one row each.

        Args:
            job: only of this job.
            filters: ``blueprint``, ``since``, ``until``.
        """
        return self._history_views().tasks(job_id=job.id if isinstance(job, JobHandle) else job, **filters)

    def durations(self, by: str = "state", **filters: Any) -> Chart:
        """Returns how long things took, as a table with its picture.

        Args:
            by: ``state``, ``task``, ``worker`` or ``blueprint``.
            filters: ``job_id``, ``blueprint``, ``since``, ``until``.
        """
        return self._history_views().durations(by, **filters)

    def success_rate(self, every: str | float = "hour", **filters: Any) -> Chart:
        """Returns which share of the jobs that ended did finish, over time.

        Args:
            every: ``minute``, ``hour``, ``day``, or seconds.
            filters: ``blueprint``, ``since``, ``until``.
        """
        return self._history_views().success_rate(every, **filters)

    def conformance(self, blueprint: str | StateMachineBlueprint, **filters: Any) -> Chart:
        """Returns how the transitions that happened lie over the declared graph.

        Args:
            blueprint: a registered one, or its name.
            filters: ``since``, ``until``.

        Raises:
            BlueprintError: nothing of that name is registered.
        """
        name = blueprint if isinstance(blueprint, str) else blueprint.name
        return self._history_views().conformance(self.engine.app[REGISTRY_KEY].get(name).graph, **filters)

    def _history_views(self) -> HistoryViews:
        self._flush()
        return HistoryViews(self._config.HISTORY_DATABASE_URI)

    def _flush(self) -> None:
        """Lets the history hear of everything that was committed."""
        self._background.call(self.engine.app[HISTORIAN_KEY].flush(), CALL_SECONDS)

    # --- workers ---

    def worker_env(self) -> dict[str, str]:
        """Returns the environment variables with which any worker joins from a shell."""
        return {"ORCHESTRATOR_URL": self._url, "WORKER_TOKEN": self._config.GLOBAL_WORKER_TOKEN}

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
            task_name = self._cell_worker.check(function, name, options)
            self._background.call(self._cell_worker.take(task_name, function, options), CALL_SECONDS)
            return function

        return decorate

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
        return self._processes.start(target, count, {**self.worker_env(), **(env or {})})

    def _worker_ids(self) -> set[str]:
        known = self._background.call(self._client.workers(), CALL_SECONDS)
        return {worker["worker_id"] for worker in known}

    # --- how it looks ---

    def __repr__(self) -> str:
        return f"Workbench({self.name!r}, {self._url if self.is_running else 'stopped'})"

    def _repr_mimebundle_(
        self, include: Collection[str] | None = None, exclude: Collection[str] | None = None
    ) -> dict[str, str]:
        del include, exclude  # the front end chooses among what is there
        registered = (f"<code>{html.escape(blueprint.name)}</code>" for blueprint in self.engine.app[REGISTRY_KEY])
        names = ", ".join(registered) or "none yet"
        state = f"serves at <code>{html.escape(self._url)}</code>" if self.is_running else "is stopped"
        page = (
            f"<div><b>avtomatika workbench</b> {state}<br>blueprints: {names}<br>"
            f"worker processes: {self._processes.alive}, tasks of this notebook: {len(self._cell_worker)}</div>"
        )
        return {"text/plain": repr(self), "text/html": page}
