"""The client of a job: creates it, perhaps cancels it, and watches it to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from avtomatika.core.job import Job
from avtomatika.errors import JobStateError, StorageError
from avtomatika.storage.base import Dedupe

from .engine import GoneError, SimulatedEngine
from .plans import Fate, Plan
from .world import World

T = TypeVar("T")
FindEngine = Callable[[], SimulatedEngine | None]

TROUBLE = (GoneError, TimeoutError, StorageError)
"""What makes a caller try again, at any engine."""


class SimulatedClient:
    """Somebody who wants one job done.

    Args:
        world: of this run.
        plan: of the job.
        find_engine: returns any engine, or None if all are down.
    """

    def __init__(self, world: World, plan: Plan, find_engine: FindEngine) -> None:
        self._world = world
        self._find_engine = find_engine
        self.plan = plan
        self.fate = Fate()

    async def live(self) -> None:
        """Creates the job and stays until it has ended."""
        await asyncio.sleep(self.plan.at)
        await self._create()
        if not self.fate.job_ids:
            return
        if self.plan.cancel_after is not None:
            await asyncio.sleep(self.plan.cancel_after)
            await self._cancel(self.fate.job_ids[0])
        answering = [
            asyncio.ensure_future(self._answer(self.fate.job_ids[0], decision, after))
            for decision, after in self.plan.data.get("answers", ())
        ]
        await asyncio.gather(self._watch(self.fate.job_ids[0]), *answering)

    # --- creation ---

    async def _create(self) -> None:
        if not self.plan.key:
            # Without a key nobody can tell whether a creation whose answer was lost has happened: it is not repeated.
            try:
                await self._ask_for_creation()
            except TROUBLE:
                self._world.note("job %s: nobody knows whether it was created", self.plan.number)
            return
        if self._world.faults.strikes("repeated_creation"):
            await asyncio.gather(self._create_surely(), self._create_surely())
        else:
            await self._create_surely()

    async def _create_surely(self) -> None:
        await self._surely(self._ask_for_creation)
        if self._world.faults.strikes("lost_creation_answer"):
            await self._world.pause(5.0)
            await self._surely(self._ask_for_creation)

    async def _ask_for_creation(self) -> None:
        plan = self.plan
        dedupe = Dedupe(plan.key, "the same", 24 * 3600.0) if plan.key else None

        async def make(engine: SimulatedEngine) -> str:
            job_id, _ = await engine.jobs.create(
                engine.registry.get(plan.blueprint), plan.data, dedupe=dedupe, result_timeout=plan.result_timeout
            )
            return job_id

        job_id = await self._call("create", make)
        self._world.note("job %s is acknowledged as %s", plan.number, job_id[:4])
        if job_id not in self.fate.job_ids:
            self.fate.job_ids.append(job_id)

    # --- afterwards ---

    async def _cancel(self, job_id: str) -> None:
        self._world.faults.count("cancel_request")
        try:
            await self._surely(lambda: self._call("cancel", lambda engine: engine.jobs.cancel(job_id)))
            self.fate.cancelled = True
        except JobStateError:
            self._world.note("job %s cannot be cancelled any more", self.plan.number)

    async def _answer(self, job_id: str, decision: str, after: float) -> None:
        """Decides about the job some time after its creation, if it asks then."""
        await asyncio.sleep(after)
        try:
            await self._surely(lambda: self._call("decide", lambda engine: engine.approvals.decide(job_id, decision)))
            self._world.note("job %s: somebody says %s", self.plan.number, decision)
            self.fate.decided.append(decision)
        except JobStateError:
            self._world.note("job %s does not ask", self.plan.number)

    async def _watch(self, job_id: str) -> None:
        while not self.fate.ended_as:
            job = await self._surely(
                lambda: self._call("wait", lambda engine: engine.jobs.wait(job_id, self.fate.version, 20.0), 30.0)
            )
            self._read(job)

    def _read(self, job: Job) -> None:
        if job.version < self.fate.version:
            self._world.violated(f"job {job.id} was at version {self.fate.version}, and is at {job.version} now")
        self.fate.version = job.version
        if job.is_terminal:
            self.fate.ended_as = job.status

    async def _surely(self, ask: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Asks until there is an answer."""
        while True:
            try:
                return await ask()
            except TROUBLE:
                await asyncio.sleep(0.5)
                await self._world.pause(2.0)

    async def _call(
        self, kind: str, make: Callable[[SimulatedEngine], Coroutine[Any, Any, T]], patience: float = 10.0
    ) -> T:
        engine = self._find_engine()
        if engine is None:
            raise GoneError("no engine runs")
        return await engine.call(kind, lambda: make(engine), patience)
