"""A trial: clients create jobs while processes are killed, and afterwards everything is counted."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import sqlite3
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from avtomatika.backends import make_storage
from avtomatika.client import AsyncClient
from avtomatika.clock import SystemClock
from avtomatika.config import DEFAULT_CLIENT_TOKEN, Config
from avtomatika.core.job import Job
from avtomatika.errors import AvtomatikaError, JobNotFoundError
from avtomatika.runtime.depot import SPACE as DEPOT_SPACE
from avtomatika.storage.base import Storage

from .jobs import BLUEPRINTS, expected, initial_data
from .processes import Processes

_CLIENTS = 40
# The longest time that a job may take once nobody is killed any more: a lease of 10 s, and a backlog.
_PATIENCE = 120.0
RESUMES_WITHIN = 15.0
"""Seconds from a death until a job ends again, at most."""


@dataclass
class Report:
    """What came of a trial.

    Args:
        faults: what was broken; empty if all is well.
        jobs: how many were acknowledged.
        deaths: how often which kind of process died of what.
        resumed: seconds from each death until the next end of a job.
        longest: seconds that the slowest job took, from the first try to create it.
        seconds: how long the trial took.
        logs: what the processes printed last.
    """

    faults: list[str] = field(default_factory=list)
    jobs: int = 0
    deaths: Counter[str] = field(default_factory=Counter)
    resumed: list[float] = field(default_factory=list)
    longest: float = 0.0
    seconds: float = 0.0
    logs: str = ""

    @property
    def kills(self) -> int:
        """How many processes died."""
        return self.deaths.total()

    def __str__(self) -> str:
        """Returns the numbers, and what is wrong."""
        waits = sorted(self.resumed)
        deaths = ", ".join(f"{count} {kind}" for kind, count in sorted(self.deaths.items()))
        lines = [
            f"{self.jobs} jobs acknowledged, {self.kills} processes died in {self.seconds:.0f} s ({deaths})",
            f"work resumed after {waits[len(waits) // 2]:.1f} s in the median, {waits[-1]:.1f} s at most; "
            f"the slowest job took {self.longest:.1f} s"
            if waits
            else "nobody died",
            f"{len(self.faults)} faults",
            *self.faults[:20],
        ]
        return "\n".join(lines if not self.faults else [*lines, self.logs])


class Trial:
    """One trial.

    Args:
        storage: ``sqlite`` or ``redis``.
        folder: where files go.
        jobs: create at least so many.
        kills: see at least so many processes die.
        seconds: go on at least so long.
        seed: decides who is killed when.
    """

    def __init__(
        self, storage: str, folder: Path, *, jobs: int, kills: int, seconds: float = 0.0, seed: int = 0
    ) -> None:
        self._draw = random.Random(seed)
        self._processes = Processes(storage, folder, self._draw)
        self._is_shared = storage == "redis"
        self._jobs, self._kills, self._seconds = jobs, kills, seconds
        self._numbers = itertools.count()
        self._acknowledged: dict[str, tuple[str, int]] = {}
        self._ends: list[float] = []
        self._longest = 0.0
        self._faults: list[str] = []
        self._began = time.monotonic()
        self._enough = asyncio.Event()

    async def run(self) -> Report:
        """Runs the trial to its end."""
        self._processes.start()
        guard = asyncio.create_task(self._processes.guard())
        try:
            killer = asyncio.create_task(self._kill_forever())
            clients = [asyncio.create_task(self._create_forever()) for _ in range(_CLIENTS)]
            await self._finish(clients, killer)
            guard.cancel()
            await asyncio.gather(guard, killer, return_exceptions=True)
            await self._check()
        finally:
            guard.cancel()
            self._processes.end()
        return self._report()

    # --- while it runs ---

    def _is_enough(self) -> bool:
        passed = time.monotonic() - self._began
        deaths = len(self._processes.deaths)
        return len(self._acknowledged) >= self._jobs and deaths >= self._kills and passed >= self._seconds

    async def _kill_forever(self) -> None:
        while not self._is_enough():
            await asyncio.sleep(self._draw.uniform(1.5, 4.0))
            self._processes.kill_some()
        self._enough.set()

    async def _create_forever(self) -> None:
        """Creates one job after the other, and sees each of them end."""
        async with contextlib.AsyncExitStack() as stack:
            clients = [
                await stack.enter_async_context(AsyncClient(url, DEFAULT_CLIENT_TOKEN, timeout=15.0))
                for url in self._processes.urls
            ]
            while not self._enough.is_set():
                number = next(self._numbers)
                blueprint = BLUEPRINTS[number % len(BLUEPRINTS)]
                began = time.monotonic()
                job_id = await self._create(clients, blueprint, number)
                known = self._acknowledged.setdefault(job_id, (blueprint, number))
                if known != (blueprint, number):
                    self._faults.append(f"job {job_id} was given for {known} and for {(blueprint, number)}")
                await self._see_the_end(clients, job_id)
                self._longest = max(self._longest, time.monotonic() - began)

    async def _create(self, clients: list[AsyncClient], blueprint: str, number: int) -> str:
        while True:
            with contextlib.suppress(AvtomatikaError, OSError, TimeoutError):
                return await self._draw.choice(clients).submit(
                    f"/{blueprint}", initial_data(number), idempotency_key=f"job-{number}"
                )
            await asyncio.sleep(0.2)

    async def _see_the_end(self, clients: list[AsyncClient], job_id: str) -> None:
        while True:
            try:
                job = await self._draw.choice(clients).job(job_id, wait=10.0)
            except JobNotFoundError:
                self._faults.append(f"job {job_id} was acknowledged, and is not known any more")
                return
            except (AvtomatikaError, OSError, TimeoutError):
                await asyncio.sleep(0.2)
                continue
            if job["status"] not in {"pending", "running", "waiting_for_worker", "waiting_for_parallel_tasks"} | {
                "awaiting_retry"
            }:
                self._ends.append(time.monotonic())
                return

    async def _finish(self, clients: list[asyncio.Task[None]], killer: asyncio.Task[None]) -> None:
        """Waits until there were enough jobs and deaths, and then until all jobs have ended."""
        await self._enough.wait()
        killer.cancel()
        _, late = await asyncio.wait(clients, timeout=_PATIENCE)
        for client in late:
            client.cancel()
        if late:
            self._faults.append(f"{len(late)} jobs did not end within {_PATIENCE} s after the last kill")
        for client in clients:
            if client.done() and not client.cancelled() and client.exception() is not None:
                self._faults.append(f"a client stopped: {client.exception()!r}")

    # --- afterwards ---

    async def _check(self) -> None:
        """Counts everything, once the outbox is empty and the engines are gone."""
        storage = make_storage(Config(STORAGE_URI=self._processes.uri), SystemClock())
        await storage.open()
        try:
            if not await self._outbox_is_empty(storage):
                self._faults.append("rows wait in the outbox although nobody is killed any more")
            self._processes.end(but="redis")
            self._faults += [f"audit: {fault}" for fault in await storage.audit()]
            counts = await storage.count_jobs()
            if sum(counts.values()) != len(self._acknowledged):
                self._faults.append(f"{len(self._acknowledged)} jobs were acknowledged, {counts} are stored")
            named = {record.key for record in await storage.list_records(DEPOT_SPACE, limit=100_000)}
            nameless = {path.name for path in (self._processes.files / "jobs").glob("*")} - named
            self._faults += [f"files of job {job_id} are there, and nobody will remove them" for job_id in nameless]
            for job_id, (blueprint, number) in self._acknowledged.items():
                job = await storage.find_job(job_id)
                if job is None:
                    self._faults.append(f"job {job_id} was acknowledged and is lost")
                else:
                    self._check_job(job, blueprint, number)
        finally:
            await storage.close()
        self._check_history()

    @staticmethod
    async def _outbox_is_empty(storage: Storage) -> bool:
        """Waits until the last rows are in the history; returns whether they are."""
        for _ in range(int(_PATIENCE)):
            if not await storage.read_events(1):
                return True
            await asyncio.sleep(1.0)
        return False

    def _check_job(self, job: Job, blueprint: str, number: int) -> None:
        wanted, found = expected(blueprint, number), job.state_history.value()
        if job.status != "finished" or found != wanted:
            self._faults.append(f"job {job.id} is {job.status} ({job.failure}) with {found} instead of {wanted}")

    def _check_history(self) -> None:
        """The history has each row of each job exactly once."""
        with contextlib.closing(sqlite3.connect(self._processes.history)) as history:
            rows = history.execute(
                "SELECT job_id, count(*), min(sequence), max(sequence), sum(event_type = 'job_completed')"
                " FROM job_history GROUP BY job_id"
            ).fetchall()
        known = {job_id for job_id, *_ in rows}
        self._faults += [f"job {job_id} has no history" for job_id in self._acknowledged if job_id not in known]
        self._faults += [
            f"job {job_id} has {count} rows from {first} to {last}, {ends} of them its end"
            for job_id, count, first, last, ends in rows
            if (first, last, ends) != (1, count, 1)
        ]

    def _report(self) -> Report:
        report = Report(
            self._faults, len(self._acknowledged), longest=self._longest, seconds=time.monotonic() - self._began
        )
        ends = sorted(self._ends)
        for at, name, cause in self._processes.deaths:
            report.deaths[f"{name.rstrip('0123456789')} ({cause})"] += 1
            following = next((end for end in ends if end > at), None)
            if following is not None:
                report.resumed.append(following - at)
        late = [wait for wait in report.resumed if wait > RESUMES_WITHIN]
        if late:
            report.faults.append(f"work resumed only after {', '.join(f'{wait:.1f}' for wait in late)} s")
        report.logs = self._processes.logs() if report.faults else ""
        return report


@contextlib.contextmanager
def folder_for_trial() -> Iterator[Path]:
    """Returns a folder that is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="avtomatika-chaos-") as name:
        yield Path(name)
