"""The worker: put together from its parts, started, and stopped in good order."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import inspect
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, overload

from msgspec import structs

from avtomatika import loops
from avtomatika.clock import Clock, SystemClock
from avtomatika.errors import ConfigError
from avtomatika.log_context import log_context
from avtomatika.payloads.base import PayloadStore
from avtomatika.protocol.codec import dumps
from avtomatika.protocol.messages import Result, WorkerProfile
from avtomatika.protocol.registration import encode_register
from avtomatika.worker import machine
from avtomatika.worker.event_types import read_event_types
from avtomatika.worker.files import fingerprint, read_desk
from avtomatika.worker.functions import TaskFunction, task_function
from avtomatika.worker.health import HealthServer
from avtomatika.worker.meter import SILENT
from avtomatika.worker.parent import watch_parent
from avtomatika.worker.retries import Retry
from avtomatika.worker.runner import Calls, Middleware
from avtomatika.worker.session import Session
from avtomatika.worker.settings import Settings, random_worker_id, read_settings
from avtomatika.worker.skill_files import DEFAULT_FOLDER, load_skills
from avtomatika.worker.tracing import Tracing

if TYPE_CHECKING:
    from avtomatika.worker.metrics import PrometheusMeter

logger = logging.getLogger("avtomatika.worker")
F = TypeVar("F", bound=Callable[..., Any])
M = TypeVar("M", bound=Middleware)


class Worker:
    """Does tasks for an engine with the functions that are given to it.

    Every argument is optional; what is missing is taken from the environment variable in brackets, then from a default.

    Args:
        worker_id: its identity (``WORKER_ID``, else random).
        url: address of the engine (``ORCHESTRATOR_URL``, else ``http://localhost:8080``).
        token: proves who this is (``WORKER_INDIVIDUAL_TOKEN``, ``WORKER_TOKEN``).
        concurrency: how many tasks run at once (``MAX_CONCURRENT_TASKS``, else 10).
        resources: ``cpu_cores``, ``ram_gb``, ``devices`` and more, laid over what the machine tells.
        software: name to version, added to what is told anyway.
        artifacts: names of installed models to their versions.
        files: a store of files, such as ``LocalPayloads`` of the engine's directory; else the bucket that
            ``S3_ENDPOINT_URL`` names, if it is set.
        events: as of ``task``, for all of its tasks.
        clock: the machine's unless a test moves its own.
        tracer_provider: of OpenTelemetry; None for the program's own, or the collector that
            ``OTEL_EXPORTER_OTLP_ENDPOINT`` names.
        settings: any other field of ``Settings``, such as ``heartbeat_interval``, ``poll_timeout``,
            ``shutdown_timeout``, ``exit_on_refused``, ``stop_when_stdin_closes``.

    Raises:
        ConfigError: a value is wrong; the message names the argument or variable.
    """

    def __init__(
        self,
        worker_id: str | None = None,
        *,
        url: str | None = None,
        token: str | None = None,
        concurrency: int | None = None,
        resources: Mapping[str, Any] | None = None,
        software: Mapping[str, str] | None = None,
        artifacts: Mapping[str, str] | None = None,
        files: PayloadStore | None = None,
        events: Mapping[str, Any] | Iterable[str] | None = None,
        clock: Clock | None = None,
        tracer_provider: Any = None,
        **settings: Any,
    ) -> None:
        self._fallback_id = random_worker_id()
        self._resources = dict(resources or {})
        self._software = dict(software or {})
        self._artifacts = dict(artifacts or {})
        self._files = files
        self._events = read_event_types(events, "the worker")
        self._clock = clock or SystemClock()
        self._tracer_provider = tracer_provider
        self._functions: dict[str, TaskFunction] = {}
        self._middlewares: list[Middleware] = []
        self._skill_folders: set[Path] = set()
        self._is_program = False
        self._hot: frozenset[str] = frozenset()
        self._heating = threading.Lock()
        self._given: dict[str, Any] = {}
        self._session: Session | None = None
        self._health: HealthServer | None = None
        self.configure(worker_id=worker_id, url=url, token=token, concurrency=concurrency, **settings)

    settings: Settings
    """What the worker will start with."""

    def configure(self, **settings: Any) -> None:
        """Changes settings before the worker starts; None leaves one as it is.

        Raises:
            ConfigError: a name or value is wrong, or the worker runs.
        """
        if self._session is not None:
            raise ConfigError("the worker runs; stop it before you change its settings.")
        unknown = sorted(settings.keys() - set(Settings.__dataclass_fields__))
        if unknown:
            raise ConfigError(
                f"a worker has no setting '{unknown[0]}'; there is: {', '.join(Settings.__dataclass_fields__)}."
            )
        given = self._given | {name: value for name, value in settings.items() if value is not None}
        self.settings = read_settings(given, os.environ, self._fallback_id)
        self._given = given

    @overload
    def task(self, name: F, /) -> F: ...
    @overload
    def task(
        self,
        name: str | None = None,
        /,
        *,
        cost: float | None = None,
        concurrency: int | None = None,
        description: str | None = None,
        retry: Retry | None = None,
        process: bool = False,
        download: bool = True,
        events: Mapping[str, Any] | Iterable[str] | None = None,
    ) -> Callable[[F], F]: ...
    def task(
        self,
        name: str | F | None = None,
        /,
        *,
        cost: float | None = None,
        concurrency: int | None = None,
        description: str | None = None,
        retry: Retry | None = None,
        process: bool = False,
        download: bool = True,
        events: Mapping[str, Any] | Iterable[str] | None = None,
    ) -> Any:
        """Makes a function do the tasks of one type; used as a decorator, with or without arguments.

        The function is async, or plain and then runs in a thread. Its argument ``params`` is the whole dict,
        ``context`` a ``Context``, ``task_files`` the files of the job; every other argument is the param of its name.
        Annotations are kept: values become what they say, a value that does not fit is the failure
        ``INVALID_INPUT_ERROR``, and the engine is told them as JSON Schemas.

        What it returns is the data of a success, except for a ``Success``, and a dict that has ``status`` and nothing
        besides ``status``, ``data`` and ``error``, which is the result itself. What it raises is a failure: a
        ``TaskError`` with its code, anything else as ``TRANSIENT_ERROR``.

        Args:
            name: the type of the tasks; the function's name if left out.
            cost: what one task costs here, for strategies that choose the cheapest worker.
            concurrency: how many tasks of this type run at once; no limit of its own if left out.
            description: for people; the first line of the docstring if left out.
            retry: when the function is called again at once, before the engine hears of a failure.
            process: a plain function runs in a process of its own, for work that keeps a processor busy.
            events: the words of the events that ``context.event`` may tell, or a dict of words and the types of their
                payloads.
            download: copies on this machine take the place of stored files that the params name.

        Raises:
            ConfigError: the type is taken, an option is wrong, or an annotation is nothing that JSON can become.
        """

        def decorate(function: F) -> F:
            self.add_task(
                function,
                name if isinstance(name, str) else None,
                cost=cost,
                concurrency=concurrency,
                description=description,
                retry=retry,
                process=process,
                download=download,
                events=events,
            )
            return function

        return decorate(name) if callable(name) else decorate

    def add_task(self, function: Callable[..., Any], name: str | None = None, **options: Any) -> None:
        """Does what the decorator ``task`` does, for a function that exists already.

        Args:
            function: sync or async.
            name: the type of the task; the function's name if left out.
            options: as of ``task``.

        Raises:
            ConfigError: the type is taken, or an option is wrong.
        """
        made = task_function(function, name, **options)
        if made.name in self._functions:
            raise ConfigError(f"task '{made.name}' is defined twice in this worker. Rename one of them.")
        self._functions[made.name] = replace(made, events=self._events | dict(made.events))

    def load_skills(self, folder: str | os.PathLike[str]) -> tuple[str, ...]:
        """Adds the tasks that are marked in the ``*.py`` files of a folder; a second time it adds nothing.

        Args:
            folder: whose files are imported in the order of their names; those that begin with ``_`` are left out.

        Returns:
            The types of the tasks that were added.

        Raises:
            ConfigError: there is no such folder, a file cannot be imported, or a type is taken.
        """
        place = Path(folder).absolute()
        if place in self._skill_folders:
            return ()
        added = []
        for function, marked, file in load_skills(place):
            try:
                self.add_task(function, marked.name, **marked.options)
            except (ConfigError, TypeError) as error:  # the latter for an option that there is not
                raise ConfigError(f"{file}: {error}") from error
            added.append(marked.name or function.__name__)
        self._skill_folders.add(place)
        logger.info("tasks of %s: %s", place, ", ".join(added) or "none")
        return tuple(added)

    def middleware(self, middleware: M) -> M:
        """Puts a function around every task; used as a decorator. The first one is the outermost.

        It is an ``async def`` with two arguments, the ``Context`` and ``proceed``: ``await proceed()`` calls what is
        inside and returns what that returned. A middleware may return something else, raise, or change
        ``context.params`` before; params are checked afterwards.

        Raises:
            ConfigError: it is no coroutine function.
        """
        is_async = inspect.iscoroutinefunction(middleware)
        if not is_async:
            raise ConfigError(
                f"the middleware {middleware!r} must be an 'async def' with arguments (context, proceed)."
            )
        self._middlewares.append(middleware)
        return middleware

    @property
    def hot(self) -> frozenset[str]:
        """Names of what is loaded here, such as the model of a skill."""
        return self._hot

    def mark_hot(self, *names: str) -> None:
        """Tells the engines that something is loaded: tasks of a skill go first to workers that have it hot.

        Args:
            names: of skills, or of what several skills share. May be called from any thread, also by a task's function.
        """
        self._heat(lambda hot: hot.union(names))

    def mark_cold(self, *names: str) -> None:
        """Tells the engines that something is loaded no more.

        Args:
            names: what ``mark_hot`` was told.
        """
        self._heat(lambda hot: hot.difference(names))

    def _heat(self, change: Callable[[frozenset[str]], frozenset[str]]) -> None:
        with self._heating:
            self._hot = change(self._hot)
            session = self._session
            if session is not None:
                with contextlib.suppress(RuntimeError):  # the loop is closed: a thread outlived its worker
                    session.set_hot(self._hot)

    def calls(self) -> Calls:
        """Returns what makes the calls of this worker's functions.

        Raises:
            ConfigError: a variable about files is wrong, or a package is missing that they need.
        """
        desk = read_desk(os.environ, self._files)
        strict = self.settings.strict_events
        return Calls(dict(self._functions), tuple(self._middlewares), desk, strict_events=strict)

    @property
    def task_names(self) -> tuple[str, ...]:
        """The types of tasks that this worker can do."""
        return tuple(self._functions)

    def profile(self) -> WorkerProfile:
        """Returns what the engine is told of this worker.

        Raises:
            ConfigError: an environment variable that describes the machine is wrong.
        """
        environment = os.environ
        skills = tuple(function.skill for function in self._functions.values())
        store = "" if self._files is not None else fingerprint(environment)
        costs = {name: f.cost for name, f in self._functions.items() if f.cost is not None}
        profile = WorkerProfile(
            worker_id=self.settings.worker_id,
            type=self.settings.worker_type,
            skills=skills,
            available=frozenset(self._functions),
            max_tasks=self.settings.concurrency,
            costs=machine.costs(environment) | costs,
            resources=machine.resources(environment) | self._resources,
            software=machine.software(environment) | self._software,
            artifacts=machine.artifacts(environment) | self._artifacts,
            hostname=machine.hostname(),
            extra=machine.capabilities(environment)
            | ({"s3_config_hash": store} if store else {})
            | ({"websockets": True} if self.settings.websockets else {}),
        )
        said = dumps(encode_register(profile, 0.0))
        return structs.replace(profile, skills_hash=hashlib.sha256(said.encode()).hexdigest()[:16])

    @property
    def health_port(self) -> int | None:
        """Where a running worker answers probes, or None."""
        return None if self._health is None else self._health.port

    async def start(self) -> None:
        """Begins to work in the running event loop and returns at once; registering goes on by itself.

        Raises:
            ConfigError: the worker runs already, has no tasks, a variable or certificate cannot be read, a package
                is missing that a setting needs, or the port for probes is taken.
        """
        if self._session is not None:
            raise ConfigError("the worker runs already.")
        self._load_own_skills()
        if not self._functions:
            raise ConfigError(
                "the worker has no tasks. Define some with @worker.task, or in files of a folder (WORKER_SKILLS_DIR)."
            )
        with log_context(worker_id=self.settings.worker_id):
            meter = _prometheus() if self.settings.metrics else None
            tracing = Tracing(self.settings.worker_id, os.environ, self._tracer_provider)
            self._session = session = Session(
                self.settings,
                self.calls(),
                self.profile(),
                self._clock,
                tracing,
                self.settles,
                self._hot,
                meter or SILENT,
            )
            if meter is not None:
                meter.watch(self.settings.concurrency, lambda: session.unsent, session.registered)
            if self.settings.health_port is not None:
                health = HealthServer(self.settings.health_port, session.state, None if meter is None else meter.write)
                try:
                    await health.start()
                except ConfigError:
                    self.request_stop(drain=False)
                    await self.stop()
                    raise
                self._health = health

    def _load_own_skills(self) -> None:
        folder = self.settings.skills_dir
        # Only a program of its own takes what happens to be called so: in any other, nobody expects it.
        if folder is None and self._is_program and Path(DEFAULT_FOLDER).is_dir():
            folder = DEFAULT_FOLDER
        if folder:
            self.load_skills(folder)

    async def settles(self, result: Result) -> bool:
        """Takes a result that reaches the engine another way than by this worker; for subclasses.

        Args:
            result: of a task of this worker.

        Returns:
            Whether it is one; then only once the engine has it.
        """
        del result
        return False

    async def wait_until_registered(self) -> None:
        """Returns when the engine knows this worker.

        Raises:
            AuthError: the engine refuses the token.
        """
        if self._session is None:
            raise ConfigError("the worker is not started.")
        await self._session.wait_until_registered()

    async def wait(self) -> None:
        """Returns when the worker was asked to stop.

        Raises:
            AuthError: the engine refuses the token, and ``exit_on_refused`` is set.
        """
        if self._session is not None:
            await self._session.wait()

    def request_stop(self, *, drain: bool = True) -> None:
        """Lets ``wait`` return and the worker stop. Call it in the event loop.

        Args:
            drain: let running tasks finish first, up to ``shutdown_timeout``.
        """
        if self._session is not None:
            self._session.request_stop(drain=drain)

    async def stop(self) -> None:
        """Says goodbye, lets running tasks finish, delivers their results, and closes everything. Idempotent."""
        session, self._session = self._session, None
        if session is not None:
            await session.stop()
        health, self._health = self._health, None
        if health is not None:
            await health.stop()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def run(self) -> None:
        """Works until a signal (SIGTERM or SIGINT) ends it; a second signal ends it without waiting for tasks.

        Raises:
            AuthError: the engine refuses the token, and ``exit_on_refused`` is set.
            ConfigError: as ``start``; or an event loop runs here already.
        """
        with contextlib.suppress(RuntimeError):
            asyncio.get_running_loop()
            raise ConfigError("an event loop runs here already, as in a notebook: use 'await worker.start()'.")
        self._is_program = True
        loops.run(self._run())

    async def _run(self) -> None:
        await self.start()
        with _signals(self.request_stop):
            if self.settings.stop_when_stdin_closes:
                watch_parent(lambda: self.request_stop(drain=False))
            try:
                await self.wait()
            finally:
                await self.stop()
                logger.info("worker '%s' has stopped", self.settings.worker_id)


def _prometheus() -> PrometheusMeter:
    try:
        from avtomatika.worker.metrics import PrometheusMeter  # noqa: PLC0415 - imported where it is chosen
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"WORKER_ENABLE_METRICS is set, but a package is not installed here ({error.name}). Run "
            "pip install 'avtomatika[telemetry]', or unset it."
        ) from error
    return PrometheusMeter()


@contextlib.contextmanager
def _signals(on_signal: Callable[[], None]) -> Iterator[None]:
    """Calls ``on_signal`` in the running event loop for SIGTERM and SIGINT, where the system allows it."""
    loop = asyncio.get_running_loop()
    added = []
    for number in (signal.SIGTERM, signal.SIGINT):
        # Not on Windows, and not outside the main thread: there Ctrl-C ends the loop by itself.
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
            loop.add_signal_handler(number, on_signal)
            added.append(number)
    try:
        yield
    finally:
        for number in added:
            loop.remove_signal_handler(number)
