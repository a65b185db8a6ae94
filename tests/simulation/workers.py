"""A worker of a run: polls, works as the task's script says, sends results, and goes wrong in many ways."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from avtomatika.core.job import Task, parse_wire_id
from avtomatika.protocol.messages import Heartbeat, Result, Skill, WorkerEventMessage, WorkerProfile
from avtomatika.protocol.polls import Poll
from avtomatika.runtime.dispatcher import START_LEASE

from .clients import TROUBLE, FindEngine
from .engine import GoneError, SimulatedEngine
from .loop import Process
from .plans import SUCCESS
from .world import World

T = TypeVar("T")

_POLL_SECONDS = 20.0
_SKILLS = (Skill("work"),)


class SimulatedWorker:
    """One machine that works; when it dies it comes back under its name, knowing nothing.

    Args:
        world: of this run.
        number: which of the workers this is.
        workers: how many there are.
        find_engine: returns any engine, or None if all are down.
        outside: to which results belong that are on their way: they arrive although the worker is dead.
    """

    def __init__(self, world: World, number: int, workers: int, find_engine: FindEngine, outside: Process) -> None:
        self.name = f"w{number}"
        self._world = world
        self._find_engine = find_engine
        self._outside = outside
        self._process = Process()
        self._slots = world.draw.choice((1, 1, 2))
        self._interval = world.draw.choice((5.0, 15.0, 15.0))
        # The oldest workers do not tell what they run.
        self._tells = world.draw.random() < 0.8
        self._running: dict[str, asyncio.Task[None]] = {}
        self._stranger = f"w{(number + 1) % workers}" if workers > 1 else "stranger"
        self._held: list[Result] = []
        self._bundle: list[tuple[Result, asyncio.Future[dict[str, Any]]]] = []
        self._sending: asyncio.Task[None] | None = None
        self._is_leaving = False
        self._works: set[asyncio.Task[None]] = set()
        self._deaths = 0

    def start(self) -> None:
        """Begins to live."""
        self._process = Process()
        self._running = {}
        self._works = set()
        self._is_leaving = False
        self._process.spawn(self._live())

    def _die(self) -> None:
        """Ends at once; a new process takes the name later."""
        self._world.note("%s dies", self.name)
        self._deaths += 1
        self._process.kill()
        self._outside.spawn(self._come_back())

    async def _come_back(self) -> None:
        await self._world.pause(25.0)
        self.start()

    async def _live(self) -> None:
        profile = WorkerProfile(self.name, skills=_SKILLS)
        await self._surely("register", lambda engine: engine.workers.register(profile))
        self._process.spawn(self._beat())
        if self._world.batch > 1:
            self._process.spawn(self._poll_for_many())
            return
        for _ in range(self._slots):
            self._process.spawn(self._poll_forever())

    # --- heartbeats ---

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            if not (self._running and self._world.faults.strikes("silent_worker")):
                await self._send_heartbeat()

    async def _send_heartbeat(self, status: str = "idle") -> None:
        told = tuple(self._running) if self._tells else None
        heartbeat = Heartbeat(self.name, status, told, skills=_SKILLS, dialect="G4")
        try:
            answer = await self._call("heartbeat", lambda engine: engine.workers.heartbeat(heartbeat))
        except TROUBLE:
            return
        for wire_id in answer.get("cancel_task_ids", ()):
            work = self._running.pop(wire_id, None)
            if work is not None:
                self._world.note("%s is told to stop %s", self.name, wire_id[36:])
                work.cancel()

    # --- polls ---

    async def _poll_forever(self) -> None:
        while True:
            try:
                tasks = await self._call("poll", lambda engine: self._poll(engine, 1), _POLL_SECONDS + 10.0)
            except TROUBLE:
                await self._world.pause(2.0)
                continue
            for work in await self._begin(tasks):
                await asyncio.wait({work})
                if self._world.faults.strikes("worker_leaves"):
                    await self._leave()

    async def _poll_for_many(self) -> None:
        """As our own SDK: one poll at a time, for as many tasks as there is room for."""
        while True:
            if len(self._works) >= self._world.batch:
                await asyncio.wait(self._works, return_when=asyncio.FIRST_COMPLETED)
                if self._world.faults.strikes("worker_leaves"):
                    await self._leave()
            self._works = {work for work in self._works if not work.done()}
            room = max(1, self._world.batch - len(self._works))
            try:
                tasks = await self._call(
                    "poll", lambda engine, room=room: self._poll(engine, room), _POLL_SECONDS + 10.0
                )
            except TROUBLE:
                await self._world.pause(2.0)
                continue
            await self._take(tasks)

    async def _take(self, tasks: Sequence[Task]) -> None:
        self._works.update(await self._begin(tasks))

    async def _poll(self, engine: SimulatedEngine, limit: int) -> Sequence[Task]:
        ends_at = self._world.loop.time() + _POLL_SECONDS
        profile = await engine.workers.poller(self.name, Poll(), _POLL_SECONDS)
        if profile is None:
            return ()
        # As the server does: waiting to be known is part of the poll's time.
        return await engine.dispatcher.next_tasks(profile, max(0.0, ends_at - self._world.loop.time()), limit)

    async def _begin(self, tasks: Sequence[Task]) -> list[asyncio.Task[None]]:
        """Begins the tasks of an answer, unless the answer is lost, or the worker dies of it."""
        if not tasks or self._world.faults.strikes("lost_poll_answer"):
            return []
        if self._world.faults.strikes("dies_before_start"):
            self._die()
            await asyncio.sleep(0)
        works = []
        for task in tasks:
            work = self._process.spawn(self._work(task))
            self._running[task.wire_id] = work
            work.add_done_callback(lambda _, wire_id=task.wire_id: self._running.pop(wire_id, None))
            works.append(work)
        return works

    async def _leave(self) -> None:
        """Says goodbye, cancels what runs in its other slot, and comes back later."""
        await self._send_heartbeat("offline")
        for wire_id, work in tuple(self._running.items()):
            work.cancel()
            task_id, _ = parse_wire_id(wire_id)
            # If the goodbye was lost, or the engine hears first that it is back, this cancels the job.
            self._world.told_cancelled.add(task_id[:36])
            self._outside.spawn(self._send(Result(task_id[:36], wire_id, self.name, "cancelled"), self.name))
        self._die()

    # --- work ---

    async def _work(self, task: Task) -> None:
        world, faults = self._world, self._world.faults
        if faults.strikes("deaf_worker"):
            await asyncio.sleep(200.0)
            return
        if faults.strikes("result_at_handover"):
            # A claim that no heartbeat names ends at this moment, and the other workers are told of the task.
            self._running.pop(task.wire_id, None)
            await asyncio.sleep(START_LEASE + world.draw.uniform(-0.2, 0.8))
            await self._send(self._result(task, self.name), self.name)
            return
        if world.tells:
            await self._tell_event(task)
        seconds = world.draw.choice((0.0, 0.1, 0.5, 2.0, 12.0, 25.0))
        if faults.strikes("dies_in_task"):
            await asyncio.sleep(seconds / 2)
            self._die()
        await asyncio.sleep(seconds)
        result = self._result(task, self.name)
        if faults.strikes("dies_after_effect"):
            self._die()
            await asyncio.sleep(0)
        await self._tell(task, result)

    def _result(self, task: Task, worker_id: str, attempt: int | None = None) -> Result:
        """Returns what comes of a task, by its script."""
        attempt = task.attempt if attempt is None else attempt
        params = task.params.value()
        word = params["script"][min(max(attempt, 1), len(params["script"])) - 1]
        nonce = self._world.begin_run(task.id, attempt, worker_id)
        wire_id = f"{task.id}-{attempt}"
        if word == SUCCESS:
            data = {"nonce": nonce, "value": params["index"] + 1}
            return Result(task.job_id, wire_id, worker_id, SUCCESS, data)
        return Result(task.job_id, wire_id, worker_id, "failure", error_code=word, error_message=nonce)

    async def _tell(self, task: Task, result: Result) -> None:
        """Sends the result, and what else a bad network and a bad worker send."""
        world, faults = self._world, self._world.faults
        if faults.strikes("foreign_result"):
            await self._send(self._result(task, self._stranger), self._stranger)
        if faults.strikes("wrong_attempt"):
            await self._send(self._result(task, self.name, task.attempt + world.draw.choice((-1, 1))), self.name)
        if faults.strikes("reordered_result"):
            self._held.append(result)
            self._outside.spawn(self._send_held(20.0))
            return
        if faults.strikes("late_result"):
            await asyncio.sleep(world.draw.uniform(15.0, 90.0))
        if faults.strikes("duplicate_result"):
            for _ in range(world.draw.randint(1, 2)):
                self._outside.spawn(self._send_later(result))
        await self._send(result, self.name)
        if faults.strikes("lost_result_answer"):
            await self._send(result, self.name)
        await self._send_held(0.0)

    async def _tell_event(self, task: Task) -> None:
        """Tells of the task, under one id until somebody has taken it; some are told twice all the same."""
        event_id = f"{self.name}-{len(self._world.runs)}-{task.wire_id}"
        event = WorkerEventMessage("begun", {}, event_id, self.name, task.job_id, task.wire_id)
        for _ in range(self._world.draw.choice((1, 1, 2))):
            holder = await self._surely("event", lambda engine: engine.workers.events.take(event, self.name))
            if holder:
                self._world.told[event_id] = task.job_id

    async def _send_later(self, result: Result) -> None:
        await self._world.pause(self._world.draw.choice((0.1, 40.0)))
        await self._send(result, self.name)

    async def _send_held(self, seconds: float) -> None:
        """Sends what was held back, if another result has not taken it along by then."""
        await asyncio.sleep(seconds)
        while self._held:
            await self._send(self._held.pop(), self.name)

    async def _send(self, result: Result, worker_id: str) -> None:
        if self._world.batch > 1 and worker_id == self.name:
            answer = await self._send_together(result)
        else:
            answer = await self._surely("result", lambda engine: engine.workers.result(result, worker_id))
        shown = f"{result.task_id[:4]}{result.task_id[36:]}"
        self._world.note("%s sent %s for %s: %s", worker_id, result.status, shown, answer.get("reason", "accepted"))

    async def _send_together(self, result: Result) -> dict[str, Any]:
        """Sends a result with whatever else waits; results gather while a request is on its way."""
        answer: asyncio.Future[dict[str, Any]] = self._world.loop.create_future()
        self._bundle.append((result, answer))
        if self._sending is None or self._sending.done():
            self._sending = self._outside.spawn(self._send_bundles())
        return await answer

    async def _send_bundles(self) -> None:
        while self._bundle:
            taken, self._bundle = self._bundle, []
            results = [result for result, _ in taken]
            # Some ask for as many tasks as have just ended.
            wish = self._world.draw.choice((0, len(results)))
            deaths = self._deaths
            answers, tasks = await self._surely(
                "results", lambda engine, results=results, wish=wish: engine.results(results, self.name, wish)
            )
            if deaths == self._deaths:
                self._process.spawn(self._take(tasks))
            for (result, answer), told in zip(taken, answers, strict=True):
                if told is None:
                    self._bundle.append((result, answer))
                elif not answer.done():
                    answer.set_result(told)

    # --- calls ---

    async def _surely(self, kind: str, make: Callable[[SimulatedEngine], Coroutine[Any, Any, T]]) -> T:
        """Asks until there is an answer."""
        while True:
            try:
                return await self._call(kind, make)
            except TROUBLE:
                await asyncio.sleep(0.5)
                await self._world.pause(2.0)

    async def _call(
        self, kind: str, make: Callable[[SimulatedEngine], Coroutine[Any, Any, T]], patience: float = 10.0
    ) -> T:
        engine = self._find_engine()
        if engine is None:
            await asyncio.sleep(0.5)
            raise GoneError("no engine runs")
        return await engine.call(kind, lambda: make(engine), patience)
